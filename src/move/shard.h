/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine of one shard's move: what to do next, given everything that is known. Pure:
 * no I/O, no clock; 'now' is in the view. The effects are steps (step.h); docs/switchover.md
 * argues why every crash between two of them is safe, and shows the diagram printed from here.
 *
 * Words: the *old* primary is the one at the start of the move, the *new* primary is the relay
 * that shall take over. States are written to the route before the action of the rule is done,
 * except where the step says otherwise (step.h: enum record).
 */
#ifndef HOLDFAST_MOVE_SHARD_H
#define HOLDFAST_MOVE_SHARD_H

#include "base/clock.h"
#include "fleet/route.h"

#include <stdbool.h>
#include <stddef.h>

/* What is known of the new primary. CLOSED only ever comes from the only promote statement's own
 * answer, or from a session that was taken after one could have been sent, so that nothing queued
 * can open it any more. */
#define SHARD_NEW_TABLE(X)                                                                         \
    X(NEW_UNKNOWN, "unknown")     /* a promote statement may be under way */                       \
    X(NEW_UNTOUCHED, "untouched") /* this process took it and has not sent promote */              \
    X(NEW_OPEN, "open")                                                                            \
    X(NEW_CLOSED, "closed")

/* What is known of the old primary. */
#define SHARD_OLD_TABLE(X)                                                                         \
    X(OLD_UNKNOWN, "unknown")                                                                      \
    X(OLD_OPEN, "open")                                                                            \
    X(OLD_FROZEN, "frozen") /* refuses all writes, its final position is known */

enum shard_new {
#define X(name, text) name,
    SHARD_NEW_TABLE(X)
#undef X
};

enum shard_old {
#define X(name, text) name,
    SHARD_OLD_TABLE(X)
#undef X
};

/* What the actor does in a step of the plan; the table of effects is in step.c. */
#define SHARD_ACTION_TABLE(X)                                                                      \
    X(ACT_FINISH, "finish")     /* report; nothing more to do for this shard */                    \
    X(ACT_GIVE_UP, "give-up")   /* report; an operator must act, then resume */                    \
    X(ACT_NONE, "none")         /* only record the state */                                        \
    X(ACT_PREPARE, "prepare")   /* take both servers, check, catch up, wait for a calm moment */   \
    X(ACT_FREEZE, "freeze")     /* old primary refuses writes; read its final position */          \
    X(ACT_PROMOTE, "promote")   /* new primary applies up to there and opens */                    \
    X(ACT_CONFIRM, "confirm")   /* take the new primary afresh and look whether it is open */      \
    X(ACT_REDIRECT, "redirect") /* old primary follows the new one; events move */                 \
    X(ACT_VERIFY, "verify")     /* a row written at the new primary is seen everywhere */          \
    X(ACT_UNDO, "undo")         /* old primary accepts writes again */

enum shard_action {
#define X(name, text) name,
    SHARD_ACTION_TABLE(X)
#undef X
        SHARD_ACTIONS
};

/* Everything a decision may use. */
struct shard_view {
    nsec now;
    nsec deadline; /* of this attempt; past it an undo or a wait is handed to the operator */
    enum shard_state state; /* as recorded in the route */
    bool is_at_target;      /* the route's home is the wanted region */
    bool is_inherited;      /* the state was found at the start: another process got it this far */
    bool must_stop;         /* the operator aborts, or a step failed: move no further */
    bool is_moved_on;       /* somebody else made another server the primary meanwhile */
    bool is_prepared;
    enum shard_old old_primary;
    enum shard_new new_primary;
    bool is_redirected, is_verified;
    bool has_record_failed; /* the last write of a state to the store */
    bool is_refused;        /* the server that is to be opened, or published, may not serve */
};

struct shard_rule {
    enum shard_state state;
    bool (*guard)(const struct shard_view *view);
    enum shard_state next;
    enum shard_action action;
    const char *why;
};

/* The first rule that matches; never NULL. */
const struct shard_rule *shard_plan(const struct shard_view *view);

/* The table itself, for its tests and for the diagram in the docs. */
const struct shard_rule *shard_rules(size_t *ret_count);
const char *shard_guard_name(const struct shard_rule *rule);
const char *shard_action_name(enum shard_action action);
const char *shard_new_name(enum shard_new value);
const char *shard_old_name(enum shard_old value);

#endif
