/* SPDX-License-Identifier: Apache-2.0
 * One observation with what follows from it, made once, read by any; see internal.h. */
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "drain/mark.h"
#include "exposure/surveyor.h"
#include "fleet/route.h"
#include "mirror/mirror.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *left, const void *right)
{
    const struct pictured_server *a = left, *b = right;
    return strcmp(a->server->server->name, b->server->server->name);
}

static void index_servers(struct picture *picture)
{
    const struct fleet_observation *seen = &picture->seen;
    size_t capacity = 0;
    for (size_t i = 0; i < seen->count; i++)
        for (size_t j = 0; j < inventory_shard_size(seen->shards[i].shard); j++) {
            struct pictured_server server = {&seen->shards[i], &seen->shards[i].servers[j]};
            VEC_PUSH(picture->servers, picture->server_count, capacity, server);
        }
    if (picture->server_count > 0)
        qsort(picture->servers, picture->server_count, sizeof(*picture->servers), by_name);
}

static void make_status(struct picture *picture, const struct daemon *daemon)
{
    struct mirror *mirror = daemon->mirror;
    AUTO(exposure_list_release) struct exposure_list exposures = {0};
    AUTO(route_list_release) struct route_list routes = {0};
    AUTO(drain_list_release) struct drain_list drained = {0};
    AUTO_FREE char *paused = mirror_pause_text(mirror);
    AUTO_FREE char *fenced = mirror_fenced_text(mirror);
    AUTO_FREE char *run_left = mirror_left_text(mirror);
    struct err err = ERR_INIT;
    surveyor_list(daemon->surveyor, &picture->seen, &exposures);
    bool has_problem = mirror_has_problem(mirror, &err);
    bool has_routes = mirror_copy_routes(mirror, &routes);
    mirror_copy_drained(mirror, &drained);
    struct status_request request = {
        .fleet = daemon->fleet,
        .seen = &picture->seen,
        .routes = has_routes ? &routes : NULL,
        .store_error = has_problem ? err.text : NULL,
        .paused = paused,
        .fenced = fenced,
        .run_left = run_left,
        .drained = &drained,
        .exposures = exposures.items,
        .now = clock_now(),
    };
    status_make(&request, &picture->status);
    json_t *json = status_encode(&picture->status);
    AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    picture->status_json = mem_strdup(text + 1);
}

struct picture *picture_new(const struct daemon *daemon, struct fleet_observation *seen, nsec began)
{
    struct picture *picture = mem_zalloc(sizeof(*picture));
    atomic_init(&picture->references, 1);
    picture->began = began;
    picture->took_ms = clock_ms(clock_now() - began);
    picture->seen = *seen;
    *seen = (struct fleet_observation){0};
    index_servers(picture);
    make_status(picture, daemon);
    return picture;
}

static int by_given_name(const void *name, const void *item)
{
    return strcmp(name, ((const struct pictured_server *)item)->server->server->name);
}

const struct pictured_server *picture_find(const struct picture *picture, const char *server)
{
    if (picture->server_count == 0)
        return NULL;
    return bsearch(server, picture->servers, picture->server_count, sizeof(*picture->servers),
                   by_given_name);
}

void picture_unref(struct picture *picture)
{
    if (!picture || atomic_fetch_sub(&picture->references, 1) > 1)
        return;
    fleet_observation_release(&picture->seen);
    fleet_status_release(&picture->status);
    free(picture->servers);
    free(picture->status_json);
    free(picture);
}
