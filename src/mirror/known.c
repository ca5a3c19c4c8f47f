/* SPDX-License-Identifier: Apache-2.0
 * What is known, as the conductor's own threads ask for it; see mirror.h. */
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/pause.h"
#include "conductor/run.h"
#include "conductor/run_json.h"
#include "drain/mark.h"
#include "fleet/route.h"
#include "mirror/internal.h"
#include "permit/fence.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

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
    const struct mirrored *found = mirror__find_region(mirror, key);
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

bool mirror_has_run(struct mirror *mirror)
{
    pthread_mutex_lock(&mirror->lock);
    bool has_run = !mirror->was_read || mirror->problem.status ||
                   shelf_find(&mirror->shelves[SHELF_HOLD], RUN_CURRENT_KEY) != NULL;
    pthread_mutex_unlock(&mirror->lock);
    return has_run;
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
