/* SPDX-License-Identifier: Apache-2.0
 * See shelf.h. */
#include "mirror/shelf.h"

#include "base/mem.h"

#include <string.h>

/* Where the key is, or would be. */
static size_t find_place(const struct store_list *list, const char *key)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(list->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct store_entry *shelf_find(const struct shelf *shelf, const char *key)
{
    size_t at = find_place(&shelf->list, key);
    bool is_it = at < shelf->list.count && strcmp(shelf->list.entries[at].key, key) == 0;
    return is_it ? &shelf->list.entries[at] : NULL;
}

static struct store_entry copy_entry(const struct store_entry *entry)
{
    struct store_entry copy = *entry;
    copy.key = mem_strdup(entry->key);
    copy.value = mem_strdup(entry->value);
    return copy;
}

void shelf_put(struct shelf *shelf, const struct store_entry *entry)
{
    struct store_list *list = &shelf->list;
    size_t at = find_place(list, entry->key);
    if (at < list->count && strcmp(list->entries[at].key, entry->key) == 0) {
        store_entry_release(&list->entries[at]);
    } else {
        struct store_entry blank = {0};
        VEC_PUSH(list->entries, list->count, shelf->capacity, blank);
        memmove(&list->entries[at + 1], &list->entries[at],
                (list->count - 1 - at) * sizeof(*list->entries));
    }
    list->entries[at] = copy_entry(entry);
}

void shelf_delete(struct shelf *shelf, const char *key)
{
    struct store_list *list = &shelf->list;
    size_t at = find_place(list, key);
    if (at == list->count || strcmp(list->entries[at].key, key) != 0)
        return;
    store_entry_release(&list->entries[at]);
    list->count--;
    memmove(&list->entries[at], &list->entries[at + 1],
            (list->count - at) * sizeof(*list->entries));
}

bool shelf_has(const struct shelf *shelf, const struct store_entry *entry)
{
    const struct store_entry *found = shelf_find(shelf, entry->key);
    return shelf->list.revision >= entry->mod_rev || (found && found->mod_rev >= entry->mod_rev);
}

void shelf_swap(struct shelf *shelf, struct store_list *list)
{
    struct store_list old = shelf->list;
    shelf->list = *list;
    shelf->capacity = list->count;
    *list = old;
}

void shelf_copy(const struct shelf *shelf, struct store_list *ret)
{
    const struct store_list *from = &shelf->list;
    struct store_list copy = {.revision = from->revision};
    copy.entries = mem_zalloc((from->count + 1) * sizeof(*copy.entries));
    for (; copy.count < from->count; copy.count++)
        copy.entries[copy.count] = copy_entry(&from->entries[copy.count]);
    *ret = copy;
}
