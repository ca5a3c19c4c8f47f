/* SPDX-License-Identifier: Apache-2.0
 * The pause in the store; see pause.h. */
#include "conductor/pause.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/caller.h"
#include "store/store.h"

#include <jansson.h>
#include <stdlib.h>

#define PAUSE_KEY "pause"

static char *copy_at(const json_t *object, const char *key)
{
    return mem_strdup(json_string_value(json_object_get(object, key)));
}

enum status pause_decode(const char *text, struct pause *ret, struct err *err)
{
    json_t *object = json_loads(text, 0, NULL);
    json_int_t since = 0, until = 0;
    bool is_good =
        object && json_unpack(object, "{s:I, s?:I}", "since_us", &since, "until_us", &until) == 0;
    if (!is_good) {
        json_decref(object);
        err_set(err, ST_INVALID, "the store holds a pause that does not read: %.200s", text);
        return err_hint(err, "holdfast unpause, or holdfast pause again");
    }
    *ret = (struct pause){.is_active = until == 0 || clock_wall_us() < until,
                          .by = copy_at(object, "by"),
                          .origin = copy_at(object, "origin"),
                          .reason = copy_at(object, "reason"),
                          .since_us = since,
                          .until_us = until};
    json_decref(object);
    return ST_OK;
}

enum status pause_load(struct store *store, struct pause *ret, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    *ret = (struct pause){0};
    enum status status =
        store_get(store, PAUSE_KEY, store_deadline(store, STORE_GLANCE), &entry, err);
    if (status == ST_NOT_FOUND)
        return ST_OK;
    return status ? status : pause_decode(entry.value, ret, err);
}

void pause_release(struct pause *pause)
{
    free(pause->by);
    free(pause->origin);
    free(pause->reason);
}

static enum status write_pause(struct store *store, const struct store_op *op, struct err *err)
{
    struct store_txn txn = {NULL, 0, op, 1};
    struct store_txn_result result;
    enum status status = store_txn(store, &txn, store_deadline(store, STORE_WORK), &result, err);
    if (status == ST_UNKNOWN)
        err_hint(err, "holdfast status says whether the fleet is paused");
    return status;
}

enum status pause_begin(struct store *store, const char *reason, int64_t for_ms, struct err *err)
{
    int64_t now = clock_wall_us();
    AUTO_FREE char *by = caller_who();
    AUTO_FREE char *origin = caller_origin();
    json_t *object = json_pack("{s:s, s:s, s:s?, s:I, s:I}", "by", by, "origin", origin, "reason",
                               reason, "since_us", (json_int_t)now, "until_us",
                               (json_int_t)(for_ms ? now + for_ms * 1000 : 0));
    AUTO_FREE char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    INVARIANT(text);
    struct store_op op = {STORE_PUT, PAUSE_KEY, text, 0};
    return write_pause(store, &op, err);
}

enum status pause_end(struct store *store, struct err *err)
{
    struct store_op op = {STORE_DELETE, PAUSE_KEY, NULL, 0};
    return write_pause(store, &op, err);
}

char *pause_format(const struct pause *pause)
{
    char since[WALL_TEXT_MAX], until[WALL_TEXT_MAX];
    struct buf text = {0};
    clock_wall_format(pause->since_us, since);
    clock_wall_format(pause->until_us, until);
    buf_printf(&text, "paused by %s (%s) since %s", pause->by ? pause->by : "?",
               pause->origin ? pause->origin : "?", since);
    if (pause->until_us)
        buf_printf(&text, " until %s", until);
    if (pause->reason)
        buf_printf(&text, ": %s", pause->reason);
    return buf_take(&text);
}
