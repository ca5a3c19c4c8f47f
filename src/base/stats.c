/* SPDX-License-Identifier: Apache-2.0
 * Percentiles; see stats.h. */
#include "base/stats.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

void stats_release(struct stats *stats)
{
    free(stats->samples);
    *stats = (struct stats){0};
}

void stats_add(struct stats *stats, double sample)
{
    VEC_PUSH(stats->samples, stats->count, stats->capacity, sample);
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double stats_percentile(struct stats *stats, double percent)
{
    if (stats->count == 0)
        return 0;
    qsort(stats->samples, stats->count, sizeof(*stats->samples), by_value);
    double rank = ceil(percent / 100 * (double)stats->count);
    size_t index = rank < 1 ? 0 : (size_t)rank - 1;
    return stats->samples[index < stats->count ? index : stats->count - 1];
}
