/* SPDX-License-Identifier: Apache-2.0
 * See hearing.h. */
#include "daemon/hearing.h"

#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "daemon/words.h"
#include "exposure/surveyor.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "mirror/mirror.h"
#include "permit/permit.h"

#include <pthread.h>
#include <stdlib.h>

enum { SILENT_INTERVALS = 2 /* an agent that has not asked for so many of them is silent */ };

struct hearing {
    const struct daemon *daemon;
    const struct inventory *fleet;
    struct words *words; /* of the agents of all regions */
    struct failover_ears ears;
    pthread_mutex_t lock;
    struct surveyor *surveyor;
    struct sighting { /* of a route's revision, for the first time; by shard; under the lock */
        uint64_t revision;
        nsec at;
        nsec lost; /* its primary answers no more since then; 0: it does */
    } * sightings;
};

nsec hearing_patience(const struct inventory *fleet)
{
    return SILENT_INTERVALS * permit_interval(fleet->permission_ttl_ms * NSEC_PER_MS);
}

struct steward_word hearing_word(struct hearing *hearing, const char *server)
{
    return words_find(hearing->words, server);
}

void hearing_sight(struct hearing *hearing, const struct inventory_shard *shard,
                   const struct route *route)
{
    struct sighting *sighting = &hearing->sightings[shard->index];
    pthread_mutex_lock(&hearing->lock);
    if (sighting->revision != route->revision)
        *sighting = (struct sighting){route->revision, clock_now(), sighting->lost};
    pthread_mutex_unlock(&hearing->lock);
}

void hearing_note_loss(struct hearing *hearing, const struct inventory_shard *shard, nsec since)
{
    pthread_mutex_lock(&hearing->lock);
    hearing->sightings[shard->index].lost = since;
    pthread_mutex_unlock(&hearing->lock);
}

/* ---- as a failover asks ---- */

static bool lost_since(void *context, const struct inventory_shard *shard, nsec *ret)
{
    struct hearing *hearing = context;
    pthread_mutex_lock(&hearing->lock);
    *ret = hearing->sightings[shard->index].lost;
    pthread_mutex_unlock(&hearing->lock);
    return *ret != 0;
}

static bool bound(void *context, const struct inventory_shard *shard,
                  const struct inventory_server *lost, const char *position,
                  struct failover_bound *ret)
{
    struct hearing *hearing = context;
    struct exposure_bound found;
    if (!surveyor_bound(hearing->surveyor, shard, lost->index, position, &found))
        return false;
    *ret = (struct failover_bound){found.covered, found.transactions};
    return true;
}

static bool hear(void *context, const char *server, struct permit_heard *ret)
{
    struct steward_word word = hearing_word(context, server);
    *ret = (struct permit_heard){.is_closed = word.is_closed, .closed = word.closed, .at = word.at};
    return word.is_known;
}

static bool last_grant(void *context, const struct permit_granters *granters, const char *server,
                       int64_t revocation, nsec *ret)
{
    struct hearing *hearing = context;
    return words_last_grant(hearing->words, granters, server, revocation, ret);
}

static bool route_of(void *context, const struct inventory_shard *shard, int64_t revision,
                     struct route *ret)
{
    struct hearing *hearing = context;
    return mirror_get_route_of(hearing->daemon->mirror, shard->name, revision, ret);
}

static bool route_since(void *context, const struct inventory_shard *shard, uint64_t revision,
                        nsec *ret)
{
    struct hearing *hearing = context;
    pthread_mutex_lock(&hearing->lock);
    struct sighting sighting = hearing->sightings[shard->index];
    pthread_mutex_unlock(&hearing->lock);
    *ret = sighting.at;
    return revision != 0 && sighting.revision == revision;
}

bool hearing_may_open(void *context, const struct inventory_server *server)
{
    struct hearing *hearing = context;
    struct steward_word word = hearing_word(hearing, server->name);
    return !server->has_agent ||
           (word.is_known && word.granted >= clock_now() - hearing_patience(hearing->fleet));
}

void hearing_hurry(struct hearing *hearing)
{
    words_hurry(hearing->words);
}

/* ---- making ---- */

struct hearing *hearing_new(const struct daemon *daemon)
{
    const struct inventory *fleet = daemon->fleet;
    struct hearing *hearing = mem_zalloc(sizeof(*hearing));
    *hearing = (struct hearing){
        .daemon = daemon,
        .fleet = fleet,
        .words = words_new(fleet, daemon->self, daemon->steward),
        .sightings = mem_zalloc((fleet->shard_count + 1) * sizeof(*hearing->sightings)),
        .surveyor = daemon->surveyor,
        .ears = {hearing, hear, last_grant, route_of, route_since, hearing_may_open, lost_since,
                 bound},
    };
    pthread_mutex_init(&hearing->lock, NULL);
    return hearing;
}

void hearing_free(struct hearing *hearing)
{
    if (!hearing)
        return;
    words_free(hearing->words);
    free(hearing->sightings);
    pthread_mutex_destroy(&hearing->lock);
    free(hearing);
}

const struct failover_ears *hearing_ears(struct hearing *hearing)
{
    return hearing ? &hearing->ears : NULL;
}
