/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the state of a failover to the route: like move/record.c under the run lock's creation
 * revision and the route's own. Only the holder of the lock writes routes, so a revision that
 * differs from ours while the token still holds is an earlier write of ours. */
#include "failover/internal.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "move/fault.h"
#include "move/journal.h"
#include "move/mandate.h"
#include "permit/opening.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

static enum call call_of(enum shard_state next)
{
    switch ((int)next) {
    case SHARD_FENCING:
        return CALL_WRITE_FENCING;
    case SHARD_OPENING:
        return CALL_WRITE_OPENING;
    case SHARD_REPOINTING:
        return CALL_WRITE_REPOINTING;
    default:
        return CALL_WRITE_RETURNED;
    }
}

static void set_name(char *to, const char *from)
{
    INVARIANT(snprintf(to, ROUTE_NAME_MAX, "%s", from) < ROUTE_NAME_MAX);
}

/* 'new_primary' stays from the first opening on: it says that there is no way back. */
static struct route next_route(const struct failover *failover, enum shard_state next)
{
    struct route route = failover->route;
    route.state = next;
    if (next == SHARD_FENCING && failover->route.state == SHARD_SERVING) {
        set_name(route.run, failover->mandate->run);
        set_name(route.target, route.home);
        set_name(route.old_primary, failover->lost->name);
    } else if (next == SHARD_OPENING && failover->chosen) {
        set_name(route.new_primary, failover->chosen->name);
        route.is_strict = failover->is_strict;
    } else if (next == SHARD_REPOINTING && failover->route.state != SHARD_REPOINTING) {
        route.epoch++;
        set_name(route.primary, route.new_primary);
    } else if (next == SHARD_SERVING) {
        if (failover->route.state != SHARD_REPOINTING)
            route.run[0] = '\0';
        route.target[0] = route.old_primary[0] = route.new_primary[0] = '\0';
        route.is_strict = false;
    }
    return route;
}

static void adopt(struct failover *failover, const struct route *route, int64_t revision)
{
    const struct mandate *mandate = failover->mandate;
    const char *shard = failover->shard->name, *state = shard_state_name(route->state);
    failover->route = *route;
    failover->route.revision = (uint64_t)revision;
    failover->view.state = route->state;
    failover->is_route_doubtful = false;
    atomic_store(&mandate->shard_states[failover->shard->index], (int)route->state);
    journal_add(mandate->journal, shard, "state", "%s", state);
    if (mandate->on_state)
        mandate->on_state(mandate->listener, failover->shard, &failover->route);
    log_event(EV_SHARD_STATE, "shard", shard, "state", state, NULL);
}

/* ---- permission to serve: the parts that belong to a state ---- */

static enum status make_part(struct failover *failover, enum shard_state next, nsec deadline,
                             struct permit_part *ret, struct err *err)
{
    const struct mandate *mandate = failover->mandate;
    bool is_first = failover->route.state == SHARD_SERVING;
    if (!failover->is_looked_after)
        return ST_OK;
    if (next == SHARD_FENCING && is_first) {
        AUTO_FREE char *note = mem_printf("shard %s, run %s", failover->shard->name, mandate->run);
        enum status status = permit_term_load(mandate->store, deadline, &failover->term, err);
        failover->is_looked_after = status != ST_NOT_FOUND; /* no conductor ever ran here */
        if (status)
            return status == ST_NOT_FOUND ? ST_OK : status;
        permit_part_revoke(ret, &failover->term, failover->lost->name, note);
    } else if (next == SHARD_OPENING && failover->chosen) {
        permit_part_open(ret, failover->chosen->name,
                         mandate->fleet->regions[failover->chosen->region]);
    } else if (next == SHARD_SERVING && failover->route.state == SHARD_FENCING) {
        permit_part_return(ret, failover->lost->name, failover->revoked);
    }
    return ST_OK;
}

enum status failover_know_revocation(struct failover *failover, nsec deadline, struct err *err)
{
    AUTO(permit_list_release) struct permit_list list = {0};
    struct store *store = failover->mandate->store;
    if (!failover->is_looked_after || failover->revoked)
        return ST_OK;
    enum status status = permit_term_load(store, deadline, &failover->term, err);
    if (!status)
        status = permit_list_load(store, deadline, &list, err);
    if (status)
        return status;
    failover->revoked = permit_list_find(&list, failover->lost->name);
    failover->revoked_at = clock_now();
    if (failover->revoked)
        return ST_OK;
    return err_set(err, ST_CONFLICT, "the permission of %s to serve was given back meanwhile",
                   failover->lost->name);
}

static enum status read_back(struct failover *failover, nsec deadline, struct err *err)
{
    struct route found;
    enum status status = mandate_check_token(failover->mandate, deadline, err);
    if (!status)
        status = route_load(failover->mandate->store, failover->shard->name, deadline, &found, err);
    if (status == ST_NOT_FOUND && failover->route.revision == 0)
        return ST_OK;
    if (status)
        return status;
    failover->route = found;
    failover->view.state = found.state;
    failover->is_route_doubtful = false;
    return ST_OK;
}

/* ST_BUSY: try again, with what read_back() learned. */
static enum status settle(struct failover *failover, const struct route *wanted, const char *value,
                          nsec deadline, struct err *err)
{
    failover->is_route_doubtful = true;
    enum status status = read_back(failover, deadline, err);
    if (status)
        return status;
    AUTO_FREE char *found = route_encode(&failover->route);
    if (strcmp(found, value) != 0)
        return err_set(err, ST_BUSY, "the store did not take the new state");
    adopt(failover, wanted, (int64_t)failover->route.revision);
    return ST_OK;
}

static enum status attempt(struct failover *failover, enum shard_state next, nsec deadline,
                           struct err *err)
{
    const struct mandate *mandate = failover->mandate;
    struct route wanted = next_route(failover, next);
    AUTO_FREE char *key = route_key(failover->shard->name);
    AUTO_FREE char *value = route_encode(&wanted);
    AUTO(permit_part_release) struct permit_part part = {0};
    enum status status = make_part(failover, next, deadline, &part, err);
    if (status)
        return status;
    struct store_compare compares[2 + PERMIT_PART_MAX] = {
        {STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, mandate->token},
        {STORE_MOD_REV_IS, key, (int64_t)failover->route.revision},
    };
    struct store_op ops[1 + PERMIT_PART_MAX] = {{STORE_PUT, key, value, 0}};
    memcpy(compares + 2, part.compares, part.compare_count * sizeof(*compares));
    memcpy(ops + 1, part.ops, part.op_count * sizeof(*ops));
    struct store_txn txn = {compares, 2 + part.compare_count, ops, 1 + part.op_count};
    struct store_txn_result result = {0};
    enum fault_effect effect = fault_point(call_of(next), FAULT_BEFORE);
    status = effect == FAULT_NONE || effect == FAULT_UNKNOWN_DONE
                 ? store_txn(mandate->store, &txn, deadline, &result, err)
                 : ST_OK;
    if (effect != FAULT_NONE && !status)
        status = fault_status(effect, err);
    if (!status)
        adopt(failover, &wanted, result.revision);
    else if (status == ST_UNKNOWN || status == ST_CONFLICT)
        status = settle(failover, &wanted, value, deadline, err);
    fault_point(call_of(next), FAULT_AFTER);
    return status;
}

enum status failover_record(struct failover *failover, enum shard_state next, nsec deadline,
                            struct err *err)
{
    enum status status = ST_OK;
    if (failover->is_route_doubtful)
        status = read_back(failover, deadline, err);
    if (!status)
        status = attempt(failover, next, deadline, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt(failover, next, deadline, err);
    return status && status != ST_FENCED
               ? err_wrap(err, "record state '%s'", shard_state_name(next))
               : status;
}
