/* SPDX-License-Identifier: Apache-2.0
 * See listeners.h. */
#include "mirror/listeners.h"

#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run_record.h"
#include "net/server.h"

#include <stdlib.h>
#include <string.h>

struct listener {
    struct listener *next;
    struct http_request *waiting; /* held; NULL: it is a stream */
    nsec deadline;                /* of one that waits; 0: it is to be answered now */
    int64_t after;
    struct http_events *events;
    char run[RUN_ID_MAX]; /* whose stream it is; "": of all routes */
    json_t *shards;       /* of that run */
    bool is_over;
};

static void listener_free(struct listener *listener)
{
    if (listener->waiting)
        http_request_drop(listener->waiting);
    http_events_drop(listener->events);
    json_decref(listener->shards);
    free(listener);
}

void listeners_release(struct listeners *listeners)
{
    for (struct listener *each = take_pointer(listeners->first), *next; each; each = next) {
        next = each->next;
        if (each->waiting)
            http_fail(each->waiting, 503, "ask again, here or at another conductor",
                      "it is stopping");
        listener_free(each);
    }
}

static void sweep(struct listeners *listeners)
{
    for (struct listener **place = &listeners->first; *place;) {
        struct listener *each = *place;
        if (!each->is_over) {
            place = &each->next;
            continue;
        }
        *place = each->next;
        listener_free(each);
    }
}

static void add(struct listeners *listeners, const struct listener *listener)
{
    struct listener *copy = mem_zalloc(sizeof(*copy));
    *copy = *listener;
    copy->next = listeners->first;
    listeners->first = copy;
}

void listeners_add_waiting(struct listeners *listeners, struct http_request *request, int64_t after,
                           nsec deadline)
{
    struct listener listener = {.waiting = request, .deadline = deadline, .after = after};
    http_request_hold(request);
    add(listeners, &listener);
}

static char *event_text(const char *kind, int64_t revision, const char *json)
{
    return revision
               ? mem_printf("event: %s\nid: %lld\ndata: %s\n\n", kind, (long long)revision, json)
               : mem_printf("event: %s\ndata: %s\n\n", kind, json);
}

static void send_to(struct listener *listener, const char *text)
{
    if (!listener->is_over && !http_events_send(listener->events, text))
        listener->is_over = true;
}

void listeners_add_routes(struct listeners *listeners, struct http_request *request,
                          const char *routes, int64_t revision)
{
    AUTO_FREE char *text = event_text("routes", revision, routes);
    struct listener listener = {.events = http_respond_events(request, text)};
    if (listener.events)
        add(listeners, &listener);
}

static bool has_ended(const json_t *run)
{
    const char *state = json_string_value(json_object_get(run, "state"));
    return !state || strcmp(state, run_state_name(RUN_RUNNING)) != 0;
}

void listeners_add_run(struct listeners *listeners, struct http_request *request, const char *id,
                       const json_t *run)
{
    AUTO_FREE char *json = json_dumps(run, JSON_COMPACT);
    AUTO_FREE char *text = event_text(has_ended(run) ? "end" : "run", 0, json);
    struct listener listener = {.events = http_respond_events(request, text)};
    if (!listener.events)
        return;
    strncat(listener.run, id, sizeof(listener.run) - 1);
    listener.shards = json_deep_copy(json_object_get(run, "names"));
    listener.is_over = has_ended(run);
    add(listeners, &listener);
    sweep(listeners);
}

/* --- Telling --- */

static bool has_shard(const struct listener *listener, const char *shard)
{
    for (size_t i = 0; i < json_array_size(listener->shards); i++) {
        const char *name = json_string_value(json_array_get(listener->shards, i));
        if (name && strcmp(name, shard) == 0)
            return true;
    }
    return false;
}

/* Those that wait are answered with all routes, by whoever has them: listeners_answer_due(). */
static void wake_waiting(struct listeners *listeners, int64_t revision)
{
    for (struct listener *each = listeners->first; each; each = each->next)
        if (each->waiting && revision > each->after)
            each->deadline = 0;
}

void listeners_tell_routes(struct listeners *listeners, const char *routes, int64_t revision)
{
    AUTO_FREE char *text = event_text("routes", revision, routes);
    for (struct listener *each = listeners->first; each; each = each->next)
        if (each->events && !each->run[0])
            send_to(each, text);
    wake_waiting(listeners, revision);
    sweep(listeners);
}

void listeners_tell_route(struct listeners *listeners, const char *shard, const char *route,
                          int64_t revision)
{
    AUTO_FREE char *text = event_text("route", revision, route);
    for (struct listener *each = listeners->first; each; each = each->next)
        if (each->events && (!each->run[0] || has_shard(each, shard)))
            send_to(each, text);
    wake_waiting(listeners, revision);
    sweep(listeners);
}

void listeners_tell_run(struct listeners *listeners, const char *id, const json_t *run)
{
    bool is_end = has_ended(run);
    AUTO_FREE char *json = json_dumps(run, JSON_COMPACT);
    AUTO_FREE char *text = event_text(is_end ? "end" : "run", 0, json);
    for (struct listener *each = listeners->first; each; each = each->next) {
        if (!each->events || strcmp(each->run, id) != 0)
            continue;
        send_to(each, text);
        each->is_over = each->is_over || is_end;
    }
    sweep(listeners);
}

void listeners_tell_end(struct listeners *listeners, const char *id, const char *shard,
                        const char *outcome)
{
    json_t *json =
        json_pack("{s:s, s:o?}", "shard", shard, "outcome", json_loads(outcome, 0, NULL));
    AUTO_FREE char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;
    AUTO_FREE char *text = line ? event_text("shard", 0, line) : NULL;
    json_decref(json);
    for (struct listener *each = listeners->first; each && text; each = each->next)
        if (each->events && strcmp(each->run, id) == 0)
            send_to(each, text);
    sweep(listeners);
}

bool listeners_are_due(const struct listeners *listeners, nsec now)
{
    for (const struct listener *each = listeners->first; each; each = each->next)
        if (each->waiting && now >= each->deadline)
            return true;
    return false;
}

void listeners_answer_due(struct listeners *listeners, const char *routes, nsec now)
{
    for (struct listener *each = listeners->first; each; each = each->next) {
        if (!each->waiting || now < each->deadline)
            continue;
        http_respond(each->waiting, 200, "application/json", routes);
        each->is_over = true;
    }
    sweep(listeners);
}
