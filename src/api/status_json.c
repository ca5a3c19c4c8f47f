/* SPDX-License-Identifier: Apache-2.0
 * The state of the fleet as JSON, both ways; see status.h. What is read may come from a newer
 * Holdfast: keys that are not known are left alone. */
#include "api/status.h"

#include "base/mem.h"
#include "base/scope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

static json_t *lag_json(double lag_ms)
{
    return lag_ms < 0 ? json_null()
                      : json_real(round(lag_ms * 1000) / 1000); /* microseconds are enough */
}

static json_t *servers_json(const struct status_shard *shard)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < shard->server_count; i++) {
        const struct status_server *at = &shard->servers[i];
        json_array_append_new(servers, json_pack("{s:s, s:s, s:s, s:s?, s:o, s:s?}", "server",
                                                 at->server, "region", at->region, "role", at->role,
                                                 "source", at->source, "lag_ms",
                                                 lag_json(at->lag_ms), "error", at->error));
    }
    return servers;
}

static json_t *loss_json(const struct status_loss *loss)
{
    if (!loss->region)
        return json_null();
    return json_pack("{s:s, s:o, s:o}", "region", loss->region, "ms", lag_json(loss->ms),
                     "transactions",
                     loss->transactions < 0 ? json_null() : json_integer(loss->transactions));
}

static json_t *shard_json(const struct status_shard *shard)
{
    json_t *problems = json_array();
    for (size_t i = 0; i < shard->problem_count; i++)
        json_array_append_new(problems, json_string(shard->problems[i]));
    return json_pack(
        "{s:s, s:s, s:s?, s:s?, s:o, s:o, s:s?, s:I, s:s, s:I, s:o, s:o}", "name", shard->name,
        "deployment", shard->deployment, "home", shard->home, "primary", shard->primary, "lag_ms",
        lag_json(shard->lag_ms), "loss", loss_json(&shard->loss), "semi_sync", shard->semi_sync,
        "ackers", (json_int_t)shard->ackers, "state", shard->state, "epoch",
        (json_int_t)shard->epoch, "problems", problems, "servers", servers_json(shard));
}

json_t *status_encode(const struct fleet_status *status)
{
    json_t *shards = json_array();
    for (size_t i = 0; i < status->count; i++)
        json_array_append_new(shards, shard_json(&status->shards[i]));
    json_t *drained = status->drained ? json_incref(status->drained) : json_array();
    return json_pack("{s:s?, s:s?, s:o, s:s?, s:o, s:s?}", "paused", status->paused, "fenced",
                     status->fenced, "drained", drained, "run_left", status->run_left, "shards",
                     shards, "store_error", status->store_error);
}

/* ---- reading ---- */

static char *copy(const json_t *json, const char *key)
{
    return mem_strdup(json_string_value(json_object_get(json, key)));
}

/* Of each mark only that it has words is relied on. NULL: it is no list of marks. */
static json_t *read_drained(const json_t *json)
{
    json_t *drained = json_object_get(json, "drained");
    for (size_t i = 0; i < json_array_size(drained); i++)
        if (!json_is_string(json_object_get(json_array_get(drained, i), "words")))
            return NULL;
    return json_is_array(drained) ? json_incref(drained) : drained ? NULL : json_array();
}

static double read_ms(const json_t *json, const char *key)
{
    const json_t *lag = json_object_get(json, key);
    double ms = json_is_number(lag) ? json_number_value(lag) : -1;
    return ms >= 0 ? ms : -1;
}

/* One that does not read is not known. */
static struct status_loss read_loss(const json_t *json)
{
    const json_t *loss = json_object_get(json, "loss");
    const json_t *transactions = json_object_get(loss, "transactions");
    json_int_t count = json_is_integer(transactions) ? json_integer_value(transactions) : -1;
    return (struct status_loss){copy(loss, "region"), read_ms(loss, "ms"), count < 0 ? -1 : count};
}

static bool read_server(const json_t *json, struct status_server *ret)
{
    *ret = (struct status_server){.server = copy(json, "server"),
                                  .region = copy(json, "region"),
                                  .role = copy(json, "role"),
                                  .source = copy(json, "source"),
                                  .error = copy(json, "error"),
                                  .lag_ms = read_ms(json, "lag_ms")};
    return ret->server && ret->region && ret->role;
}

static bool read_problems(const json_t *json, struct status_shard *ret)
{
    size_t count = json_array_size(json);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(json, i));
        if (!text)
            return false;
        VEC_PUSH(ret->problems, ret->problem_count, ret->problem_capacity, mem_strdup(text));
    }
    return true;
}

static bool read_servers(const json_t *json, struct status_shard *ret)
{
    size_t count = json_array_size(json);
    ret->servers = mem_zalloc((count + 1) * sizeof(*ret->servers));
    for (; ret->server_count < count; ret->server_count++)
        if (!read_server(json_array_get(json, ret->server_count),
                         &ret->servers[ret->server_count])) {
            ret->server_count++; /* released like the others */
            return false;
        }
    return true;
}

static bool read_shard(const json_t *json, struct status_shard *ret)
{
    json_int_t epoch = json_integer_value(json_object_get(json, "epoch"));
    *ret = (struct status_shard){.name = copy(json, "name"),
                                 .deployment = copy(json, "deployment"),
                                 .state = copy(json, "state"),
                                 .home = copy(json, "home"),
                                 .primary = copy(json, "primary"),
                                 .loss = read_loss(json),
                                 .semi_sync = copy(json, "semi_sync"),
                                 .lag_ms = read_ms(json, "lag_ms"),
                                 .ackers = json_integer_value(json_object_get(json, "ackers")),
                                 .epoch = epoch > 0 ? (uint64_t)epoch : 0};
    return ret->name && ret->deployment && ret->state && !ret->home == !ret->primary &&
           !ret->semi_sync == !ret->primary &&
           read_problems(json_object_get(json, "problems"), ret) &&
           read_servers(json_object_get(json, "servers"), ret);
}

enum status status_decode(const json_t *json, struct fleet_status *ret, struct err *err)
{
    const json_t *shards = json_object_get(json, "shards");
    size_t count = json_array_size(shards);
    struct fleet_status status = {.paused = copy(json, "paused"),
                                  .fenced = copy(json, "fenced"),
                                  .drained = read_drained(json),
                                  .run_left = copy(json, "run_left"),
                                  .store_error = copy(json, "store_error"),
                                  .shards = mem_zalloc((count + 1) * sizeof(*status.shards))};
    bool is_good = json_is_array(shards) && status.drained;
    for (; is_good && status.count < count; status.count++)
        is_good = read_shard(json_array_get(shards, status.count), &status.shards[status.count]);
    if (!is_good) {
        fleet_status_release(&status);
        return err_set(err, ST_INVALID, "the answer is no status of a fleet");
    }
    *ret = status;
    return ST_OK;
}
