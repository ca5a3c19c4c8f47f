/* SPDX-License-Identifier: Apache-2.0
 * See order.h. */
#include "handover/order.h"

#include "base/mem.h"
#include "base/scope.h"
#include "handover/heir.h"
#include "handover/plan.h"
#include "move/calls.h"
#include "move/fault.h"
#include "move/mandate.h"
#include "store/store.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { OBSERVE_MS = 2000, REST_MS = 3000, LOOK_MS = 100 };

/* ---- a host ---- */

bool handover_find_host(const struct inventory *fleet, const char *host, struct drain_names *ret)
{
    const struct inventory_host *named = inventory_find_host(fleet, host);
    for (size_t i = 0; named && i < named->place_count; i++)
        drain_names_add(ret, inventory_host_server(fleet, named, i)->name);
    for (size_t i = 0; !named && i < fleet->shard_count; i++)
        for (size_t j = 0; j < fleet->shards[i].server_count; j++)
            if (strcmp(fleet->shards[i].servers[j].host, host) == 0)
                drain_names_add(ret, fleet->shards[i].servers[j].name);
    return ret->count > 0;
}

bool handover_is_on(const struct inventory_shard *shard, const struct drain_names *servers)
{
    for (size_t i = 0; i < shard->server_count; i++)
        if (drain_names_have(servers, shard->servers[i].name))
            return true;
    return false;
}

/* ---- its mark ---- */

static void add_roles(const struct shard_observation *shard, struct drain_mark *mark)
{
    if (shard->primary && drain_names_have(&mark->servers, shard->primary->server->name))
        drain_names_add(&mark->primaries, shard->primary->server->name);
    for (size_t region = 0; region < INVENTORY_REGIONS; region++) {
        const struct server_observation *relay = shard->relays[region];
        if (relay && drain_names_have(&mark->servers, relay->server->name))
            drain_names_add(&mark->relays, relay->server->name);
    }
}

static struct drain_mark *add_mark(struct drain_list *list, const struct handover_order *order)
{
    list->items = mem_grow(list->items, list->count + 1, sizeof(*list->items));
    list->items[list->count] = (struct drain_mark){
        .host = mem_strdup(order->host),
        .by = mem_strdup(order->by),
        .origin = mem_strdup(order->origin),
        .reason = mem_strdup(order->reason),
        .since_us = order->since_us,
    };
    return &list->items[list->count++];
}

static enum status refuse_unknown(const struct inventory *fleet, const char *host, struct err *err)
{
    err_set(err, ST_INVALID, "the fleet file has no host '%s', and no server at that address",
            host);
    return err_hint(err, "holdfast host list shows them%s",
                    fleet->host_count ? "" : " (the addresses of the servers, without 'hosts')");
}

enum status handover_make_mark(const struct inventory *fleet, const struct handover_order *order,
                               const struct fleet_observation *seen, struct drain_list *list,
                               struct drain_mark **ret, struct err *err)
{
    struct drain_names servers = {0};
    struct drain_mark *mark = drain_list_find(list, order->host);
    bool is_known = handover_find_host(fleet, order->host, &servers);
    enum status status = ST_OK;
    if (!mark && !is_known)
        status = refuse_unknown(fleet, order->host, err);
    if (!status && !mark && !order->is_return)
        mark = add_mark(list, order);
    for (size_t i = 0; !status && !order->is_return && i < servers.count; i++)
        drain_names_add(&mark->servers, servers.items[i]);
    for (size_t i = 0; !status && !order->is_return && i < seen->count; i++)
        add_roles(&seen->shards[i], mark);
    if (!status && mark)
        mark->state = order->is_return ? DRAIN_RETURNS : DRAIN_GOING;
    *ret = mark;
    drain_names_release(&servers);
    return status;
}

/* ---- in the store ---- */

/* What the key holds shows whether a write whose outcome is unknown happened. */
static enum status settle(const struct mandate *mandate, const struct store_op *op, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status =
        store_get(mandate->store, op->key, store_deadline(mandate->store, STORE_WORK), &entry, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    bool is_there = !status && op->kind == STORE_PUT && strcmp(entry.value, op->value) == 0;
    return is_there || (status && op->kind == STORE_DELETE)
               ? ST_OK
               : err_set(err, ST_IO, "the store lost the write");
}

static enum status write_op(const struct mandate *mandate, const struct store_op *op,
                            struct err *err)
{
    struct store_compare token = {STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, mandate->token};
    struct store_txn txn = {&token, 1, op, 1};
    struct store_txn_result result = {0};
    struct err why = ERR_INIT;
    enum fault_effect effect = fault_point(CALL_HAND_MARK, FAULT_BEFORE);
    enum status status = ST_OK;
    if (effect == FAULT_NONE || effect == FAULT_UNKNOWN_DONE)
        status = store_txn(mandate->store, &txn, store_deadline(mandate->store, STORE_WORK),
                           &result, &why);
    if (effect != FAULT_NONE && !status)
        status = fault_status(effect, &why);
    if (status == ST_UNKNOWN)
        status = settle(mandate, op, &why);
    fault_point(CALL_HAND_MARK, FAULT_AFTER);
    if (status == ST_CONFLICT)
        return err_set(err, ST_FENCED, "another process took over run %s", mandate->run);
    if (status)
        *err = why;
    return status ? err_wrap(err, "record that the host is drained") : ST_OK;
}

static enum status write_mark(const struct mandate *mandate, const struct drain_mark *mark,
                              struct err *err)
{
    AUTO_FREE char *key = drain_key(mark->host);
    AUTO_FREE char *value = drain_mark_encode(mark);
    struct store_op op = {STORE_PUT, key, value, 0};
    return write_op(mandate, &op, err);
}

static enum status erase_mark(const struct mandate *mandate, const char *host, struct err *err)
{
    AUTO_FREE char *key = drain_key(host);
    struct store_op op = {STORE_DELETE, key, NULL, 0};
    return write_op(mandate, &op, err);
}

/* ---- an order ---- */

enum status handover_begin(const struct mandate *mandate, const struct handover_order *order,
                           const struct fleet_observation *seen, struct drain_list *list,
                           const struct drain_mark **ret_mark, struct err *err)
{
    struct drain_mark *mark = NULL;
    enum status status = handover_make_mark(mandate->fleet, order, seen, list, &mark, err);
    *ret_mark = mark;
    if (status || !mark || mandate_must_stop(mandate))
        return status;
    return write_mark(mandate, mark, err);
}

/* What is not done yet; the caller frees. NULL: nothing. */
static char *find_rest(const struct mandate *mandate, const struct inventory_shard *const *shards,
                       size_t count)
{
    char *rest = NULL;
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO(handover_plan_release) struct handover_plan plan = {0};
    fleet_observe(mandate->fleet, shards, count, clock_deadline(OBSERVE_MS), &seen);
    handover_plan_make(mandate->fleet, &seen, mandate->drained, mandate->mark, &plan);
    for (size_t i = 0; i < plan.count && !rest; i++)
        if (plan.lines[i].refusal.status || plan.lines[i].to)
            rest = mem_printf("shard %s: its %s is not where it should be",
                              plan.lines[i].shard->shard->name,
                              handover_role_name(plan.lines[i].role));
    for (size_t i = 0; i < count && !rest && !mandate->is_return; i++)
        if (!heirs_has_acker(&seen.shards[i], mandate->drained))
            rest = mem_printf("when the host stops, nobody acknowledges what shard %s writes",
                              shards[i]->name);
    return rest;
}

/* Replication may still be connecting. */
static enum status check_rest(const struct mandate *mandate, const struct fleet_observation *seen,
                              struct err *err)
{
    nsec until = clock_deadline(REST_MS);
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((seen->count + 1) * sizeof(*shards));
    for (size_t i = 0; i < seen->count; i++)
        shards[i] = seen->shards[i].shard;
    for (;;) {
        AUTO_FREE char *rest = find_rest(mandate, shards, seen->count);
        if (!rest)
            return ST_OK;
        if (clock_now() >= until)
            return err_set(err, ST_NO_GO,
                           "%s: holdfast fleet converge --dry-run says what is in the way; then "
                           "order it again",
                           rest);
        poll(NULL, 0, LOOK_MS);
    }
}

enum status handover_end(const struct mandate *mandate, const struct fleet_observation *shards,
                         struct drain_list *list, struct err *err)
{
    enum status status = check_rest(mandate, shards, err);
    if (status)
        return status;
    struct drain_mark *mark = drain_list_find(list, mandate->mark->host);
    if (mandate->is_return)
        return erase_mark(mandate, mark->host, err);
    mark->state = DRAIN_DONE;
    return write_mark(mandate, mark, err);
}
