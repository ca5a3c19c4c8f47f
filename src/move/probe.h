/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe measures a move's write outage as a client sees it: with an unprivileged account and
 * connections of its own, at whichever end accepts. A thousand times a second it asks whether it
 * may write, by a write that changes nothing; a hundred times a second it writes for real, because
 * that costs an fsync on every server of the shard and a probe must not make the gap that it
 * measures. From the first refusal (or an answer that does not come) it writes for real, every
 * millisecond, at both ends, until one write is acknowledged: that is how long a client waited. It
 * knows nothing of the run; the run only says when it began to watch. One thread for all shards:
 * more than 36 at a time share what it can do, n of them are asked every n / 40 ms.
 */
#ifndef HOLDFAST_MOVE_PROBE_H
#define HOLDFAST_MOVE_PROBE_H

#include "base/clock.h"
#include "fleet/inventory.h"
#include "move/waits.h"

struct probe;
struct probe_target;

/* A single write as the probe makes them, in a slot that no probe uses. */
#define PROBE_GATE_WRITE                                                                           \
    "INSERT INTO probe (slot, n, at_us) VALUES (6, 1, 0) ON DUPLICATE KEY UPDATE n = n "           \
    "+ 1"

struct probe *probe_start(const struct inventory *fleet);
void probe_stop(struct probe *probe); /* NULL is fine; ends all targets */

/* Begin to write to a shard that moves between these two servers. */
struct probe_target *probe_watch(struct probe *probe, const struct inventory_server *old_server,
                                 const struct inventory_server *new_server);
/* Wait until it has watched writes succeed for 'warm_ms'. False at the deadline. */
bool probe_warm_up(struct probe *probe, struct probe_target *target, int warm_ms, nsec deadline);
/* Write no more after 'until': a probe is a load too. The samples stay. */
void probe_rest(struct probe *probe, struct probe_target *target, nsec until);
/* The account may write on a read-only server: it would not see an outage. Known once warm. */
bool probe_is_privileged(const struct probe_target *target);
/* How long the oldest write that is not acknowledged yet has waited. */
nsec probe_pending(struct probe *probe, struct probe_target *target);
/* See waits_longest_ms(). */
double probe_longest_wait_ms(struct probe *probe, struct probe_target *target,
                             const struct waits_span *span);
void probe_unwatch(struct probe *probe, struct probe_target *target);

#endif
