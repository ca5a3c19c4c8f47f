/* SPDX-License-Identifier: Apache-2.0
 * See exposure.h.
 *
 * Positions are kept as texts, which are short, and parsed when they are compared: a shard has one
 * source, hardly ever more, and of a source only the moments that are not covered yet, and a few
 * that are. When there are too many of these, they are thinned out, never the oldest: however far
 * behind the other region is, what it gets to next is known; and however much of that it loses
 * again, what is left is known about as exactly as it is old. */
#include "exposure/exposure.h"

#include "base/mem.h"
#include "base/scope.h"
#include "wire/gtid.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOMENTS = 8,
    PAST = 16,
};

struct moment {
    nsec asked;
    char *position; /* owned */
};

/* Of a server that is open, or follows nobody. */
struct source {
    nsec covered_until;
    char *position;                 /* owned; the newest */
    struct moment moments[MOMENTS]; /* not covered yet, oldest first */
    size_t count;
    struct moment past[PAST]; /* the other region had received them, once; oldest first */
    size_t past_count;
};

struct server {
    nsec asked;            /* EXPOSURE_NEVER: it was never seen */
    nsec opened;           /* when it was last seen open */
    nsec followed;         /* when it was last seen closed, and a replica */
    struct source *source; /* owned; NULL: it is none */
    char *received;        /* owned; NULL: nothing */
    int64_t server_id, source_id;
};

struct exposure_track {
    const struct inventory_shard *shard;
    struct server *servers;
};

struct exposure_track *exposure_track_new(const struct inventory_shard *shard)
{
    struct exposure_track *track = mem_zalloc(sizeof(*track));
    track->shard = shard;
    track->servers = mem_zalloc((shard->server_count + 1) * sizeof(*track->servers));
    for (size_t i = 0; i < shard->server_count; i++)
        track->servers[i] = (struct server){
            .asked = EXPOSURE_NEVER, .opened = EXPOSURE_NEVER, .followed = EXPOSURE_NEVER};
    return track;
}

static void source_free(struct source *source)
{
    if (!source)
        return;
    for (size_t i = 0; i < source->count; i++)
        free(source->moments[i].position);
    for (size_t i = 0; i < source->past_count; i++)
        free(source->past[i].position);
    free(source->position);
    free(source);
}

void exposure_track_free(struct exposure_track *track)
{
    if (!track)
        return;
    for (size_t i = 0; i < track->shard->server_count; i++) {
        source_free(track->servers[i].source);
        free(track->servers[i].received);
    }
    free(track->servers);
    free(track);
}

/* ---- positions ---- */

/* What does not read is in nothing, and holds nothing. */
static bool contains(const struct gtid_set *received, const char *position)
{
    AUTO(gtid_set_release) struct gtid_set wanted = {0};
    struct err err = ERR_INIT;
    return gtid_set_parse_text(GTID_MARIADB, position, &wanted, &err) == ST_OK &&
           gtid_set_contains(received, &wanted);
}

static int64_t count_missing(const char *received, const char *position)
{
    AUTO(gtid_set_release) struct gtid_set have = {0};
    AUTO(gtid_set_release) struct gtid_set want = {0};
    struct err err = ERR_INIT;
    if (gtid_set_parse_text(GTID_MARIADB, received, &have, &err) ||
        gtid_set_parse_text(GTID_MARIADB, position, &want, &err))
        return -1;
    uint64_t count = gtid_set_count_missing(&have, &want);
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}

/* ---- what is covered ---- */

/* Out of the array; who had the position of it has it no more. */
static struct moment take_moment(struct moment *moments, size_t *count, size_t at)
{
    struct moment taken = moments[at];
    (*count)--;
    memmove(moments + at, moments + at + 1, (*count - at) * sizeof(*moments));
    return taken;
}

/* The one whose neighbours are closest to each other, for how old it is. */
static void thin_out_past(struct source *source)
{
    const struct moment *past = source->past;
    nsec newest = past[source->past_count - 1].asked;
    size_t at = 1;
    double least = 1;
    for (size_t i = 1; i + 1 < source->past_count; i++) {
        double span = (double)(past[i + 1].asked - past[i - 1].asked);
        double age = (double)(newest - past[i - 1].asked) + 1;
        if (span / age >= least)
            continue;
        at = i;
        least = span / age;
    }
    free(take_moment(source->past, &source->past_count, at).position);
}

static void keep_past(struct source *source, struct moment moment)
{
    struct moment *last = source->past_count > 0 ? &source->past[source->past_count - 1] : NULL;
    if (last && strcmp(last->position, moment.position) == 0) { /* it wrote nothing */
        last->asked = moment.asked;
        free(moment.position);
        return;
    }
    if (source->past_count == PAST)
        thin_out_past(source);
    source->past[source->past_count++] = moment;
}

static void cover(struct source *source, const char *received)
{
    AUTO(gtid_set_release) struct gtid_set have = {0};
    struct err err = ERR_INIT;
    if (source->count == 0 || !received || gtid_set_parse_text(GTID_MARIADB, received, &have, &err))
        return;
    size_t covered = source->count;
    while (covered > 0 && !contains(&have, source->moments[covered - 1].position))
        covered--;
    if (covered == 0)
        return;
    if (source->moments[covered - 1].asked > source->covered_until)
        source->covered_until = source->moments[covered - 1].asked;
    for (size_t i = 0; i < covered; i++)
        keep_past(source, take_moment(source->moments, &source->count, 0));
}

/* The one whose neighbours are closest to each other, which is neither the first nor the last. */
static void thin_out(struct source *source)
{
    size_t least = 1;
    for (size_t i = 2; i + 1 < source->count; i++)
        if (source->moments[i + 1].asked - source->moments[i - 1].asked <
            source->moments[least + 1].asked - source->moments[least - 1].asked)
            least = i;
    free(take_moment(source->moments, &source->count, least).position);
}

static void add_moment(struct source *source, nsec asked, const char *position)
{
    struct moment *last = source->count > 0 ? &source->moments[source->count - 1] : NULL;
    free(source->position);
    source->position = mem_strdup(position);
    if (last && strcmp(last->position, position) == 0) { /* it wrote nothing: only newer */
        last->asked = asked;
        return;
    }
    if (source->count == MOMENTS)
        thin_out(source);
    source->moments[source->count++] = (struct moment){asked, mem_strdup(position)};
}

/* ---- sights ---- */

static void see_source(struct exposure_track *track, const struct exposure_sight *sight)
{
    struct server *server = &track->servers[sight->server];
    size_t region = track->shard->servers[sight->server].region;
    if (!server->source) {
        server->source = mem_zalloc(sizeof(*server->source));
        server->source->covered_until = EXPOSURE_NEVER;
    }
    add_moment(server->source, sight->asked, sight->position);
    for (size_t i = 0; i < track->shard->server_count; i++)
        if (track->shard->servers[i].region != region)
            cover(server->source, track->servers[i].received);
}

static void see_receiver(struct exposure_track *track, const struct exposure_sight *sight)
{
    size_t region = track->shard->servers[sight->server].region;
    char **received = &track->servers[sight->server].received;
    if (!*received || strcmp(*received, sight->received) != 0) {
        free(*received);
        *received = mem_strdup(sight->received);
    }
    for (size_t i = 0; i < track->shard->server_count; i++)
        if (track->shard->servers[i].region != region && track->servers[i].source)
            cover(track->servers[i].source, sight->received);
}

void exposure_track_see(struct exposure_track *track, const struct exposure_sight *sight)
{
    struct server *server = &track->servers[sight->server];
    if (sight->asked < server->asked)
        return;
    server->asked = sight->asked;
    server->server_id = sight->server_id;
    server->source_id = sight->source_id;
    if (sight->is_open)
        server->opened = sight->asked;
    if (sight->is_open || !sight->is_replica) {
        see_source(track, sight);
    } else {
        server->followed = sight->asked;
        source_free(server->source);
        server->source = NULL;
    }
    if (sight->is_replica && sight->received[0]) {
        see_receiver(track, sight);
    } else {
        free(server->received);
        server->received = NULL;
    }
}

void exposure_track_look(struct exposure_track *track, const struct shard_observation *seen,
                         nsec began)
{
    for (size_t i = 0; i < track->shard->server_count; i++) {
        const struct sql_server_state *state = &seen->servers[i].state;
        struct exposure_sight sight = {
            .server = i,
            .asked = began,
            .is_open = !state->is_read_only,
            .is_replica = state->channels > 0,
            .server_id = state->server_id,
            .source_id = state->source_id,
            .position = state->position,
            .received = state->received,
        };
        if (seen->servers[i].status == ST_OK)
            exposure_track_see(track, &sight);
    }
}

/* ---- what is known ---- */

/* Last seen open; else one that follows nobody, as after the permission of a primary ended. */
static const struct server *find_primary(const struct exposure_track *track)
{
    const struct server *best = NULL;
    for (size_t i = 0; i < track->shard->server_count; i++) {
        const struct server *at = &track->servers[i];
        if (at->source && (!best || at->opened > best->opened))
            best = at;
    }
    return best;
}

static const struct inventory_server *declared(const struct exposure_track *track,
                                               const struct server *server)
{
    return &track->shard->servers[server - track->servers];
}

/* Of another region than the source: who has most of its position; the one that gets it from there
 * rather than one behind that. */
static const struct server *find_receiver(const struct exposure_track *track,
                                          const struct server *source, int64_t *ret_missing)
{
    const struct server *best = NULL;
    *ret_missing = -1;
    for (size_t i = 0; i < track->shard->server_count; i++) {
        const struct server *at = &track->servers[i];
        if (declared(track, at)->region == declared(track, source)->region || !at->received)
            continue;
        int64_t missing = count_missing(at->received, source->source->position);
        bool is_direct = at->source_id != 0 && at->source_id == source->server_id;
        if (missing < 0 ||
            (best && (missing > *ret_missing || (missing == *ret_missing && !is_direct))))
            continue;
        best = at;
        *ret_missing = missing;
    }
    return best;
}

void exposure_get(const struct exposure_track *track, struct exposure *ret)
{
    const struct server *primary = find_primary(track);
    *ret = (struct exposure){.covered_until = EXPOSURE_NEVER, .transactions = -1};
    if (!primary)
        return;
    const struct server *receiver = find_receiver(track, primary, &ret->transactions);
    ret->primary = declared(track, primary);
    ret->asked = primary->asked;
    ret->position = mem_strdup(primary->source->position);
    ret->covered_until = primary->source->covered_until;
    if (!receiver)
        return;
    ret->receiver = declared(track, receiver);
    ret->receiver_asked = receiver->asked;
    ret->received = mem_strdup(receiver->received);
}

void exposure_release(struct exposure *exposure)
{
    free(exposure->position);
    free(exposure->received);
    *exposure = (struct exposure){0};
}

double exposure_ms(const struct exposure *exposure, nsec now)
{
    if (!exposure->primary || exposure->covered_until == EXPOSURE_NEVER)
        return -1;
    return clock_ms(now > exposure->covered_until ? now - exposure->covered_until : 0);
}

nsec exposure_since(const struct exposure_track *track, size_t server)
{
    const struct server *at = &track->servers[server];
    nsec covered = at->source ? at->source->covered_until : EXPOSURE_NEVER;
    return covered > at->followed ? covered : at->followed;
}

static bool find_covered(const struct gtid_set *have, const struct moment *moments, size_t count,
                         nsec *ret)
{
    while (count > 0 && !contains(have, moments[count - 1].position))
        count--;
    if (count > 0)
        *ret = moments[count - 1].asked;
    return count > 0;
}

bool exposure_bound(const struct exposure_track *track, size_t server, const char *position,
                    struct exposure_bound *ret)
{
    const struct source *source = track->servers[server].source;
    AUTO(gtid_set_release) struct gtid_set have = {0};
    struct err err = ERR_INIT;
    nsec covered = EXPOSURE_NEVER;
    if (!source || gtid_set_parse_text(GTID_MARIADB, position, &have, &err) ||
        (!find_covered(&have, source->moments, source->count, &covered) &&
         !find_covered(&have, source->past, source->past_count, &covered)))
        return false;
    *ret = (struct exposure_bound){covered, count_missing(position, source->position)};
    return true;
}

/* ---- whom to ask ---- */

bool exposure_wants(const struct exposure_track *track, size_t server)
{
    const struct server *primary = find_primary(track);
    int64_t missing;
    if (track->servers[server].source)
        return true;
    return primary && find_receiver(track, primary, &missing) == &track->servers[server];
}
