/* SPDX-License-Identifier: Apache-2.0
 *
 * What a move writes to its shard's route, state by state; first, how any run writes one. */
#include "move/record.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "move/fault.h"
#include "move/internal.h"
#include "move/journal.h"
#include "move/mandate.h"
#include "move/session.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status held_route_read_back(const struct held_route *held, nsec deadline, struct err *err)
{
    struct route found;
    enum status status = mandate_check_token(held->mandate, deadline, err);
    if (!status)
        status = route_load(held->mandate->store, held->shard->name, deadline, &found, err);
    if (status == ST_NOT_FOUND && held->route->revision == 0)
        return ST_OK;
    if (status)
        return status;
    *held->route = found;
    *held->state = found.state;
    *held->is_doubtful = false;
    return ST_OK;
}

/* It is in the store. */
static void adopt(const struct held_route *held, const struct attempt *attempt, int64_t revision)
{
    const struct mandate *mandate = held->mandate;
    const struct route *route = &attempt->wanted;
    const char *shard = held->shard->name, *state = shard_state_name(route->state);
    *held->route = *route;
    held->route->revision = (uint64_t)revision;
    *held->state = route->state;
    *held->is_doubtful = false;
    if (attempt->is_claim)
        return;
    atomic_store(&mandate->shard_states[held->shard->index], (int)route->state);
    journal_add(mandate->journal, shard, "state", "%s", state);
    if (mandate->on_state)
        mandate->on_state(mandate->listener, held->shard, held->route);
    log_event(EV_SHARD_STATE, "shard", shard, "state", state, NULL);
}

void attempt_init(struct attempt *attempt, const struct held_route *held,
                  const struct route *wanted, const struct permit_part *part)
{
    *attempt = (struct attempt){.wanted = *wanted};
    attempt->key = route_key(held->shard->name);
    attempt->value = route_encode(wanted);
    attempt->compares[0] =
        (struct store_compare){STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, held->mandate->token};
    attempt->compares[1] =
        (struct store_compare){STORE_MOD_REV_IS, attempt->key, (int64_t)held->route->revision};
    attempt->ops[0] = (struct store_op){STORE_PUT, attempt->key, attempt->value, 0};
    attempt->txn = (struct store_txn){attempt->compares, 2, attempt->ops, 1};
    if (!part)
        return;
    memcpy(attempt->compares + 2, part->compares, part->compare_count * sizeof(*part->compares));
    memcpy(attempt->ops + 1, part->ops, part->op_count * sizeof(*part->ops));
    attempt->txn.compare_count += part->compare_count;
    attempt->txn.op_count += part->op_count;
}

void attempt_release(struct attempt *attempt)
{
    free(attempt->key);
    free(attempt->value);
}

enum status attempt_settle(struct attempt *attempt, const struct held_route *held,
                           enum status status, int64_t revision, nsec deadline, struct err *err)
{
    if (status == ST_OK) {
        adopt(held, attempt, revision);
        return ST_OK;
    }
    if (status != ST_UNKNOWN && status != ST_CONFLICT)
        return status;
    *held->is_doubtful = true;
    enum status looked = held_route_read_back(held, deadline, err);
    if (looked)
        return looked;
    AUTO_FREE char *found = route_encode(held->route);
    bool is_as_before = (int64_t)held->route->revision == attempt->compares[1].revision;
    if (!is_as_before && strcmp(found, attempt->value) == 0) {
        adopt(held, attempt, (int64_t)held->route->revision);
        return ST_OK;
    }
    return err_set(err, ST_BUSY, "the store did not take the new state");
}

/* What a part demands to be absent, and is there: a revocation stays while the run goes on, and a
 * fence may well outlast it. Nothing to try again. */
static enum status explain(const struct attempt *attempt, size_t failed, struct err *err)
{
    const struct store_compare *compare = &attempt->compares[failed];
    if (failed < 2)
        return ST_CONFLICT;
    if (compare->kind != STORE_ABSENT)
        return err_set(err, ST_CONFLICT, "'%s' was changed by somebody else", compare->key);
    err_set(err, ST_NO_GO,
            "a server that is to be opened has no permission to serve: the store has '%s'",
            compare->key);
    if (strncmp(compare->key, PERMIT_FENCED_PREFIX, strlen(PERMIT_FENCED_PREFIX)) == 0)
        return err_hint(err, "fail the shard over (holdfast failover --to REGION --accept-loss), "
                             "or give the region back (holdfast region return)");
    return err_hint(err,
                    "start it as a replica, read-only: a conductor with policy.automatic gives "
                    "its permission back");
}

enum status attempt_write(struct attempt *attempt, const struct held_route *held, enum call call,
                          nsec deadline, struct err *err)
{
    enum fault_effect effect = fault_point(call, FAULT_BEFORE);
    struct store_txn_result result = {0};
    enum status status =
        effect == FAULT_NONE || effect == FAULT_UNKNOWN_DONE
            ? store_txn(held->mandate->store, &attempt->txn, deadline, &result, err)
            : ST_OK;
    if (effect != FAULT_NONE && !status)
        status = fault_status(effect, err);
    bool is_of_part = status == ST_CONFLICT && result.failed_compare >= 2;
    if (status == ST_CONFLICT)
        status = explain(attempt, result.failed_compare, err);
    if (!is_of_part) /* else the token and the route are as they were */
        status = attempt_settle(attempt, held, status, result.revision, deadline, err);
    fault_point(call, FAULT_AFTER);
    return status;
}

/* ---- of a move ---- */

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
    } else if (next == SHARD_FROZEN || next == SHARD_PROMOTING) {
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

static struct held_route hold(struct move *move)
{
    return (struct held_route){move->mandate, move->shard, &move->route, &move->is_route_doubtful,
                               &move->view.state};
}

static void begin(struct attempt *attempt, struct move *move, enum shard_state next,
                  const struct permit_part *part)
{
    struct held_route held = hold(move);
    struct route wanted = next_route(move, next);
    attempt_init(attempt, &held, &wanted, part);
}

static void demand(struct permit_part *part, const struct move *move,
                   const struct inventory_server *server)
{
    if (server) /* of one that is not in the fleet file nothing is opened */
        permit_part_open(part, server->name, move->mandate->fleet->regions[server->region]);
}

/* Who withdraws a permission needs the run lock, but who fences a region does not: so each state
 * from which a server is opened, or is published as the primary, demands that it may be. */
static void make_part(const struct move *move, enum shard_state next, struct permit_part *ret)
{
    if (next == SHARD_UNDOING)
        demand(ret, move, move->old_server);
    if (next == SHARD_PREPARING || next == SHARD_PROMOTING || next == SHARD_REDIRECTING)
        demand(ret, move, move->new_server);
}

static enum status attempt_once(struct move *move, enum shard_state next, nsec deadline,
                                struct err *err)
{
    AUTO(attempt_release) struct attempt attempt;
    AUTO(permit_part_release) struct permit_part part = {0};
    struct held_route held = hold(move);
    make_part(move, next, &part);
    begin(&attempt, move, next, &part);
    return attempt_write(&attempt, &held, call_of(next), deadline, err);
}

enum status move_record(struct move *move, enum shard_state next, nsec deadline, struct err *err)
{
    enum status status = ST_OK;
    struct held_route held = hold(move);
    if (move->is_route_doubtful)
        status = held_route_read_back(&held, deadline, err);
    if (!status)
        status = attempt_once(move, next, deadline, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt_once(move, next, deadline, err);
    return status && status != ST_FENCED
               ? err_wrap(err, "record state '%s'", shard_state_name(next))
               : status;
}

/* The wait of openers bounds the statement; without agents nobody opens another server by time. */
static enum status load_span(struct move *move, nsec deadline, struct permit_part *part,
                             nsec *ret_span, struct err *err)
{
    struct permit_term term = {0};
    struct err why = ERR_INIT;
    enum status status = permit_term_load(move->mandate->store, deadline, &term, &why);
    if (status && status != ST_NOT_FOUND) {
        *err = why;
        return status;
    }
    nsec most = SQL_OPEN_WITHIN_MS * NSEC_PER_MS, span = permit_guard_span(term.wait);
    *ret_span = status || span > most ? most : span;
    if (!status)
        permit_part_keep_term(part, &term);
    return ST_OK;
}

enum status move_claim(struct move *move, const struct inventory_server *server, nsec deadline,
                       nsec *ret_span, struct err *err)
{
    AUTO(attempt_release) struct attempt attempt = {0};
    AUTO(permit_part_release) struct permit_part part = {0};
    struct held_route held = hold(move);
    enum status status =
        move->is_route_doubtful ? held_route_read_back(&held, deadline, err) : ST_OK;
    if (!status)
        status = load_span(move, deadline, &part, ret_span, err);
    if (status)
        return status;
    demand(&part, move, server);
    attempt_init(&attempt, &held, &move->route, &part);
    attempt.is_claim = true;
    status = attempt_write(&attempt, &held, CALL_WRITE_CLAIM, deadline, err);
    move->view.is_refused = move->view.is_refused || status == ST_NO_GO;
    return status;
}
