/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate between two waves: are the shards that moved well at their new home? */
#ifndef HOLDFAST_CONDUCTOR_HEALTH_H
#define HOLDFAST_CONDUCTOR_HEALTH_H

#include "conductor/switchover.h"

/* Look at the moved ones of the report's first 'count' shards until all are well: writable only at
 * the new primary, acknowledged by a replica, a write of the probe's account returns there, the old
 * home behind by no more than policy.max_lag;
 * and go on looking for 'settle_ms' during which they must stay well. ST_NO_GO names the shard and
 * what is wrong with it; ST_ABORTED when the run is to stop. */
MUST_CHECK enum status health_wait(const struct run *run, const struct switchover_report *report,
                                   size_t count, int64_t settle_ms, struct err *err);

#endif
