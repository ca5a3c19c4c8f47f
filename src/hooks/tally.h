/* SPDX-License-Identifier: Apache-2.0
 * Inside hooks/ only: what came of one hook's calls in a run: counts, and the first failures whole.
 * The journal has all. No lock of its own. */
#ifndef HOLDFAST_HOOKS_TALLY_H
#define HOLDFAST_HOOKS_TALLY_H

#include "hooks/call.h"

#include <jansson.h>

struct tally {
    size_t calls, undos, by_end[HOOK_ENDS], dropped;
    double slowest_ms;
    json_t *failures; /* the first few */
};

void tally_add(struct tally *tally, const struct hook_call *call,
               const struct hook_outcome *outcome);
void tally_add_dropped(struct tally *tally);
json_t *tally_json(const struct tally *tally, const char *hook, bool is_given_up);
void tally_release(struct tally *tally);

#endif
