/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run waits for outside of its shards: a hook that takes long to answer. Set by the thread
 * that carries the run out, written by its keeper under "run-waits/ID" with the lease of the
 * process, so that it ends with it, and read by whoever looks at the run. Display only.
 */
#ifndef HOLDFAST_HOOKS_WAITING_H
#define HOLDFAST_HOOKS_WAITING_H

#include "base/err.h"
#include "hooks/hooks.h"

struct store;
struct waiting;

struct waiting *waiting_new(void);
void waiting_free(struct waiting *waiting); /* NULL is fine */

/* From any thread. */
void waiting_set(struct waiting *waiting, const struct hook_wait *wait);
/* Write it to the store when it changed; trouble is left for the next time. */
void waiting_tell(struct waiting *waiting, struct store *store, const char *run, int64_t lease);

/* "waiting for hook slow (wave.before, 2 s of 10 s)"; NULL: it waits for nothing, as far as can be
 * seen. The caller frees. */
char *waiting_load(struct store *store, const char *run);
char *waiting_key(const char *run);      /* where that is; the caller frees */
char *waiting_decode(const char *value); /* the same of that key's value */
char *waiting_format(const char *hook, const char *event, int64_t since_us, int64_t limit_ms);

#endif
