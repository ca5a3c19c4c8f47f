/* SPDX-License-Identifier: Apache-2.0
 * What is told of a shard, and what is plainly wrong with it; see status.h. Whether a move would
 * work is readiness's business. */
#include "api/status.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "drain/mark.h"
#include "exposure/exposure.h"
#include "fleet/observation.h"
#include "fleet/route.h"

#include <stdlib.h>
#include <string.h>

enum { LAG_MS = 1000 };

/* A shard while it is judged. */
struct look {
    const struct status_request *request;
    const struct shard_observation *seen;
    const struct server_observation *relay;
    bool has_route;
    struct route route;
    struct status_shard *to;
};

static void __attribute__((format(printf, 2, 3)))
add_problem(struct look *look, const char *format, ...)
{
    struct buf text = {0};
    struct status_shard *to = look->to;
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    VEC_PUSH(to->problems, to->problem_count, to->problem_capacity, buf_take(&text));
}

/* --- What is wrong ---------------------------------------------------------------------------- */

static void judge_server(struct look *look, const struct server_observation *server,
                         int64_t max_lag_ms)
{
    const struct sql_server_state *state = &server->state;
    const char *name = server->server->name;
    if (server->status) {
        add_problem(look, "%s", server_problem(server));
        return;
    }
    if (server == look->seen->primary)
        return;
    if (!state->is_read_only)
        add_problem(look, "%s accepts writes%s", name,
                    state->channels > 0 ? " although it replicates" : "");
    else if (state->channels == 0 && look->seen->writable_count > 0)
        add_problem(look, "%s replicates from nobody", name);
    else if (state->channels > 0 && !state->is_io_running)
        add_problem(look, "%s does not receive: %s", name,
                    state->io_error[0] ? state->io_error : "IO thread stopped");
    else if (state->channels > 0 && !state->is_sql_running)
        add_problem(look, "%s does not apply: %s", name,
                    state->sql_error[0] ? state->sql_error : "SQL thread stopped");
    else if (look->seen->primary && (server->lag_ms < 0 || server->lag_ms > (double)max_lag_ms))
        add_problem(look, "%s lags by more than %lld ms", name,
                    (long long)(max_lag_ms < LAG_MS ? max_lag_ms : LAG_MS));
}

/* Of those in the fleet file; NULL when the address is none of them. */
static const struct server_observation *find_server(const struct shard_observation *seen,
                                                    const char *name)
{
    for (size_t i = 0; i < seen->shard->server_count; i++)
        if (strcmp(seen->servers[i].server->name, name) == 0)
            return &seen->servers[i];
    return NULL;
}

/* Silence is not death: it may well accept writes, and a second primary would lose some. In the
 * states of a move in which nobody may write, the route's primary says nothing. */
static void judge_silent_primary(struct look *look)
{
    const struct server_observation *at = find_server(look->seen, look->route.primary);
    if (!look->seen->primary && at && at->status && shard_state_is_writable(look->route.state))
        add_problem(look,
                    "the store says that %s is its primary, which does not answer: do not open "
                    "another one",
                    look->route.primary);
}

static void judge_route(struct look *look)
{
    if (!look->has_route)
        return;
    const struct server_observation *primary = look->seen->primary;
    judge_silent_primary(look);
    if (look->route.state != SHARD_SERVING)
        add_problem(look, "run %s is moving it, or left it: holdfast run show %s", look->route.run,
                    look->route.run);
    else if (primary && strcmp(look->route.primary, primary->server->name) != 0)
        add_problem(look, "the store says that %s is its primary", look->route.primary);
}

static bool all_answered(const struct shard_observation *seen)
{
    for (size_t i = 0; i < seen->shard->server_count; i++)
        if (seen->servers[i].status)
            return false;
    return true;
}

static void judge(struct look *look)
{
    const struct inventory *fleet = look->request->fleet;
    const struct shard_observation *seen = look->seen;
    const struct server_observation *primary = seen->primary;
    if (seen->writable_count == 0)
        add_problem(look, "no server %saccepts writes", all_answered(seen) ? "" : "that answers ");
    if (primary && primary->role == ROLE_CONFLICT)
        add_problem(look, "the primary %s replicates from %s:%lld", primary->server->name,
                    primary->state.source_host, (long long)primary->state.source_port);
    bool has_no_acker = primary && strcmp(look->to->semi_sync, "no acker") == 0;
    if (has_no_acker)
        add_problem(look, "no replica acknowledges: no write at %s returns", primary->server->name);
    if (primary && !has_no_acker && strcmp(look->to->semi_sync, "on") != 0)
        add_problem(look, "semi-sync is %s: acknowledged writes are on one server only",
                    look->to->semi_sync);
    if (primary && primary->state.held_up_ms >= SQL_HELD_UP_MS)
        add_problem(look, "writes wait for an acknowledgement, the longest for %.1f s",
                    (double)primary->state.held_up_ms / 1e3);
    if (!primary && fleet->is_rpo_guarded && look->to->loss.region &&
        (look->to->loss.ms < 0 || look->to->loss.ms > (double)fleet->promise_rpo_ms))
        add_problem(look, "promise.rpo_guard: writes wait until the other region has received what "
                          "was acknowledged");
    if (primary && !look->relay)
        add_problem(look, "no server of the other region replicates from the primary");
    for (size_t i = 0; i < seen->shard->server_count; i++)
        judge_server(look, &seen->servers[i], fleet->policy.max_lag_ms);
    judge_route(look);
}

/* False: there may be a route, and a move under way. */
static bool read_route(struct look *look)
{
    const struct status_request *request = look->request;
    struct err err = ERR_INIT;
    if (request->routes_error) {
        add_problem(look, "%s", request->routes_error);
        return false;
    }
    if (!request->routes)
        return !request->store_error;
    enum status status =
        route_list_get(request->routes, look->seen->shard->name, &look->route, &err);
    look->has_route = status == ST_OK;
    if (status == ST_OK || status == ST_NOT_FOUND)
        return true;
    add_problem(look, "%s", err.text);
    return false;
}

static const char *semi_sync_of(const struct sql_server_state *state)
{
    if (!state->is_source_semi_sync)
        return "off";
    if (!state->is_semi_sync_active)
        return "degraded";
    return state->ackers > 0 ? "on" : state->waits_without_ackers ? "no acker" : "degraded";
}

static const char *state_of(const struct look *look, bool is_route_known)
{
    bool has_primary = look->seen->primary;
    if (look->has_route && (has_primary || look->route.state != SHARD_SERVING))
        return shard_state_name(look->route.state);
    return look->seen->writable_count == 0  ? "no primary"
           : look->seen->writable_count > 1 ? "several primaries"
           : is_route_known                 ? "serving"
                                            : "unknown";
}

static void fill_primary(struct look *look)
{
    const struct server_observation *primary = look->seen->primary;
    struct status_shard *to = look->to;
    to->lag_ms = -1;
    if (!primary)
        return;
    size_t home = primary->server->region;
    look->relay = look->seen->relays[1 - home];
    to->home = mem_strdup(look->request->fleet->regions[home]);
    to->primary = mem_strdup(primary->server->name);
    to->semi_sync = mem_strdup(semi_sync_of(&primary->state));
    to->ackers = primary->state.ackers;
    to->lag_ms = look->relay ? look->relay->lag_ms : -1;
}

static void fill_loss(struct look *look)
{
    const struct status_request *request = look->request;
    struct status_loss *to = &look->to->loss;
    *to = (struct status_loss){.ms = -1, .transactions = -1};
    if (!request->exposures)
        return;
    const struct exposure *exposure = &request->exposures[look->seen - request->seen->shards];
    if (!exposure->primary)
        return;
    to->region = mem_strdup(request->fleet->regions[exposure->primary->region]);
    to->ms = exposure_ms(exposure, request->now);
    to->transactions = exposure->transactions;
}

static void fill_servers(const struct look *look)
{
    struct status_shard *to = look->to;
    to->server_count = inventory_shard_size(look->seen->shard);
    to->servers = mem_zalloc((to->server_count + 1) * sizeof(*to->servers));
    for (size_t i = 0; i < to->server_count; i++) {
        const struct server_observation *at = &look->seen->servers[i];
        to->servers[i] = (struct status_server){
            .server = mem_strdup(at->server->name),
            .region = mem_strdup(look->request->fleet->regions[at->server->region]),
            .role = mem_strdup(server_role_name(at->role)),
            .source = mem_strdup(at->source ? at->source->server->name : NULL),
            .error = mem_strdup(at->problem),
            .lag_ms = at->lag_ms,
        };
    }
}

static void make_shard(struct look *look)
{
    bool is_route_known = read_route(look);
    look->to->name = mem_strdup(look->seen->shard->name);
    look->to->deployment = mem_strdup(look->seen->shard->deployment);
    look->to->state = mem_strdup(state_of(look, is_route_known));
    look->to->epoch = look->route.epoch;
    fill_primary(look);
    fill_loss(look);
    fill_servers(look);
    judge(look);
}

static json_t *drained_json(const struct drain_list *drained)
{
    json_t *array = json_array();
    for (size_t i = 0; drained && i < drained->count; i++)
        json_array_append_new(array, drain_mark_json(&drained->items[i]));
    return array;
}

const char *fleet_status_drained(const struct fleet_status *status, size_t index)
{
    return json_string_value(json_object_get(json_array_get(status->drained, index), "words"));
}

void status_make(const struct status_request *request, struct fleet_status *ret)
{
    const struct fleet_observation *seen = request->seen;
    *ret = (struct fleet_status){.paused = mem_strdup(request->paused),
                                 .fenced = mem_strdup(request->fenced),
                                 .drained = drained_json(request->drained),
                                 .run_left = mem_strdup(request->run_left),
                                 .store_error = mem_strdup(request->store_error),
                                 .shards = mem_zalloc((seen->count + 1) * sizeof(*ret->shards)),
                                 .count = seen->count};
    for (size_t i = 0; i < seen->count; i++) {
        struct look look = {.request = request, .seen = &seen->shards[i], .to = &ret->shards[i]};
        make_shard(&look);
    }
}

bool status_is_left(const struct fleet_status *status, const struct status_shard *shard)
{
    for (unsigned state = 0; status->run_left && state < SHARD_STATES; state++)
        if (state != SHARD_SERVING &&
            strcmp(shard->state, shard_state_name((enum shard_state)state)) == 0)
            return true;
    return false;
}

static void release_server(struct status_server *server)
{
    free(server->server);
    free(server->region);
    free(server->role);
    free(server->source);
    free(server->error);
}

static void release_shard(struct status_shard *shard)
{
    for (size_t i = 0; i < shard->server_count; i++)
        release_server(&shard->servers[i]);
    for (size_t i = 0; i < shard->problem_count; i++)
        free(shard->problems[i]);
    free(shard->servers);
    free(shard->problems);
    free(shard->name);
    free(shard->deployment);
    free(shard->state);
    free(shard->home);
    free(shard->primary);
    free(shard->semi_sync);
    free(shard->loss.region);
}

void fleet_status_release(struct fleet_status *status)
{
    for (size_t i = 0; i < status->count; i++)
        release_shard(&status->shards[i]);
    free(status->shards);
    free(status->paused);
    free(status->fenced);
    json_decref(status->drained);
    free(status->run_left);
    free(status->store_error);
    *status = (struct fleet_status){0};
}

static size_t find_shard(const struct fleet_status *status, const char *name)
{
    size_t i = 0;
    while (i < status->count && strcmp(status->shards[i].name, name) != 0)
        i++;
    return i;
}

enum status status_choose(struct fleet_status *status, const char *const *names, size_t count,
                          struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (i >= status->count || strcmp(status->shards[i].name, names[i]) != 0)
            if (find_shard(status, names[i]) == status->count)
                return err_set(err, ST_NOT_FOUND, "shard '%s' is not known there", names[i]);
    struct status_shard *chosen = mem_zalloc((count + 1) * sizeof(*chosen));
    bool *is_taken = mem_zalloc(status->count + 1);
    for (size_t i = 0; i < count; i++) {
        bool is_here = i < status->count && strcmp(status->shards[i].name, names[i]) == 0;
        size_t at = is_here ? i : find_shard(status, names[i]);
        chosen[i] = status->shards[at];
        is_taken[at] = true;
    }
    for (size_t i = 0; i < status->count; i++)
        if (!is_taken[i])
            release_shard(&status->shards[i]);
    free(is_taken);
    free(status->shards);
    status->shards = chosen;
    status->count = count;
    return ST_OK;
}
