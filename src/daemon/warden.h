/* SPDX-License-Identifier: Apache-2.0
 *
 * The loss of a region: in every conductor, a thread that watches the beats of the other regions.
 * One that is silent for a TTL, and that shards are served in, is fenced; whoever fenced it fails
 * these shards over to its own region, whether it leads or not. docs/permission.md has the rules.
 */
#ifndef HOLDFAST_DAEMON_WARDEN_H
#define HOLDFAST_DAEMON_WARDEN_H

#include <stdbool.h>
#include <stddef.h>

struct daemon;
struct inventory_shard;
struct warden;

/* NULL: the fleet file does not want that (policy.automatic), or it has no agents. */
struct warden *warden_start(struct daemon *daemon);
/* A run that is under way is left for the leader. NULL is fine. */
void warden_stop(struct warden *warden);

/* Is the shard served in this region, by its route, or may it be open there, by a move? Any thread.
 */
bool warden_is_concerned(struct daemon *daemon, const struct inventory_shard *shard, size_t region);
/* Nothing of the region is to be healed from here: it is fenced, or silent for so long that it may
 * be lost. Any thread. */
bool warden_is_silent(struct daemon *daemon, size_t region);
/* It is silent, and may be failed over in a moment: nothing else is to have the run lock then. */
bool warden_is_about_to_act(struct daemon *daemon, size_t region);

#endif
