/* SPDX-License-Identifier: Apache-2.0
 * See heir.h. */
#include "handover/heir.h"

#include "base/buf.h"
#include "base/scope.h"

#include <string.h>

/* ---- one server ---- */

static const char *trouble_of(const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (server->status)
        return "does not answer";
    if (!state->is_read_only)
        return "accepts writes";
    if (state->channels != 1)
        return state->channels ? "has several sources" : "replicates from nobody";
    if (!state->is_io_running || !state->is_sql_running)
        return state->is_io_running ? "does not apply what it receives" : "does not receive";
    return state->uses_gtid ? NULL : "replicates without GTIDs";
}

const char *heirs_refusal(const struct server_observation *server)
{
    const char *trouble = trouble_of(server);
    if (trouble)
        return trouble;
    return server->state.has_binlog && server->state.logs_replica_updates
               ? NULL
               : "has no binary log with what it replicates";
}

static bool is_kept_off(const struct drain_list *drained, const struct server_observation *server)
{
    return drain_keeps_off(drained, server->server->name);
}

static size_t count_followers(const struct shard_observation *shard,
                              const struct server_observation *source)
{
    size_t count = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++)
        count += shard->servers[i].status == ST_OK && shard->servers[i].source == source;
    return count;
}

/* The one that acknowledges already, and that others follow already: a handover that was stopped
 * half-way goes on with the same. */
static int score_of(const struct shard_observation *shard, const struct server_observation *server)
{
    return 2 * (int)count_followers(shard, server) + server->state.is_replica_semi_sync;
}

/* ---- who ---- */

/* Of the region, not drained, without a trouble; not 'other' and not the primary. */
static const struct server_observation *
find_best(const struct shard_observation *shard, const struct drain_list *drained, size_t region,
          const struct server_observation *other,
          const char *(*refuse)(const struct server_observation *server))
{
    const struct server_observation *best = NULL;
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (at->server->region != region || at == other || at == shard->primary ||
            is_kept_off(drained, at) || refuse(at))
            continue;
        if (!best || score_of(shard, at) > score_of(shard, best))
            best = at;
    }
    return best;
}

/* Why each of the others of the region cannot. */
static void add_reasons(const struct shard_observation *shard, const struct drain_list *drained,
                        const struct server_observation *other, struct buf *words)
{
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (at == other || at == shard->primary ||
            at->server->region != shard->primary->server->region)
            continue;
        const char *why = is_kept_off(drained, at) ? "is drained" : heirs_refusal(at);
        buf_printf(words, "%s%s %s", words->length ? ", " : ": ", at->server->name,
                   why ? why : "cannot");
    }
}

static enum status refuse(const struct shard_observation *shard, const struct drain_list *drained,
                          const struct server_observation *heir, struct err *err)
{
    AUTO(buf_release) struct buf words = {0};
    add_reasons(shard, drained, heir, &words);
    if (heir)
        err_set(err, ST_NO_GO, "shard %s: nobody would acknowledge what %s writes%s",
                shard->shard->name, heir->server->name, buf_text(&words));
    else
        err_set(err, ST_NO_GO, "shard %s: no other server of its region can be primary%s",
                shard->shard->name, buf_text(&words));
    return err_hint(err,
                    "bring another server of the region into its role (holdfast fleet converge), "
                    "or move the shard first: holdfast switchover --shard %s --to REGION",
                    shard->shard->name);
}

static const struct server_observation *find_named(const struct shard_observation *shard,
                                                   const char *name)
{
    for (size_t i = 0; i < shard->shard->server_count; i++)
        if (strcmp(shard->servers[i].server->name, name) == 0)
            return &shard->servers[i];
    return NULL;
}

/* The old primary acknowledges as soon as it follows, but the first write must not wait for that.
 */
static enum status choose_acker(const struct shard_observation *shard,
                                const struct drain_list *drained, struct heirs *ret,
                                struct err *err)
{
    ret->acker =
        find_best(shard, drained, shard->primary->server->region, ret->primary, trouble_of);
    return ret->acker ? ST_OK : refuse(shard, drained, ret->primary, err);
}

enum status heirs_choose(const struct shard_observation *shard, const struct drain_list *drained,
                         const char *named, struct heirs *ret, struct err *err)
{
    *ret = (struct heirs){0};
    if (!shard->primary)
        return err_set(err, ST_NO_GO, "shard %s has no primary, or several", shard->shard->name);
    ret->primary =
        named ? find_named(shard, named)
              : find_best(shard, drained, shard->primary->server->region, NULL, heirs_refusal);
    if (!ret->primary)
        return refuse(shard, drained, NULL, err);
    const char *why = heirs_refusal(ret->primary);
    if (!why && ret->primary->server->region != shard->primary->server->region)
        why = "is not in the region where the shard is now";
    if (!why)
        return choose_acker(shard, drained, ret, err);
    err_set(err, ST_NO_GO, "shard %s: %s %s", shard->shard->name, ret->primary->server->name, why);
    return err_hint(err, "holdfast status --json shows its servers; holdfast fleet converge brings "
                         "one that was restarted into its role");
}

/* ---- acknowledgements ---- */

static size_t count_of_region(const struct shard_observation *shard, size_t region)
{
    size_t count = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++)
        count += shard->servers[i].server->region == region;
    return count;
}

enum status heirs_check_ackers(const struct shard_observation *shard,
                               const struct drain_list *drained, struct err *err)
{
    if (!shard->primary)
        return err_set(err, ST_NO_GO, "shard %s has no primary, or several", shard->shard->name);
    size_t home = shard->primary->server->region;
    /* One that is alone in its region is acknowledged by a server of the other one. */
    size_t region = count_of_region(shard, home) > 1 ? home : 1 - home;
    return find_best(shard, drained, region, NULL, trouble_of)
               ? ST_OK
               : refuse(shard, drained, shard->primary, err);
}

bool heirs_has_acker(const struct shard_observation *shard, const struct drain_list *drained)
{
    for (size_t i = 0; shard->primary && i < shard->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (at->source == shard->primary && !is_kept_off(drained, at) && !trouble_of(at) &&
            at->state.is_replica_semi_sync)
            return true;
    }
    return false;
}

const struct server_observation *heirs_find_relay(const struct shard_observation *shard,
                                                  const struct drain_list *drained, size_t region)
{
    return find_best(shard, drained, region, NULL, trouble_of);
}
