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

/* Is its primary lost, so that an operator may fail over? *ret is the shard's route, in any case
 * when it is known. ST_NO_GO: it answers and accepts writes, which 'is_forced' does not mind; or a
 * run left the shard half-way. */
MUST_CHECK enum status failover_run_judge(struct store *store, const struct inventory *fleet,
                                          const struct shard_observation *seen, bool is_forced,
                                          struct route *ret, struct err *err);

#endif
