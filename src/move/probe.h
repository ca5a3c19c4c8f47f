/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe measures a move's write outage as a client sees it: with an unprivileged account and
 * connections of its own it writes to the shard every millisecond, at whichever end accepts. It
 * knows nothing of the run; the run only says when it began to watch. One thread for all shards.
 */
#ifndef HOLDFAST_MOVE_PROBE_H
#define HOLDFAST_MOVE_PROBE_H

#include "base/clock.h"
#include "fleet/inventory.h"

struct probe;
struct probe_target;

struct probe *probe_start(const struct inventory_account *account);
void probe_stop(struct probe *probe); /* NULL is fine; ends all targets */

/* Begin to write to a shard that moves between these two servers. */
struct probe_target *probe_watch(struct probe *probe, const struct inventory_server *old_server,
                                 const struct inventory_server *new_server);
/* Wait until it has watched writes succeed for 'warm_ms'. False at the deadline. */
bool probe_warm_up(struct probe *probe, struct probe_target *target, int warm_ms, nsec deadline);
/* Write no more after 'until': a probe is a load too. The samples stay. */
void probe_rest(struct probe *probe, struct probe_target *target, nsec until);
/* How long ago the last write was acknowledged. */
nsec probe_silence(struct probe *probe, struct probe_target *target);
/* The longest time without an acknowledged write that touches [from, to]; up to now when nothing
 * has ended it yet. -1 when no write had been acknowledged before. */
double probe_longest_gap_ms(struct probe *probe, struct probe_target *target, nsec from, nsec to);
/* The same within [from, to] only: a gap that goes on counts up to 'to'. */
double probe_longest_gap_within_ms(struct probe *probe, struct probe_target *target, nsec from,
                                   nsec to);
void probe_unwatch(struct probe *probe, struct probe_target *target);

#endif
