/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks chosen servers where they are, many times a second. Nobody waits for a server that does not
 * let itself be connected to: that is done by threads beside it, while the others are asked.
 */
#ifndef HOLDFAST_MONITOR_SCOUT_H
#define HOLDFAST_MONITOR_SCOUT_H

#include "base/clock.h"
#include "fleet/inventory.h"
#include "sql/glimpse.h"

struct scout;

/* Borrows the fleet. */
struct scout *scout_new(const struct inventory *fleet);
void scout_free(struct scout *scout); /* NULL is fine */

/* A server of the fleet as a number, for scout_round(); and how many there are. */
size_t scout_index(const struct scout *scout, const struct inventory_shard *shard, size_t server);
size_t scout_count(const struct scout *scout);

/* What a server answered; as long as the call lasts. */
struct scout_sight {
    size_t server; /* as scout_index() counts */
    nsec asked;    /* before the question was sent */
    const struct sql_whereabouts *at;
};
typedef void scout_take(void *context, const struct scout_sight *sight);

/* Ask those that are wanted, side by side, until all have answered or the deadline. Each answer is
 * taken as soon as it is there. One that is not connected is connected to meanwhile, and asked in a
 * later round. Of one thread. */
void scout_round(struct scout *scout, const bool *is_wanted, nsec deadline, scout_take *take,
                 void *context);

#endif
