/* SPDX-License-Identifier: Apache-2.0
 *
 * What draining a host, or giving its roles back, would do, shard by shard, and what stands in the
 * way. Pure: what is shown before the go; the run decides by itself, over what it sees then. */
#ifndef HOLDFAST_HANDOVER_PLAN_H
#define HOLDFAST_HANDOVER_PLAN_H

#include "drain/mark.h"
#include "fleet/observation.h"

#define HANDOVER_ROLE_TABLE(X)                                                                     \
    X(HANDOVER_PRIMARY, "primary")                                                                 \
    X(HANDOVER_RELAY, "relay")                                                                     \
    X(HANDOVER_NONE, "replica")

enum handover_role { HANDOVER_ROLE_TABLE(TABLE_ID) HANDOVER_ROLES };

const char *handover_role_name(enum handover_role role);

/* Of one server of the host. */
struct handover_line {
    const struct shard_observation *shard;
    enum handover_role role;
    const struct server_observation *from, *to; /* who has the role, who gets it; NULL: nobody */
    struct err refusal;                         /* ST_OK: nothing stands in the way */
    const char *note;                           /* what else is to be known; NULL: nothing */
};

struct handover_plan {
    struct handover_line *lines;
    size_t count, capacity;
    size_t refused, moves;
};

/* 'drained' has the host's mark as it will be; 'seen' has the shards with servers of the host, with
 * their lag. */
void handover_plan_make(const struct inventory *fleet, const struct fleet_observation *seen,
                        const struct drain_list *drained, const struct drain_mark *mark,
                        struct handover_plan *ret);
void handover_plan_release(struct handover_plan *plan);

#endif
