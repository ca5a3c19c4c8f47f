/* SPDX-License-Identifier: Apache-2.0
 * Are moved shards well? See health.h. */
#include "conductor/health.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/schema.h"
#include "move/probe.h"
#include "sql/conn.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    OBSERVE_MS = 2000,
    WRITE_MS = 2000,
    RECOVER_MS = 10000, /* a shard that is not well has so long to become so */
    LOOK_MS = 200,
    TRIES_MIN = 20, /* writes of which a share says something */
};

static enum status judge_primary(const struct shard_observation *seen, const char *primary,
                                 struct err *err)
{
    const char *name = seen->shard->name;
    if (seen->writable_count > 1)
        return err_set(err, ST_NO_GO, "%s: %zu servers accept writes", name, seen->writable_count);
    if (!seen->primary)
        return err_set(err, ST_NO_GO, "%s: no server accepts writes", name);
    if (strcmp(seen->primary->server->name, primary) != 0)
        return err_set(err, ST_NO_GO, "%s: %s accepts writes instead of %s", name,
                       seen->primary->server->name, primary);
    const struct sql_server_state *state = &seen->primary->state;
    if (!state->is_source_semi_sync || !state->is_semi_sync_active || state->ackers < 1)
        return err_set(err, ST_NO_GO, "%s: no replica acknowledges the writes of %s", name,
                       primary);
    return ST_OK;
}

static enum status judge_shard(const struct run *run, const struct shard_observation *seen,
                               const char *primary, struct err *err)
{
    enum status status = judge_primary(seen, primary, err);
    if (status)
        return status;
    size_t from = 1 - run->mandate.to_region;
    const struct server_observation *relay = seen->relays[from];
    int64_t max_lag_ms = run->mandate.fleet->policy.max_lag_ms;
    if (!relay)
        return err_set(err, ST_NO_GO, "%s: no server of %s follows %s", seen->shard->name,
                       run->mandate.fleet->regions[from], primary);
    if (relay->lag_ms < 0 || relay->lag_ms > (double)max_lag_ms)
        return err_set(err, ST_NO_GO, "%s: %s is more than %lld ms behind %s", seen->shard->name,
                       relay->server->name, (long long)max_lag_ms, primary);
    return ST_OK;
}

/* The moved shards, and where each of them is now. */
struct moved {
    const struct inventory_shard **shards;
    const char **primaries;
    size_t count;
};

static struct moved moved_of(const struct switchover_report *report, size_t count)
{
    struct moved moved = {
        .shards = mem_zalloc((count + 1) * sizeof(*moved.shards)),
        .primaries = mem_zalloc((count + 1) * sizeof(*moved.primaries)),
    };
    for (size_t i = 0; i < count; i++)
        if (report->shards[i].result == MOVE_MOVED) {
            moved.shards[moved.count] = report->shards[i].shard;
            moved.primaries[moved.count++] = report->shards[i].primary;
        }
    return moved;
}

static void moved_release(struct moved *moved)
{
    free(moved->shards);
    free(moved->primaries);
}

/* What the gate's own writes came to, since the wave was well. */
struct tries {
    size_t tried, failed;
    struct err last; /* of those that failed */
};

/* What a client would find: a write with no privileges at each new primary, waited for until a
 * replica has acknowledged it. */
static void try_writes(const struct inventory *fleet, const struct fleet_observation *seen,
                       struct tries *tries)
{
    if (!fleet->probe.user)
        return;
    AUTO_FREE struct sql_call *calls = mem_zalloc((seen->count + 1) * sizeof(*calls));
    for (size_t i = 0; i < seen->count; i++) {
        struct sql_endpoint endpoint =
            inventory_endpoint(fleet, &fleet->probe, seen->shards[i].primary->server);
        endpoint.database = SCHEMA_NAME;
        calls[i] = (struct sql_call){.conn = sql_conn_new(&endpoint), .sql = PROBE_GATE_WRITE};
    }
    sql_run(calls, seen->count, clock_deadline(WRITE_MS));
    for (size_t i = 0; i < seen->count; i++) {
        tries->tried++;
        tries->failed += calls[i].status != ST_OK;
        if (calls[i].status)
            err_set(&tries->last, ST_NO_GO, "%s: a client's write at %s fails: %.200s",
                    seen->shards[i].shard->name, seen->shards[i].primary->server->name,
                    calls[i].err.text);
        sql_conn_free(calls[i].conn);
        sql_call_release(&calls[i]);
    }
}

static enum status look(const struct run *run, const struct moved *moved, struct tries *tries,
                        struct err *err)
{
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    const struct inventory *fleet = run->mandate.fleet;
    fleet_observe_lag(fleet, moved->shards, moved->count, clock_deadline(OBSERVE_MS), &seen);
    enum status status = ST_OK;
    for (size_t i = 0; i < seen.count && !status; i++)
        status = judge_shard(run, &seen.shards[i], moved->primaries[i], err);
    if (!status)
        try_writes(fleet, &seen, tries);
    return status;
}

/* Few tries tell no share, unless there are to be no more. */
static enum status judge_tries(const struct tries *tries, uint32_t max_percent, bool is_last,
                               struct err *err)
{
    bool is_over = tries->failed * 100 > tries->tried * max_percent;
    if (!is_over || (max_percent > 0 && tries->tried < TRIES_MIN && !is_last))
        return ST_OK;
    *err = tries->last;
    return max_percent == 0 ? err->status
                            : err_wrap(err,
                                       "%zu of %zu writes failed, more than "
                                       "policy.max_error_percent (%u)",
                                       tries->failed, tries->tried, (unsigned)max_percent);
}

enum status health_wait(const struct run *run, const struct switchover_report *report, size_t count,
                        int64_t settle_ms, struct err *err)
{
    AUTO(moved_release) struct moved moved = moved_of(report, count);
    uint32_t max_percent = run->mandate.fleet->policy.max_error_percent;
    struct tries tries = {0};
    nsec give_up = clock_deadline(RECOVER_MS), well_since = 0;
    for (;;) {
        if (!well_since)
            tries = (struct tries){0};
        enum status status = moved.count ? look(run, &moved, &tries, err) : ST_OK;
        nsec now = clock_now();
        bool is_last = well_since && now - well_since >= settle_ms * NSEC_PER_MS;
        if (run_must_stop(run))
            return err_set(err, ST_ABORTED, "stopped between two waves");
        if (!status)
            status = judge_tries(&tries, well_since ? max_percent : 0, is_last, err);
        if (status && (well_since || now >= give_up)) /* it was well, and did not stay so */
            return status;
        if (!status && !well_since)
            well_since = now;
        if (!status && now - well_since >= settle_ms * NSEC_PER_MS)
            return ST_OK;
        poll(NULL, 0, LOOK_MS);
    }
}
