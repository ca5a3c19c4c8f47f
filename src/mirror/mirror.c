/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the store once, and hearing what changes; see mirror.h. Each prefix has a shelf with what
 * is there. One watch of everything feeds them all, so that what happened first is told first. A
 * watch that breaks is begun again with a new reading.
 */
#include "mirror/internal.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "drain/mark.h"
#include "fleet/inventory.h"
#include "mirror/source.h"
#include "permit/fence.h"
#include "store/store.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 500, PING_MS = 2000, TICK_MS = 100, CATCH_UP_MS = 1000 };

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

/* --- What comes --- */

const char *mirror__name(unsigned shelf, const struct store_entry *entry)
{
    return entry->key + strlen(shelves[shelf].prefix);
}

struct mirrored *mirror__find_region(struct mirror *mirror, const char *key)
{
    for (size_t i = 0; i < mirror->region_count; i++)
        if (strcmp(mirror->regions[i].key, key) == 0)
            return &mirror->regions[i];
    return NULL;
}

static void take_beat(struct mirror *mirror, const struct store_entry *entry)
{
    struct mirrored *region = mirror__find_region(mirror, entry->key);
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
        mirror__tell_of_route(mirror, entry);
    else if (which == SHELF_RUNS)
        mirror__tell_of_run(mirror, entry);
    else if (which == SHELF_ENDS)
        mirror__tell_of_end(mirror, entry);
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

/* Under the lock: who listens already learns what he may have missed. */
static void tell_all(struct mirror *mirror)
{
    AUTO_FREE char *text = mirror__routes_text(mirror);
    const struct store_list *runs = &mirror->shelves[SHELF_RUNS].list;
    listeners_tell_routes(&mirror->listeners, text, mirror->routes_revision);
    for (size_t i = 0; i < runs->count; i++)
        mirror__tell_of_run(mirror, &runs->entries[i]);
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
        AUTO_FREE char *text = mirror__routes_text(mirror);
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
