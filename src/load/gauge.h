/* SPDX-License-Identifier: Apache-2.0
 *
 * What the writers of one shard felt: the longest time without an acknowledged write, and how long
 * writes took. The time from the start to the first acknowledgement and from the last one to the
 * end are gaps like any other. Latencies go into a histogram with steps of at most 1/16, so that
 * its size does not depend on the length of the run. Pure: 'now' is a parameter.
 */
#ifndef HOLDFAST_LOAD_GAUGE_H
#define HOLDFAST_LOAD_GAUGE_H

#include "base/clock.h"

enum { GAUGE_BUCKETS = 640 }; /* microseconds up to 2^43 */

struct gauge {
    nsec last;    /* the last acknowledgement, or the start */
    nsec stopped; /* 0 while running */
    nsec longest, longest_began;
    uint64_t total, buckets[GAUGE_BUCKETS];
};

void gauge_start(struct gauge *gauge, nsec now);
/* A write sent at 'sent' was acknowledged at 'now'. After the stop only its latency counts. */
void gauge_acknowledge(struct gauge *gauge, nsec sent, nsec now);
void gauge_stop(struct gauge *gauge, nsec now);
/* The latency at 'percent' (nearest rank), at most 1/16 too high; 0 without samples. */
double gauge_latency_ms(const struct gauge *gauge, double percent);

#endif
