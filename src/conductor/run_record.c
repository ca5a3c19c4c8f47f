/* SPDX-License-Identifier: Apache-2.0
 * Records of runs in the store; see run_record.h. */
#include "conductor/run_record.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "move/mandate.h"
#include "os/caller.h"
#include "store/store.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { NAMED_MAX = 3 /* shards in an audit line */, AUDIT_FIRST = 8, AUDIT_LAST = 24 };

static const char *const state_names[] = {RUN_STATE_TABLE(TABLE_TEXT)};

static const char *const kind_names[] = {RUN_KIND_TABLE(TABLE_TEXT)};

const char *run_kind_name(enum run_kind kind)
{
    INVARIANT((unsigned)kind < RUN_KINDS);
    return kind_names[kind];
}

const char *run_state_name(enum run_state state)
{
    INVARIANT((unsigned)state < RUN_STATES);
    return state_names[state];
}

bool run_state_is_over(enum run_state state)
{
    return state != RUN_RUNNING && state != RUN_STUCK;
}

void run_record_init(struct run_record *record, const char *target)
{
    *record = (struct run_record){.started_us = clock_wall_us(),
                                  .by = caller_who(),
                                  .origin = caller_origin(),
                                  .failures_max = -1,
                                  .estimate_ms = -1,
                                  .usual_shard_ms = -1};
    uint8_t salt = 0;
    INVARIANT(getrandom(&salt, sizeof(salt), 0) == sizeof(salt));
    time_t seconds = (time_t)(record->started_us / 1000000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t used = strftime(record->id, sizeof(record->id), "%Y%m%d-%H%M%S", &parts);
    snprintf(record->id + used, sizeof(record->id) - used, "-%03d%02x",
             (int)(record->started_us / 1000 % 1000), salt);
    snprintf(record->target, sizeof(record->target), "%s", target);
}

void run_record_add_shard(struct run_record *record, const char *name)
{
    VEC_PUSH(record->shards, record->shard_count, record->shard_capacity, mem_strdup(name));
}

/* A run that waits is taken over again and again: who ordered it is kept, and who was there last.
 */
static void drop_line(char *audit)
{
    char *from = audit;
    for (size_t i = 0; i < AUDIT_FIRST && from; i++)
        from = strchr(from, '\n') ? strchr(from, '\n') + 1 : NULL;
    char *to = from ? strchr(from, '\n') : NULL;
    if (to)
        memmove(from, to + 1, strlen(to + 1) + 1);
}

static size_t count_lines(const char *text)
{
    size_t count = 1;
    for (const char *at = strchr(text, '\n'); at; at = strchr(at + 1, '\n'))
        count++;
    return count;
}

void run_record_add_line(struct run_record *record, const char *line)
{
    char *all = record->audit ? mem_printf("%s\n%s", record->audit, line) : mem_strdup(line);
    free(record->audit);
    record->audit = all;
    while (count_lines(all) > AUDIT_FIRST + AUDIT_LAST)
        drop_line(all);
}

void run_record_add_without(struct run_record *record, const char *name)
{
    VEC_PUSH(record->without, record->without_count, record->without_capacity, mem_strdup(name));
}

static void add_order_of(struct run_record *record, const char *who, const char *origin,
                         const char *what)
{
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    AUTO_FREE char *line = mem_printf("%s %s (%s) %s", now, who, origin, what);
    run_record_add_line(record, line);
}

void run_record_add_order(struct run_record *record, const char *format, ...)
{
    AUTO_FREE char *who = caller_who();
    AUTO_FREE char *origin = caller_origin();
    AUTO(buf_release) struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    add_order_of(record, who, origin, buf_text(&text));
}

void run_record_add_first_order(struct run_record *record)
{
    AUTO(buf_release) struct buf names = {0};
    for (size_t i = 0; i < record->shard_count && i < NAMED_MAX; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", record->shards[i]);
    if (record->shard_count > NAMED_MAX)
        buf_printf(&names, " and %zu more", record->shard_count - NAMED_MAX);
    const char *reason = record->reason ? record->reason : "no reason given";
    AUTO_FREE char *goal = record->kind == RUN_FAILOVER
                               ? mem_printf("a failover %s %s of",
                                            record->is_region_lost ? "to" : "in", record->target)
                           : record->kind == RUN_DRAIN
                               ? mem_printf("to drain host %s, with servers of", record->host)
                           : record->kind == RUN_RETURN
                               ? mem_printf("roles back to host %s, with servers of", record->host)
                               : mem_printf("a switchover to %s of", record->target);
    AUTO_FREE char *what = mem_printf("ordered %s %s: %s", goal, buf_text(&names), reason);
    add_order_of(record, record->by, record->origin, what);
}

void run_record_release(struct run_record *record)
{
    for (size_t i = 0; i < record->shard_count; i++)
        free(record->shards[i]);
    free(record->shards);
    for (size_t i = 0; i < record->without_count; i++)
        free(record->without[i]);
    free(record->without);
    free(record->host);
    free(record->by);
    free(record->origin);
    free(record->reason);
    free(record->audit);
    free(record->waves);
    free(record->unreadable);
    *record = (struct run_record){0};
}

char *run_record_next(const struct run_record *record)
{
    if (record->is_called_off)
        return mem_printf("holdfast run abort %s", record->id);
    if (record->state == RUN_STUCK)
        return mem_printf("holdfast run resume %s", record->id);
    return mem_printf("holdfast run resume %s, or: holdfast run abort %s", record->id, record->id);
}

char *run_record_key(const char *id)
{
    return mem_printf(MANDATE_RUNS "%s", id);
}

static json_t *names_json(char *const *names, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(names[i]));
    return array;
}

char *run_record_encode(const struct run_record *record)
{
    json_t *shards = names_json(record->shards, record->shard_count);
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:s?, s:s?, s:s?, s:s?, s:I, s:I, s:f, s:b, s:b, s:o}", "id",
        record->id, "state", run_state_name(record->state), "target", record->target, "started_us",
        (json_int_t)record->started_us, "by", record->by ? record->by : "", "origin",
        record->origin, "audit", record->audit, "reason", record->reason, "waves", record->waves,
        "settle_ms", (json_int_t)record->settle_ms, "failures_max",
        (json_int_t)record->failures_max, "estimate_ms", record->estimate_ms, "returns",
        record->returns, "called_off", record->is_called_off, "shards", shards);
    INVARIANT(object);
    if (record->usual_shard_ms >= 0)
        json_object_set_new(object, "usual_shard_ms", json_real(record->usual_shard_ms));
    json_object_set_new(object, "kind", json_string(run_kind_name(record->kind)));
    json_object_set_new(object, "without", names_json(record->without, record->without_count));
    if (record->host)
        json_object_set_new(object, "host", json_string(record->host));
    json_object_set_new(object, "forced", json_boolean(record->is_forced));
    json_object_set_new(object, "region_lost", json_boolean(record->is_region_lost));
    json_object_set_new(object, "submitted", json_boolean(record->is_submitted));
    if (record->return_run[0])
        json_object_set_new(object, "return_run", json_string(record->return_run));
    if (record->aside[0])
        json_object_set_new(object, "set_aside", json_string(record->aside));
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static bool decode_state(const char *name, enum run_state *ret)
{
    for (unsigned i = 0; i < RUN_STATES; i++)
        if (strcmp(state_names[i], name) == 0) {
            *ret = (enum run_state)i;
            return true;
        }
    return false;
}

/* A record of a Holdfast that knew one kind only has none. */
static bool decode_kind(const char *name, enum run_kind *ret)
{
    *ret = RUN_SWITCHOVER;
    for (unsigned i = 0; name && i < RUN_KINDS; i++)
        if (strcmp(kind_names[i], name) == 0) {
            *ret = (enum run_kind)i;
            return true;
        }
    return !name;
}

static char *copy_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? mem_strdup(text) : NULL;
}

static bool decode_object(json_t *object, struct run_record *record)
{
    const char *id, *state, *target, *by;
    json_int_t started = 0, settle_ms = 0, failures_max = -1;
    double estimate_ms = -1;
    int returns = 0, called_off = 0;
    json_t *shards = NULL, *name = NULL;
    size_t index = 0;
    if (json_unpack(object, "{s:s, s:s, s:s, s:I, s:s, s:o, s?:I, s?:I, s?:F, s?:b, s?:b}", "id",
                    &id, "state", &state, "target", &target, "started_us", &started, "by", &by,
                    "shards", &shards, "settle_ms", &settle_ms, "failures_max", &failures_max,
                    "estimate_ms", &estimate_ms, "returns", &returns, "called_off",
                    &called_off) != 0 ||
        !decode_state(state, &record->state) ||
        !decode_kind(json_string_value(json_object_get(object, "kind")), &record->kind) ||
        (run_record_is_of_host(record) && !json_is_string(json_object_get(object, "host"))) ||
        strlen(id) >= RUN_ID_MAX || strlen(target) >= RUN_TARGET_MAX)
        return false;
    snprintf(record->id, sizeof(record->id), "%s", id);
    snprintf(record->target, sizeof(record->target), "%s", target);
    record->started_us = started;
    record->by = mem_strdup(by);
    record->host = copy_at(object, "host");
    record->origin = copy_at(object, "origin");
    record->audit = copy_at(object, "audit");
    record->reason = copy_at(object, "reason");
    record->waves = copy_at(object, "waves");
    record->settle_ms = settle_ms;
    record->failures_max = failures_max;
    record->estimate_ms = estimate_ms;
    const json_t *usual = json_object_get(object, "usual_shard_ms");
    record->usual_shard_ms = json_is_number(usual) ? json_number_value(usual) : -1;
    record->returns = returns;
    record->is_called_off = called_off;
    record->is_forced = json_is_true(json_object_get(object, "forced"));
    record->is_region_lost = json_is_true(json_object_get(object, "region_lost"));
    record->is_submitted = json_is_true(json_object_get(object, "submitted"));
    const char *back = json_string_value(json_object_get(object, "return_run"));
    const char *aside = json_string_value(json_object_get(object, "set_aside"));
    snprintf(record->return_run, sizeof(record->return_run), "%s", back ? back : "");
    snprintf(record->aside, sizeof(record->aside), "%s", aside ? aside : "");
    json_array_foreach(shards, index, name) if (json_is_string(name))
        run_record_add_shard(record, json_string_value(name));
    json_array_foreach(json_object_get(object, "without"), index, name) if (json_is_string(name))
        run_record_add_without(record, json_string_value(name));
    return true;
}

enum status run_record_decode(const char *text, struct run_record *ret, struct err *err)
{
    json_t *object = json_loads(text, 0, NULL);
    struct run_record record = {0};
    bool is_good = object && decode_object(object, &record);
    json_decref(object);
    if (!is_good)
        return err_set(err, ST_INVALID, "the store holds a run that does not read: %.200s", text);
    *ret = record;
    return ST_OK;
}

enum status run_record_load(struct store *store, const char *id, struct run_record *ret,
                            struct err *err)
{
    AUTO_FREE char *key = run_record_key(id);
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status = store_get(store, key, store_deadline(store, STORE_WORK), &entry, err);
    if (status == ST_NOT_FOUND) {
        err_set(err, ST_NOT_FOUND, "there is no run '%s'", id);
        err_hint(err, "holdfast run list");
    }
    return status ? status : run_record_decode(entry.value, ret, err);
}

void run_record_read(const char *key, const char *text, struct run_record *ret)
{
    struct err why = ERR_INIT;
    *ret = (struct run_record){0};
    if (run_record_decode(text, ret, &why) == ST_OK)
        return;
    ret->unreadable = text_clean_line(why.text);
    snprintf(ret->id, RUN_ID_MAX, "%s", key + strlen("runs/"));
}

enum status run_record_list(struct store *store, struct run_record **ret_records, size_t *ret_count,
                            struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    enum status status = store_list(store, "runs/", store_deadline(store, STORE_WORK), &list, err);
    if (status)
        return status;
    struct run_record *records = mem_zalloc((list.count + 1) * sizeof(*records));
    for (size_t i = 0; i < list.count; i++)
        run_record_read(list.entries[i].key, list.entries[i].value, &records[i]);
    *ret_records = records;
    *ret_count = list.count;
    return ST_OK;
}

void run_record_list_free(struct run_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_record_release(&records[i]);
    free(records);
}
