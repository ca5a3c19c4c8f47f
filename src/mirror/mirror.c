/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the store once, and hearing what changes; see mirror.h. Each prefix has a shelf with what
 * is there. One watch of everything feeds them all, so that what happened first is told first. A
 * watch that breaks is begun again with a new reading.
 */
#include "mirror/mirror.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/pause.h"
#include "conductor/run.h"
#include "conductor/run_json.h"
#include "drain/mark.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "hooks/waiting.h"
#include "mirror/bell.h"
#include "mirror/listeners.h"
#include "mirror/shelf.h"
#include "mirror/source.h"
#include "permit/fence.h"
#include "permit/pulse.h"
#include "store/store.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 500, PING_MS = 2000, TICK_MS = 100, CATCH_UP_MS = 1000 };

enum {
    SHELF_ROUTES,
    SHELF_HOLD,
    SHELF_RUNS,
    SHELF_PAUSE,
    SHELF_DRAINED,
    SHELF_REGIONS,
    SHELF_FENCES,
    SHELF_TERM,
    SHELF_ENDS,
    SHELF_REVOKED,
    SHELVES
};

static const struct {
    const char *prefix;
    bool is_kept; /* else only what comes is of interest */
} shelves[SHELVES] = {
    [SHELF_ROUTES] = {"shards/", true},
    [SHELF_RUNS] = {"runs/", true},
    [SHELF_HOLD] = {"run-", true}, /* which run is not finished, and who carries it out */
    [SHELF_PAUSE] = {"pause", true},
    [SHELF_DRAINED] = {DRAIN_PREFIX, true},
    [SHELF_REGIONS] = {"regions/", true},
    [SHELF_FENCES] = {"fenced/", true},
    [SHELF_TERM] = {PERMIT_TERM_KEY, true},
    [SHELF_ENDS] = {"report-shards/", false},
    [SHELF_REVOKED] = {PERMIT_VERSION_KEY, false},
};

struct mirror {
    struct daemon_store *store;
    struct daemon_bell bell;
    pthread_t thread;
    struct store_watch *watch; /* the thread's; NULL: all is to be read again */
    nsec ping_at;
    pthread_mutex_t lock; /* of the rest */
    struct shelf shelves[SHELVES];
    bool was_read;
    int64_t routes_revision;
    int64_t revision; /* of the store: all changes up to that one have come */
    struct err problem;
    struct listeners listeners;
    size_t region_count;
    struct mirrored { /* a region of the fleet */
        char *key;    /* owned, of its beats */
        struct permit_pulse pulse;
    } * regions;
    mirror_note *on_revoked; /* NULL: nobody wants to hear of it */
    void *context;
};

/* --- What comes --- */

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
    return route_json(entry->key + strlen(shelves[SHELF_ROUTES].prefix), &route);
}

static void tell_of_route(struct mirror *mirror, const struct store_entry *entry)
{
    const char *shard = entry->key + strlen(shelves[SHELF_ROUTES].prefix);
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

static void tell_of_run(struct mirror *mirror, const struct store_entry *entry)
{
    AUTO(run_record_release) struct run_record record = {0};
    if (!entry->value || run_record_decode(entry->value, &record, NULL))
        return;
    json_t *json = run_json_whole(&record, is_alive(mirror, record.id));
    listeners_tell_run(&mirror->listeners, record.id, json);
    json_decref(json);
}

/* "report-shards/RUN/SHARD" */
static void tell_of_end(struct mirror *mirror, const struct store_entry *entry)
{
    const char *run = entry->key + strlen(shelves[SHELF_ENDS].prefix);
    const char *slash = strchr(run, '/');
    if (!slash || !entry->value)
        return;
    AUTO_FREE char *id = mem_printf("%.*s", (int)(slash - run), run);
    listeners_tell_end(&mirror->listeners, id, slash + 1, entry->value);
}

static struct mirrored *find_region(struct mirror *mirror, const char *key)
{
    for (size_t i = 0; i < mirror->region_count; i++)
        if (strcmp(mirror->regions[i].key, key) == 0)
            return &mirror->regions[i];
    return NULL;
}

static void take_beat(struct mirror *mirror, const struct store_entry *entry)
{
    struct mirrored *region = find_region(mirror, entry->key);
    if (region)
        permit_pulse_on_change(&region->pulse, entry->mod_rev, entry->value, clock_now());
}

static void tell(struct mirror *mirror, unsigned which, const struct store_entry *entry)
{
    if (which == SHELF_REGIONS)
        take_beat(mirror, entry);
    else if (which == SHELF_REVOKED && mirror->on_revoked)
        mirror->on_revoked(mirror->context);
    if (which == SHELF_ROUTES)
        tell_of_route(mirror, entry);
    else if (which == SHELF_RUNS)
        tell_of_run(mirror, entry);
    else if (which == SHELF_ENDS)
        tell_of_end(mirror, entry);
}

/* SHELVES: none. */
static unsigned find_shelf(const char *key)
{
    unsigned which = 0;
    while (which < SHELVES &&
           strncmp(key, shelves[which].prefix, strlen(shelves[which].prefix)) != 0)
        which++;
    return which;
}

static void take_change(struct mirror *mirror, const struct store_change *change)
{
    unsigned which = find_shelf(change->entry.key);
    mirror->revision = change->entry.mod_rev; /* the rest of the same comes under the same lock */
    if (which == SHELVES)
        return;
    struct shelf *shelf = &mirror->shelves[which];
    if (shelves[which].is_kept && shelf_has(shelf, &change->entry))
        return;
    if (shelves[which].is_kept && change->kind == STORE_PUT)
        shelf_put(shelf, &change->entry);
    else if (shelves[which].is_kept)
        shelf_delete(shelf, change->entry.key);
    tell(mirror, which, &change->entry);
}

/* ST_OK: all that came so far is taken. */
static enum status drain(struct mirror *mirror, struct err *err)
{
    for (;;) {
        AUTO(store_changes_release) struct store_changes changes = {0};
        enum status status = store_watch_next(mirror->watch, 0, &changes, err);
        if (status == ST_TIMEOUT) {
            *err = (struct err)ERR_INIT;
            return ST_OK;
        }
        if (status)
            return status;
        pthread_mutex_lock(&mirror->lock);
        for (size_t i = 0; i < changes.count; i++)
            take_change(mirror, &changes.items[i]);
        pthread_mutex_unlock(&mirror->lock);
    }
}

/* --- Reading all --- */

static enum status read_shelf(struct mirror *mirror, struct store *store, unsigned which,
                              struct err *err)
{
    struct shelf *shelf = &mirror->shelves[which];
    AUTO(store_list_release) struct store_list list = {0};
    enum status status =
        store_list(store, shelves[which].prefix, store_deadline(store, STORE_GLANCE), &list, err);
    if (status)
        return status;
    pthread_mutex_lock(&mirror->lock);
    shelf_swap(shelf, &list);
    pthread_mutex_unlock(&mirror->lock);
    return ST_OK;
}

static char *routes_text(struct mirror *mirror);

/* Under the lock: who listens already learns what he may have missed. */
static void tell_all(struct mirror *mirror)
{
    AUTO_FREE char *text = routes_text(mirror);
    const struct store_list *runs = &mirror->shelves[SHELF_RUNS].list;
    listeners_tell_routes(&mirror->listeners, text, mirror->routes_revision);
    for (size_t i = 0; i < runs->count; i++)
        tell_of_run(mirror, &runs->entries[i]);
}

static void read_beat(struct mirror *mirror, struct mirrored *region)
{
    const struct store_entry *entry = shelf_find(&mirror->shelves[SHELF_REGIONS], region->key);
    permit_pulse_on_reading(&region->pulse, entry ? entry->mod_rev : 0, entry ? entry->value : NULL,
                            clock_now());
}

static enum status read_all(struct mirror *mirror, struct store *store, struct err *err)
{
    enum status status = ST_OK;
    for (unsigned i = 0; i < SHELVES && !status; i++)
        if (shelves[i].is_kept)
            status = read_shelf(mirror, store, i, err);
    int64_t revision = mirror->shelves[0].list.revision;
    if (!status)
        status = store_watch_open(store, "", revision, &mirror->watch, err);
    if (status)
        return status;
    pthread_mutex_lock(&mirror->lock);
    for (size_t i = 0; i < mirror->region_count; i++)
        read_beat(mirror, &mirror->regions[i]);
    mirror->was_read = true;
    mirror->routes_revision = mirror->revision = revision;
    tell_all(mirror);
    pthread_mutex_unlock(&mirror->lock);
    return ST_OK;
}

/* --- The thread --- */

static void set_problem(struct mirror *mirror, const struct err *err)
{
    pthread_mutex_lock(&mirror->lock);
    enum status before = mirror->problem.status;
    bool is_new = before != err->status && !(before == ST_BUSY && !err->status);
    mirror->problem = *err;
    pthread_mutex_unlock(&mirror->lock);
    if (is_new)
        log_event(EV_STORE, "problem", err->status ? err->text : "none any more", NULL);
}

/* A watch is silent when nothing changes, and when nobody is there. */
static enum status ping(struct mirror *mirror, struct store *store, int64_t *ret_revision,
                        struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    mirror->ping_at = clock_deadline(PING_MS);
    enum status status =
        store_list(store, "pause", store_deadline(store, STORE_GLANCE), &list, err);
    *ret_revision = list.revision;
    return status;
}

static enum status wait_for_changes(struct mirror *mirror, int ms, struct err *err)
{
    struct pollfd fds[] = {{mirror->bell.fd, POLLIN, 0},
                           {store_watch_fd(mirror->watch), POLLIN, 0}};
    poll(fds, ARRAY_SIZE(fds), ms);
    return drain(mirror, err);
}

/* The store answers again, and the watch may not have told yet what was missed. It soon does, and
 * then beats keep the times at which they were sent; when nothing else changed, it stays behind
 * what was asked, and all is read again. */
static enum status catch_up(struct mirror *mirror, struct store *store, int64_t revision,
                            struct err *err)
{
    enum status status = ST_OK;
    nsec deadline = clock_deadline(CATCH_UP_MS);
    while (!status && mirror->revision < revision && clock_now() < deadline &&
           !daemon_bell_has_rung(&mirror->bell))
        status = wait_for_changes(mirror, TICK_MS, err);
    if (!status && mirror->revision >= revision)
        return ST_OK;
    store_watch_close(take_pointer(mirror->watch));
    return read_all(mirror, store, err);
}

/* One turn; what it came to is the problem, or that there is none. */
static enum status turn(struct mirror *mirror, struct store *store, struct err *err)
{
    enum status status = ST_OK;
    bool is_behind = mirror->watch && mirror->problem.status; /* only this thread writes it */
    int64_t revision = 0;
    if (!mirror->watch) {
        status = read_all(mirror, store, err);
        mirror->ping_at = 0;
    }
    if (status)
        return status;
    status = wait_for_changes(mirror, TICK_MS, err);
    if (status)
        store_watch_close(take_pointer(mirror->watch));
    if (status == ST_COMPACTED)
        *err = (struct err)ERR_INIT; /* it is read again, nothing is wrong */
    if (!status && (is_behind || clock_now() >= mirror->ping_at))
        status = ping(mirror, store, &revision, err);
    return !status && is_behind ? catch_up(mirror, store, revision, err) : status;
}

static void answer_due(struct mirror *mirror)
{
    nsec now = clock_now();
    pthread_mutex_lock(&mirror->lock);
    if (listeners_are_due(&mirror->listeners, now)) {
        AUTO_FREE char *text = routes_text(mirror);
        listeners_answer_due(&mirror->listeners, text, now);
    }
    pthread_mutex_unlock(&mirror->lock);
}

static void *reflect(void *context)
{
    struct mirror *mirror = context;
    while (!daemon_bell_has_rung(&mirror->bell)) {
        struct err err = ERR_INIT;
        struct store *store = daemon_store_get(mirror->store);
        if (store)
            status_ignore(turn(mirror, store, &err), "the problem says it");
        else
            daemon_store_problem(mirror->store, &err);
        set_problem(mirror, &err);
        answer_due(mirror);
        if (err.status)
            daemon_bell_wait(&mirror->bell, clock_deadline(AGAIN_MS));
    }
    store_watch_close(take_pointer(mirror->watch));
    return NULL;
}

struct mirror *mirror_start(struct daemon_store *store, const struct inventory *fleet)
{
    struct mirror *mirror = mem_zalloc(sizeof(*mirror));
    mirror->store = store;
    mirror->regions = mem_zalloc((fleet->region_count + 1) * sizeof(*mirror->regions));
    for (; mirror->region_count < fleet->region_count; mirror->region_count++)
        mirror->regions[mirror->region_count].key =
            permit_region_key(fleet->regions[mirror->region_count]);
    daemon_bell_init(&mirror->bell);
    pthread_mutex_init(&mirror->lock, NULL);
    err_set(&mirror->problem, ST_BUSY, "the store was not read yet");
    INVARIANT(pthread_create(&mirror->thread, NULL, reflect, mirror) == 0);
    return mirror;
}

void mirror_stop(struct mirror *mirror)
{
    if (!mirror)
        return;
    daemon_bell_ring(&mirror->bell);
    pthread_join(mirror->thread, NULL);
    pthread_mutex_lock(&mirror->lock);
    listeners_release(&mirror->listeners);
    pthread_mutex_unlock(&mirror->lock);
}

void mirror_free(struct mirror *mirror)
{
    if (!mirror)
        return;
    for (unsigned i = 0; i < SHELVES; i++)
        store_list_release(&mirror->shelves[i].list);
    for (size_t i = 0; i < mirror->region_count; i++)
        free(mirror->regions[i].key);
    free(mirror->regions);
    daemon_bell_release(&mirror->bell);
    pthread_mutex_destroy(&mirror->lock);
    free(mirror);
}

/* --- What is known --- */

void mirror_wait(struct mirror *mirror, nsec deadline)
{
    struct err ignored = ERR_INIT;
    while (mirror_has_problem(mirror, &ignored) && clock_now() < deadline)
        daemon_bell_wait(&mirror->bell, clock_deadline(5));
}

bool mirror_has_problem(struct mirror *mirror, struct err *ret)
{
    pthread_mutex_lock(&mirror->lock);
    *ret = mirror->problem;
    pthread_mutex_unlock(&mirror->lock);
    return ret->status != ST_OK;
}

bool mirror_copy_routes(struct mirror *mirror, struct route_list *ret)
{
    pthread_mutex_lock(&mirror->lock);
    bool was_read = mirror->was_read;
    struct store_list *list = mem_zalloc(sizeof(*list));
    shelf_copy(&mirror->shelves[SHELF_ROUTES], list);
    pthread_mutex_unlock(&mirror->lock);
    ret->list = list;
    if (!was_read)
        route_list_release(ret);
    return was_read;
}

enum status mirror_get_route(struct mirror *mirror, const char *shard, struct route *ret,
                             struct err *err)
{
    AUTO_FREE char *key = route_key(shard);
    pthread_mutex_lock(&mirror->lock);
    const struct store_entry *entry = shelf_find(&mirror->shelves[SHELF_ROUTES], key);
    enum status status = entry ? route_decode(entry->value, ret, err)
                               : err_set(err, ST_NOT_FOUND, "no route of shard '%s'", shard);
    if (!status)
        ret->revision = (uint64_t)entry->mod_rev;
    pthread_mutex_unlock(&mirror->lock);
    return status;
}

bool mirror_get_route_of(struct mirror *mirror, const char *shard, int64_t revision,
                         struct route *ret)
{
    struct err ignored = ERR_INIT;
    pthread_mutex_lock(&mirror->lock);
    bool is_current = mirror->was_read && mirror->revision >= revision;
    pthread_mutex_unlock(&mirror->lock); /* what is known gets newer only */
    return is_current && mirror_get_route(mirror, shard, ret, &ignored) == ST_OK;
}

void mirror_copy_drained(struct mirror *mirror, struct drain_list *ret)
{
    pthread_mutex_lock(&mirror->lock);
    drain_list_read(&mirror->shelves[SHELF_DRAINED].list, ret);
    pthread_mutex_unlock(&mirror->lock);
}

/* Under the lock. */
static void know_end(struct mirror *mirror, const struct permit_pulse *pulse,
                     struct mirror_region *ret)
{
    const struct store_entry *entry = shelf_find(&mirror->shelves[SHELF_TERM], PERMIT_TERM_KEY);
    struct permit_term term = {0};
    ret->end = NSEC_NEVER;
    if (!entry || permit_term_decode(entry->value, &term, NULL))
        return;
    term.revision = entry->mod_rev;
    ret->term = term;
    ret->end = permit_pulse_end(pulse, &term);
}

bool mirror_get_region(struct mirror *mirror, const char *region, struct mirror_region *ret)
{
    AUTO_FREE char *key = permit_region_key(region);
    AUTO_FREE char *fence_key = permit_fenced_key(region);
    *ret = (struct mirror_region){.end = NSEC_NEVER};
    pthread_mutex_lock(&mirror->lock);
    const struct mirrored *found = find_region(mirror, key);
    const struct store_entry *fence = shelf_find(&mirror->shelves[SHELF_FENCES], fence_key);
    ret->fence = fence ? fence->mod_rev : 0;
    bool is_known = found && mirror->was_read;
    if (is_known) {
        ret->beat = found->pulse.revision;
        ret->sent_by = found->pulse.sent_by;
        ret->heard = found->pulse.heard;
        know_end(mirror, &found->pulse, ret);
    }
    pthread_mutex_unlock(&mirror->lock);
    return is_known;
}

char *mirror_fenced_text(struct mirror *mirror)
{
    AUTO(permit_fences_release) struct permit_fences fences = {0};
    pthread_mutex_lock(&mirror->lock);
    permit_fences_read(&mirror->shelves[SHELF_FENCES].list, &fences);
    pthread_mutex_unlock(&mirror->lock);
    return permit_fences_format(&fences);
}

void mirror_on_revoked(struct mirror *mirror, mirror_note *note, void *context)
{
    pthread_mutex_lock(&mirror->lock);
    mirror->on_revoked = note;
    mirror->context = context;
    pthread_mutex_unlock(&mirror->lock);
}

char *mirror_pause_text(struct mirror *mirror)
{
    AUTO(pause_release) struct pause pause = {0};
    struct err err = ERR_INIT;
    pthread_mutex_lock(&mirror->lock);
    const struct store_entry *entry = shelf_find(&mirror->shelves[SHELF_PAUSE], "pause");
    AUTO_FREE char *value = mem_strdup(entry ? entry->value : NULL);
    pthread_mutex_unlock(&mirror->lock);
    if (!value)
        return NULL;
    if (pause_decode(value, &pause, &err))
        return mem_strdup(err.text);
    return pause.is_active ? pause_format(&pause) : NULL;
}

bool mirror_get_left(struct mirror *mirror, struct run_record *ret)
{
    pthread_mutex_lock(&mirror->lock);
    const struct shelf *hold = &mirror->shelves[SHELF_HOLD];
    const struct store_entry *current = shelf_find(hold, RUN_CURRENT_KEY);
    AUTO_FREE char *key = current ? run_record_key(current->value) : NULL;
    const struct store_entry *entry = key && !shelf_find(hold, MANDATE_LOCK_KEY)
                                          ? shelf_find(&mirror->shelves[SHELF_RUNS], key)
                                          : NULL;
    bool is_left = entry && !run_record_decode(entry->value, ret, NULL);
    pthread_mutex_unlock(&mirror->lock);
    return is_left;
}

/* Others may run meanwhile, but its shards are in the middle. */
static bool get_set_aside(struct mirror *mirror, struct run_record *ret)
{
    bool is_found = false;
    pthread_mutex_lock(&mirror->lock);
    const struct store_list *routes = &mirror->shelves[SHELF_ROUTES].list;
    for (size_t i = 0; i < routes->count && !is_found; i++) {
        struct route route = {0};
        if (route_decode(routes->entries[i].value, &route, NULL) || route.state == SHARD_SERVING)
            continue;
        AUTO_FREE char *key = run_record_key(route.run);
        const struct store_entry *entry = shelf_find(&mirror->shelves[SHELF_RUNS], key);
        run_record_release(ret);
        is_found = entry && !run_record_decode(entry->value, ret, NULL) &&
                   !shelf_find(&mirror->shelves[SHELF_HOLD], MANDATE_LOCK_KEY);
    }
    pthread_mutex_unlock(&mirror->lock);
    return is_found;
}

char *mirror_left_text(struct mirror *mirror)
{
    AUTO(run_record_release) struct run_record record = {0};
    bool is_left = mirror_get_left(mirror, &record) || get_set_aside(mirror, &record);
    return is_left ? run_left_text(&record) : NULL;
}

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

static char *routes_text(struct mirror *mirror)
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
        AUTO_FREE char *text = routes_text(mirror);
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
        AUTO_FREE char *text = routes_text(mirror);
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
