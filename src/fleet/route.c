/* SPDX-License-Identifier: Apache-2.0
 * Routes as JSON in the store; see route.h. Unknown keys are kept out: a newer Holdfast that needs
 * more than this one knows must use another key. */
#include "fleet/route.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    bool is_writable;
} states[] = {
#define X(name, text, writable) {text, writable},
    SHARD_STATE_TABLE(X)
#undef X
};

const char *shard_state_name(enum shard_state state)
{
    INVARIANT((unsigned)state < SHARD_STATES);
    return states[state].name;
}

bool shard_state_is_writable(enum shard_state state)
{
    INVARIANT((unsigned)state < SHARD_STATES);
    return states[state].is_writable;
}

char *route_key(const char *shard)
{
    return mem_printf("shards/%s", shard);
}

char *route_encode(const struct route *route)
{
    json_t *object = json_pack(
        "{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:I, s:I}", "state",
        shard_state_name(route->state), "epoch", (json_int_t)route->epoch, "home", route->home,
        "primary", route->primary, "run", route->run, "target", route->target, "old_primary",
        route->old_primary, "new_primary", route->new_primary, "runs_events",
        (int)route->runs_events, "strict", (int)route->is_strict, "log_end", route->log_end,
        "new_log_end", route->new_log_end, "link", route->link, "new_id", (json_int_t)route->new_id,
        "frozen_us", (json_int_t)route->frozen_us);
    INVARIANT(object);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    INVARIANT(text);
    return text;
}

static bool decode_state(const char *name, enum shard_state *ret)
{
    for (unsigned i = 0; i < SHARD_STATES; i++) {
        if (strcmp(states[i].name, name) != 0)
            continue;
        *ret = (enum shard_state)i;
        return true;
    }
    return false;
}

static bool copy_text(char *to, const char *from)
{
    return snprintf(to, ROUTE_NAME_MAX, "%s", from) < ROUTE_NAME_MAX;
}

static bool copy_link(char *to, const char *from)
{
    return snprintf(to, ROUTE_LINK_MAX, "%s", from) < ROUTE_LINK_MAX;
}

enum status route_decode(const char *text, struct route *ret, struct err *err)
{
    json_error_t where;
    json_t *object = json_loads(text, 0, &where);
    const char *state, *home, *primary, *run, *target, *old_primary, *new_primary;
    const char *log_end = "", *new_log_end = "", *link = "";
    json_int_t epoch = 0, new_id = 0, frozen_us = 0;
    int runs_events = 0, is_strict = 0;
    struct route route = {0};
    bool is_good =
        object &&
        json_unpack(
            object, "{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s?b, s?s, s?s, s?s, s?I, s?I}",
            "state", &state, "epoch", &epoch, "home", &home, "primary", &primary, "run", &run,
            "target", &target, "old_primary", &old_primary, "new_primary", &new_primary,
            "runs_events", &runs_events, "strict", &is_strict, "log_end", &log_end, "new_log_end",
            &new_log_end, "link", &link, "new_id", &new_id, "frozen_us", &frozen_us) == 0 &&
        epoch >= 0 && decode_state(state, &route.state) && copy_text(route.home, home) &&
        copy_text(route.primary, primary) && copy_text(route.run, run) &&
        copy_text(route.target, target) && copy_text(route.old_primary, old_primary) &&
        copy_text(route.new_primary, new_primary) && copy_text(route.log_end, log_end) &&
        copy_text(route.new_log_end, new_log_end) && copy_link(route.link, link);
    json_decref(object);
    if (!is_good)
        return err_set(err, ST_INVALID, "the store holds a route that does not read: %.200s", text);
    route.epoch = (uint64_t)epoch;
    route.runs_events = runs_events;
    route.is_strict = is_strict;
    route.new_id = new_id;
    route.frozen_us = frozen_us;
    *ret = route;
    return ST_OK;
}

enum status route_load(struct store *store, const char *shard, nsec deadline, struct route *ret,
                       struct err *err)
{
    AUTO_FREE char *key = route_key(shard);
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status = store_get(store, key, deadline, &entry, err);
    if (status)
        return status;
    if (route_decode(entry.value, ret, err))
        return err_wrap(err, "route of shard %s", shard);
    ret->revision = (uint64_t)entry.mod_rev;
    return ST_OK;
}

/* ---- all of them ---- */

#define ROUTE_PREFIX "shards/"

enum status route_list_load(struct store *store, nsec deadline, struct route_list *ret,
                            struct err *err)
{
    struct store_list *list = mem_zalloc(sizeof(*list));
    enum status status = store_list(store, ROUTE_PREFIX, deadline, list, err);
    if (status) {
        free(list);
        return status;
    }
    ret->list = list;
    return ST_OK;
}

void route_list_release(struct route_list *list)
{
    if (list->list)
        store_list_release(list->list);
    free(list->list);
    list->list = NULL;
}

static int by_key(const void *key, const void *entry)
{
    return strcmp(key, ((const struct store_entry *)entry)->key);
}

enum status route_list_get(const struct route_list *list, const char *shard, struct route *ret,
                           struct err *err)
{
    AUTO_FREE char *key = route_key(shard);
    const struct store_entry *entry =
        list->list && list->list->count > 0
            ? bsearch(key, list->list->entries, list->list->count, sizeof(*entry), by_key)
            : NULL;
    if (!entry)
        return err_set(err, ST_NOT_FOUND, "no route of shard '%s'", shard);
    struct route route = {0};
    if (route_decode(entry->value, &route, err))
        return err_wrap(err, "route of shard '%s'", shard);
    route.revision = (uint64_t)entry->mod_rev;
    *ret = route;
    return ST_OK;
}
