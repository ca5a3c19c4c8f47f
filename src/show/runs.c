/* SPDX-License-Identifier: Apache-2.0
 * Runs as they are in the store, printed; see runs.h. */
#include "show/runs.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/report_store.h"
#include "conductor/run.h"
#include "conductor/run_json.h"
#include "fleet/route.h"
#include "hooks/waiting.h"
#include "report/text.h"
#include "store/store.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void print_json(json_t *object)
{
    AUTO_FREE char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    printf("%s\n", text ? text : "{}");
}

/* ---- the list ---- */

/* Does a process carry it out? What cannot be asked is not called dead. */
static bool is_alive(struct store *store, const struct run_record *record)
{
    char holder[RUN_ID_MAX] = "";
    struct err err = ERR_INIT;
    enum status status = run_lock_holder(store, holder, &err);
    return status ? status != ST_NOT_FOUND : strcmp(holder, record->id) == 0;
}

/* Others may run meanwhile, but its shards are in the middle. */
static bool find_set_aside(struct store *store, struct run_record *ret)
{
    AUTO(route_list_release) struct route_list routes = {0};
    struct err ignored = ERR_INIT;
    if (route_list_load(store, store_deadline(store, STORE_GLANCE), &routes, &ignored))
        return false;
    for (size_t i = 0; i < routes.list->count; i++) {
        struct route route = {0};
        if (route_decode(routes.list->entries[i].value, &route, &ignored) ||
            route.state == SHARD_SERVING)
            continue;
        run_record_release(ret);
        if (run_record_load(store, route.run, ret, &ignored) == ST_OK && ret->state == RUN_STUCK)
            return true;
    }
    return false;
}

char *runs_left_text(struct store *store)
{
    AUTO(run_record_release) struct run_record record = {0};
    char id[RUN_ID_MAX] = "", holder[RUN_ID_MAX] = "";
    struct err ignored = ERR_INIT;
    bool is_left = store && run_current(store, id, &ignored) == ST_OK &&
                   run_lock_holder(store, holder, &ignored) == ST_NOT_FOUND &&
                   run_record_load(store, id, &record, &ignored) == ST_OK;
    if (!is_left && store)
        is_left = find_set_aside(store, &record);
    return is_left ? run_left_text(&record) : NULL;
}

static const char *way_of(const struct run_record *record)
{
    return record->kind == RUN_FAILOVER ? "failover in"
           : record->kind == RUN_DRAIN  ? "drain of a host in"
           : record->kind == RUN_RETURN ? "roles back in"
                                        : "to";
}

static void print_run(const struct run_record *record, bool alive)
{
    char started[WALL_TEXT_MAX];
    clock_wall_format(record->started_us, started);
    bool is_left = record->state == RUN_RUNNING && !alive;
    printf("%s  %-8s %s %s, %zu shard%s, %s by %s%s%s%s\n", record->id,
           run_state_name(record->state), way_of(record), record->target, record->shard_count,
           record->shard_count == 1 ? "" : "s", started, record->by, record->reason ? ": " : "",
           record->reason ? record->reason : "",
           is_left                      ? " (its process is gone)"
           : record->state == RUN_STUCK ? " (waits for an operator)"
                                        : "");
}

enum status runs_print_list(struct store *store, bool as_json, struct err *err)
{
    struct run_record *records = NULL;
    size_t count = 0;
    enum status status = run_record_list(store, &records, &count, err);
    if (status)
        return status;
    json_t *list = json_array();
    if (count == 0 && !as_json)
        printf("no runs yet\n");
    for (size_t i = 0; i < count; i++) {
        const struct run_record *record = &records[i];
        bool alive = record->state == RUN_RUNNING && is_alive(store, record);
        if (as_json)
            json_array_append_new(list, run_json(record, alive));
        else if (record->unreadable)
            printf("%s  ? %s\n", record->id, record->unreadable);
        else
            print_run(record, alive);
    }
    if (as_json)
        print_json(json_incref(list));
    json_decref(list);
    run_record_list_free(records, count);
    return ST_OK;
}

/* ---- one run ---- */

static json_t *routes_json(struct store *store, const struct run_record *record)
{
    json_t *routes = json_array();
    for (size_t i = 0; i < record->shard_count; i++) {
        struct route route;
        struct err err = ERR_INIT;
        if (route_load(store, record->shards[i], store_deadline(store, STORE_GLANCE), &route, &err))
            continue;
        json_array_append_new(
            routes, json_pack("{s:s, s:s, s:s, s:s, s:I}", "shard", record->shards[i], "state",
                              shard_state_name(route.state), "home", route.home, "primary",
                              route.primary, "epoch", (json_int_t)route.epoch));
    }
    return routes;
}

static json_t *report_json(struct store *store, const char *id)
{
    AUTO_FREE char *report = NULL;
    struct err none = ERR_INIT;
    json_t *json = report_load(store, id, &report, &none) ? NULL : json_loads(report, 0, NULL);
    return json ? json : json_null();
}

/* As in the list, with how it was ordered, where each of its shards is now, and its report. */
static void print_run_json(struct store *store, const struct run_record *record)
{
    json_t *object = run_json_whole(record, is_alive(store, record));
    json_object_set_new(object, "routes", routes_json(store, record));
    AUTO_FREE char *waits = waiting_load(store, record->id);
    json_object_set_new(object, "waits", waits ? json_string(waits) : json_null());
    json_object_set_new(object, "report", report_json(store, record->id));
    print_json(object);
}

static void show_shards(struct store *store, const struct run_record *record)
{
    for (size_t i = 0; i < record->shard_count; i++) {
        struct route route;
        struct err err = ERR_INIT;
        if (route_load(store, record->shards[i], store_deadline(store, STORE_GLANCE), &route, &err))
            printf("  %s: %s\n", record->shards[i],
                   err.status == ST_NOT_FOUND ? "not moved yet" : err.text);
        else
            printf("  %s: now %s, home %s, primary %s, epoch %llu\n", record->shards[i],
                   shard_state_name(route.state), route.home, route.primary,
                   (unsigned long long)route.epoch);
    }
}

static void show_orders(const char *audit)
{
    for (const char *at = audit ? audit : ""; *at; at += *at == '\n') {
        size_t length = strcspn(at, "\n");
        printf("  %.*s\n", (int)length, at);
        at += length;
    }
}

static enum status print_report(struct store *store, const char *id, bool as_json, bool with_orders,
                                struct err *err)
{
    AUTO_FREE char *json = NULL;
    enum status status = report_load(store, id, &json, err);
    if (status)
        return status;
    json_t *object = as_json ? json_loads(json, 0, NULL) : NULL;
    if (object) { /* the store has it on one line */
        print_json(object);
        return ST_OK;
    }
    AUTO(buf_release) struct buf text = {0};
    report_text_format(json, with_orders, &text);
    printf("%s", buf_text(&text));
    return ST_OK;
}

enum status runs_print_report(struct store *store, const char *id, bool as_json, struct err *err)
{
    return print_report(store, id, as_json, true, err);
}

static void show_run(struct store *store, const struct run_record *record)
{
    printf("run %s: %s %s: %s, by %s\n", record->id, way_of(record), record->target,
           run_state_name(record->state), record->by);
    show_orders(record->audit);
    AUTO_FREE char *next = run_record_next(record);
    bool alive = is_alive(store, record);
    if (record->state == RUN_RUNNING && !alive)
        printf("its process is gone; next: %s\n", next);
    if (record->state == RUN_STUCK && !alive)
        printf("it waits for an operator; next: mend what 'why' says below, then: %s\n", next);
    AUTO_FREE char *waits = waiting_load(store, record->id);
    if (waits)
        printf("%s\n", waits);
    show_shards(store, record);
    struct err none = ERR_INIT;
    status_ignore(print_report(store, record->id, false, false, &none),
                  "there may be no report yet");
}

enum status runs_print_one(struct store *store, const char *id, bool as_json, struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    enum status status = run_record_load(store, id, &record, err);
    if (status)
        return status;
    if (as_json)
        print_run_json(store, &record);
    else
        show_run(store, &record);
    return ST_OK;
}
