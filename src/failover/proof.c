/* SPDX-License-Identifier: Apache-2.0
 * See proof.h. */
#include "failover/proof.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* A replica of its region, which may hold what was acknowledged. */
static bool is_near(const struct server_observation *server, const struct inventory_server *lost)
{
    return server->server != lost && server->server->region == lost->region;
}

static bool acknowledges(const struct server_observation *server,
                         const struct inventory_server *lost)
{
    return server->status == ST_OK && is_near(server, lost) && server->source &&
           server->source->server == lost && server->state.is_replica_semi_sync;
}

/* As readiness demands it of a primary. */
static bool waits_for_each(const struct sql_server_state *state)
{
    return state->is_source_semi_sync && state->is_semi_sync_active &&
           state->waits_without_ackers && state->waits_after_sync &&
           state->semi_sync_timeout_ms >= DAY_MS;
}

void proof_see_first(struct proof *proof, const struct shard_observation *shard,
                     const struct inventory_server *lost)
{
    const struct server_observation *old = &shard->servers[lost->index];
    proof->was_first_seen = true;
    proof->ackers = 0;
    proof->is_lost_lax = old->status == ST_OK && !waits_for_each(&old->state);
    for (size_t i = 0; i < shard->shard->server_count; i++)
        proof->ackers += acknowledges(&shard->servers[i], lost);
}

/* Names those that do not answer: without them nothing is proven. */
static size_t count_silent(const struct shard_observation *shard,
                           const struct inventory_server *lost, struct buf *words)
{
    size_t silent = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (at->status == ST_OK || !is_near(at, lost))
            continue;
        buf_printf(words, "%s%s", silent ? ", " : "", at->server->name);
        silent++;
    }
    return silent;
}

void proof_weigh(struct proof *proof, const struct shard_observation *shard,
                 const struct inventory_server *lost, const struct election *made)
{
    struct buf *words = &proof->words;
    buf_clear(words);
    proof->is_proven = false;
    if (count_silent(shard, lost, words))
        buf_add(words, " did not answer, and may hold acknowledged writes that nobody else has");
    else if (!proof->was_first_seen)
        buf_printf(words,
                   "who acknowledged the writes of %s was seen by the process before this one",
                   lost->name);
    else if (proof->ackers == 0)
        buf_printf(words, "no replica of its region acknowledged the writes of %s", lost->name);
    else if (proof->is_lost_lax)
        buf_printf(words, "%s did not wait until each write was acknowledged", lost->name);
    else
        proof->is_proven = true;
    if (proof->is_proven)
        buf_printf(words,
                   "every replica of its region answered, %zu of them had acknowledged the writes "
                   "of %s, and %s has all that anybody who answers had received",
                   proof->ackers, lost->name, made->candidate->server->name);
}

void proof_release(struct proof *proof)
{
    buf_release(&proof->words);
}
