/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks primaries and who receives from them, again and again, on a thread of its own; who they are
 * follows from looks at the whole fleet. What comes of it is exposure.h. Any thread may look.
 */
#ifndef HOLDFAST_EXPOSURE_SURVEYOR_H
#define HOLDFAST_EXPOSURE_SURVEYOR_H

#include "exposure/exposure.h"

struct surveyor;

/* Borrows the fleet. 'region': of whoever asks; with rpo_guard all servers there are asked, because
 * it is asked about them. */
struct surveyor *surveyor_start(const struct inventory *fleet, size_t region);
void surveyor_stop(struct surveyor *surveyor); /* NULL is fine */

/* What was seen of all servers, in a look that began then: who is a source is known from that. */
void surveyor_see(struct surveyor *surveyor, const struct fleet_observation *seen, nsec began);

/* A copy of what is known of the shard; exposure_release() it. */
void surveyor_get(struct surveyor *surveyor, const struct inventory_shard *shard,
                  struct exposure *ret);
/* Of all shards that were seen, in that order. */
void surveyor_list(struct surveyor *surveyor, const struct fleet_observation *seen,
                   struct exposure_list *ret);
/* exposure_bound() of a server. */
bool surveyor_bound(struct surveyor *surveyor, const struct inventory_shard *shard, size_t server,
                    const char *position, struct exposure_bound *ret);
/* exposure_since() of a server. */
nsec surveyor_since(struct surveyor *surveyor, const struct inventory_shard *shard, size_t server);

/* Between two questions. */
nsec surveyor_pace(const struct inventory *fleet);

#endif
