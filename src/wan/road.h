/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a packet, by rules alone: where it goes, whether it gets there, and when. No
 * clock of its own; the same draws for the same seed.
 */
#ifndef HOLDFAST_WAN_ROAD_H
#define HOLDFAST_WAN_ROAD_H

#include "base/clock.h"
#include "wan/wan.h"

#include <stdbool.h>

/* What stands before a slow way is at most so long; what comes then is lost. */
enum { ROAD_QUEUE_MS = 200 };

struct road {
    uint64_t seed;
    nsec free;     /* when what was sent before has left */
    nsec last_due; /* of the one before */
};

/* Whether a packet of so many bytes that is sent now arrives, and when. */
bool road_take(struct road *road, const struct wan_way *way, size_t bytes, nsec now, nsec *ret_due);

/* The site of a packet's destination; WAN_SITES: none, or no IPv4 packet. */
size_t road_site(const struct wan_site *sites, const uint8_t *packet, size_t length);

#endif
