/* SPDX-License-Identifier: Apache-2.0
 * Lists of revoked servers: read, looked up. */
#include "permit/permit.h"

#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

void permit_list_release(struct permit_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].server);
    free(list->items);
    *list = (struct permit_list){0};
}

void permit_list_add(struct permit_list *list, const char *server, int64_t revision)
{
    struct permit_revocation item = {mem_strdup(server), revision};
    VEC_PUSH(list->items, list->count, list->capacity, item);
    for (size_t i = list->count - 1; i > 0 && strcmp(list->items[i - 1].server, server) > 0; i--) {
        list->items[i] = list->items[i - 1];
        list->items[i - 1] = item;
    }
}

static int by_server(const void *name, const void *item)
{
    return strcmp(name, ((const struct permit_revocation *)item)->server);
}

int64_t permit_list_find(const struct permit_list *list, const char *server)
{
    const struct permit_revocation *found =
        list->count > 0 ? bsearch(server, list->items, list->count, sizeof(*list->items), by_server)
                        : NULL;
    return found ? found->revision : 0;
}

void permit_list_read(const struct store_list *entries, struct permit_list *ret)
{
    struct permit_list list = {.revision = entries->revision};
    for (size_t i = 0; i < entries->count; i++) {
        const struct store_entry *entry = &entries->entries[i];
        if (strcmp(entry->key, PERMIT_VERSION_KEY) == 0)
            list.version = entry->mod_rev;
        else if (strncmp(entry->key, PERMIT_REVOKED_PREFIX, strlen(PERMIT_REVOKED_PREFIX)) == 0)
            permit_list_add(&list, entry->key + strlen(PERMIT_REVOKED_PREFIX), entry->mod_rev);
    }
    *ret = list;
}

enum status permit_list_load(struct store *store, nsec deadline, struct permit_list *ret,
                             struct err *err)
{
    AUTO(store_list_release) struct store_list entries = {0};
    if (store_list(store, PERMIT_VERSION_KEY, deadline, &entries, err))
        return err_wrap(err, "list the revoked servers");
    permit_list_read(&entries, ret);
    return ST_OK;
}
