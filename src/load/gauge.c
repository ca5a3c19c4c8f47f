/* SPDX-License-Identifier: Apache-2.0
 * Gaps and latencies; see gauge.h. */
#include "load/gauge.h"

#include <math.h>

enum { STEP_BITS = 4, STEPS = 1 << STEP_BITS };

void gauge_start(struct gauge *gauge, nsec now)
{
    *gauge = (struct gauge){.last = now, .longest_began = now};
}

static void close_gap(struct gauge *gauge, nsec now)
{
    if (now - gauge->last > gauge->longest) {
        gauge->longest = now - gauge->last;
        gauge->longest_began = gauge->last;
    }
    gauge->last = now;
}

/* Below STEPS a bucket a microsecond, above STEPS buckets for each power of two. */
static unsigned bucket_of(uint64_t us)
{
    if (us < STEPS)
        return (unsigned)us;
    unsigned power = 63 - (unsigned)__builtin_clzll(us);
    unsigned step = (unsigned)(us >> (power - STEP_BITS)) & (STEPS - 1);
    unsigned bucket = (power - STEP_BITS + 1) * STEPS + step;
    return bucket < GAUGE_BUCKETS ? bucket : GAUGE_BUCKETS - 1;
}

/* The highest value that falls into it, in microseconds. */
static double bucket_top(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned shift = bucket / STEPS - 1;
    return (double)((((uint64_t)STEPS + bucket % STEPS + 1) << shift) - 1);
}

void gauge_acknowledge(struct gauge *gauge, nsec sent, nsec now)
{
    if (!gauge->stopped)
        close_gap(gauge, now);
    gauge->buckets[bucket_of(now > sent ? (uint64_t)(now - sent) / 1000 : 0)]++;
    gauge->total++;
}

void gauge_stop(struct gauge *gauge, nsec now)
{
    close_gap(gauge, now);
    gauge->stopped = now;
}

double gauge_latency_ms(const struct gauge *gauge, double percent)
{
    double rank = ceil((double)gauge->total * percent / 100);
    double seen = 0;
    for (unsigned i = 0; i < GAUGE_BUCKETS; i++) {
        seen += (double)gauge->buckets[i];
        if (gauge->buckets[i] && seen >= rank)
            return bucket_top(i) / 1000;
    }
    return 0;
}
