/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a shard's state to its route. Every write compares the run lock's creation revision (the
 * fencing token) and the route's own revision. Only the holder of the lock writes routes, so when
 * the token still holds, a revision that differs from ours is an earlier write of ours whose
 * outcome we did not learn: adopt it and go on. */
#include "move/fault.h"
#include "move/internal.h"
#include "move/journal.h"
#include "move/mandate.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

static enum call call_of(enum shard_state next)
{
    static const enum call calls[SHARD_STATES] = {
        [SHARD_SERVING] = CALL_WRITE_SERVING,         [SHARD_PREPARING] = CALL_WRITE_PREPARING,
        [SHARD_FROZEN] = CALL_WRITE_FROZEN,           [SHARD_PROMOTING] = CALL_WRITE_PROMOTING,
        [SHARD_REDIRECTING] = CALL_WRITE_REDIRECTING, [SHARD_UNDOING] = CALL_WRITE_UNDOING,
    };
    return calls[next];
}

static void set_name(char *to, const char *from)
{
    INVARIANT(snprintf(to, ROUTE_NAME_MAX, "%s", from) < ROUTE_NAME_MAX);
}

/* What the route says in the next state. The epoch counts changes of the primary. */
static struct route next_route(const struct move *move, enum shard_state next)
{
    struct route route = move->route;
    const struct mandate *mandate = move->mandate;
    route.state = next;
    if (next == SHARD_PREPARING) {
        set_name(route.run, mandate->run);
        set_name(route.target, mandate->fleet->regions[mandate->to_region]);
        set_name(route.old_primary, move->old_server->name);
        set_name(route.new_primary, move->new_server->name);
    } else if (next == SHARD_FROZEN) {
        route.frozen_us = clock_wall_us();
    } else if (next == SHARD_REDIRECTING && move->route.state != SHARD_REDIRECTING) {
        route.epoch++;
        set_name(route.home, mandate->fleet->regions[move->new_server->region]);
        set_name(route.primary, move->new_server->name);
    } else if (next == SHARD_SERVING) {
        if (move->route.state != SHARD_REDIRECTING || move->view.is_moved_on)
            route.run[0] = '\0';
        route.target[0] = route.old_primary[0] = route.new_primary[0] = '\0';
        route.log_end[0] = route.new_log_end[0] = route.link[0] = '\0';
        route.runs_events = route.is_strict = false;
        route.new_id = route.frozen_us = 0;
        if (move->heir) {
            route.epoch++;
            set_name(route.home, mandate->fleet->regions[move->heir->region]);
            set_name(route.primary, move->heir->name);
        }
    }
    return route;
}

/* The compares and the write of one attempt; texts are owned here. */
struct attempt {
    char *key, *value;
    struct store_compare compares[2];
    struct store_op op;
    struct store_txn txn;
    struct route route;
};

static void attempt_init(struct attempt *attempt, const struct move *move, enum shard_state next)
{
    attempt->route = next_route(move, next);
    attempt->key = route_key(move->shard->name);
    attempt->value = route_encode(&attempt->route);
    attempt->compares[0] =
        (struct store_compare){STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, move->mandate->token};
    attempt->compares[1] =
        (struct store_compare){STORE_MOD_REV_IS, attempt->key, (int64_t)move->route.revision};
    attempt->op = (struct store_op){STORE_PUT, attempt->key, attempt->value, 0};
    attempt->txn = (struct store_txn){attempt->compares, 2, &attempt->op, 1};
}

static void attempt_release(struct attempt *attempt)
{
    free(attempt->key);
    free(attempt->value);
}

/* Learn what the store holds. ST_FENCED when the token is gone; else the route in memory is what
 * the store says. */
static enum status read_back(struct move *move, nsec deadline, struct err *err)
{
    enum status status = mandate_check_token(move->mandate, deadline, err);
    if (status)
        return status;
    struct route found;
    status = route_load(move->mandate->store, move->shard->name, deadline, &found, err);
    if (status == ST_NOT_FOUND && move->route.revision == 0)
        return ST_OK;
    if (status)
        return status;
    move->route = found;
    move->view.state = found.state;
    move->is_route_doubtful = false;
    return ST_OK;
}

static void adopt(struct move *move, const struct route *route, int64_t revision)
{
    move->route = *route;
    move->route.revision = (uint64_t)revision;
    move->view.state = route->state;
    move->is_route_doubtful = false;
    atomic_store(&move->mandate->shard_states[move->shard->index], (int)route->state);
    journal_add(move->mandate->journal, move->shard->name, "state", "%s",
                shard_state_name(route->state));
    if (move->mandate->on_state)
        move->mandate->on_state(move->mandate->listener, move->shard, &move->route);
    log_event(EV_SHARD_STATE, "shard", move->shard->name, "state", shard_state_name(route->state),
              NULL);
}

/* What one attempt came to. ST_BUSY: try again, with what read_back() learned. */
static enum status settle(struct move *move, const struct attempt *attempt, enum status status,
                          int64_t revision, nsec deadline, struct err *err)
{
    if (status == ST_OK) {
        adopt(move, &attempt->route, revision);
        return ST_OK;
    }
    if (status != ST_UNKNOWN && status != ST_CONFLICT)
        return status;
    move->is_route_doubtful = true;
    enum status looked = read_back(move, deadline, err);
    if (looked)
        return looked;
    AUTO_FREE char *found = route_encode(&move->route);
    if (strcmp(found, attempt->value) == 0) {
        adopt(move, &attempt->route, (int64_t)move->route.revision);
        return ST_OK;
    }
    return err_set(err, ST_BUSY, "the store did not take the new state");
}

static enum status attempt_once(struct move *move, enum shard_state next, nsec deadline,
                                struct err *err)
{
    AUTO(attempt_release) struct attempt attempt;
    attempt_init(&attempt, move, next);
    enum fault_effect effect = fault_point(call_of(next), FAULT_BEFORE);
    struct store_txn_result result = {0};
    enum status status = effect == FAULT_NONE || effect == FAULT_UNKNOWN_DONE
                             ? store_txn(move->mandate->store, &attempt.txn, deadline, &result, err)
                             : ST_OK;
    if (effect != FAULT_NONE && !status)
        status = fault_status(effect, err);
    status = settle(move, &attempt, status, result.revision, deadline, err);
    fault_point(call_of(next), FAULT_AFTER);
    return status;
}

enum status move_record(struct move *move, enum shard_state next, nsec deadline, struct err *err)
{
    enum status status = ST_OK;
    if (move->is_route_doubtful)
        status = read_back(move, deadline, err);
    if (!status)
        status = attempt_once(move, next, deadline, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt_once(move, next, deadline, err);
    return status && status != ST_FENCED
               ? err_wrap(err, "record state '%s'", shard_state_name(next))
               : status;
}

enum status move_record_start(struct move *move, enum shard_state next, nsec deadline,
                              struct err *err)
{
    AUTO(attempt_release) struct attempt attempt;
    attempt_init(&attempt, move, next);
    enum fault_effect effect = fault_point(call_of(next), FAULT_BEFORE);
    if (effect != FAULT_NONE && effect != FAULT_UNKNOWN_DONE)
        return fault_status(effect, err);
    move->pending_fault = (int)effect;
    return store_txn_start(move->mandate->store, &attempt.txn, deadline, &move->pending, err);
}

enum status move_record_finish(struct move *move, enum shard_state next, nsec deadline,
                               struct err *err)
{
    AUTO(attempt_release) struct attempt attempt;
    attempt_init(&attempt, move, next);
    struct store_txn_result result = {0};
    enum status status = store_txn_wait(move->pending, deadline, &result, err);
    store_pending_free(move->pending);
    move->pending = NULL;
    if (!status && move->pending_fault != FAULT_NONE)
        status = fault_status((enum fault_effect)move->pending_fault, err);
    status = settle(move, &attempt, status, result.revision, deadline, err);
    fault_point(call_of(next), FAULT_AFTER);
    if (status == ST_BUSY)
        return move_record(move, next, deadline, err);
    return status;
}
