/* SPDX-License-Identifier: Apache-2.0
 *
 * A run: one execution of a switchover over some shards, at most one at a time per store. The key
 * "run-lock" names the run that may act; its creation revision is the fencing token that every
 * route write compares. The lock is attached to a lease of this process, so that a dead
 * conductor's lock ends by itself.
 */
#ifndef HOLDFAST_CONDUCTOR_RUN_H
#define HOLDFAST_CONDUCTOR_RUN_H

#include "base/err.h"
#include "conductor/run_record.h"
#include "drain/mark.h"
#include "failover/failover.h"
#include "move/mandate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUN_CURRENT_KEY "run-current" /* names the run that is not finished */

struct announcer;
struct inventory;
struct keeper;
struct store;
struct waiting;

/* A run in this process. */
struct run {
    struct mandate mandate; /* what its mover threads see */
    struct run_record record;
    struct drain_list drained; /* hosts that shall have no role; behind the mandate */
    int64_t lease;
    struct keeper *keeper;
    struct announcer *announcer; /* of the hooks, while it is carried out; NULL: none */
    bool had_ended;              /* taken over once more, only for what it left in the middle */
    struct waiting *waiting;     /* what its keeper tells others */
    const struct failover_ears *ears; /* NULL: nobody can be asked */
    /* What whoever fenced the region knows of it already; 0: not known. The store is asked then. */
    int64_t fence;
    struct permit_term term;
    atomic_bool is_handed_over; /* another process goes on with what is left */
    char *_Atomic aborted_by;   /* whoever asked for it from another process; NULL: nobody */
};

/* Begin a new run: takes the lock, writes the record (which is taken from the caller). ST_BUSY
 * says which run is in progress or unfinished, and what to type; ST_EXISTS: this one was begun
 * before. */
MUST_CHECK enum status run_begin(struct store *store, const struct inventory *fleet,
                                 struct run_record *take, struct run **ret, struct err *err);
/* The same for a run that fails a lost region over: one that is unfinished yields when its process
 * is gone, and is set aside: that is in ret_aside, whatever came of the new one; "": none was. */
MUST_CHECK enum status run_begin_over(struct store *store, const struct inventory *fleet,
                                      struct run_record *take, struct run **ret,
                                      char ret_aside[static RUN_ID_MAX], struct err *err);
/* As an operator ordered it: one of these, and who brings roles back is waited for, six seconds at
 * most. One that was set aside with the region's fence is in the record already. */
MUST_CHECK enum status run_begin_ordered(struct store *store, const struct inventory *fleet,
                                         struct run_record *take, struct run **ret,
                                         struct err *err);
/* Continue an unfinished run whose process is gone; or one that has ended, for the shards that it
 * left in the middle because they were not in the fleet file then. With 'is_called_off', or when an
 * operator called it off before, it only undoes or finishes what is in flight. */
MUST_CHECK enum status run_take(struct store *store, const struct inventory *fleet, const char *id,
                                bool is_called_off, struct run **ret, struct err *err);
/* Which shards of the fleet (by their place in it) are in the middle of a move that is this run's.
 */
MUST_CHECK enum status run_list_left(struct store *store, const struct inventory *fleet,
                                     const char *id, bool *ret_is_left, struct err *err);
MUST_CHECK enum status run_has_left(struct store *store, const struct inventory *fleet,
                                    const char *id, bool *ret, struct err *err); /* any? */
/* Only the run lock, for what is no run (roles are brought back): nothing is recorded, and nothing
 * is left when the process dies. run_free() gives it back. */
MUST_CHECK enum status run_hold(struct store *store, const struct inventory *fleet,
                                struct run **ret, struct err *err);
/* The same for a run to 'region' that may begin within some seconds: what takes time is done then.
 * When it does not, nothing is left of it: run_free(). */
MUST_CHECK enum status run_get_ready(struct store *store, const struct inventory *fleet,
                                     const char *region, struct run **ret, struct err *err);
/* It begins. Takes the record. ST_BUSY: the lock was lost, or another run is unfinished; then, as
 * after any failure, there is nothing to do but run_free(). */
MUST_CHECK enum status run_begin_ready(struct run *run, struct run_record *take, struct err *err);
/* Write the outcome, give the lock back. 'next' (may be NULL) is a run that follows from this one:
 * it is the unfinished one from the same moment on, for whoever takes it: this process, or 'run
 * resume'. */
MUST_CHECK enum status run_end(struct run *run, enum run_state state, const struct run_record *next,
                               struct err *err);
void run_free(struct run *run);

/* Let others run although this one waits for an operator: its shards stay in the middle, and
 * run_take() goes on with them. ST_CONFLICT: somebody carries it out, or it is not the unfinished
 * one. */
MUST_CHECK enum status run_set_aside(struct store *store, const char *id, struct err *err);

/* It was set aside, and what it left was brought to an end by others: it ended so, if it has not
 * ended yet. ST_CONFLICT: somebody takes it up. */
MUST_CHECK enum status run_close(struct store *store, const char *id, enum run_state state,
                                 struct err *err);
/* The same, as failed; or, when it has left shards in the middle that were not failed over, take
 * it, to bring them to one side: *ret, else NULL. */
MUST_CHECK enum status run_call_off(struct store *store, const struct inventory *fleet,
                                    const char *id, struct run **ret, struct err *err);

/* The run whose process is alive; ST_NOT_FOUND: none. */
MUST_CHECK enum status run_lock_holder(struct store *store, char ret_id[static RUN_ID_MAX],
                                       struct err *err);
/* The run that is not finished, alive or not; ST_NOT_FOUND: none. */
MUST_CHECK enum status run_current(struct store *store, char ret_id[static RUN_ID_MAX],
                                   struct err *err);

/* Stop launching, undo or finish what is in flight: of itself. */
void run_stop(struct run *run);
/* The same as an operator's word, which outlives the process. Safe in a signal handler. */
void run_abort(struct run *run);
/* The same for somebody else, by his audit line (copied). Not in a signal handler. */
void run_abort_for(struct run *run, const char *order);
/* The same, but the run is not over: another process takes it and goes on. */
void run_hand_over(struct run *run);
bool run_must_stop(const struct run *run);

#endif
