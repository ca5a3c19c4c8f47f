/* SPDX-License-Identifier: Apache-2.0
 * See granters.h. */
#include "permit/granters.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void permit_granter_name(const char *conductor, char ret[static PERMIT_GRANTER_MAX])
{
    uint64_t drawn = 0;
    INVARIANT(getrandom(&drawn, sizeof(drawn), 0) == sizeof(drawn));
    snprintf(ret, PERMIT_GRANTER_MAX, "%.64s-%016" PRIx64, conductor, drawn);
}

char *permit_granter_key(const char *granter)
{
    return mem_printf("granters/%s", granter);
}

char *permit_granter_encode(const char *region)
{
    json_t *object = json_pack("{s:s}", "region", region);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text ? text : mem_strdup("{}");
}

static char *region_of(const char *value)
{
    json_t *object = json_loads(value, 0, NULL);
    char *region = mem_strdup(json_string_value(json_object_get(object, "region")));
    json_decref(object);
    return region;
}

static void release_granter(struct permit_granter *granter)
{
    free(granter->name);
    free(granter->region);
}

void permit_granters_release(struct permit_granters *granters)
{
    for (size_t i = 0; i < granters->count; i++)
        release_granter(&granters->items[i]);
    free(granters->items);
    *granters = (struct permit_granters){0};
}

enum status permit_granters_load(struct store *store, nsec deadline, struct permit_granters *ret,
                                 struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    AUTO_FREE char *prefix = permit_granter_key("");
    enum status status = store_list(store, prefix, deadline, &list, err);
    if (status)
        return err_wrap(err, "list who may grant permission");
    *ret = (struct permit_granters){.revision = list.revision};
    ret->items = mem_zalloc((list.count + 1) * sizeof(*ret->items));
    for (size_t i = 0; i < list.count; i++) {
        const struct store_entry *entry = &list.entries[i];
        ret->items[ret->count++] =
            (struct permit_granter){.name = mem_strdup(entry->key + strlen(prefix)),
                                    .region = region_of(entry->value),
                                    .revision = entry->mod_rev};
    }
    return ST_OK;
}

void permit_granters_leave_out(struct permit_granters *granters, const char *region)
{
    size_t kept = 0;
    for (size_t i = 0; i < granters->count; i++) {
        struct permit_granter *granter = &granters->items[i];
        if (granter->region && strcmp(granter->region, region) == 0)
            release_granter(granter);
        else
            granters->items[kept++] = *granter;
    }
    granters->count = kept;
}

static bool has_beaten_since(const struct permit_granters *before,
                             const struct permit_granter *granter)
{
    for (size_t i = 0; i < before->count; i++)
        if (strcmp(before->items[i].name, granter->name) == 0)
            return before->items[i].revision != granter->revision;
    return true;
}

void permit_granters_prune(struct store *store, const struct permit_granters *before,
                           const struct permit_granters *now, nsec deadline)
{
    for (size_t i = 0; i < now->count; i++) {
        if (has_beaten_since(before, &now->items[i]))
            continue;
        AUTO_FREE char *key = permit_granter_key(now->items[i].name);
        struct store_compare compare = {STORE_MOD_REV_IS, key, now->items[i].revision};
        struct store_op op = {STORE_DELETE, key, NULL, 0};
        struct store_txn txn = {&compare, 1, &op, 1};
        struct store_txn_result result = {0};
        struct err err = ERR_INIT;
        status_ignore(store_txn(store, &txn, deadline, &result, &err), "it is tried again");
    }
}
