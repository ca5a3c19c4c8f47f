/* SPDX-License-Identifier: Apache-2.0
 *
 * A run's shards in waves: "canary=1,25%,100%". Each wave goes as far as its number or share of all
 * shards, in the order of the run; what is left over is a last wave. One wave that would add
 * nothing (25% of two shards behind a canary of one) is left out.
 */
#ifndef HOLDFAST_CONDUCTOR_WAVES_H
#define HOLDFAST_CONDUCTOR_WAVES_H

#include "base/err.h"

#include <stddef.h>

enum { WAVES_MAX = 16, WAVE_NAME_MAX = 32 };

struct wave {
    char name[WAVE_NAME_MAX];
    size_t first, end; /* of the run's shards */
};

struct waves {
    struct wave items[WAVES_MAX + 1];
    size_t count; /* 0 only without shards */
};

/* 'text' may be NULL or empty: one wave. ST_INVALID says which part is wrong. */
MUST_CHECK enum status waves_parse(const char *text, size_t shard_count, struct waves *ret,
                                   struct err *err);

#endif
