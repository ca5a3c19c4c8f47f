/* SPDX-License-Identifier: Apache-2.0
 *
 * Heals the loss of a host by itself, in the conductor that leads: sees that a primary is lost, and
 * gives its shard another one. When a primary counts as lost is in failover/watch.h; how it is
 * replaced is a run like an operator's. A thread of its own.
 */
#ifndef HOLDFAST_DAEMON_HEALER_H
#define HOLDFAST_DAEMON_HEALER_H

#include <stdbool.h>

struct daemon;
struct healer;

/* NULL: the fleet file does not want that (policy.automatic), or names no hosts. */
struct healer *healer_start(struct daemon *daemon);
/* A run that is under way is left for the next leader. NULL is fine. */
void healer_stop(struct healer *healer);

/* Somebody is lost, or may be: nothing else is to take the run lock. NULL: nobody looks. */
bool healer_is_urgent(const struct healer *healer);

#endif
