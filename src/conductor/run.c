/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs in the store. Three keys: "runs/ID" is the record; "run-current" names the run that is not
 * finished and keeps a second one from starting; "run-lock", attached to the lease of the process
 * that acts, is the fencing token. A run whose lock is gone but whose "run-current" is there was
 * left behind by a dead process, and waits for 'run resume' or 'run abort'. */
#include "conductor/run.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/keeper.h"
#include "conductor/run_record.h"
#include "conductor/run_write.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "hooks/waiting.h"
#include "move/fault.h"
#include "move/gate.h"
#include "move/journal.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum {
    LEASE_MS = 10000,
    PATIENCE_MS = 6000, /* of an order, with whoever brings roles back */
    CAP_MAX = 10000     /* more than there are movers */
};

enum status run_lock_holder(struct store *store, char ret_id[static RUN_ID_MAX], struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status =
        store_get(store, MANDATE_LOCK_KEY, store_deadline(store, STORE_WORK), &entry, err);
    if (!status)
        snprintf(ret_id, RUN_ID_MAX, "%s", entry.value);
    return status;
}

enum status run_current(struct store *store, char ret_id[static RUN_ID_MAX], struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status =
        store_get(store, RUN_CURRENT_KEY, store_deadline(store, STORE_WORK), &entry, err);
    if (!status)
        snprintf(ret_id, RUN_ID_MAX, "%s", entry.value);
    return status;
}

/* Why the lock could not be had, and what to type. */
static enum status explain_busy(struct store *store, struct err *err)
{
    char id[RUN_ID_MAX];
    struct err ignored = ERR_INIT;
    bool is_held = run_lock_holder(store, id, &ignored) == ST_OK;
    if (is_held && strcmp(id, MANDATE_HOLD) == 0) {
        err_set(err, ST_BUSY, "another process brings roles back");
        err_hint(err, "try again in a moment");
    } else if (is_held && strcmp(id, MANDATE_READY) == 0) {
        err_set(err, ST_BUSY, "a region is silent: a conductor is about to fail it over");
        err_hint(err, "try again in a moment: holdfast status says what became of it");
    } else if (is_held) {
        err_set(err, ST_BUSY, "run %s is in progress", id);
        err_hint(err, "holdfast run show %s, or: holdfast run abort %s", id, id);
    } else if (run_current(store, id, &ignored) == ST_OK) {
        AUTO(run_record_release) struct run_record record = {.state = RUN_RUNNING};
        if (run_record_load(store, id, &record, &ignored))
            snprintf(record.id, sizeof(record.id), "%s", id);
        AUTO_FREE char *next = run_record_next(&record);
        err_set(err, ST_BUSY, "run %s was not finished", id);
        err_hint(err, "%s", next);
    } else {
        err_set(err, ST_BUSY, "another run ended just now");
        err_hint(err, "try again");
    }
    return ST_BUSY;
}

/* An order that came a second time, or why the lock could not be had. */
static enum status explain_conflict(const struct run *run, enum call call, struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    struct err ignored = ERR_INIT;
    if (call != CALL_RUN_BEGIN ||
        run_record_load(run->mandate.store, run->record.id, &record, &ignored))
        return explain_busy(run->mandate.store, err);
    err_set(err, ST_EXISTS, "run %s was ordered already", record.id);
    return err_hint(err, "holdfast run show %s", record.id);
}

static struct run *run_new(struct store *store, const struct inventory *fleet)
{
    struct run *run = mem_zalloc(sizeof(*run));
    run->mandate.fleet = fleet;
    run->mandate.run = run->record.id;
    run->mandate.store = store;
    run->waiting = waiting_new();
    run->mandate.shard_states =
        mem_zalloc((fleet->shard_count + 1) * sizeof(*run->mandate.shard_states));
    return run;
}

/* Without an order it is this machine's cores that freezes have to share, and getting ready would
 * take them away; an order says that distance is what takes the time. */
static struct freeze_gate *new_gate(uint32_t ordered)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cap = ordered ? ordered : cores > 0 ? (unsigned)cores : 1;
    cap = cap < CAP_MAX ? cap : CAP_MAX;
    return freeze_gate_new(ordered ? 2 * cap : cap, cap);
}

/* What all ways into a run share: after the lock was written, learn the token. */
static enum status know_lock(struct run *run, struct err *err)
{
    AUTO(store_entry_release) struct store_entry lock = {0};
    enum status status = store_get(run->mandate.store, MANDATE_LOCK_KEY,
                                   store_deadline(run->mandate.store, STORE_WORK), &lock, err);
    if (status)
        return err_wrap(err, "run lock");
    if (lock.lease != run->lease)
        return err_set(err, ST_FENCED, "another process took over run %s", run->record.id);
    run->mandate.token = lock.create_rev;
    if (!inventory_find_region(run->mandate.fleet, run->record.target, &run->mandate.to_region))
        return err_set(err, ST_INVALID, "run %s moves to region '%s', which the fleet file lacks",
                       run->record.id, run->record.target);
    status = drain_list_load(run->mandate.store, store_deadline(run->mandate.store, STORE_WORK),
                             &run->drained, err);
    if (status)
        return status;
    run->mandate.drained = &run->drained;
    run->mandate.gate = new_gate(run->mandate.fleet->policy.freeze_cap);
    return ST_OK;
}

static enum status hold_lock(struct run *run, struct err *err)
{
    enum status status = know_lock(run, err);
    if (!status)
        run->keeper = keeper_start(run, LEASE_MS);
    return status;
}

static enum status grant_lease(struct run *run, struct err *err)
{
    enum fault_effect effect = fault_point(CALL_LEASE, FAULT_BEFORE);
    enum status status =
        store_lease_grant(run->mandate.store, LEASE_MS,
                          store_deadline(run->mandate.store, STORE_WORK), &run->lease, err);
    if (effect != FAULT_NONE && !status)
        status = fault_status(effect, err);
    fault_point(CALL_LEASE, FAULT_AFTER);
    return status;
}

static void give_lease_back(struct run *run)
{
    struct err ignored = ERR_INIT;
    if (!run->lease)
        return;
    fault_point(CALL_LEASE_END, FAULT_BEFORE);
    status_ignore(store_lease_revoke(run->mandate.store, run->lease,
                                     store_deadline(run->mandate.store, STORE_WORK), &ignored),
                  "the lease ends with this process anyway");
    run->lease = 0;
    fault_point(CALL_LEASE_END, FAULT_AFTER);
}

static enum status take_lock(struct run *run, enum call call, const struct store_compare *compare,
                             struct err *err)
{
    enum status status = grant_lease(run, err);
    if (status)
        return err_wrap(err, "run lock");
    AUTO_FREE char *key = run_record_key(run->record.id);
    AUTO_FREE char *value = run_record_encode(&run->record);
    AUTO_FREE char *abort_key = keeper_abort_key(run->record.id);
    struct store_compare compares[] = {
        {STORE_ABSENT, MANDATE_LOCK_KEY, 0}, *compare, {STORE_ABSENT, key, 0}};
    size_t count = call == CALL_RUN_BEGIN ? 3 : 2; /* an order may come twice */
    struct store_op ops[] = {
        {STORE_PUT, MANDATE_LOCK_KEY, run->record.id, run->lease},
        {STORE_PUT, RUN_CURRENT_KEY, run->record.id, 0},
        {STORE_PUT, key, value, 0},
        {STORE_DELETE, abort_key, NULL, 0}, /* meant for the process before us */
    };
    struct store_txn txn = {compares, count, ops, ARRAY_SIZE(ops)};
    struct run_evidence lock = {MANDATE_LOCK_KEY, run->record.id, run->lease};
    status = run__write(run->mandate.store, call, &txn, &lock, err);
    char holder[RUN_ID_MAX];
    if (status == ST_CONFLICT && call == CALL_RUN_TAKE &&
        run_lock_holder(run->mandate.store, holder, err) == ST_NOT_FOUND)
        status =
            run__write(run->mandate.store, call, &txn, &lock, err); /* its lease ended just now */
    if (status == ST_CONFLICT)
        return explain_conflict(run, call, err);
    return status ? err_wrap(err, "run lock") : hold_lock(run, err);
}

/* Whoever brings roles back gives the lock up after a step or two, and for a failover after the one
 * that is under way. False: not by 'deadline', or it is not that. */
static bool wait_for_roles(struct run *run, nsec deadline)
{
    struct store *store = run->mandate.store;
    AUTO(store_list_release) struct store_list lock = {0};
    struct store_watch *watch = NULL;
    char id[RUN_ID_MAX];
    struct err ignored = ERR_INIT;
    if (clock_now() >= deadline || store_list(store, MANDATE_LOCK_KEY, deadline, &lock, &ignored))
        return false;
    if (lock.count == 0) /* it was given back just now; or its run is unfinished */
        return run_current(store, id, &ignored) == ST_NOT_FOUND;
    if (strcmp(lock.entries[0].value, MANDATE_HOLD) != 0 ||
        store_watch_open(store, MANDATE_LOCK_KEY, lock.revision, &watch, &ignored))
        return false;
    if (run->record.kind == RUN_FAILOVER)
        status_ignore(keeper_request_abort_for(store, MANDATE_HOLD, run->record.audit, &ignored),
                      "it ends by itself, too");
    AUTO(store_changes_release) struct store_changes changes = {0};
    enum status status = store_watch_next(watch, deadline, &changes, &ignored);
    store_watch_close(watch);
    return status == ST_OK;
}

struct beginning {
    struct store *store;
    const struct inventory *fleet;
    nsec patience; /* with whoever brings roles back */
};

static enum status begin(const struct beginning *how, struct run_record *take, struct run **ret,
                         struct err *err)
{
    struct run *run = run_new(how->store, how->fleet);
    run->record = *take;
    *take = (struct run_record){0};
    run_record_add_first_order(&run->record);
    run->record.state = RUN_RUNNING;
    struct store_compare none_left = {STORE_ABSENT, RUN_CURRENT_KEY, 0};
    nsec deadline = clock_now() + how->patience;
    enum status status = ST_BUSY;
    do {
        *err = (struct err)ERR_INIT;
        give_lease_back(run);
        status = take_lock(run, CALL_RUN_BEGIN, &none_left, err);
    } while (status == ST_BUSY && wait_for_roles(run, deadline));
    if (status) {
        run_free(run);
        return status;
    }
    *ret = run;
    return ST_OK;
}

enum status run_begin(struct store *store, const struct inventory *fleet, struct run_record *take,
                      struct run **ret, struct err *err)
{
    return begin(&(struct beginning){store, fleet, 0}, take, ret, err);
}

/* It waits, or its process is gone. */
static enum status set_left_aside(struct store *store, char ret_id[static RUN_ID_MAX])
{
    char left[RUN_ID_MAX], holder[RUN_ID_MAX];
    struct err err = ERR_INIT;
    enum status status = run_current(store, left, &err);
    if (!status && run_lock_holder(store, holder, &err) != ST_NOT_FOUND)
        status = ST_BUSY;
    if (!status)
        status = run_set_aside(store, left, &err);
    if (!status)
        snprintf(ret_id, RUN_ID_MAX, "%s", left);
    return status;
}

/* One may have been set aside with the fence, and this one begun and died since: it left nothing.
 */
static void add_aside(const struct beginning *how, struct run_record *take, const char *id)
{
    bool has_left = true;
    struct err ignored = ERR_INIT;
    if (!take->aside[0] || run_has_left(how->store, how->fleet, id, &has_left, &ignored) ||
        has_left)
        snprintf(take->aside, RUN_ID_MAX, "%s", id);
    else
        status_ignore(run_close(how->store, id, RUN_FAILED, &ignored), "'run abort' ends it");
}

static enum status begin_over(const struct beginning *how, struct run_record *take,
                              struct run **ret, char ret_aside[static RUN_ID_MAX], struct err *err)
{
    AUTO_FREE char *wanted = run_record_encode(take);
    ret_aside[0] = '\0';
    enum status status = begin(how, take, ret, err);
    if (status != ST_BUSY || set_left_aside(how->store, ret_aside))
        return status;
    log_event(EV_LOSS, "run", ret_aside, "is", "set aside: a region is lost", NULL);
    *err = (struct err)ERR_INIT;
    status = run_record_decode(wanted, take, err);
    if (status)
        return status;
    add_aside(how, take, ret_aside);
    status = begin(how, take, ret, err);
    return status ? err_hint(err, "give the order again; run %s was set aside: it does not go on",
                             ret_aside)
                  : ST_OK;
}

enum status run_begin_over(struct store *store, const struct inventory *fleet,
                           struct run_record *take, struct run **ret,
                           char ret_aside[static RUN_ID_MAX], struct err *err)
{
    return begin_over(&(struct beginning){store, fleet, 0}, take, ret, ret_aside, err);
}

enum status run_begin_ordered(struct store *store, const struct inventory *fleet,
                              struct run_record *take, struct run **ret, struct err *err)
{
    struct beginning how = {store, fleet, PATIENCE_MS * NSEC_PER_MS};
    if (!take->is_region_lost)
        return begin(&how, take, ret, err);
    char aside[RUN_ID_MAX];
    return begin_over(&how, take, ret, aside, err);
}

/* 'what' stands in the place of a run's id. */
static enum status hold(struct run *run, const char *what, struct err *err)
{
    struct store *store = run->mandate.store;
    snprintf(run->record.id, sizeof(run->record.id), "%s", what);
    struct store_compare compares[] = {{STORE_ABSENT, MANDATE_LOCK_KEY, 0},
                                       {STORE_ABSENT, RUN_CURRENT_KEY, 0}};
    enum status status = grant_lease(run, err);
    AUTO_FREE char *abort_key = keeper_abort_key(what);
    struct store_op ops[] = {
        {STORE_PUT, MANDATE_LOCK_KEY, what, run->lease},
        {STORE_DELETE, abort_key, NULL, 0}, /* meant for whoever held it before us */
    };
    struct store_txn txn = {compares, ARRAY_SIZE(compares), ops, ARRAY_SIZE(ops)};
    struct run_evidence lock = {MANDATE_LOCK_KEY, what, run->lease};
    if (!status)
        status = run__write(store, CALL_RUN_BEGIN, &txn, &lock, err);
    if (status == ST_CONFLICT)
        return explain_busy(store, err);
    return status ? err_wrap(err, "run lock") : ST_OK;
}

enum status run_hold(struct store *store, const struct inventory *fleet, struct run **ret,
                     struct err *err)
{
    struct run *run = run_new(store, fleet);
    run_record_init(&run->record, fleet->regions[0]);
    enum status status = hold(run, MANDATE_HOLD, err);
    if (!status)
        status = hold_lock(run, err);
    if (status) {
        run_free(run);
        return err->status;
    }
    *ret = run;
    return ST_OK;
}

/* Its lease is longer than anybody waits with it, so nobody keeps it. */
enum status run_get_ready(struct store *store, const struct inventory *fleet, const char *region,
                          struct run **ret, struct err *err)
{
    struct run *run = run_new(store, fleet);
    run_record_init(&run->record, region);
    enum status status = hold(run, MANDATE_READY, err);
    if (!status)
        status = know_lock(run, err);
    if (status) {
        run_free(run);
        return err->status;
    }
    *ret = run;
    return ST_OK;
}

enum status run_begin_ready(struct run *run, struct run_record *take, struct err *err)
{
    run_record_release(&run->record);
    run->record = *take;
    *take = (struct run_record){0};
    run_record_add_first_order(&run->record);
    run->record.state = RUN_RUNNING;
    AUTO_FREE char *key = run_record_key(run->record.id);
    AUTO_FREE char *value = run_record_encode(&run->record);
    struct store_compare compares[] = {
        {STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, run->mandate.token},
        {STORE_ABSENT, RUN_CURRENT_KEY, 0},
    };
    struct store_op ops[] = {
        {STORE_PUT, MANDATE_LOCK_KEY, run->record.id, run->lease},
        {STORE_PUT, RUN_CURRENT_KEY, run->record.id, 0},
        {STORE_PUT, key, value, 0},
    };
    struct store_txn txn = {compares, ARRAY_SIZE(compares), ops, ARRAY_SIZE(ops)};
    struct run_evidence lock = {MANDATE_LOCK_KEY, run->record.id, run->lease};
    enum status status = run__write(run->mandate.store, CALL_RUN_BEGIN, &txn, &lock, err);
    if (status == ST_CONFLICT)
        return explain_busy(run->mandate.store, err);
    if (status)
        return err_wrap(err, "run lock");
    run->keeper = keeper_start(run, LEASE_MS);
    return ST_OK;
}

enum status run_list_left(struct store *store, const struct inventory *fleet, const char *id,
                          bool *ret_is_left, struct err *err)
{
    AUTO(route_list_release) struct route_list routes = {0};
    enum status status = route_list_load(store, store_deadline(store, STORE_WORK), &routes, err);
    for (size_t i = 0; i < fleet->shard_count && !status; i++) {
        struct route route = {0};
        struct err ignored = ERR_INIT;
        ret_is_left[i] =
            route_list_get(&routes, fleet->shards[i].name, &route, &ignored) == ST_OK &&
            route.state != SHARD_SERVING && strcmp(route.run, id) == 0;
    }
    return status;
}

enum status run_has_left(struct store *store, const struct inventory *fleet, const char *id,
                         bool *ret, struct err *err)
{
    AUTO_FREE bool *is_left = mem_zalloc(fleet->shard_count + 1);
    enum status status = run_list_left(store, fleet, id, is_left, err);
    if (status)
        return status;
    *ret = false;
    for (size_t i = 0; i < fleet->shard_count; i++)
        *ret = *ret || is_left[i];
    return ST_OK;
}

/* May it be taken over? And what must be so still when it is: also of a run that was taken over and
 * has ended since, and of which another one follows. */
static enum status check_unfinished(struct run *run, const char *id, struct store_compare *ret_left,
                                    struct err *err)
{
    struct store *store = run->mandate.store;
    AUTO(store_entry_release) struct store_entry current = {0};
    enum status status =
        store_get(store, RUN_CURRENT_KEY, store_deadline(store, STORE_WORK), &current, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    run->had_ended = status == ST_NOT_FOUND;
    *ret_left = run->had_ended
                    ? (struct store_compare){STORE_ABSENT, RUN_CURRENT_KEY, 0}
                    : (struct store_compare){STORE_MOD_REV_IS, RUN_CURRENT_KEY, current.mod_rev};
    bool may_take = !run->had_ended && strcmp(current.value, id) == 0;
    if (run->had_ended) { /* a shard may have been out of the fleet file then, and is back */
        status = run_has_left(store, run->mandate.fleet, id, &may_take, err);
        if (status)
            return status;
    }
    if (may_take)
        return ST_OK;
    AUTO(run_record_release) struct run_record record = {0};
    status = run_record_load(store, id, &record, err); /* says when there is no such run */
    if (status)
        return status;
    bool was_aside = !run_state_is_over(record.state);
    if (was_aside && run->had_ended) { /* others brought its shards to an end */
        record.state = RUN_FAILED;
        status = run_close(store, id, RUN_FAILED, err);
        if (status)
            return status;
    } else if (was_aside) {
        err_set(err, ST_BUSY, "run %s was set aside, and run %s is not finished", id,
                current.value);
        return err_hint(err, "holdfast run show %s; then holdfast run abort %s", current.value, id);
    }
    err_set(err, ST_NOT_FOUND, "run %s has ended: %s", id, run_state_name(record.state));
    return err_hint(err, "holdfast run list");
}

/* An order to abort that reached the process before us, or came when it was gone already. */
static enum status hear_abort(struct run *run, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    AUTO_FREE char *key = keeper_abort_key(run->record.id);
    enum status status = store_get(run->mandate.store, key,
                                   store_deadline(run->mandate.store, STORE_WORK), &entry, err);
    if (status == ST_OK) {
        run->record.is_called_off = true;
        run_record_add_line(&run->record, entry.value);
    }
    return status == ST_NOT_FOUND ? ST_OK : status;
}

enum status run_take(struct store *store, const struct inventory *fleet, const char *id,
                     bool is_called_off, struct run **ret, struct err *err)
{
    struct run *run = run_new(store, fleet);
    struct store_compare is_left;
    enum status status = check_unfinished(run, id, &is_left, err);
    if (!status)
        status = run_record_load(store, id, &run->record, err);
    run->mandate.is_resumed = true;
    run->record.state = RUN_RUNNING;
    if (!status)
        status = hear_abort(run, err);
    if (!status)
        run_record_add_order(&run->record, "took the run over%s",
                             is_called_off               ? " to abort it"
                             : run->record.is_called_off ? ", which was called off"
                                                         : "");
    run->record.is_called_off = run->record.is_called_off || is_called_off;
    run->mandate.is_abort_only = run->record.is_called_off;
    atomic_store(&run->mandate.is_called_off, run->record.is_called_off);
    if (!status)
        status = take_lock(run, CALL_RUN_TAKE, &is_left, err);
    if (status) {
        run_free(run);
        return status;
    }
    *ret = run;
    return ST_OK;
}

enum status run_end(struct run *run, enum run_state state, const struct run_record *next,
                    struct err *err)
{
    run->record.state = state;
    run->record.is_called_off = atomic_load(&run->mandate.is_called_off);
    snprintf(run->record.return_run, RUN_ID_MAX, "%s", next ? next->id : "");
    AUTO_FREE char *next_key = next ? run_record_key(next->id) : NULL;
    AUTO_FREE char *next_value = next ? run_record_encode(next) : NULL;
    AUTO_FREE char *key = run_record_key(run->record.id);
    AUTO_FREE char *value = run_record_encode(&run->record);
    AUTO_FREE char *abort_key = keeper_abort_key(run->record.id);
    struct store_compare compare = {STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, run->mandate.token};
    struct store_op ops[] = {
        {STORE_PUT, key, value, 0},
        {STORE_DELETE, abort_key, NULL, 0},
        {STORE_DELETE, MANDATE_LOCK_KEY, NULL, 0},
        {next ? STORE_PUT : STORE_DELETE, RUN_CURRENT_KEY, next ? next->id : NULL, 0},
        {STORE_PUT, next_key, next_value, 0},
    };
    /* A stuck run stays the current one: it must be resumed or aborted before another begins. */
    struct store_txn txn = {&compare, 1, ops, state == RUN_STUCK ? 3 : next ? 5 : 4};
    struct run_evidence record = {key, value, 0};
    enum status status = run__write(run->mandate.store, CALL_RUN_END, &txn, &record, err);
    if (status == ST_CONFLICT)
        return err_set(err, ST_FENCED, "another process took over run %s", run->record.id);
    if (status)
        return err_wrap(err, "record the end of run %s", run->record.id);
    return ST_OK;
}

enum status run_set_aside(struct store *store, const char *id, struct err *err)
{
    AUTO(store_entry_release) struct store_entry current = {0};
    nsec deadline = store_deadline(store, STORE_WORK);
    enum status status = store_get(store, RUN_CURRENT_KEY, deadline, &current, err);
    if (status)
        return status;
    if (strcmp(current.value, id) != 0)
        return err_set(err, ST_CONFLICT, "run %s is not the unfinished one", id);
    struct store_compare compares[] = {{STORE_ABSENT, MANDATE_LOCK_KEY, 0},
                                       {STORE_MOD_REV_IS, RUN_CURRENT_KEY, current.mod_rev}};
    struct store_op op = {STORE_DELETE, RUN_CURRENT_KEY, NULL, 0};
    struct store_txn txn = {compares, ARRAY_SIZE(compares), &op, 1};
    struct store_txn_result result = {0};
    return store_txn(store, &txn, deadline, &result, err);
}

enum status run_close(struct store *store, const char *id, enum run_state state, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    AUTO(run_record_release) struct run_record record = {0};
    AUTO_FREE char *key = run_record_key(id);
    nsec deadline = store_deadline(store, STORE_WORK);
    enum status status = store_get(store, key, deadline, &entry, err);
    if (!status)
        status = run_record_decode(entry.value, &record, err);
    if (status || run_state_is_over(record.state)) /* then somebody has recorded it */
        return status;
    record.state = state;
    run_record_add_order(&record, "ended it: others brought its shards to an end");
    AUTO_FREE char *value = run_record_encode(&record);
    struct store_compare is_same = {STORE_MOD_REV_IS, key, entry.mod_rev};
    struct store_op put = {STORE_PUT, key, value, 0};
    struct store_txn txn = {&is_same, 1, &put, 1};
    struct store_txn_result result = {0};
    return store_txn(store, &txn, deadline, &result, err);
}

enum status run_call_off(struct store *store, const struct inventory *fleet, const char *id,
                         struct run **ret, struct err *err)
{
    bool has_left = false;
    enum status status = run_has_left(store, fleet, id, &has_left, err);
    *ret = NULL;
    if (status)
        return status;
    return has_left ? run_take(store, fleet, id, true, ret, err)
                    : run_close(store, id, RUN_FAILED, err);
}

void run_free(struct run *run)
{
    if (!run)
        return;
    keeper_stop(run->keeper);
    give_lease_back(run);
    freeze_gate_free(run->mandate.gate);
    journal_close(run->mandate.journal);
    run_record_release(&run->record);
    drain_list_release(&run->drained);
    waiting_free(run->waiting);
    free(run->mandate.shard_states);
    free(atomic_load(&run->aborted_by));
    free(run);
}

void run_hand_over(struct run *run)
{
    atomic_store(&run->is_handed_over, true);
    run_stop(run);
}

bool run_must_stop(const struct run *run)
{
    return mandate_must_stop(&run->mandate);
}

void run_abort_for(struct run *run, const char *order)
{
    char *none = NULL, *copy = mem_strdup(order);
    if (!atomic_compare_exchange_strong(&run->aborted_by, &none, copy))
        free(copy);
    run_abort(run);
}

void run_abort(struct run *run)
{
    atomic_store(&run->mandate.is_called_off, true);
    run_stop(run);
}

void run_stop(struct run *run)
{
    atomic_store(&run->mandate.is_aborted, true);
}
