/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may have granted permission: each process that beats leaves a key of its own beside each
 * beat, whatever the region: by another fleet file a server may be of another one. So whoever reads
 * them after a revocation knows of every process that may grant without knowing of that revocation,
 * also of one that died or that no fleet file names.
 */
#ifndef HOLDFAST_PERMIT_GRANTERS_H
#define HOLDFAST_PERMIT_GRANTERS_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum { PERMIT_GRANTER_MAX = 96 };

/* The name of this process as a granter: no other process ever has the same. */
void permit_granter_name(const char *conductor, char ret[static PERMIT_GRANTER_MAX]);
char *permit_granter_key(const char *granter);   /* the caller frees, as of the next */
char *permit_granter_encode(const char *region); /* what is put there */

struct permit_granter {
    char *name, *region; /* owned; for which it beats, for ever the same. NULL: it is not said */
    int64_t revision;    /* of its last beat */
};

struct permit_granters {
    struct permit_granter *items; /* owned */
    size_t count;
    int64_t revision; /* of the store when it was read */
};

MUST_CHECK enum status permit_granters_load(struct store *store, nsec deadline,
                                            struct permit_granters *ret, struct err *err);
void permit_granters_release(struct permit_granters *granters);

/* Leave out those that beat for the region. It is fenced, since before these were read: what they
 * granted is over, and they grant nothing more. */
void permit_granters_leave_out(struct permit_granters *granters, const char *region);

/* Take away those that have not beaten from one reading to the next, when a wait or more passed
 * between: what they granted is over, and their next beat would bring the key back. What cannot be
 * taken away now is next time. */
void permit_granters_prune(struct store *store, const struct permit_granters *before,
                           const struct permit_granters *now, nsec deadline);

#endif
