/* SPDX-License-Identifier: Apache-2.0
 * See lost.h. */
#include "region/lost.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 50 };

const char *region_standing_name(enum region_standing standing)
{
    static const char *const names[] = {REGION_STANDING_TABLE(TABLE_TEXT)};
    INVARIANT((unsigned)standing < REGION_STANDINGS);
    return names[standing];
}

void region_look_release(struct region_look *look)
{
    permit_fence_release(&look->fence);
    free(look->beat);
    look->beat = NULL;
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
    free(look->beat);
    look->beat = take_pointer(entry.value);
    return ST_OK;
}

/* Does it beat, or was its last beat sent a wait ago? */
static enum status watch_beats(struct store *store, const char *region, struct region_look *look,
                               struct err *err)
{
    enum status status = read_beat(store, region, look, err);
    int64_t known = look->pulse.revision;
    if (!known)
        return status; /* it never did */
    look->standing = REGION_SILENT;
    while (!status && clock_now() < permit_pulse_end(&look->pulse, &look->term)) {
        AUTO_FREE char *before = mem_strdup(look->beat);
        poll(NULL, 0, LOOK_MS);
        status = read_beat(store, region, look, err);
        bool is_new = !status && look->pulse.revision != known;
        known = look->pulse.revision;
        if (!is_new || !look->beat || !permit_pulse_is_later(look->beat, before))
            continue; /* one that was long on its way: from here on once more */
        look->standing = REGION_ALIVE;
        return ST_OK;
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

static enum status add_gone(struct store *store, const char *key, nsec deadline,
                            struct permit_fencing *fencing, char ret_run[static RUN_ID_MAX],
                            struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status = store_get(store, key, deadline, &entry, err);
    snprintf(ret_run, RUN_ID_MAX, "%s", entry.value ? entry.value : "");
    if (!status)
        fencing->gone[fencing->gone_count++] = (struct permit_gone){key, entry.mod_rev};
    if (status != ST_NOT_FOUND)
        return status;
    *err = (struct err)ERR_INIT;
    return ST_OK;
}

enum status region_fence(struct store *store, const struct permit_fencing *fencing, nsec deadline,
                         char ret_left[static RUN_ID_MAX], int64_t *ret_revision, struct err *err)
{
    struct permit_gone gone[2];
    struct permit_fencing with = *fencing;
    char holder[RUN_ID_MAX];
    ret_left[0] = '\0';
    with.gone = gone;
    with.gone_count = 0;
    enum status status = add_gone(store, MANDATE_LOCK_KEY, deadline, &with, holder, err);
    if (!status)
        status = add_gone(store, RUN_CURRENT_KEY, deadline, &with, ret_left, err);
    return status ? status : permit_fence(store, &with, deadline, ret_revision, err);
}
