/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine of one shard's failover: what to do next, given everything that is known. Pure:
 * no I/O, no clock; 'now' is in the view. docs/failover.md argues why a crash between any two of
 * the steps is safe, and shows the diagram printed from here.
 *
 * Words: the *lost* primary is the one of the route at the start, the *candidate* is the server of
 * its region that shall take over. A state is durable in the route before the rule's action begins.
 */
#ifndef HOLDFAST_FAILOVER_PLAN_H
#define HOLDFAST_FAILOVER_PLAN_H

#include "base/clock.h"
#include "base/table.h"
#include "fleet/route.h"

#include <stdbool.h>
#include <stddef.h>

/* What is known of the candidate. CLOSED and UNTOUCHED only ever come from a session that was taken
 * after an opening could have been sent, so that nothing queued can open it any more. */
#define CANDIDATE_TABLE(X)                                                                         \
    X(CANDIDATE_UNKNOWN, "unknown")     /* it may be open, or open yet */                          \
    X(CANDIDATE_UNTOUCHED, "untouched") /* this process holds it, and has not sent an opening */   \
    X(CANDIDATE_OPEN, "open")                                                                      \
    X(CANDIDATE_CLOSED, "closed")

enum candidate { CANDIDATE_TABLE(TABLE_ID) CANDIDATES };

#define FAILOVER_ACTION_TABLE(X)                                                                   \
    X(FAILOVER_FINISH, "finish")   /* report; nothing more to do */                                \
    X(FAILOVER_GIVE_UP, "give-up") /* report; an operator must act, then resume */                 \
    X(FAILOVER_GATHER, "gather")   /* cut the lost one off, apply what was received, elect */      \
    X(FAILOVER_APPOINT, "appoint") /* the candidate gets everything, and who acknowledges */       \
    X(FAILOVER_WAIT, "wait")       /* until the lost one's permission to serve is over */          \
    X(FAILOVER_OPEN, "open")       /* the candidate accepts writes */                              \
    X(FAILOVER_CONFIRM, "confirm") /* take it afresh and look whether it is open */                \
    X(FAILOVER_FOLLOW, "follow")   /* the others follow it */                                      \
    X(FAILOVER_RELEASE, "release") /* the replicas may receive from the lost one again */

enum failover_action { FAILOVER_ACTION_TABLE(TABLE_ID) FAILOVER_ACTIONS };

/* Everything a decision may use. */
struct failover_view {
    nsec now;
    nsec deadline; /* of this attempt: past it the shard is handed to the operator */
    enum shard_state state;
    bool is_done;      /* the route says that this run gave the shard its new primary */
    bool is_inherited; /* the state was found at the start: another process got it this far */
    bool must_stop;    /* an operator aborts */
    bool was_opening;  /* a candidate may have been open and have acknowledged writes */
    bool is_gathered, is_appointed, is_followed, is_released;
    bool is_over; /* the lost primary may not serve any more: permit/permit.h */
    enum candidate candidate;
    bool has_record_failed; /* the last write of a state to the store */
};

struct failover_rule {
    enum shard_state state;
    bool (*guard)(const struct failover_view *view);
    enum shard_state next;
    enum failover_action action;
    const char *why;
};

/* The first rule that matches; never NULL. */
const struct failover_rule *failover_plan(const struct failover_view *view);

/* The table itself, for its tests and for the diagram in the docs. */
const struct failover_rule *failover_rules(size_t *ret_count);
const char *failover_guard_name(const struct failover_rule *rule);
const char *failover_action_name(enum failover_action action);

#endif
