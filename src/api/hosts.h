/* SPDX-License-Identifier: Apache-2.0
 *
 * What another conductor answers to GET /v1/hosts: what agents told it, and what it granted.
 * Written by daemon/steward.h.
 */
#ifndef HOLDFAST_API_HOSTS_H
#define HOLDFAST_API_HOSTS_H

#include "base/clock.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_word {
    char *server; /* owned */
    bool is_closed;
    int64_t closed; /* confirms revocations up to this version */
    nsec at;        /* of the agent's telling, or before it */
    nsec granted;   /* the last time, or after it; INT64_MIN: never */
};

struct host_words {
    char *granter;    /* owned; NULL: what it granted is not known */
    int64_t revision; /* of the list of revoked servers by which it granted since */
    struct host_word *items;
    size_t count, capacity;
};

/* The answer was made between 'asked' and 'received'. What does not read is left out. */
void host_words_decode(const json_t *answer, nsec asked, nsec received, struct host_words *ret);
void host_words_release(struct host_words *words);
/* NULL: nothing was told of it. */
const struct host_word *host_words_find(const struct host_words *words, const char *server);

#endif
