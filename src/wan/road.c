/* SPDX-License-Identifier: Apache-2.0
 * See road.h. */
#include "wan/road.h"

enum { MILLION = 1000000, IP_HEADER_BYTES = 20, IP_DESTINATION = 16, LOOPBACK = 127 };

/* splitmix64 */
static uint64_t draw(struct road *road)
{
    uint64_t value = road->seed += 0x9e3779b97f4a7c15U;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

static nsec transmission(const struct wan_way *way, size_t bytes)
{
    return way->kbit_s ? (nsec)(bytes * 8 * MILLION / way->kbit_s) : 0;
}

bool road_take(struct road *road, const struct wan_way *way, size_t bytes, nsec now, nsec *ret_due)
{
    if (way->is_cut || (way->loss_ppm && draw(road) % MILLION < way->loss_ppm))
        return false;
    nsec start = road->free > now ? road->free : now;
    if (start - now > ROAD_QUEUE_MS * NSEC_PER_MS)
        return false;
    road->free = start + transmission(way, bytes);
    nsec due = road->free + (nsec)way->delay_us * 1000;
    if (way->jitter_us)
        due += (nsec)(draw(road) % way->jitter_us) * 1000;
    road->last_due = due > road->last_due ? due : road->last_due;
    *ret_due = road->last_due;
    return true;
}

size_t road_site(const struct wan_site *sites, const uint8_t *packet, size_t length)
{
    size_t site = 0;
    if (length < IP_HEADER_BYTES || packet[0] >> 4 != 4 || packet[IP_DESTINATION] != LOOPBACK)
        return WAN_SITES;
    while (site < WAN_SITES && sites[site].second != packet[IP_DESTINATION + 1])
        site++;
    return site;
}
