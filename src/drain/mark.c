/* SPDX-License-Identifier: Apache-2.0
 * Marks of drained hosts; see mark.h. */
#include "drain/mark.h"

#include "base/buf.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {DRAIN_STATE_TABLE(TABLE_TEXT)};

/* ---- names ---- */

bool drain_names_have(const struct drain_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

void drain_names_add(struct drain_names *names, const char *name)
{
    if (!drain_names_have(names, name))
        VEC_PUSH(names->items, names->count, names->capacity, mem_strdup(name));
}

void drain_names_release(struct drain_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static json_t *names_json(const struct drain_names *names)
{
    json_t *array = json_array();
    for (size_t i = 0; i < names->count; i++)
        json_array_append_new(array, json_string(names->items[i]));
    return array;
}

static bool read_names(const json_t *object, const char *key, struct drain_names *ret)
{
    const json_t *array = json_object_get(object, key);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));
        if (!name)
            return false;
        drain_names_add(ret, name);
    }
    return json_is_array(array);
}

/* ---- a mark ---- */

void drain_mark_release(struct drain_mark *mark)
{
    free(mark->host);
    free(mark->by);
    free(mark->origin);
    free(mark->reason);
    free(mark->problem);
    drain_names_release(&mark->servers);
    drain_names_release(&mark->primaries);
    drain_names_release(&mark->relays);
    *mark = (struct drain_mark){0};
}

char *drain_key(const char *host)
{
    return mem_printf(DRAIN_PREFIX "%s", host);
}

char *drain_mark_encode(const struct drain_mark *mark)
{
    json_t *object =
        json_pack("{s:s, s:s?, s:s?, s:s?, s:I, s:o, s:o, s:o}", "state", state_names[mark->state],
                  "by", mark->by, "origin", mark->origin, "reason", mark->reason, "since_us",
                  (json_int_t)mark->since_us, "servers", names_json(&mark->servers), "primaries",
                  names_json(&mark->primaries), "relays", names_json(&mark->relays));
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    INVARIANT(text);
    return text;
}

json_t *drain_mark_json(const struct drain_mark *mark)
{
    char since[WALL_TEXT_MAX];
    AUTO_FREE char *words = drain_mark_format(mark);
    clock_wall_format(mark->since_us, since);
    return json_pack("{s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:o, s:o, s:o, s:s}", "host", mark->host,
                     "state", mark->problem ? NULL : state_names[mark->state], "since",
                     mark->problem ? NULL : since, "by", mark->by, "origin", mark->origin, "reason",
                     mark->reason, "servers", names_json(&mark->servers), "primaries",
                     names_json(&mark->primaries), "relays", names_json(&mark->relays), "words",
                     words);
}

static bool decode(const json_t *object, struct drain_mark *ret)
{
    const char *state = json_string_value(json_object_get(object, "state"));
    const json_t *since = json_object_get(object, "since_us");
    unsigned which = 0;
    while (state && which < DRAIN_STATES && strcmp(state, state_names[which]) != 0)
        which++;
    ret->state = (enum drain_state)which;
    ret->by = mem_strdup(json_string_value(json_object_get(object, "by")));
    ret->origin = mem_strdup(json_string_value(json_object_get(object, "origin")));
    ret->reason = mem_strdup(json_string_value(json_object_get(object, "reason")));
    ret->since_us = json_integer_value(since);
    return state && which < DRAIN_STATES && json_is_integer(since) &&
           read_names(object, "servers", &ret->servers) &&
           read_names(object, "primaries", &ret->primaries) &&
           read_names(object, "relays", &ret->relays);
}

static struct drain_mark read_mark(const char *host, const char *text)
{
    struct drain_mark mark = {0};
    json_t *object = json_loads(text, 0, NULL);
    if (!object || !decode(object, &mark)) {
        AUTO_FREE char *line = text_clean_line(text);
        drain_mark_release(&mark);
        mark.problem = mem_printf("the store holds a mark of it that does not read: %.200s", line);
    }
    json_decref(object);
    mark.host = mem_strdup(host);
    return mark;
}

char *drain_mark_format(const struct drain_mark *mark)
{
    char since[WALL_TEXT_MAX];
    struct buf text = {0};
    clock_wall_format(mark->since_us, since);
    if (mark->problem) {
        buf_printf(&text, "host %s: %s", mark->host, mark->problem);
        return buf_take(&text);
    }
    buf_printf(&text, "host %s %s since %s by %s (%s)", mark->host, state_names[mark->state], since,
               mark->by ? mark->by : "?", mark->origin ? mark->origin : "?");
    if (mark->reason)
        buf_printf(&text, ": %s", mark->reason);
    return buf_take(&text);
}

/* ---- all of them ---- */

void drain_list_read(const struct store_list *entries, struct drain_list *ret)
{
    *ret =
        (struct drain_list){mem_zalloc((entries->count + 1) * sizeof(*ret->items)), entries->count};
    for (size_t i = 0; i < entries->count; i++)
        ret->items[i] =
            read_mark(entries->entries[i].key + strlen(DRAIN_PREFIX), entries->entries[i].value);
}

enum status drain_list_load(struct store *store, nsec deadline, struct drain_list *ret,
                            struct err *err)
{
    AUTO(store_list_release) struct store_list entries = {0};
    enum status status = store_list(store, DRAIN_PREFIX, deadline, &entries, err);
    if (status)
        return err_wrap(err, "list the drained hosts");
    drain_list_read(&entries, ret);
    return ST_OK;
}

void drain_list_release(struct drain_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        drain_mark_release(&list->items[i]);
    free(list->items);
    *list = (struct drain_list){0};
}

struct drain_mark *drain_list_find(const struct drain_list *list, const char *host)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].host, host) == 0)
            return &list->items[i];
    return NULL;
}

bool drain_keeps_off(const struct drain_list *list, const char *server)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (list->items[i].state != DRAIN_RETURNS &&
            drain_names_have(&list->items[i].servers, server))
            return true;
    return false;
}

bool drain_wants_relay(const struct drain_list *list, const char *server)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (list->items[i].state == DRAIN_RETURNS &&
            drain_names_have(&list->items[i].relays, server))
            return true;
    return false;
}
