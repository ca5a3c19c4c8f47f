/* SPDX-License-Identifier: Apache-2.0
 * See lost.h. */
#include "region/lost.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "move/mandate.h"
#include "store/store.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 50, FENCE_MS = 2000 };

const char *region_standing_name(enum region_standing standing)
{
    static const char *const names[] = {REGION_STANDING_TABLE(TABLE_TEXT)};
    INVARIANT((unsigned)standing < REGION_STANDINGS);
    return names[standing];
}

void region_look_release(struct region_look *look)
{
    permit_fence_release(&look->fence);
}

/* ---- looking ---- */

static void read_by(const char *value, struct region_look *look)
{
    json_t *json = json_loads(value, 0, NULL);
    const char *by = json_string_value(json_object_get(json, "by"));
    snprintf(look->by, sizeof(look->by), "%s", by ? by : "");
    json_decref(json);
}

static enum status read_beat(struct store *store, const char *region, struct region_look *look,
                             struct err *err)
{
    AUTO_FREE char *key = permit_region_key(region);
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status = store_get(store, key, store_deadline(store, STORE_WORK), &entry, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    *err = (struct err)ERR_INIT;
    permit_pulse_on_reading(&look->pulse, entry.mod_rev, entry.value, clock_now());
    if (entry.value)
        read_by(entry.value, look);
    return ST_OK;
}

/* Does it beat, or was its last beat sent a wait ago? */
static enum status watch_beats(struct store *store, const char *region, struct region_look *look,
                               struct err *err)
{
    enum status status = read_beat(store, region, look, err);
    int64_t first = look->pulse.revision;
    if (!first)
        return status; /* it never did */
    look->standing = REGION_SILENT;
    while (!status && clock_now() < permit_pulse_end(&look->pulse, &look->term)) {
        poll(NULL, 0, LOOK_MS);
        status = read_beat(store, region, look, err);
        if (!status && look->pulse.revision != first) {
            look->standing = REGION_ALIVE;
            return ST_OK;
        }
    }
    return status;
}

enum status region_look(struct store *store, const char *region, struct region_look *ret,
                        struct err *err)
{
    *ret = (struct region_look){.standing = REGION_UNWATCHED};
    enum status status =
        permit_fence_load(store, region, store_deadline(store, STORE_WORK), &ret->fence, err);
    if (!status)
        ret->standing = REGION_FENCED;
    if (status != ST_NOT_FOUND)
        return status;
    status = permit_term_load(store, store_deadline(store, STORE_WORK), &ret->term, err);
    if (!status)
        status = watch_beats(store, region, ret, err);
    if (status != ST_NOT_FOUND)
        return status;
    *err = (struct err)ERR_INIT;
    return ST_OK;
}

/* ---- the fence ---- */

enum status region_fence(struct store *store, const char *region, const struct region_look *look,
                         const char *by, const char *reason, struct err *err)
{
    AUTO(store_entry_release) struct store_entry lock = {0};
    int64_t revision = 0;
    if (look->standing == REGION_FENCED)
        return ST_OK;
    enum status status =
        store_get(store, MANDATE_LOCK_KEY, store_deadline(store, STORE_WORK), &lock, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    struct permit_gone gone = {MANDATE_LOCK_KEY, lock.mod_rev};
    struct permit_fencing fencing = {.region = region,
                                     .beat = look->pulse.revision,
                                     .term = look->term,
                                     .by = by,
                                     .reason = reason,
                                     .gone = &gone,
                                     .gone_count = status == ST_OK};
    *err = (struct err)ERR_INIT;
    status = permit_fence(store, &fencing, clock_deadline(FENCE_MS), &revision, err);
    if (status == ST_EXISTS) {
        *err = (struct err)ERR_INIT;
        return ST_OK;
    }
    return status ? err_wrap(err, "fence region %s", region) : ST_OK;
}
