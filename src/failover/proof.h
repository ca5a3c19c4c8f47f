/* SPDX-License-Identifier: Apache-2.0
 *
 * How it is known that nothing acknowledged was lost with the primary, or why it is not. An
 * acknowledged write is in the relay log of some replica of its region; so nothing is lost when
 * replicas acknowledged at all, and all of them were in the election. Who acknowledged is seen
 * before anybody is told anything: afterwards the flags are ours. Pure.
 */
#ifndef HOLDFAST_FAILOVER_PROOF_H
#define HOLDFAST_FAILOVER_PROOF_H

#include "base/buf.h"
#include "failover/elect.h"

struct proof {
    bool was_first_seen; /* this process saw who acknowledged */
    size_t ackers;
    bool is_lost_lax; /* the lost primary answered, and did not wait for each acknowledgement */
    bool is_proven;   /* nothing acknowledged was lost */
    struct buf words; /* how that is known, or why it is not; "": there was no election */
};

/* What is seen before the first change. */
void proof_see_first(struct proof *proof, const struct shard_observation *shard,
                     const struct inventory_server *lost);
/* What was seen when there was an election. */
void proof_weigh(struct proof *proof, const struct shard_observation *shard,
                 const struct inventory_server *lost, const struct election *made);
void proof_release(struct proof *proof);

#endif
