/* SPDX-License-Identifier: Apache-2.0
 *
 * When a kept program is away, by rules alone: what was seen, and when. No clock of its own.
 */
#ifndef HOLDFAST_KEEPER_PRESENCE_H
#define HOLDFAST_KEEPER_PRESENCE_H

#include "base/clock.h"

#include <stdbool.h>

struct presence {
    nsec grace;
    bool has_signs;
    nsec looked; /* when it was looked last */
    nsec here;   /* when it was surely there; the beginning at first */
};

/* What is seen of the program now. */
struct sight {
    bool runs, is_stopped;
    nsec started;   /* when it runs */
    nsec last_sign; /* 0: none yet */
};

/* Looks are about so far apart, unless we were stopped; and so long has to live what gives no signs
 * of life. */
enum { PRESENCE_LOOK_MS = 50, PRESENCE_STEADY_MS = 300 };

void presence_look(struct presence *presence, const struct sight *sight, nsec now);
bool presence_is_away(const struct presence *presence); /* at the last look */

#endif
