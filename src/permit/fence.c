/* SPDX-License-Identifier: Apache-2.0
 * Fences in the store; see fence.h. Each has an id, so that a fence of which it is not known
 * whether it was put is known again. */
#include "permit/fence.h"

#include "base/buf.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "permit/pulse.h"
#include "store/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- what a fence says ---- */

static char *fence_encode(const struct permit_fencing *fencing)
{
    uint64_t drawn = 0;
    INVARIANT(getrandom(&drawn, sizeof(drawn), 0) == sizeof(drawn));
    AUTO_FREE char *id = mem_printf("%016" PRIx64, drawn);
    json_t *object = json_pack("{s:s, s:s, s:I, s:s}", "by", fencing->by, "reason", fencing->reason,
                               "wall_us", (json_int_t)clock_wall_us(), "id", id);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text ? text : mem_printf("{\"id\":\"%s\"}", id); /* a name that is not UTF-8 */
}

static char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return mem_strdup(text ? text : "");
}

/* It is a fence whatever it says. */
static struct permit_fence fence_of(const char *region, const struct store_entry *entry)
{
    json_t *object = json_loads(entry->value, 0, NULL);
    struct permit_fence fence = {.region = mem_strdup(region),
                                 .by = text_of(object, "by"),
                                 .reason = text_of(object, "reason"),
                                 .wall_us = json_integer_value(json_object_get(object, "wall_us")),
                                 .revision = entry->mod_rev};
    json_decref(object);
    return fence;
}

void permit_fence_release(struct permit_fence *fence)
{
    free(fence->region);
    free(fence->by);
    free(fence->reason);
    *fence = (struct permit_fence){0};
}

enum status permit_fence_load(struct store *store, const char *region, nsec deadline,
                              struct permit_fence *ret, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    AUTO_FREE char *key = permit_fenced_key(region);
    enum status status = store_get(store, key, deadline, &entry, err);
    if (status)
        return err_wrap(err, "fence of region '%s'", region);
    *ret = fence_of(region, &entry);
    return ST_OK;
}

void permit_fences_release(struct permit_fences *fences)
{
    for (size_t i = 0; i < fences->count; i++)
        permit_fence_release(&fences->items[i]);
    free(fences->items);
    *fences = (struct permit_fences){0};
}

enum status permit_fences_load(struct store *store, nsec deadline, struct permit_fences *ret,
                               struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    AUTO_FREE char *prefix = permit_fenced_key("");
    enum status status = store_list(store, prefix, deadline, &list, err);
    if (status)
        return err_wrap(err, "list the fenced regions");
    permit_fences_read(&list, ret);
    return ST_OK;
}

void permit_fences_read(const struct store_list *entries, struct permit_fences *ret)
{
    AUTO_FREE char *prefix = permit_fenced_key("");
    *ret = (struct permit_fences){.revision = entries->revision};
    ret->items = mem_zalloc((entries->count + 1) * sizeof(*ret->items));
    for (size_t i = 0; i < entries->count; i++)
        ret->items[ret->count++] =
            fence_of(entries->entries[i].key + strlen(prefix), &entries->entries[i]);
}

char *permit_fences_format(const struct permit_fences *fences)
{
    struct buf text = {0};
    if (fences->count == 0)
        return NULL;
    for (size_t i = 0; i < fences->count; i++) {
        AUTO_FREE char *one = permit_fence_format(&fences->items[i]);
        buf_printf(&text, "%s%s", i ? "; " : "", one);
    }
    return buf_take(&text);
}

char *permit_fence_format(const struct permit_fence *fence)
{
    char since[WALL_TEXT_MAX];
    clock_wall_format(fence->wall_us, since);
    return mem_printf("region %s is fenced since %s, by %s: %s", fence->region, since,
                      fence->by[0] ? fence->by : "?", fence->reason[0] ? fence->reason : "?");
}

const struct permit_fence *permit_fences_find(const struct permit_fences *fences,
                                              const char *region)
{
    for (size_t i = 0; i < fences->count; i++)
        if (strcmp(fences->items[i].region, region) == 0)
            return &fences->items[i];
    return NULL;
}

/* ---- putting one ---- */

struct fence_attempt {
    const struct permit_fencing *fencing;
    const char *key, *region_key, *value;
};

/* The revision of the fence that is there; ST_EXISTS: it is somebody else's. ST_NOT_FOUND: none. */
static enum status read_back(struct store *store, const struct fence_attempt *attempt,
                             nsec deadline, int64_t *ret_revision, struct err *err)
{
    AUTO(store_entry_release) struct store_entry found = {0};
    enum status status = store_get(store, attempt->key, deadline, &found, err);
    if (status == ST_NOT_FOUND)
        return status;
    if (status)
        return err_set(err, ST_UNKNOWN, "it is not known whether the store has '%s'", attempt->key);
    *ret_revision = found.mod_rev;
    return strcmp(found.value, attempt->value) == 0
               ? ST_OK
               : err_set(err, ST_EXISTS, "somebody else has done so");
}

enum { FENCE_COMPARES = 3, FENCE_PUTS = 2 };

static enum status send_fence(struct store *store, const struct fence_attempt *attempt,
                              nsec deadline, struct store_txn_result *result, struct err *err)
{
    const struct permit_fencing *fencing = attempt->fencing;
    size_t gone = fencing->gone_count;
    size_t count = FENCE_COMPARES + gone;
    AUTO_FREE char *own = fencing->own ? permit_fenced_key(fencing->own) : NULL;
    struct store_compare compares[FENCE_COMPARES + PERMIT_GONE_MAX + 1] = {
        {STORE_ABSENT, attempt->key, 0},
        {STORE_MOD_REV_IS, attempt->region_key, fencing->beat},
        {STORE_MOD_REV_IS, PERMIT_TERM_KEY, fencing->term.revision}};
    struct store_op ops[FENCE_PUTS + PERMIT_GONE_MAX] = {
        {STORE_PUT, attempt->key, attempt->value, 0}, {STORE_PUT, PERMIT_VERSION_KEY, "{}", 0}};
    INVARIANT(gone <= PERMIT_GONE_MAX);
    for (size_t i = 0; i < gone; i++) {
        const struct permit_gone *key = &fencing->gone[i];
        compares[FENCE_COMPARES + i] =
            (struct store_compare){STORE_MOD_REV_IS, key->key, key->revision};
        ops[FENCE_PUTS + i] = (struct store_op){STORE_DELETE, key->key, NULL, 0};
    }
    if (own)
        compares[count++] = (struct store_compare){STORE_ABSENT, own, 0};
    struct store_txn txn = {compares, count, ops, FENCE_PUTS + gone};
    enum status status = store_txn(store, &txn, deadline, result, err);
    if (status == ST_CONFLICT)
        err_set(err, ST_CONFLICT, "'%s' has changed", compares[result->failed_compare].key);
    return status;
}

/* ST_BUSY: it did not happen. */
static enum status attempt_fence(struct store *store, const struct fence_attempt *attempt,
                                 nsec deadline, int64_t *ret_revision, struct err *err)
{
    struct store_txn_result result = {0};
    enum status status = send_fence(store, attempt, deadline, &result, err);
    bool is_fenced = status == ST_CONFLICT && result.failed_compare == 0;
    if (!status)
        *ret_revision = result.revision;
    if (status != ST_UNKNOWN && !is_fenced)
        return status;
    status = read_back(store, attempt, deadline, ret_revision, err);
    return status == ST_NOT_FOUND ? err_set(err, ST_BUSY, "the store did not take it") : status;
}

enum status permit_fence(struct store *store, const struct permit_fencing *fencing, nsec deadline,
                         int64_t *ret_revision, struct err *err)
{
    AUTO_FREE char *key = permit_fenced_key(fencing->region);
    AUTO_FREE char *region_key = permit_region_key(fencing->region);
    AUTO_FREE char *value = fence_encode(fencing);
    struct fence_attempt attempt = {fencing, key, region_key, value};
    enum status status = attempt_fence(store, &attempt, deadline, ret_revision, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt_fence(store, &attempt, deadline, ret_revision, err);
    return status ? err_wrap(err, "fence region '%s'", fencing->region) : ST_OK;
}

/* ---- taking it away ---- */

static enum status send_unfence(struct store *store, const struct permit_unfencing *order,
                                const char *key, nsec deadline, struct err *err)
{
    AUTO_FREE char *region_key = permit_region_key(order->region);
    AUTO_FREE char *value = permit_pulse_encode(order->by, NULL, INT64_MIN);
    struct store_compare compares[] = {{STORE_CREATE_REV_IS, order->lock_key, order->token},
                                       {STORE_MOD_REV_IS, key, order->revision}};
    struct store_op ops[] = {{STORE_DELETE, key, NULL, 0},
                             {STORE_PUT, region_key, value, 0},
                             {STORE_PUT, PERMIT_VERSION_KEY, "{}", 0}};
    struct store_txn txn = {compares, ARRAY_SIZE(compares), ops, ARRAY_SIZE(ops)};
    struct store_txn_result result = {0};
    enum status status = store_txn(store, &txn, deadline, &result, err);
    if (status == ST_CONFLICT && result.failed_compare == 0)
        return err_set(err, ST_FENCED, "another run took over");
    return status;
}

/* Is it gone, by whomever? ST_BUSY: it is still there. */
static enum status look_at_fence(struct store *store, const struct permit_unfencing *order,
                                 const char *key, nsec deadline, struct err *err)
{
    AUTO(store_entry_release) struct store_entry found = {0};
    enum status status = store_get(store, key, deadline, &found, err);
    if (status == ST_NOT_FOUND)
        return ST_OK;
    if (status)
        return err_set(err, ST_UNKNOWN, "it is not known whether the store has '%s'", key);
    if (found.mod_rev == order->revision)
        return err_set(err, ST_BUSY, "the store did not take it");
    return err_set(err, ST_CONFLICT, "it was fenced again meanwhile");
}

static enum status attempt_unfence(struct store *store, const struct permit_unfencing *order,
                                   const char *key, nsec deadline, struct err *err)
{
    enum status status = send_unfence(store, order, key, deadline, err);
    return status == ST_UNKNOWN || status == ST_CONFLICT
               ? look_at_fence(store, order, key, deadline, err)
               : status;
}

enum status permit_unfence(struct store *store, const struct permit_unfencing *order, nsec deadline,
                           struct err *err)
{
    AUTO_FREE char *key = permit_fenced_key(order->region);
    enum status status = attempt_unfence(store, order, key, deadline, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt_unfence(store, order, key, deadline, err);
    return status ? err_wrap(err, "take the fence of region '%s' away", order->region) : ST_OK;
}
