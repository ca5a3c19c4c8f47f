/* SPDX-License-Identifier: Apache-2.0
 *
 * Roles converge: from what a shard is and what the store says of it, the steps that give each
 * server the settings of its role again. SET GLOBAL does not outlive a restart, so after one a
 * server is read-only and follows nobody. Pure: no I/O, no clock.
 *
 * Only what cannot lose a write is planned. A server with transactions that the primary lacks is
 * left as it is, and so is a shard of which it is not certain who is its primary: those are said.
 */
#ifndef HOLDFAST_ROLES_PLAN_H
#define HOLDFAST_ROLES_PLAN_H

#include "base/buf.h"
#include "base/table.h"
#include "fleet/observation.h"
#include "fleet/route.h"

struct drain_list;
struct permit_list;

/* In the order in which they are done. X(id, name) */
#define ROLE_ACTION_TABLE(X)                                                                       \
    X(ROLE_RELEASE, "switch semi-sync source off") /* it would hold its own applier up */          \
    X(ROLE_POINT, "replicate")                     /* from 'source', which it does not follow */   \
    X(ROLE_ACKNOWLEDGE, "acknowledge")                                                             \
    X(ROLE_DO_NOT_ACKNOWLEDGE, "do not acknowledge") /* the relay would, across regions */         \
    X(ROLE_START, "start replication")                                                             \
    X(ROLE_ACKNOWLEDGE_RECEIVED, "acknowledge what it has")                                        \
    X(ROLE_AWAIT, "wait for acknowledgements") /* a primary that accepts writes without */         \
    X(ROLE_OPEN, "accept writes") /* the primary that the store knows, when nobody else may be */

enum role_action { ROLE_ACTION_TABLE(TABLE_ID) ROLE_ACTIONS };

const char *role_action_name(enum role_action action);

struct role_step {
    const struct server_observation *server;
    enum role_action action;
    const struct inventory_server *source; /* of ROLE_POINT */
    char *position;    /* where that begins; owned; NULL: where the server has got to */
    bool acknowledges; /* of ROLE_POINT: at once */
    const struct server_observation *like; /* of ROLE_POINT: connects as it shall; NULL: nobody */
    char *why;                             /* owned */
};

/* What an operator must look at; the rest of the shard may still get its steps. */
struct role_obstacle {
    const struct inventory_server *server; /* NULL: the shard */
    char *what;                            /* owned */
    char *advice;                          /* owned */
};

struct role_plan {
    struct role_step *steps;
    size_t step_count, step_capacity;
    struct role_obstacle *obstacles;
    size_t obstacle_count, obstacle_capacity;
};

/* 'route': NULL when the store has none. 'revoked': who may not serve, read after the route.
 * 'drained': who shall be no relay, if another can be; NULL: no host is drained.
 * 'shard' was asked for its lag (later_position), or its primary's position counts. */
void role_plan_make(const struct shard_observation *shard, const struct route *route,
                    const struct permit_list *revoked, const struct drain_list *drained,
                    struct role_plan *ret);
void role_plan_release(struct role_plan *plan);

#endif
