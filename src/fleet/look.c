/* SPDX-License-Identifier: Apache-2.0
 *
 * The second look at all servers, for readiness: own grants, lag, what runs there, whether a
 * freeze would get its lock, whether the other accounts are let in. Each stage goes to all servers
 * side by side; what a server does not answer is left out, with the reason why. */
#include "fleet/checkup.h"

#include "base/mem.h"
#include "base/scope.h"
#include "sql/conn.h"

#include <stdlib.h>

enum {
    STAGE_MS = 1000, /* each stage, at most */
    LOCK_TRY_MS = 200,
    LONG_MS = 1000, /* a writing statement that runs longer is worth a finding */
    LAG_EXTRA_MS = 200,
};

/* The servers that still answer, as one list. */
struct crowd {
    struct server_observation **servers;
    struct server_look **looks;
    const struct shard_observation **shards;
    struct sql_call *calls;
    size_t count;
};

static void crowd_release(struct crowd *crowd)
{
    free(crowd->servers);
    free(crowd->looks);
    free(crowd->shards);
    free(crowd->calls);
}

static void crowd_gather(struct crowd *crowd, struct fleet_observation *observation,
                         const struct fleet_look *look)
{
    size_t total = 1;
    for (size_t i = 0; i < observation->count; i++)
        total += observation->shards[i].shard->server_count;
    crowd->servers = mem_zalloc(total * sizeof(*crowd->servers));
    crowd->looks = mem_zalloc(total * sizeof(*crowd->looks));
    crowd->shards = mem_zalloc(total * sizeof(*crowd->shards));
    crowd->calls = mem_zalloc(total * sizeof(*crowd->calls));
    for (size_t i = 0; i < observation->count; i++) {
        struct shard_observation *shard = &observation->shards[i];
        for (size_t j = 0; j < shard->shard->server_count; j++) {
            struct server_observation *server = &shard->servers[j];
            if (!server->flavour || !sql_conn_is_open(server->conn))
                continue;
            crowd->servers[crowd->count] = server;
            crowd->shards[crowd->count] = shard;
            crowd->looks[crowd->count++] = &look->shards[i][j];
        }
    }
}

static nsec stage_end(nsec deadline, int64_t ms)
{
    nsec end = clock_deadline(ms);
    return end < deadline ? end : deadline;
}

static void read_login(struct sql_call *call)
{
    struct login *login = call->context;
    login->was_tried = true;
    login->status = call->status;
    login->err = call->err;
    login->raw = call->result;
    call->result = (struct sql_result){0};
    login->line_count = login->status ? 0 : sql_rows(&login->raw, 0);
    login->lines = mem_zalloc((login->line_count + 1) * sizeof(*login->lines));
    for (size_t row = 0; row < login->line_count; row++) {
        const char *line = sql_value(&login->raw, 0, row, 0);
        login->lines[row] = line ? line : "";
    }
}

static bool is_end_of_a_move(const struct shard_observation *shard,
                             const struct server_observation *server)
{
    bool is_relay = false;
    for (size_t i = 0; i < INVENTORY_REGIONS; i++)
        is_relay = is_relay || server == shard->relays[i];
    return is_relay || server == shard->primary;
}

static void end_login(struct sql_call *call)
{
    read_login(call);
    sql_conn_free(call->conn);
}

/* On connections of their own, at the servers where these accounts are needed. */
static size_t add_logins(const struct inventory *fleet, enum account_kind kind,
                         const struct crowd *crowd, struct sql_call *calls)
{
    const struct inventory_account *account = grants_account(fleet, kind);
    size_t count = 0;
    for (size_t i = 0; i < crowd->count && account->user; i++) {
        const struct inventory_server *server = crowd->servers[i]->server;
        if (!is_end_of_a_move(crowd->shards[i], crowd->servers[i]))
            continue;
        struct sql_endpoint endpoint = inventory_endpoint(fleet, account, server);
        calls[count++] = (struct sql_call){.conn = sql_conn_new(&endpoint),
                                           .on_done = end_login,
                                           .context = &crowd->looks[i]->logins[kind]};
    }
    return count;
}

/* What may Holdfast's own account, and are the others let in? */
static void ask_for_grants(const struct inventory *fleet, struct crowd *crowd, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO_FREE struct sql_call *calls =
        mem_zalloc((ACCOUNT_KINDS * crowd->count + 1) * sizeof(*calls));
    size_t count = 0;
    for (; count < crowd->count; count++)
        calls[count] = (struct sql_call){.conn = crowd->servers[count]->conn,
                                         .on_done = read_login,
                                         .context = &crowd->looks[count]->logins[ACCOUNT_CONTROL]};
    count += add_logins(fleet, ACCOUNT_REPLICATION, crowd, calls + count);
    count += add_logins(fleet, ACCOUNT_PROBE, crowd, calls + count);
    sql_mariadb.list_grants(&sql);
    for (size_t i = 0; i < count; i++)
        calls[i].sql = buf_text(&sql);
    sql_run(calls, count, stage_end(deadline, STAGE_MS));
}

static void inspect(struct crowd *crowd, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    sql_mariadb.inspect(&sql, LONG_MS);
    for (size_t i = 0; i < crowd->count; i++)
        crowd->calls[i] = (struct sql_call){.conn = crowd->servers[i]->conn, .sql = buf_text(&sql)};
    sql_run(crowd->calls, crowd->count, stage_end(deadline, STAGE_MS));
    for (size_t i = 0; i < crowd->count; i++) {
        struct server_look *look = crowd->looks[i];
        const struct sql_flavour *flavour = crowd->servers[i]->flavour;
        look->inspection_err = crowd->calls[i].err;
        look->is_inspected = crowd->calls[i].status == ST_OK &&
                             flavour->read_inspection(&crowd->calls[i].result, &look->inspection,
                                                      &look->inspection_err) == ST_OK;
        sql_call_release(&crowd->calls[i]);
    }
}

/* Harmless: it waits behind another backup or LOCK TABLES, and nobody waits behind it. */
static void try_freeze_lock(struct crowd *crowd, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO_FREE size_t *of = mem_zalloc((crowd->count + 1) * sizeof(*of));
    size_t count = 0;
    sql_mariadb.try_freeze_lock(&sql, LOCK_TRY_MS);
    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd->servers[i] != crowd->shards[i]->primary)
            continue;
        of[count] = i;
        crowd->calls[count++] =
            (struct sql_call){.conn = crowd->servers[i]->conn, .sql = buf_text(&sql)};
    }
    sql_run(crowd->calls, count, stage_end(deadline, STAGE_MS));
    for (size_t i = 0; i < count; i++) {
        struct server_look *look = crowd->looks[of[i]];
        const struct sql_call *call = &crowd->calls[i];
        /* with the server's own number; else it is our deadline that passed */
        look->is_freeze_held_up = call->status == ST_TIMEOUT && call->sql_errno != 0;
        if (!look->is_freeze_held_up)
            look->freeze_err = call->err;
        sql_call_release(&crowd->calls[i]);
    }
}

void fleet_look(const struct inventory *fleet, struct fleet_observation *observation, bool try_lock,
                nsec deadline, struct fleet_look *ret)
{
    ret->count = observation->count;
    ret->shards = mem_zalloc((ret->count + 1) * sizeof(*ret->shards));
    ret->server_counts = mem_zalloc((ret->count + 1) * sizeof(*ret->server_counts));
    for (size_t i = 0; i < ret->count; i++) {
        ret->server_counts[i] = observation->shards[i].shard->server_count;
        ret->shards[i] = mem_zalloc(ret->server_counts[i] * sizeof(*ret->shards[i]));
    }
    AUTO(crowd_release) struct crowd crowd = {0};
    crowd_gather(&crowd, observation, ret);
    ask_for_grants(fleet, &crowd, deadline);
    fleet_look_at_lag(observation, stage_end(deadline, fleet->policy.max_lag_ms + LAG_EXTRA_MS));
    inspect(&crowd, deadline);
    if (try_lock)
        try_freeze_lock(&crowd, deadline);
}

static void look_release(struct server_look *look)
{
    for (int i = 0; i < ACCOUNT_KINDS; i++) {
        sql_result_release(&look->logins[i].raw);
        free(look->logins[i].lines);
    }
    sql_inspection_release(&look->inspection);
}

void fleet_look_release(struct fleet_look *look)
{
    for (size_t i = 0; i < look->count; i++) {
        for (size_t j = 0; j < look->server_counts[i]; j++)
            look_release(&look->shards[i][j]);
        free(look->shards[i]);
    }
    free(look->shards);
    free(look->server_counts);
    *look = (struct fleet_look){0};
}
