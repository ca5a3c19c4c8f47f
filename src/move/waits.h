/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a client waited for each of its writes, from its first attempt to the acknowledgement: a
 * ring of the newest ones, and the question what the longest was in some span of time. */
#ifndef HOLDFAST_MOVE_WAITS_H
#define HOLDFAST_MOVE_WAITS_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

enum { WAITS_KEPT = 4096 };

struct wait {
    nsec since, until;
};

struct waits {
    struct wait ring[WAITS_KEPT];
    size_t written; /* ever */
    nsec first;     /* when the first of all was acknowledged; 0: none was */
};

struct waits_span {
    nsec from, to; /* which waits count: those that touch it */
    nsec clip;     /* and up to when; NSEC_NEVER for all of it */
};

void waits_add(struct waits *waits, nsec since, nsec until);
/* The longest wait of the span; 'open_since' is the begin of one that still goes on 'now', or 0.
 * -1 when no write had been acknowledged by the end of the span and none is waited for. */
double waits_longest_ms(const struct waits *waits, const struct waits_span *span, nsec open_since,
                        nsec now);

#endif
