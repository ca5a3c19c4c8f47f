/* SPDX-License-Identifier: Apache-2.0
 *
 * One shard's move, on one thread: asks the plan (shard.h) what to do, records the state, does the
 * step, and again. Steps are idempotent and find out by themselves what is already done, so that
 * a successor can start from nothing but the route and the servers.
 */
#ifndef HOLDFAST_MOVE_MOVE_H
#define HOLDFAST_MOVE_MOVE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/table.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "move/gate.h"
#include "move/session.h"
#include "move/shard.h"

#include <stdarg.h>

struct probe_target;
struct mandate;

/* What takes time, as reported. */
#define MOVE_PHASE_TABLE(X)                                                                        \
    X(PHASE_PREPARE, "prepare")                                                                    \
    X(PHASE_FREEZE, "freeze")                                                                      \
    X(PHASE_PROMOTE, "promote")                                                                    \
    X(PHASE_PUBLISH, "publish")                                                                    \
    X(PHASE_REDIRECT, "redirect")                                                                  \
    X(PHASE_VERIFY, "verify")                                                                      \
    X(PHASE_UNDO, "undo")                                                                          \
    /* of a failover */                                                                            \
    X(PHASE_DETECT, "detect") /* it was silent, and not known yet to be lost */                    \
    X(PHASE_FENCE, "fence")   /* the lost primary gets no more acknowledgements */                 \
    X(PHASE_DRAIN, "drain")   /* what was received is applied */                                   \
    X(PHASE_ELECT, "elect")   /* the new one has everything, and somebody who acknowledges */      \
    X(PHASE_WAIT, "wait")     /* the lost primary may still be permitted to serve */               \
    X(PHASE_OPEN, "open")                                                                          \
    X(PHASE_FOLLOW, "follow")

enum move_phase { MOVE_PHASE_TABLE(TABLE_ID) MOVE_PHASES };

const char *move_phase_name(enum move_phase phase);
/* The phases of a failover, or else of a planned move, as they follow each other. */
const enum move_phase *move_phases_of(bool is_failover, size_t *ret_count);

/* When a phase ran. */
struct move_span {
    enum move_phase phase;
    nsec from, to;
};

/* What is told afterwards of one shard, whether it was moved or failed over. */
struct story {
    struct buf notes; /* warnings that do not change the result */
    nsec phase_ns[MOVE_PHASES];
    struct move_span *spans; /* attempts at a phase that follow each other are one */
    size_t span_count, span_capacity;
};

/* Time since 'since' belongs to this phase. */
void story_add_phase(struct story *story, enum move_phase phase, nsec since);
/* Add a line, once however often it is said; also to the run's journal. */
void story_note(struct story *story, const struct mandate *mandate,
                const struct inventory_shard *shard, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
void story_release(struct story *story);

#define MOVE_RESULT_TABLE(X)                                                                       \
    X(MOVE_PENDING, "pending")                                                                     \
    X(MOVE_MOVED, "moved")                                                                         \
    X(MOVE_ALREADY_THERE, "already there")                                                         \
    X(MOVE_UNDONE, "undone")     /* serves at its old home; the error says why */                  \
    X(MOVE_ABORTED, "aborted")   /* serves at its old home, as the operator wished */              \
    X(MOVE_STOPPED, "stopped")   /* serves at its old home: the run stopped by itself before it */ \
    X(MOVE_STUCK, "stuck")       /* an operator must act; the error says what is the matter */     \
    X(MOVE_FENCED, "taken over") /* another process continues the run */

enum move_result { MOVE_RESULT_TABLE(TABLE_ID) MOVE_RESULTS };

const char *move_result_name(enum move_result result);
/* Of a shard that only did not move because the run was to stop: who said so? */
enum move_result move_result_stopped(const struct mandate *mandate);

struct move {
    /* Given; see move_init(). */
    const struct mandate *mandate;
    const struct inventory_shard *shard;
    const struct sql_flavour *flavour;
    const struct inventory_server *old_server, *new_server;

    /* Where it is. */
    struct route route;
    bool is_route_doubtful; /* a write's outcome is unknown: read it back before the next */
    struct shard_view view;
    struct session old_session, new_session;
    char *position;       /* the old primary's final position */
    char *late_position;  /* where its log ended later, when something was written there since */
    double clock_ahead_s; /* the new primary's wall clock minus our boot clock */
    bool has_place[GATE_PLACES];
    bool is_deadline_extended;
    bool is_promote_sent;                /* by this process, and not answered with "not opened" */
    bool was_redirected;                 /* tried before by this process */
    unsigned long opened_by;             /* connection that promote answered "opened"; 0: none */
    nsec opened_at;                      /* and when */
    bool is_write_lost;                  /* a write at the new primary did not return */
    const struct inventory_server *heir; /* whom somebody else made the primary; NULL: not known */
    struct probe_target *probe_target;   /* NULL: not measured */

    /* What came of it. */
    enum move_result result;
    struct err failure; /* what went wrong first, of a stuck shard last; ST_OK: nothing did */
    struct err last_failure;
    struct err cause; /* of a stuck shard: what it began with, when that was something else */
    bool is_writable; /* of a stuck shard: clients can write, as far as was seen at the end */
    struct story story;
    nsec frozen_at, published_at;
    nsec recorded_from;         /* before 'promoting' was sent to the store */
    nsec guarded_from;          /* when the freeze began that the promote statement relies on */
    size_t critical_statements; /* SQL statements between freeze and publish */
    uint64_t late_transactions; /* on the old primary after its final position */
};

/* When the route is in the middle of a move it names both ends; else set them as well. */
void move_init(struct move *move, const struct mandate *mandate,
               const struct inventory_shard *shard, const struct route *route);
void move_set_ends(struct move *move, const struct inventory_server *old_server,
                   const struct inventory_server *new_server);
void move_release(struct move *move);
/* Record a route that was taken over from what was observed: the shard serves. */
MUST_CHECK enum status move_adopt(struct move *move, struct err *err);
/* Until the plan says finish or give up, or another process took over. */
void move_run(struct move *move);

/* For so long after 'promoting' was recorded, at most, its promote statement may open the new
 * primary. */
nsec move_promote_span(const struct inventory *fleet);

/* Until when writes count as touched by the move: a little after publish (or, without one, now). */
nsec move_probed_until(const struct move *move);

#endif
