/* SPDX-License-Identifier: Apache-2.0
 * See upkeep.h. */
#include "heal/upkeep.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run.h"
#include "drain/mark.h"
#include "move/journal.h"
#include "move/move.h"
#include "os/crew.h"
#include "permit/opening.h"
#include "roles/converge.h"
#include "roles/plan.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum { RETURN_THREADS = 16 };

/* What the store says of servers, whatever their shard. */
struct standing {
    struct route_list routes;
    struct permit_list revoked;
    struct drain_list drained;
};

static void standing_release(struct standing *standing)
{
    route_list_release(&standing->routes);
    permit_list_release(&standing->revoked);
    drain_list_release(&standing->drained);
}

static enum status standing_load(struct store *store, struct standing *ret, struct err *err)
{
    enum status status =
        route_list_load(store, store_deadline(store, STORE_WORK), &ret->routes, err);
    if (!status)
        status = permit_list_load(store, store_deadline(store, STORE_WORK), &ret->revoked, err);
    return status ? status
                  : drain_list_load(store, store_deadline(store, STORE_WORK), &ret->drained, err);
}

/* What is to be done for a shard. */
struct need {
    const struct shard_observation *seen;
    struct route route; /* as it is, or should be */
    bool has_route, is_adopted, has_steps, has_opening;
};

static bool has_opening(const struct upkeeper *upkeeper, const struct role_plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].action == ROLE_OPEN &&
            upkeeper->may_open(upkeeper->context, plan->steps[i].server->server))
            return true;
    return false;
}

static bool has_steps(const struct upkeeper *upkeeper, const struct role_plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].action != ROLE_OPEN)
            return true;
    return has_opening(upkeeper, plan);
}

static enum status look(const struct upkeeper *upkeeper, const struct shard_observation *seen,
                        const struct standing *standing, struct need *ret, struct err *err)
{
    *ret = (struct need){.seen = seen};
    enum status status = route_list_get(&standing->routes, seen->shard->name, &ret->route, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    *err = (struct err)ERR_INIT;
    ret->has_route = status == ST_OK;
    ret->is_adopted = !ret->has_route && seen->primary && seen->primary->role == ROLE_PRIMARY;
    AUTO(role_plan_release) struct role_plan plan = {0};
    role_plan_make(seen, ret->has_route ? &ret->route : NULL, &standing->revoked,
                   &standing->drained, &plan);
    ret->has_steps = has_steps(upkeeper, &plan);
    ret->has_opening = has_opening(upkeeper, &plan);
    return ST_OK;
}

/* ---- a shard that the store does not know ---- */

static enum status adopt(struct run *run, struct need *need, struct err *err)
{
    AUTO(move_release) struct move move = {0};
    const struct inventory_server *primary = need->seen->primary->server;
    need->route = (struct route){.state = SHARD_SERVING, .epoch = 1};
    snprintf(need->route.home, sizeof(need->route.home), "%s",
             run->mandate.fleet->regions[primary->region]);
    snprintf(need->route.primary, sizeof(need->route.primary), "%s", primary->name);
    move_init(&move, &run->mandate, need->seen->shard, &need->route);
    return move_adopt(&move, err);
}

/* ---- permission to serve, once a server is back as a replica ---- */

static void keep_first(const struct err *one, struct err *first)
{
    if (!first->status)
        *first = *one;
}

static bool is_back(const struct server_observation *server)
{
    return server->status == ST_OK && server->state.is_read_only && server->state.channels == 1 &&
           server->state.is_io_running && server->state.is_sql_running;
}

/* Under the server's lock, so that nobody else opens it meanwhile: is it closed? */
static enum status look_under_lock(struct run *run, const struct server_observation *server,
                                   bool *ret_is_closed, struct err *err)
{
    struct session session = {
        .server = server->server, .flavour = server->flavour, .end = SESSION_ROLE};
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    nsec deadline = clock_deadline(2000);
    enum status status = session_take(&run->mandate, &session, deadline, err);
    server->flavour->observe(&sql);
    if (!status)
        status = session_exec(&session, CALL_ROLE_ACKERS, buf_text(&sql), deadline, &result, err);
    if (!status)
        status = server->flavour->read_observation(&result, &state, err);
    *ret_is_closed = !status && state.is_read_only && state.channels == 1;
    session_give_back(&session, deadline);
    return status;
}

static enum status give_back(struct run *run, const struct inventory_shard *shard,
                             const struct server_observation *server, int64_t revocation,
                             struct err *err)
{
    const char *name = server->server->name;
    struct store *store = run->mandate.store;
    struct route route = {0};
    bool is_closed = false;
    nsec deadline = store_deadline(store, STORE_WORK);
    enum status status = look_under_lock(run, server, &is_closed, err);
    if (!status)
        status = route_load(store, shard->name, deadline, &route, err);
    if (status || !is_closed || route.state != SHARD_SERVING)
        return status;
    AUTO(permit_part_release) struct permit_part part = {0};
    AUTO_FREE char *key = route_key(shard->name);
    AUTO_FREE char *value = route_encode(&route);
    struct permit_route beside = {.lock_key = MANDATE_LOCK_KEY,
                                  .token = run->mandate.token,
                                  .key = key,
                                  .value = value,
                                  .revision = (int64_t)route.revision};
    int64_t revision = 0;
    permit_part_return(&part, name, revocation);
    status = permit_write(store, &beside, &part, deadline, &revision, err);
    if (!status)
        log_event(EV_PERMISSION, "server", name, "given", "back", NULL);
    return status;
}

static bool can_give_back(const struct fleet_observation *seen, const struct permit_list *revoked)
{
    for (size_t i = 0; i < seen->count && revoked->count > 0; i++)
        for (size_t j = 0; j < seen->shards[i].shard->server_count; j++) {
            const struct server_observation *server = &seen->shards[i].servers[j];
            if (is_back(server) && permit_list_find(revoked, server->server->name))
                return true;
        }
    return false;
}

struct returning {
    struct run *run;
    const struct fleet_observation *seen;
    const struct permit_list *revoked;
    struct err *errs; /* of each shard */
};

/* The servers of one shard, in turn: each return changes its route. */
static void give_back_to_shard(void *context, size_t index)
{
    struct returning *returning = context;
    const struct shard_observation *shard = &returning->seen->shards[index];
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *server = &shard->servers[i];
        int64_t revision = permit_list_find(returning->revoked, server->server->name);
        struct err one = ERR_INIT;
        if (revision && is_back(server) && !mandate_must_stop(&returning->run->mandate) &&
            give_back(returning->run, shard->shard, server, revision, &one))
            keep_first(&one, &returning->errs[index]);
    }
}

/* Shards side by side; the first failure is told. */
static void give_all_back(struct run *run, const struct fleet_observation *seen,
                          const struct permit_list *revoked, struct err *err)
{
    AUTO_FREE struct err *errs = mem_zalloc((seen->count + 1) * sizeof(*errs));
    struct returning returning = {run, seen, revoked, errs};
    crew_run(seen->count, RETURN_THREADS, give_back_to_shard, &returning);
    for (size_t i = 0; i < seen->count; i++)
        keep_first(&errs[i], err);
}

/* ---- one round ---- */

/* What fails holds nothing else up: of other shards, nor what comes next. */
static void act(struct run *run, const struct fleet_observation *seen, struct need *needs,
                const struct permit_list *revoked, struct err *err)
{
    size_t count = 0;
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((seen->count + 1) * sizeof(*shards));
    for (size_t i = 0; i < seen->count; i++) {
        struct err one = ERR_INIT;
        if (needs[i].is_adopted && !mandate_must_stop(&run->mandate) && adopt(run, &needs[i], &one))
            keep_first(&one, err);
        else if (needs[i].has_steps)
            shards[count++] = needs[i].seen->shard;
    }
    AUTO_FREE struct roles_outcome *outcomes = mem_zalloc((count + 1) * sizeof(*outcomes));
    if (count > 0 && !mandate_must_stop(&run->mandate))
        roles_converge(&run->mandate, shards, count, ROLES_ONCE, outcomes);
    for (size_t i = 0; i < count; i++) {
        if (outcomes[i].done && outcomes[i].done[0])
            log_event(EV_HEALED, "shard", shards[i]->name, "done", outcomes[i].done, NULL);
        keep_first(&outcomes[i].err, err);
        roles_outcome_release(&outcomes[i]);
    }
    give_all_back(run, seen, revoked, err);
}

enum status upkeep(const struct upkeeper *upkeeper, const struct fleet_observation *seen,
                   struct upkeep_hindrance *ret, struct err *err)
{
    struct store *store = upkeeper->store;
    const atomic_bool *is_unwelcome = upkeeper->is_unwelcome;
    AUTO_FREE struct need *needs = mem_zalloc((seen->count + 1) * sizeof(*needs));
    AUTO(standing_release) struct standing standing = {0};
    const struct permit_list *revoked = &standing.revoked;
    bool is_needed = false, has_opening = false;
    *ret = (struct upkeep_hindrance){0};
    struct err first = ERR_INIT;
    enum status status = standing_load(store, &standing, err);
    for (size_t i = 0; i < seen->count && !status; i++) {
        struct err one = ERR_INIT;
        if (look(upkeeper, &seen->shards[i], &standing, &needs[i], &one)) {
            keep_first(&one, &first);
            needs[i] = (struct need){0};
        }
        is_needed = is_needed || needs[i].is_adopted || needs[i].has_steps;
        has_opening = has_opening || needs[i].has_opening;
    }
    *err = status ? *err : first;
    if (status || (!is_needed && !can_give_back(seen, revoked)) || atomic_load(is_unwelcome))
        return err->status;
    struct run *run = NULL;
    *err = (struct err)ERR_INIT;
    status = run_hold(store, upkeeper->fleet, &run, err);
    if (status == ST_BUSY)
        *ret = (struct upkeep_hindrance){true, has_opening};
    if (status)
        return status;
    run->mandate.is_unwelcome = is_unwelcome;
    run->mandate.may_open = upkeeper->may_open;
    run->mandate.asked = upkeeper->context;
    run->mandate.journal = journal_open(NULL, run->record.id);
    act(run, seen, needs, revoked, &first);
    run_free(run);
    *err = first;
    return first.status;
}
