/* SPDX-License-Identifier: Apache-2.0
 * Shared inside failover/ only: the steps, and what they have in common. */
#ifndef HOLDFAST_FAILOVER_INTERNAL_H
#define HOLDFAST_FAILOVER_INTERNAL_H

#include "failover/failover.h"
#include "move/calls.h"
#include "move/mandate.h"

/* ---- steps: each sets what it found out in failover->view ---- */
MUST_CHECK enum status failover_step_gather(struct failover *failover,
                                            struct err *err); /* gather.c */
MUST_CHECK enum status failover_step_release(struct failover *failover,
                                             struct err *err); /* gather.c */
MUST_CHECK enum status failover_step_appoint(struct failover *failover,
                                             struct err *err); /* appoint.c */
MUST_CHECK enum status failover_step_open(struct failover *failover, struct err *err); /* open.c */
MUST_CHECK enum status failover_step_confirm(struct failover *failover,
                                             struct err *err); /* open.c */
MUST_CHECK enum status failover_step_follow(struct failover *failover,
                                            struct err *err); /* follow.c */

/* A move to the lost region got so far that its new primary may have been open: the one that it
 * left, which has all that was acknowledged before. NULL: there is none. */
const struct inventory_server *failover_find_former(const struct failover *failover);

/* Is the candidate still ready to open? (appoint.c) */
MUST_CHECK enum status failover_look_at_candidate(struct failover *failover, struct err *err);
/* Does nobody else accept writes, as far as they answer? (gather.c) */
MUST_CHECK enum status failover_check_alone(struct failover *failover, struct err *err);

/* Write the next state to the route (record.c). ST_FENCED: another process took over. Other
 * failures surely did not happen, or failover->is_route_doubtful is set. */
MUST_CHECK enum status failover_record(struct failover *failover, enum shard_state next,
                                       nsec deadline, struct err *err);

/* Since when the route has its revision; as far as is known perhaps only since now. */
void failover_know_route(struct failover *failover);

/* Whose permission is withdrawn, as it is in the store; that of the lost primary counts from when
 * that is known. */
MUST_CHECK enum status failover_know_revocations(struct failover *failover, nsec deadline,
                                                 struct err *err);
/* Give a candidate its permission back when it has none: it is closed, under its lock. */
MUST_CHECK enum status failover_permit(struct failover *failover,
                                       const struct inventory_server *candidate, nsec deadline,
                                       struct err *err);

/* Which primary is lost, and where the next one is to be. */
static inline struct vacancy failover_vacancy(const struct failover *failover)
{
    return (struct vacancy){failover->lost, failover->mandate->to_region};
}
/* Is its region lost with it? */
static inline bool failover_leaves_region(const struct failover *failover)
{
    return failover->lost->region != failover->mandate->to_region;
}

/* The session of a server of the shard, taken. */
MUST_CHECK enum status failover_take(struct failover *failover,
                                     const struct inventory_server *server,
                                     struct session **ret_session, nsec deadline, struct err *err);
/* Those of all, of SESSIONS_MAX at most. */
MUST_CHECK enum status failover_take_all(struct failover *failover,
                                         const struct inventory_server *const *servers,
                                         size_t count, nsec deadline, struct err *err);
struct server_observation *failover_seen(struct failover *failover,
                                         const struct inventory_server *server);
/* Ask the server again over its session; what was seen of it is replaced. 'before' (may be NULL) is
 * done in the same packet, of so many statements. */
struct failover_look {
    const struct inventory_server *server;
    struct buf before;
    size_t statements;
};
/* All side by side. What does not answer says so in what is seen of it. */
void failover_look_again(struct failover *failover, enum call call, struct failover_look *looks,
                         size_t count, nsec deadline);

/* Calls over sessions, side by side, past the crash points of the name. */
void failover_run_calls(enum call call, struct sql_call *calls, size_t count, nsec deadline);

/* Add a line of warning to the shard's report. */
void failover_note(struct failover *failover, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
