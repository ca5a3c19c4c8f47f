/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the servers, and what follows from their answers; see observation.h. What is wrong with
 * it all is readiness's business. */
#include "fleet/observation.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"
#include "sql/conn.h"

#include <stdlib.h>
#include <strings.h>

/* A replica is asked to answer this much before the deadline, so that "not yet" is an answer. */
enum { LAG_MARGIN_MS = 50 };

static const char *const role_names[] = {SERVER_ROLE_TABLE(TABLE_TEXT)};

const char *server_role_name(enum server_role role)
{
    INVARIANT((unsigned)role < SERVER_ROLES);
    return role_names[role];
}

/* --- What follows from the states ------------------------------------------------------------- */

static bool has_answered(const struct server_observation *server)
{
    return server->status == ST_OK;
}

/* By its address as in the fleet file, else (another name of the same host) by its server id. */
static const struct server_observation *find_source(const struct shard_observation *shard,
                                                    const struct sql_server_state *state)
{
    size_t size = inventory_shard_size(shard->shard);
    for (size_t i = 0; i < size; i++) {
        const struct inventory_server *at = &shard->shard->servers[i];
        if (at->port == state->source_port && strcasecmp(at->host, state->source_host) == 0)
            return &shard->servers[i];
    }
    const struct server_observation *found = NULL;
    for (size_t i = 0; i < size && state->source_id > 0; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (!has_answered(at) || at->state.server_id != state->source_id)
            continue;
        if (found)
            return NULL;
        found = at;
    }
    return found;
}

static bool is_ignored(const struct shard_observation *shard,
                       const struct server_observation *server)
{
    return server >= shard->servers + shard->shard->server_count;
}

static enum server_role derive_role(const struct shard_observation *shard,
                                    const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (is_ignored(shard, server))
        return ROLE_IGNORED;
    if (!has_answered(server))
        return ROLE_UNKNOWN;
    if (state->channels == 0)
        return state->is_read_only ? ROLE_FENCED : ROLE_PRIMARY;
    if (!state->is_read_only)
        return ROLE_CONFLICT;
    bool crosses = server->source && server->source->server->region != server->server->region;
    return crosses ? ROLE_RELAY : ROLE_REPLICA;
}

static size_t count_followers(const struct shard_observation *shard,
                              const struct server_observation *source)
{
    size_t count = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++)
        count += has_answered(&shard->servers[i]) && shard->servers[i].source == source;
    return count;
}

/* Where several replicate across, the relay is the one that most follow. */
static const struct server_observation *find_relay(const struct shard_observation *shard,
                                                   size_t region)
{
    const struct server_observation *best = NULL;
    size_t best_followers = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (at->role != ROLE_RELAY || at->server->region != region || at->source != shard->primary)
            continue;
        size_t followers = count_followers(shard, at);
        if (best && followers <= best_followers)
            continue;
        best = at;
        best_followers = followers;
    }
    return best;
}

void shard_observation_derive(struct shard_observation *shard)
{
    shard->primary = NULL;
    shard->writable_count = 0;
    for (size_t i = 0; i < inventory_shard_size(shard->shard); i++) {
        struct server_observation *at = &shard->servers[i];
        bool replicates = has_answered(at) && at->state.channels > 0;
        at->source = replicates ? find_source(shard, &at->state) : NULL;
        at->role = derive_role(shard, at);
        if (!has_answered(at) || at->state.is_read_only || is_ignored(shard, at))
            continue;
        shard->writable_count++;
        shard->primary = at;
    }
    if (shard->writable_count != 1)
        shard->primary = NULL;
    for (size_t region = 0; region < INVENTORY_REGIONS; region++)
        shard->relays[region] = shard->primary ? find_relay(shard, region) : NULL;
}

const struct server_observation *shard_find_silent(const struct shard_observation *shard)
{
    for (size_t i = 0; i < shard->shard->server_count; i++)
        if (shard->servers[i].status)
            return &shard->servers[i];
    return NULL;
}

const struct server_observation *shard_find_ignored_source(const struct shard_observation *shard)
{
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *source = shard->servers[i].source;
        if (source && source->role == ROLE_IGNORED)
            return source;
    }
    return NULL;
}

/* --- Asking ----------------------------------------------------------------------------------- */

static struct sql_conn *new_conn(const struct inventory *fleet,
                                 const struct inventory_server *server)
{
    struct sql_endpoint endpoint = inventory_endpoint(fleet, &fleet->credentials, server);
    return sql_conn_new(&endpoint);
}

const char *server_problem(const struct server_observation *server)
{
    return server->problem ? server->problem : "";
}

void server_observation_fail(struct server_observation *server, const struct err *err)
{
    server->status = err->status;
    free(server->problem);
    server->problem = mem_strdup(err->text);
}

static void read_answer(struct sql_call *call)
{
    struct server_observation *server = call->context;
    struct err err = call->err;
    enum status status = call->status;
    server->answer_ms = clock_ms(call->finished - call->started);
    if (sql_conn_is_open(server->conn)) {
        const char *version = sql_conn_server_version(server->conn);
        if (sql_flavour_find(version, &server->flavour, &err))
            status = err_wrap(&err, "%s", server->server->name);
    }
    if (!status)
        status = server->flavour->read_observation(&call->result, &server->state, &err);
    if (status) {
        server_observation_fail(server, &err);
        return;
    }
    /* The answer was made between the two; most of that time is usually connecting. */
    nsec middle = call->finished - (call->finished - call->started) / 4;
    server->clock_ahead_s = server->state.clock_s - clock_ms(middle) / 1000;
}

static void hang_up(struct server_observation *server)
{
    sql_conn_free(server->conn);
    server->conn = NULL;
}

static void on_answer(struct sql_call *call)
{
    read_answer(call);
    sql_call_release(call);
}

static void on_last_answer(struct sql_call *call)
{
    on_answer(call);
    hang_up(call->context);
}

static void prepare(const struct fleet_survey *survey, struct fleet_observation *ret)
{
    *ret = (struct fleet_observation){.count = survey->shards ? survey->count
                                                              : survey->fleet->shard_count};
    ret->shards = mem_zalloc((ret->count + 1) * sizeof(*ret->shards));
    for (size_t i = 0; i < ret->count; i++) {
        struct shard_observation *shard = &ret->shards[i];
        shard->shard = survey->shards ? survey->shards[i] : &survey->fleet->shards[i];
        size_t size = inventory_shard_size(shard->shard);
        shard->servers = mem_zalloc(size * sizeof(*shard->servers));
        for (size_t j = 0; j < size; j++) {
            shard->servers[j].server = &shard->shard->servers[j];
            shard->servers[j].lag_ms = -1;
        }
    }
}

void fleet_observation_prepare(const struct inventory *fleet, struct fleet_observation *ret)
{
    prepare(&(struct fleet_survey){.fleet = fleet}, ret);
}

static size_t count_servers(const struct fleet_observation *group)
{
    size_t servers = 0;
    for (size_t i = 0; i < group->count; i++)
        servers += inventory_shard_size(group->shards[i].shard);
    return servers;
}

/* All are asked as a MariaDB, before it is known what they are: a round trip less, and what is
 * something else still says so in its handshake. */
static void ask(const struct inventory *fleet, struct fleet_observation *group,
                void (*on_done)(struct sql_call *call), const struct fleet_haste *haste,
                nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO_FREE struct sql_call *calls = mem_zalloc((count_servers(group) + 1) * sizeof(*calls));
    size_t count = 0;
    sql_mariadb.observe(&sql);
    for (size_t i = 0; i < group->count; i++)
        for (size_t j = 0; j < inventory_shard_size(group->shards[i].shard); j++) {
            struct server_observation *server = &group->shards[i].servers[j];
            bool is_hasty = haste && server->server->region == haste->region;
            server->conn = new_conn(fleet, server->server);
            calls[count++] = (struct sql_call){.conn = server->conn,
                                               .sql = buf_text(&sql),
                                               .on_done = on_done,
                                               .context = server,
                                               .deadline = is_hasty ? haste->deadline : 0};
        }
    sql_run(calls, count, deadline);
    for (size_t i = 0; i < group->count; i++)
        shard_observation_derive(&group->shards[i]);
}

void fleet_observe(const struct inventory *fleet, const struct inventory_shard *const *shards,
                   size_t count, nsec deadline, struct fleet_observation *ret)
{
    prepare(&(struct fleet_survey){.fleet = fleet, .shards = shards, .count = count}, ret);
    ask(fleet, ret, on_last_answer, NULL, deadline);
}

void fleet_observe_in_haste(const struct inventory *fleet,
                            const struct inventory_shard *const *shards, size_t count,
                            const struct fleet_haste *haste, nsec deadline,
                            struct fleet_observation *ret)
{
    prepare(&(struct fleet_survey){.fleet = fleet, .shards = shards, .count = count}, ret);
    ask(fleet, ret, on_last_answer, haste, deadline);
}

void fleet_survey(const struct fleet_survey *survey, struct fleet_observation *ret)
{
    size_t size = survey->group ? survey->group : FLEET_GROUP;
    prepare(survey, ret);
    for (size_t first = 0; first < ret->count; first += size) {
        size_t left = ret->count - first;
        struct fleet_observation group = {.shards = ret->shards + first,
                                          .count = left < size ? left : size};
        ask(survey->fleet, &group, on_answer, NULL, clock_now() + survey->time);
        survey->look(survey->context, &group);
        for (size_t i = 0; i < group.count; i++)
            for (size_t j = 0; j < inventory_shard_size(group.shards[i].shard); j++)
                hang_up(&group.shards[i].servers[j]);
        mem_trim();
    }
}

/* --- Lag -------------------------------------------------------------------------------------- */

static void read_positions(struct fleet_observation *observation, nsec deadline)
{
    AUTO_FREE struct buf *packets = mem_zalloc((observation->count + 1) * sizeof(*packets));
    AUTO_FREE struct sql_call *calls = mem_zalloc((observation->count + 1) * sizeof(*calls));
    AUTO_FREE struct shard_observation **of =
        mem_zalloc((observation->count + 1) * sizeof(struct shard_observation *));
    size_t count = 0;
    for (size_t i = 0; i < observation->count; i++) {
        const struct server_observation *primary = observation->shards[i].primary;
        if (!primary)
            continue;
        of[count] = &observation->shards[i];
        primary->flavour->read_position(&packets[count]);
        calls[count] = (struct sql_call){.conn = primary->conn, .sql = buf_text(&packets[count])};
        count++;
    }
    sql_run(calls, count, deadline);
    for (size_t i = 0; i < count; i++) {
        free(of[i]->later_position);
        of[i]->later_position = mem_strdup(sql_value(&calls[i].result, 0, 0, 0));
        of[i]->later_err = calls[i].err;
        sql_call_release(&calls[i]);
        buf_release(&packets[i]);
    }
}

static bool can_wait(const struct shard_observation *shard, const struct server_observation *server)
{
    return shard->later_position && server != shard->primary && server->status == ST_OK &&
           server->state.channels > 0 && sql_conn_is_open(server->conn);
}

/* One for each replica that can wait: at most 'count' servers. */
static size_t wait_everywhere(struct fleet_observation *observation, nsec deadline,
                              struct server_observation **waiting, struct sql_call *calls)
{
    size_t count = 0;
    for (size_t i = 0; i < observation->count; i++) {
        const struct shard_observation *shard = &observation->shards[i];
        for (size_t j = 0; j < shard->shard->server_count; j++) {
            struct server_observation *server = &shard->servers[j];
            if (!can_wait(shard, server))
                continue;
            AUTO(buf_release) struct buf sql = {0};
            int wait_ms = clock_ms_left(deadline) - LAG_MARGIN_MS;
            server->flavour->wait_for(&sql, shard->later_position, wait_ms > 0 ? wait_ms : 0);
            waiting[count] = server;
            calls[count++] = (struct sql_call){.conn = server->conn, .sql = buf_take(&sql)};
        }
    }
    sql_run(calls, count, deadline);
    return count;
}

void fleet_look_at_lag(struct fleet_observation *observation, nsec deadline)
{
    size_t servers = count_servers(observation);
    nsec now = clock_now();
    read_positions(observation, now + (deadline - now) / 2);
    AUTO_FREE struct server_observation **waiting = mem_zalloc((servers + 1) * sizeof(*waiting));
    AUTO_FREE struct sql_call *calls = mem_zalloc((servers + 1) * sizeof(*calls));
    size_t count = wait_everywhere(observation, deadline, waiting, calls);
    for (size_t i = 0; i < count; i++) {
        bool arrived =
            calls[i].status == ST_OK && sql_number(sql_value(&calls[i].result, 0, 0, 0), -1) == 0;
        waiting[i]->lag_ms = arrived ? clock_ms(calls[i].finished - calls[i].started) : -1;
        free((char *)calls[i].sql);
        sql_call_release(&calls[i]);
    }
}

static void look_at_lag(void *context, struct fleet_observation *group)
{
    const struct fleet_survey *survey = context;
    fleet_look_at_lag(group, clock_now() + survey->time);
}

void fleet_observe_lag(const struct inventory *fleet, const struct inventory_shard *const *shards,
                       size_t count, nsec deadline, struct fleet_observation *ret)
{
    struct fleet_survey survey = {.fleet = fleet,
                                  .shards = shards,
                                  .count = count,
                                  .time = deadline - clock_now(),
                                  .look = look_at_lag};
    survey.context = &survey;
    fleet_survey(&survey, ret);
}

void fleet_observation_release(struct fleet_observation *observation)
{
    for (size_t i = 0; i < observation->count; i++) {
        struct shard_observation *shard = &observation->shards[i];
        for (size_t j = 0; j < inventory_shard_size(shard->shard); j++) {
            sql_server_state_release(&shard->servers[j].state);
            free(shard->servers[j].problem);
            sql_conn_free(shard->servers[j].conn);
        }
        free(shard->servers);
        free(shard->later_position);
    }
    free(observation->shards);
    *observation = (struct fleet_observation){0};
}
