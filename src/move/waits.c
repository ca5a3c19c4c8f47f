/* SPDX-License-Identifier: Apache-2.0
 * The ring of waits; see waits.h. */
#include "move/waits.h"

void waits_add(struct waits *waits, nsec since, nsec until)
{
    if (!waits->first)
        waits->first = until;
    waits->ring[waits->written++ % WAITS_KEPT] = (struct wait){since, until};
}

static nsec earlier(nsec a, nsec b)
{
    return a < b ? a : b;
}

/* What of this wait counts; -1 when it does not touch the span. */
static nsec counted(const struct wait *wait, const struct waits_span *span)
{
    if (wait->until <= span->from || wait->since >= span->to)
        return -1;
    return earlier(wait->until, span->clip) - wait->since;
}

double waits_longest_ms(const struct waits *waits, const struct waits_span *span, nsec open_since,
                        nsec now)
{
    struct wait open = {open_since, now};
    nsec longest = open_since ? counted(&open, span) : -1;
    size_t kept = waits->written < WAITS_KEPT ? waits->written : WAITS_KEPT;
    for (size_t i = 0; i < kept; i++) {
        nsec length = counted(&waits->ring[i], span);
        longest = length > longest ? length : longest;
    }
    if (longest < 0) /* in a short span no write may have been begun: then nobody waited */
        return waits->first && waits->first <= span->to ? 0 : -1;
    return clock_ms(longest);
}
