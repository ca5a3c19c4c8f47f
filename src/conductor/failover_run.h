/* SPDX-License-Identifier: Apache-2.0
 *
 * One shard of a failover run: from what the store and the servers say of it to what is reported.
 */
#ifndef HOLDFAST_CONDUCTOR_FAILOVER_RUN_H
#define HOLDFAST_CONDUCTOR_FAILOVER_RUN_H

#include "conductor/switchover.h"

void failover_run_shard(struct run *run, const struct shard_observation *seen,
                        struct shard_report *report);

/* What the shard's route is, or would be if it had one: for a shard that Holdfast has never moved
 * the lost primary is the one that its replicas name. ST_NO_GO: that is not to be known. */
MUST_CHECK enum status failover_run_route(struct store *store, const struct inventory *fleet,
                                          const struct shard_observation *seen, struct route *ret,
                                          struct err *err);

/* What an operator says of a loss. */
struct failover_claim {
    bool is_region_lost; /* as a whole, and the other one shall serve; false: only hosts */
    size_t lost;         /* that region */
    bool is_fenced;      /* it may not serve any more */
    bool is_forced;      /* also when the primary answers */
};

/* May shards be failed over to this region? ST_NO_GO: it is fenced itself. */
MUST_CHECK enum status failover_run_check_target(struct store *store, const char *region,
                                                 struct err *err);

/* Is its primary lost, so that it may be failed over? *ret is the shard's route, in any case when
 * it is known. ST_NO_GO: it answers and accepts writes, which 'is_forced' does not mind; or a run
 * left the shard half-way, which the loss of a region that it is served in, or may be, ends; or
 * nobody of that region can be open. */
MUST_CHECK enum status failover_run_judge(struct store *store, const struct inventory *fleet,
                                          const struct shard_observation *seen,
                                          const struct failover_claim *claim, struct route *ret,
                                          struct err *err);

#endif
