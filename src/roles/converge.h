/* SPDX-License-Identifier: Apache-2.0
 *
 * Bring the roles of shards back: plan (plan.h), do each step, look again, until nothing is left to
 * do or the deadline. Every step may be repeated. Blocking; shards side by side.
 *
 * With ROLES_ONCE as the deadline each step is done once and nothing is waited for: for whoever
 * comes again soon, and must not keep the run lock from others meanwhile.
 */
#ifndef HOLDFAST_ROLES_CONVERGE_H
#define HOLDFAST_ROLES_CONVERGE_H

#include "base/clock.h"
#include "base/err.h"
#include "roles/plan.h"

struct mandate;

#define ROLES_ONCE ((nsec)0)

/* What came of one shard. */
struct roles_outcome {
    const struct inventory_shard *shard;
    char *done; /* lines; owned, "" when there was nothing to do */
    char *left; /* lines: steps that failed, and what stands in the way; owned */
    size_t done_count, left_count;
    struct err err; /* ST_FENCED: another process has the word; else ST_OK */
};

/* 'ret' has room for 'count' outcomes; release each. */
void roles_converge(const struct mandate *mandate, const struct inventory_shard *const *shards,
                    size_t count, nsec deadline, struct roles_outcome *ret);
void roles_outcome_release(struct roles_outcome *outcome);

/* A line of a plan, without its end: "w2:3306: start replication: it is stopped". */
void role_step_describe(const struct role_step *step, struct buf *out);
/* Two: what stands in the way, and "  do: ..." what helps. */
void role_obstacle_describe(const struct role_obstacle *obstacle, struct buf *out);

#endif
