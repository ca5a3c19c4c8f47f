/* SPDX-License-Identifier: Apache-2.0
 * What is known, as documents: for who asks, and for who wants to hear of changes; see mirror.h. */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run.h"
#include "conductor/run_json.h"
#include "fleet/route.h"
#include "hooks/waiting.h"
#include "mirror/internal.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

/* --- A change --- */

static json_t *route_json(const char *shard, const struct route *route)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s?, s:s?, s:I}", "shard", shard, "state",
                     shard_state_name(route->state), "home", route->home, "primary", route->primary,
                     "epoch", (json_int_t)route->epoch, "run", route->run[0] ? route->run : NULL,
                     "target", route->target[0] ? route->target : NULL, "revision",
                     (json_int_t)route->revision);
}

/* NULL: it does not read. */
static json_t *entry_route_json(const struct store_entry *entry)
{
    struct route route = {0};
    if (!entry->value || route_decode(entry->value, &route, NULL))
        return NULL;
    route.revision = (uint64_t)entry->mod_rev;
    return route_json(mirror__name(SHELF_ROUTES, entry), &route);
}

void mirror__tell_of_route(struct mirror *mirror, const struct store_entry *entry)
{
    const char *shard = mirror__name(SHELF_ROUTES, entry);
    json_t *json = entry_route_json(entry);
    if (!json)
        json = json_pack("{s:s, s:n, s:I}", "shard", shard, "state", "revision",
                         (json_int_t)entry->mod_rev);
    AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    mirror->routes_revision = entry->mod_rev;
    listeners_tell_route(&mirror->listeners, shard, text, entry->mod_rev);
}

/* Does a process carry it out? Under the lock. */
static bool is_alive(struct mirror *mirror, const char *run)
{
    const struct store_entry *lock = shelf_find(&mirror->shelves[SHELF_HOLD], MANDATE_LOCK_KEY);
    return lock && strcmp(lock->value, run) == 0;
}

void mirror__tell_of_run(struct mirror *mirror, const struct store_entry *entry)
{
    AUTO(run_record_release) struct run_record record = {0};
    if (!entry->value || run_record_decode(entry->value, &record, NULL))
        return;
    json_t *json = run_json_whole(&record, is_alive(mirror, record.id));
    listeners_tell_run(&mirror->listeners, record.id, json);
    json_decref(json);
}

/* "report-shards/RUN/SHARD" */
void mirror__tell_of_end(struct mirror *mirror, const struct store_entry *entry)
{
    const char *run = mirror__name(SHELF_ENDS, entry);
    const char *slash = strchr(run, '/');
    if (!slash || !entry->value)
        return;
    AUTO_FREE char *id = mem_printf("%.*s", (int)(slash - run), run);
    listeners_tell_end(&mirror->listeners, id, slash + 1, entry->value);
}

/* --- Documents --- */

/* Under the lock. */
static json_t *routes_json(struct mirror *mirror)
{
    const struct store_list *list = &mirror->shelves[SHELF_ROUTES].list;
    json_t *routes = json_array();
    for (size_t i = 0; i < list->count; i++) {
        json_t *route = entry_route_json(&list->entries[i]);
        if (route)
            json_array_append_new(routes, route);
    }
    return json_pack("{s:I, s:o}", "revision", (json_int_t)mirror->routes_revision, "routes",
                     routes);
}

char *mirror__routes_text(struct mirror *mirror)
{
    json_t *json = routes_json(mirror);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    INVARIANT(text);
    return text;
}

json_t *mirror_routes(struct mirror *mirror)
{
    pthread_mutex_lock(&mirror->lock);
    json_t *json = mirror->was_read ? routes_json(mirror) : NULL;
    pthread_mutex_unlock(&mirror->lock);
    return json;
}

json_t *mirror_runs(struct mirror *mirror)
{
    pthread_mutex_lock(&mirror->lock);
    const struct store_list *list = &mirror->shelves[SHELF_RUNS].list;
    json_t *runs = mirror->was_read ? json_array() : NULL;
    for (size_t i = 0; runs && i < list->count; i++) {
        AUTO(run_record_release) struct run_record record = {0};
        run_record_read(list->entries[i].key, list->entries[i].value, &record);
        json_array_append_new(runs, run_json(&record, is_alive(mirror, record.id)));
    }
    pthread_mutex_unlock(&mirror->lock);
    return runs ? json_pack("{s:o}", "runs", runs) : NULL;
}

static json_t *shards_routes(struct mirror *mirror, const struct run_record *record)
{
    json_t *routes = json_array();
    for (size_t i = 0; i < record->shard_count; i++) {
        AUTO_FREE char *key = route_key(record->shards[i]);
        const struct store_entry *found = shelf_find(&mirror->shelves[SHELF_ROUTES], key);
        json_t *route = found ? entry_route_json(found) : NULL;
        if (route)
            json_array_append_new(routes, route);
    }
    return routes;
}

/* Under the lock: the record, and where each of its shards is now. */
static json_t *run_document(struct mirror *mirror, const char *id)
{
    AUTO_FREE char *key = run_record_key(id);
    AUTO(run_record_release) struct run_record record = {0};
    const struct store_entry *entry = shelf_find(&mirror->shelves[SHELF_RUNS], key);
    if (!entry)
        return NULL;
    run_record_read(entry->key, entry->value, &record);
    if (record.unreadable)
        return run_json(&record, false);
    json_t *json = run_json_whole(&record, is_alive(mirror, id));
    json_object_set_new(json, "routes", shards_routes(mirror, &record));
    AUTO_FREE char *waits_key = waiting_key(id);
    const struct store_entry *wait = shelf_find(&mirror->shelves[SHELF_HOLD], waits_key);
    AUTO_FREE char *waits = wait ? waiting_decode(wait->value) : NULL;
    json_object_set_new(json, "waits", waits ? json_string(waits) : json_null());
    return json;
}

json_t *mirror_run(struct mirror *mirror, const char *id)
{
    pthread_mutex_lock(&mirror->lock);
    json_t *json = run_document(mirror, id);
    pthread_mutex_unlock(&mirror->lock);
    return json;
}

/* --- Who wants to hear --- */

static void refuse_unread(struct http_request *request)
{
    http_fail(request, 503, "ask again in a moment; /v1/health says why",
              "the store was not read yet");
}

void mirror_answer_routes_after(struct mirror *mirror, struct http_request *request, int64_t after,
                                nsec deadline)
{
    pthread_mutex_lock(&mirror->lock);
    if (!mirror->was_read) {
        refuse_unread(request);
    } else if (mirror->routes_revision > after) {
        AUTO_FREE char *text = mirror__routes_text(mirror);
        http_respond(request, 200, "application/json", text);
    } else {
        listeners_add_waiting(&mirror->listeners, request, after, deadline);
    }
    pthread_mutex_unlock(&mirror->lock);
}

void mirror_stream_routes(struct mirror *mirror, struct http_request *request)
{
    pthread_mutex_lock(&mirror->lock);
    if (mirror->was_read) {
        AUTO_FREE char *text = mirror__routes_text(mirror);
        listeners_add_routes(&mirror->listeners, request, text, mirror->routes_revision);
    } else {
        refuse_unread(request);
    }
    pthread_mutex_unlock(&mirror->lock);
}

void mirror_stream_run(struct mirror *mirror, struct http_request *request, const char *id)
{
    pthread_mutex_lock(&mirror->lock);
    json_t *json = run_document(mirror, id);
    if (json)
        listeners_add_run(&mirror->listeners, request, id, json);
    else if (!mirror->was_read)
        refuse_unread(request);
    else
        http_fail(request, 404, "GET /v1/runs lists them", "there is no run '%s'", id);
    pthread_mutex_unlock(&mirror->lock);
    json_decref(json);
}
