/* SPDX-License-Identifier: Apache-2.0
 * The coordination store, opened as soon as it can be, for all threads of a daemon. */
#ifndef HOLDFAST_MIRROR_SOURCE_H
#define HOLDFAST_MIRROR_SOURCE_H

#include "base/err.h"

struct inventory;
struct store;

struct daemon_store;
struct daemon_store *daemon_store_start(const struct inventory *fleet);
struct store *daemon_store_get(struct daemon_store *store);             /* NULL: not yet */
void daemon_store_problem(struct daemon_store *store, struct err *ret); /* why not */
/* No other thread may use it any more. NULL is fine. */
void daemon_store_stop(struct daemon_store *store);

#endif
