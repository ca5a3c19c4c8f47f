/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at all servers of a fleet, over connections that are kept from look to look.
 */
#ifndef HOLDFAST_MONITOR_MONITOR_H
#define HOLDFAST_MONITOR_MONITOR_H

#include "base/clock.h"
#include "fleet/observation.h"

struct monitor;

/* Borrows the fleet. */
struct monitor *monitor_new(const struct inventory *fleet);
void monitor_free(struct monitor *monitor); /* NULL is fine */

/* What fleet_observe_lag() gives: the states of all servers, and how far behind each replica is.
 * Each half may take 'time'. */
void monitor_look(struct monitor *monitor, nsec time, struct fleet_observation *ret);

/* Does the server answer? All side by side; the caller fills in the first two. */
struct monitor_ping {
    const struct inventory_shard *shard;
    const struct inventory_server *server;
    enum status status; /* ST_OK: it does */
};
void monitor_ping(struct monitor *monitor, struct monitor_ping *pings, size_t count, nsec deadline);

#endif
