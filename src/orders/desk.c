/* SPDX-License-Identifier: Apache-2.0
 * See desk.h. Should two conductors believe that they lead, the run lock still lets only one begin.
 */
#include "orders/desk.h"

#include "api/body.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/failover_run.h"
#include "conductor/history.h"
#include "conductor/waves.h"
#include "fleet/inventory.h"
#include "fleet/readiness.h"
#include "orders/order.h"
#include "orders/runner.h"
#include "permit/fence.h"
#include "store/store.h"

#include <string.h>

enum { CHECK_MS = 8000, OBSERVE_MS = 2000 };

static void list_shards(const struct inventory *fleet, const struct run_record *record,
                        const struct inventory_shard **ret)
{
    for (size_t i = 0; i < record->shard_count; i++)
        ret[i] = inventory_find_shard(fleet, record->shards[i]);
}

/* ---- a switchover ---- */

static void estimate(struct store *store, const struct readiness *readiness, size_t to,
                     struct run_record *record)
{
    AUTO(history_release) struct history history = {0};
    struct waves waves = {0};
    struct err ignored = ERR_INIT;
    size_t moving = 0;
    for (size_t i = 0; i < readiness->observation.count; i++) {
        const struct server_observation *primary = readiness->observation.shards[i].primary;
        moving += primary && primary->server->region != to;
    }
    status_ignore(waves_parse(record->waves, record->shard_count, &waves, &ignored), "it was read");
    status_ignore(history_load(store, &history, &ignored), "then there is no estimate");
    struct run_shape shape = {moving, waves.count, record->settle_ms};
    struct estimate estimate = history_estimate(&history, &shape);
    record->estimate_ms = estimate.runs ? estimate.took_ms : -1;
    record->usual_shard_ms = estimate.shard_ms;
}

static enum status check_ready(const struct desk *desk, struct run_record *record, struct err *err)
{
    AUTO(readiness_release) struct readiness readiness = {0};
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((record->shard_count + 1) * sizeof(*shards));
    size_t to = 0;
    if (!inventory_find_region(desk->fleet, record->target, &to))
        return err_set(err, ST_INVALID, "there is no region '%s'", record->target);
    list_shards(desk->fleet, record, shards);
    struct readiness_request request = {.fleet = desk->fleet,
                                        .shards = shards,
                                        .shard_count = record->shard_count,
                                        .store = desk->store,
                                        .paused = desk->paused,
                                        .to_region = (int)to};
    readiness_check(&request, clock_deadline(CHECK_MS), &readiness);
    if (readiness.no_go_count == 0) {
        estimate(desk->store, &readiness, to, record);
        return ST_OK;
    }
    const struct finding *first = &readiness.findings[0]; /* no-go first */
    err_set(err, ST_NO_GO, "not ready: %zu no-go finding%s, first: %s%s%s", readiness.no_go_count,
            readiness.no_go_count == 1 ? "" : "s", first->shard ? first->shard : "",
            first->shard ? ": " : "", first->problem);
    return err_hint(err, "holdfast readiness --to %s lists them", record->target);
}

/* ---- a failover ---- */

static enum status claim_region(const struct desk *desk, const struct run_record *record,
                                struct failover_claim *ret, struct err *err)
{
    AUTO(permit_fence_release) struct permit_fence fence = {0};
    size_t to = 0;
    if (!inventory_find_region(desk->fleet, record->target, &to))
        return err_set(err, ST_INVALID, "there is no region '%s'", record->target);
    enum status status = failover_run_check_target(desk->store, record->target, err);
    if (status)
        return status;
    status = permit_fence_load(desk->store, desk->fleet->regions[1 - to],
                               store_deadline(desk->store, STORE_WORK), &fence, err);
    ret->is_region_lost = true;
    ret->lost = 1 - to;
    ret->is_fenced = status == ST_OK;
    if (status != ST_NOT_FOUND)
        return status;
    *err = (struct err)ERR_INIT;
    return ST_OK;
}

/* All shards of one run have the same home: the run's target. */
static enum status check_lost(const struct desk *desk, struct run_record *record, struct err *err)
{
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((record->shard_count + 1) * sizeof(*shards));
    struct failover_claim claim = {.is_forced = record->is_forced};
    enum status status = record->is_region_lost ? claim_region(desk, record, &claim, err) : ST_OK;
    if (status)
        return status;
    list_shards(desk->fleet, record, shards);
    fleet_observe(desk->fleet, shards, record->shard_count, clock_deadline(OBSERVE_MS), &seen);
    for (size_t i = 0; i < seen.count; i++) {
        struct route route = {0};
        status = failover_run_judge(desk->store, desk->fleet, &seen.shards[i], &claim, &route, err);
        if (status)
            return status;
        if (record->is_region_lost)
            continue;
        if (i > 0 && strcmp(record->target, route.home) != 0) {
            err_set(err, ST_INVALID, "'shards': they are of both regions");
            return err_hint(err, "order a failover for one region after the other");
        }
        snprintf(record->target, sizeof(record->target), "%.*s", RUN_TARGET_MAX - 1, route.home);
    }
    return ST_OK;
}

/* ---- the order ---- */

static void sign(const struct desk *desk, const char *caller, struct run_record *record)
{
    free(record->by);
    free(record->origin);
    record->by = mem_strdup(desk->who);
    record->origin = mem_printf("%s%sby the API of conductor %s", caller ? caller : "",
                                caller ? ", " : "", desk->conductor);
    record->is_submitted = true;
}

static enum status read_order(const struct desk *desk, const char *text, size_t length,
                              struct run_record *ret, struct err *err)
{
    AUTO_FREE char *caller = NULL;
    json_t *body = NULL;
    enum status status = body_parse(text, length, &body, err);
    if (!status)
        status = order_decode(body, ret, &caller, err);
    json_decref(body);
    if (!status)
        status = order_fit(ret, desk->fleet, err);
    if (!status)
        sign(desk, caller, ret);
    return status;
}

static bool are_same(char *const *names, size_t count, char *const *others, size_t other_count)
{
    if (count != other_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], others[i]) != 0)
            return false;
    return true;
}

static bool is_same_order(const struct run_record *record, const struct run_record *other)
{
    return record->kind == other->kind && record->is_forced == other->is_forced &&
           strcmp(record->target, other->target) == 0 &&
           are_same(record->shards, record->shard_count, other->shards, other->shard_count) &&
           are_same(record->without, record->without_count, other->without, other->without_count);
}

/* An order may come again, when its answer was lost: it is the same run. ST_NOT_FOUND: it is new.
 */
static enum status find_begun(struct store *store, const struct run_record *order, struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    struct err ignored = ERR_INIT;
    if (run_record_load(store, order->id, &record, &ignored))
        return ST_NOT_FOUND;
    if (is_same_order(&record, order))
        return ST_OK;
    err_set(err, ST_CONFLICT, "run %s was ordered already, to do something else", order->id);
    return err_hint(err, "a new order needs a name of its own; holdfast run show %s", order->id);
}

enum status desk_take(const struct desk *desk, const char *text, size_t length,
                      char ret_id[static RUN_ID_MAX], struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    enum status status = read_order(desk, text, length, &record, err);
    if (status)
        return status;
    snprintf(ret_id, RUN_ID_MAX, "%s", record.id);
    status = find_begun(desk->store, &record, err);
    if (status != ST_NOT_FOUND)
        return status;
    status = record.kind == RUN_SWITCHOVER ? check_ready(desk, &record, err)
                                           : check_lost(desk, &record, err);
    if (status)
        return status;
    status = runner_begin(desk->runner, &record, err);
    if (status == ST_BUSY) /* no other conductor could either */
        status = err->status = ST_CONFLICT;
    return status == ST_EXISTS ? ST_OK : status;
}
