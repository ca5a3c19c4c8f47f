/* SPDX-License-Identifier: Apache-2.0
 * See regions.h. Once nothing is served in a region, and what was is revoked server by server, a
 * fence keeps nobody from anything but from being served there again: taking it away opens nothing.
 */
#include "heal/regions.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "conductor/run.h"
#include "exposure/exposure.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "permit/fence.h"
#include "store/store.h"

#include <string.h>

enum {
    MOMENT_MS = 2000, /* what is acknowledged is asked for once a second, at least */
    MOMENT_MS_MAX = 5000,
};

static bool is_whole(const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    return server->status == ST_OK && state->is_read_only && state->channels == 1 &&
           state->is_io_running && state->is_sql_running;
}

static void judge(const struct server_observation *server, const struct permit_list *revoked,
                  struct buf *lines)
{
    const char *name = server->server->name;
    if (server->role == ROLE_IGNORED)
        return;
    if (server->status)
        buf_printf(lines, "%s\n", server_problem(server));
    else if (!is_whole(server))
        buf_printf(lines, "%s is not a replica that works\n", name);
    else if (permit_list_find(revoked, name))
        buf_printf(lines, "the permission of %s is withdrawn\n", name);
}

/* By the one of its servers that has most: whoever would take over there catches up from it. */
static void judge_backlog(const struct region_view *view, size_t shard, struct buf *lines)
{
    const struct exposure *exposure = &view->exposures->items[shard];
    const char *name = view->seen->shards[shard].shard->name;
    if (!exposure->primary || exposure->primary->region == view->region) /* or it was, long ago */
        buf_printf(lines, "shard %s has no primary that it could have caught up with\n", name);
    else if (exposure->covered_until >= view->since)
        return;
    else if (exposure->transactions > 0)
        buf_printf(lines, "shard %s is about %lld transactions behind %s\n", name,
                   (long long)exposure->transactions, exposure->primary->name);
    else
        buf_printf(lines, "whether shard %s has caught up with %s is not known\n", name,
                   exposure->primary->name);
}

void region_find_missing(const struct region_view *view, struct buf *lines)
{
    for (size_t i = 0; i < view->seen->count; i++) {
        const struct shard_observation *shard = &view->seen->shards[i];
        size_t before = lines->length, servers = 0;
        for (size_t j = 0; j < shard->shard->server_count; j++) {
            if (shard->servers[j].server->region != view->region)
                continue;
            judge(&shard->servers[j], view->revoked, lines);
            servers++;
        }
        if (servers > 0 && lines->length == before)
            judge_backlog(view, i, lines);
    }
}

const struct inventory_shard *region_find_homed(const struct inventory *fleet,
                                                const struct route_list *routes, const char *region)
{
    for (size_t i = 0; i < fleet->shard_count; i++) {
        struct route route = {0};
        struct err ignored = ERR_INIT;
        bool is_known = route_list_get(routes, fleet->shards[i].name, &route, &ignored) == ST_OK;
        if (is_known && strcmp(route.home, region) == 0)
            return &fleet->shards[i];
    }
    return NULL;
}

enum status region_give_back(struct run *run, const struct permit_fence *fence, bool is_forced,
                             struct err *err)
{
    struct store *store = run->mandate.store;
    AUTO(route_list_release) struct route_list routes = {0};
    enum status status = route_list_load(store, store_deadline(store, STORE_WORK), &routes, err);
    const struct inventory_shard *homed =
        status ? NULL : region_find_homed(run->mandate.fleet, &routes, fence->region);
    if (homed && !is_forced) {
        err_set(err, ST_NO_GO, "shard %s is still served in %s, as far as its route says",
                homed->name, fence->region);
        return err_hint(err, "fail it over first: holdfast failover --to REGION --accept-loss; "
                             "--force, when nobody can take it over: it is opened there again");
    }
    struct permit_unfencing order = {.lock_key = MANDATE_LOCK_KEY,
                                     .token = run->mandate.token,
                                     .region = fence->region,
                                     .revision = fence->revision,
                                     .by = run->record.by};
    if (!status)
        status = permit_unfence(store, &order, store_deadline(store, STORE_WORK), err);
    if (!status)
        log_event(EV_PERMISSION, "region", fence->region, "given", "back", NULL);
    return status;
}

/* A clock that was set may make it wait longer, or less: it is no protection. */
static bool is_due(const struct inventory *fleet, const struct permit_fence *fence)
{
    return clock_wall_us() - fence->wall_us >= fleet->policy.hold_down_ms * 1000;
}

static enum status give_back(struct store *store, const struct inventory *fleet,
                             const struct permit_fence *fence, struct err *err)
{
    struct run *run = NULL;
    enum status status = run_hold(store, fleet, &run, err);
    if (status)
        return status;
    status = region_give_back(run, fence, false, err);
    run_free(run);
    return status == ST_NO_GO ? ST_OK : status; /* somebody fails it over */
}

/* Once it is given back, a primary elsewhere is held against what the region has (rpo_guard), and
 * the region may be lost again: half of the promise is left for that. */
static nsec moment_of(const struct inventory *fleet)
{
    nsec half = fleet->promise_rpo_ms * NSEC_PER_MS / 2;
    nsec least = fleet->is_rpo_guarded ? half : MOMENT_MS * NSEC_PER_MS;
    nsec most = MOMENT_MS_MAX * NSEC_PER_MS;
    return half < least ? least : half > most ? most : half;
}

enum status regions_give_back(struct store *store, const struct inventory *fleet,
                              const struct fleet_observation *seen,
                              const struct exposure_list *exposures, struct err *err)
{
    AUTO(permit_fences_release) struct permit_fences fences = {0};
    AUTO(permit_list_release) struct permit_list revoked = {0};
    struct region_view view = {.seen = seen,
                               .revoked = &revoked,
                               .exposures = exposures,
                               .since = clock_now() - moment_of(fleet)};
    nsec deadline = store_deadline(store, STORE_WORK);
    enum status status = permit_fences_load(store, deadline, &fences, err);
    if (!status && fences.count > 0)
        status = permit_list_load(store, deadline, &revoked, err);
    for (size_t i = 0; i < fences.count && !status; i++) {
        AUTO(buf_release) struct buf missing = {0};
        if (!is_due(fleet, &fences.items[i]) ||
            !inventory_find_region(fleet, fences.items[i].region, &view.region))
            continue;
        region_find_missing(&view, &missing);
        if (missing.length == 0)
            status = give_back(store, fleet, &fences.items[i], err);
    }
    return status;
}
