/* SPDX-License-Identifier: Apache-2.0
 *
 * A set of samples and its percentiles (nearest rank). {0} is empty. Not thread-safe.
 */
#ifndef HOLDFAST_BASE_STATS_H
#define HOLDFAST_BASE_STATS_H

#include <stddef.h>

struct stats {
    double *samples;
    size_t count, capacity;
};

void stats_release(struct stats *stats);
void stats_add(struct stats *stats, double sample);
/* The sample at 'percent' (0-100); sorts the samples in place; 0 when there is none. */
double stats_percentile(struct stats *stats, double percent);

#endif
