/* SPDX-License-Identifier: Apache-2.0
 *
 * The pause: an order, kept in the store under "pause", that nothing is to act by itself. Whatever
 * acts on its own or by schedule loads it first, and does not while it is active; what an operator
 * orders goes on, and says so. It may end by the wall clock: people agree on times of day.
 */
#ifndef HOLDFAST_CONDUCTOR_PAUSE_H
#define HOLDFAST_CONDUCTOR_PAUSE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

struct pause {
    bool is_active;             /* the rest is set then */
    char *by, *origin, *reason; /* owned; reason: NULL when none was given */
    int64_t since_us, until_us; /* wall time; until_us 0: until it is ended */
};

/* Not paused, also not any more, is ST_OK. One that cannot be read is an error: treat it as
 * active. */
MUST_CHECK enum status pause_load(struct store *store, struct pause *ret, struct err *err);
/* Of the value of its key. */
MUST_CHECK enum status pause_decode(const char *text, struct pause *ret, struct err *err);
void pause_release(struct pause *pause);

/* By this process's caller; replaces one that is there. for_ms 0: until it is ended. */
MUST_CHECK enum status pause_begin(struct store *store, const char *reason, int64_t for_ms,
                                   struct err *err);
MUST_CHECK enum status pause_end(struct store *store, struct err *err);

/* "paused by alice@ops1 (on pts/3) since ... until ...: reason"; the caller frees. */
char *pause_format(const struct pause *pause);

#endif
