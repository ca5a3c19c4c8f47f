/* SPDX-License-Identifier: Apache-2.0
 * See surveyor.h. */
#include "exposure/surveyor.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "monitor/scout.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    GUARD_PARTS = 10, /* of the RPO, with rpo_guard */
    SHOW_PARTS = 5,   /* without: it is only shown */
    GUARD_MS_MIN = 100,
    SHOW_MS_MIN = 200,
    MS_MAX = 1000,
    ANSWER_PARTS = 3, /* one that does not answer holds a round up for so much of the RPO */
    ANSWER_MS_MAX = 2000,
};

/* A server by its number at the scout. */
struct place {
    size_t shard, server;
};

struct surveyor {
    const struct inventory *fleet;
    size_t region;
    struct scout *scout;
    struct place *places;
    pthread_t thread;
    int end; /* readable: it is to end */
    pthread_mutex_t lock;
    struct exposure_track **tracks; /* as the fleet's shards; under the lock */
};

static nsec span(int64_t ms, int64_t least, int64_t most)
{
    return (ms < least ? least : ms > most ? most : ms) * NSEC_PER_MS;
}

nsec surveyor_pace(const struct inventory *fleet)
{
    int64_t rpo = fleet->promise_rpo_ms;
    return fleet->is_rpo_guarded ? span(rpo / GUARD_PARTS, GUARD_MS_MIN, MS_MAX)
                                 : span(rpo / SHOW_PARTS, SHOW_MS_MIN, MS_MAX);
}

static void take(void *context, const struct scout_sight *sight)
{
    struct surveyor *surveyor = context;
    const struct place *place = &surveyor->places[sight->server];
    struct exposure_sight seen = {
        .server = place->server,
        .asked = sight->asked,
        .is_open = !sight->at->is_read_only,
        .is_replica = sight->at->is_replica,
        .server_id = sight->at->server_id,
        .source_id = sight->at->source_id,
        .position = sight->at->position,
        .received = sight->at->received,
    };
    pthread_mutex_lock(&surveyor->lock);
    exposure_track_see(surveyor->tracks[place->shard], &seen);
    pthread_mutex_unlock(&surveyor->lock);
}

static void choose(struct surveyor *surveyor, bool *ret_wanted)
{
    const struct inventory *fleet = surveyor->fleet;
    pthread_mutex_lock(&surveyor->lock);
    for (size_t i = 0; i < fleet->shard_count; i++)
        for (size_t j = 0; j < fleet->shards[i].server_count; j++) {
            bool is_asked_about =
                fleet->is_rpo_guarded && fleet->shards[i].servers[j].region == surveyor->region;
            ret_wanted[scout_index(surveyor->scout, &fleet->shards[i], j)] =
                is_asked_about || exposure_wants(surveyor->tracks[i], j);
        }
    pthread_mutex_unlock(&surveyor->lock);
}

static void *survey(void *context)
{
    struct surveyor *surveyor = context;
    struct pollfd end = {.fd = surveyor->end, .events = POLLIN};
    AUTO_FREE bool *is_wanted = mem_zalloc(scout_count(surveyor->scout) + 1);
    nsec pace = surveyor_pace(surveyor->fleet);
    nsec answer = span(surveyor->fleet->promise_rpo_ms / ANSWER_PARTS, GUARD_MS_MIN, ANSWER_MS_MAX);
    nsec next = clock_now();
    while (poll(&end, 1, clock_ms_left(next)) <= 0) {
        nsec began = clock_now();
        choose(surveyor, is_wanted);
        scout_round(surveyor->scout, is_wanted, began + answer, take, surveyor);
        next = began + pace;
    }
    return NULL;
}

static void index_places(struct surveyor *surveyor)
{
    const struct inventory *fleet = surveyor->fleet;
    surveyor->places = mem_zalloc((scout_count(surveyor->scout) + 1) * sizeof(*surveyor->places));
    for (size_t i = 0; i < fleet->shard_count; i++)
        for (size_t j = 0; j < fleet->shards[i].server_count; j++)
            surveyor->places[scout_index(surveyor->scout, &fleet->shards[i], j)] =
                (struct place){i, j};
}

struct surveyor *surveyor_start(const struct inventory *fleet, size_t region)
{
    struct surveyor *surveyor = mem_zalloc(sizeof(*surveyor));
    *surveyor = (struct surveyor){.fleet = fleet, .region = region};
    surveyor->scout = scout_new(fleet);
    index_places(surveyor);
    surveyor->tracks = mem_zalloc((fleet->shard_count + 1) * sizeof(struct exposure_track *));
    for (size_t i = 0; i < fleet->shard_count; i++)
        surveyor->tracks[i] = exposure_track_new(&fleet->shards[i]);
    pthread_mutex_init(&surveyor->lock, NULL);
    surveyor->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    INVARIANT(surveyor->end >= 0);
    INVARIANT(pthread_create(&surveyor->thread, NULL, survey, surveyor) == 0);
    return surveyor;
}

void surveyor_stop(struct surveyor *surveyor)
{
    if (!surveyor)
        return;
    eventfd_write(surveyor->end, 1);
    pthread_join(surveyor->thread, NULL);
    scout_free(surveyor->scout);
    for (size_t i = 0; i < surveyor->fleet->shard_count; i++)
        exposure_track_free(surveyor->tracks[i]);
    close(surveyor->end);
    pthread_mutex_destroy(&surveyor->lock);
    free(surveyor->tracks);
    free(surveyor->places);
    free(surveyor);
}

void surveyor_see(struct surveyor *surveyor, const struct fleet_observation *seen, nsec began)
{
    pthread_mutex_lock(&surveyor->lock);
    for (size_t i = 0; i < seen->count; i++)
        exposure_track_look(surveyor->tracks[seen->shards[i].shard->index], &seen->shards[i],
                            began);
    pthread_mutex_unlock(&surveyor->lock);
}

void surveyor_get(struct surveyor *surveyor, const struct inventory_shard *shard,
                  struct exposure *ret)
{
    pthread_mutex_lock(&surveyor->lock);
    exposure_get(surveyor->tracks[shard->index], ret);
    pthread_mutex_unlock(&surveyor->lock);
}

void surveyor_list(struct surveyor *surveyor, const struct fleet_observation *seen,
                   struct exposure_list *ret)
{
    ret->count = seen->count;
    ret->items = mem_zalloc((ret->count + 1) * sizeof(*ret->items));
    for (size_t i = 0; i < ret->count; i++)
        surveyor_get(surveyor, seen->shards[i].shard, &ret->items[i]);
}

bool surveyor_bound(struct surveyor *surveyor, const struct inventory_shard *shard, size_t server,
                    const char *position, struct exposure_bound *ret)
{
    pthread_mutex_lock(&surveyor->lock);
    bool is_known = exposure_bound(surveyor->tracks[shard->index], server, position, ret);
    pthread_mutex_unlock(&surveyor->lock);
    return is_known;
}

nsec surveyor_since(struct surveyor *surveyor, const struct inventory_shard *shard, size_t server)
{
    pthread_mutex_lock(&surveyor->lock);
    nsec since = exposure_since(surveyor->tracks[shard->index], server);
    pthread_mutex_unlock(&surveyor->lock);
    return since;
}
