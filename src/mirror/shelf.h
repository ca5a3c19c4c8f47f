/* SPDX-License-Identifier: Apache-2.0
 * What the store holds below one prefix, by key, kept by applying changes in the order of their
 * revisions. No lock of its own. {0} is empty. */
#ifndef HOLDFAST_MIRROR_SHELF_H
#define HOLDFAST_MIRROR_SHELF_H

#include "store/store.h"

struct shelf {
    struct store_list list;
    size_t capacity;
};

/* In exchange for what was there. */
void shelf_swap(struct shelf *shelf, struct store_list *list);
void shelf_put(struct shelf *shelf, const struct store_entry *entry);
void shelf_delete(struct shelf *shelf, const char *key);
const struct store_entry *shelf_find(const struct shelf *shelf, const char *key); /* or NULL */
/* Did it come before? */
bool shelf_has(const struct shelf *shelf, const struct store_entry *entry);
void shelf_copy(const struct shelf *shelf, struct store_list *ret); /* release it */

#endif
