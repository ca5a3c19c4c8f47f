/* SPDX-License-Identifier: Apache-2.0
 * See failover_run.h. */
#include "conductor/failover_run.h"

#include "base/mem.h"
#include "base/scope.h"
#include "failover/failover.h"
#include "permit/fence.h"

#include <stdlib.h>
#include <string.h>

enum { STORE_MS = 3000 };

enum status failover_run_route(struct store *store, const struct inventory *fleet,
                               const struct shard_observation *seen, struct route *ret,
                               struct err *err)
{
    enum status status = route_load(store, seen->shard->name, clock_deadline(STORE_MS), ret, err);
    if (status != ST_NOT_FOUND)
        return status;
    const struct inventory_server *lost = failover_find_lost(seen);
    if (!lost) {
        err_set(err, ST_NO_GO,
                "shard %s: the store does not know its primary, and no replica names "
                "one that is silent",
                seen->shard->name);
        return err_hint(err, "holdfast status shows what its servers are");
    }
    *ret = (struct route){.state = SHARD_SERVING};
    snprintf(ret->home, sizeof(ret->home), "%s", fleet->regions[lost->region]);
    snprintf(ret->primary, sizeof(ret->primary), "%s", lost->name);
    return ST_OK;
}

enum status failover_run_check_target(struct store *store, const char *region, struct err *err)
{
    AUTO(permit_fence_release) struct permit_fence fence = {0};
    enum status status = permit_fence_load(store, region, clock_deadline(STORE_MS), &fence, err);
    if (status == ST_NOT_FOUND) {
        *err = (struct err)ERR_INIT;
        return ST_OK;
    }
    if (status)
        return status;
    AUTO_FREE char *words = permit_fence_format(&fence);
    err_set(err, ST_NO_GO, "%s", words);
    return err_hint(err, "holdfast region list says what it waits for; holdfast region return %s",
                    region);
}

/* Its primary; of a region that is lost, whoever may be open there. NULL: not in the fleet file. */
static const struct server_observation *find_claimed(const struct shard_observation *seen,
                                                     const struct failover_claim *claim,
                                                     const struct route *route)
{
    const struct inventory_server *claimed =
        claim->is_region_lost ? failover_find_end(seen->shard, route, claim->lost)
                              : inventory_find_server(seen->shard, route->primary);
    return claimed ? &seen->servers[claimed->index] : NULL;
}

static enum status refuse_serving(const struct inventory *fleet,
                                  const struct server_observation *claimed,
                                  const struct shard_observation *seen,
                                  const struct failover_claim *claim, const struct route *route,
                                  struct err *err)
{
    err_set(err, ST_NO_GO, "the primary of shard %s, %s, answers and accepts writes",
            seen->shard->name, claimed->server->name);
    if (claim->is_region_lost && route->state != SHARD_SERVING)
        return err_hint(err, "nothing is lost there: holdfast run resume %s goes on with its move",
                        route->run);
    if (claim->is_region_lost)
        return err_hint(err,
                        "nothing is lost there: holdfast switchover --to %s moves it without loss",
                        fleet->regions[1 - claim->lost]);
    return err_hint(err, "nothing is lost there; if its writes hang all the same: --force");
}

enum status failover_run_judge(struct store *store, const struct inventory *fleet,
                               const struct shard_observation *seen,
                               const struct failover_claim *claim, struct route *ret,
                               struct err *err)
{
    enum status status = failover_run_route(store, fleet, seen, ret, err);
    if (status)
        return status;
    if (claim->is_region_lost && !failover_is_concerned(fleet, seen->shard, ret, claim->lost))
        return err_set(err, ST_NO_GO, "shard %s is served in %s already", seen->shard->name,
                       ret->home);
    if (ret->state != SHARD_SERVING && !claim->is_region_lost) {
        err_set(err, ST_NO_GO, "shard %s is %s: run %s is moving it, or left it", seen->shard->name,
                shard_state_name(ret->state), ret->run);
        return err_hint(err, "holdfast run show %s; when nothing goes on with it: run resume %s",
                        ret->run, ret->run);
    }
    const struct server_observation *claimed = find_claimed(seen, claim, ret);
    bool answers = claimed && claimed->status == ST_OK && !claimed->state.is_read_only;
    if (!answers || claim->is_forced || claim->is_fenced)
        return ST_OK;
    return refuse_serving(fleet, claimed, seen, claim, ret, err);
}

static void fill_evidence(struct shard_report *report, const struct failover *failover)
{
    const struct proof *proof = &failover->proof;
    if (failover->result != MOVE_MOVED)
        return;
    free(report->evidence);
    report->is_nothing_lost = proof->is_proven;
    report->evidence = mem_strdup(
        proof->words.length ? proof->words.data : "it was elected by the process before this one");
}

/* What the lost region acknowledged alone it acknowledged until it was fenced, at the latest: that
 * was before this began. */
static void fill_bound(struct shard_report *report, const struct failover *failover)
{
    if (failover->result != MOVE_MOVED || failover->proof.is_proven || !failover->has_bound ||
        !failover->fence)
        return;
    char covered[WALL_TEXT_MAX];
    nsec now = clock_now();
    nsec alone = failover->began_at - failover->bound.covered;
    report->loss_ms = clock_ms(alone > 0 ? alone : 0);
    report->loss_transactions = failover->bound.transactions;
    clock_wall_format(clock_wall_us() - (now - failover->bound.covered) / (NSEC_PER_MS / 1000),
                      covered);
    AUTO_FREE char *before = report->evidence;
    AUTO_FREE char *about = report->loss_transactions < 0
                                ? mem_strdup("")
                                : mem_printf("; about %lld transactions were on their way "
                                             "here when its primary was last seen",
                                             (long long)report->loss_transactions);
    report->evidence = mem_printf("%s; all that was acknowledged until %s is there: at most %.1f s "
                                  "of acknowledged writes are lost%s",
                                  before, covered, report->loss_ms / 1000, about);
}

static void fill_report(struct shard_report *report, const struct failover *failover)
{
    fill_evidence(report, failover);
    fill_bound(report, failover);
    bool is_seen_whole = failover->published_at != 0 && !failover->was_begun;
    report->result = failover->result;
    report->err = failover->failure;
    report->epoch = failover->route.epoch;
    snprintf(report->primary, sizeof(report->primary), "%s", failover->route.primary);
    report->is_loss_timed = is_seen_whole && failover->lost_at != 0;
    nsec since = report->is_loss_timed ? failover->lost_at : failover->began_at;
    report->critical_ms = is_seen_whole ? clock_ms(failover->published_at - since) : -1;
    shard_report_tell(report, &failover->story);
}

/* It may have come back between the order and now; or the order was given by mistake. */
static enum status refuse_living(const struct run *run, const struct shard_observation *seen,
                                 const struct failover *failover, struct err *err)
{
    if (!failover->lost)
        return err_set(err, ST_INVALID, "the lost primary %s is not in the fleet file",
                       failover->route.primary);
    const struct server_observation *lost = &seen->servers[failover->lost->index];
    bool is_fresh = failover->view.state == SHARD_SERVING && !failover->view.is_done;
    bool may_answer = run->record.is_forced || failover->fence != 0;
    if (!is_fresh || may_answer || lost->status || lost->state.is_read_only)
        return ST_OK;
    err_set(err, ST_NO_GO, "%s answers and accepts writes: it is not lost", failover->lost->name);
    return err_hint(err, "when its writes hang all the same: --force");
}

/* By an agent, as far as the fleet file says, or as was heard: whose fleet file is right is not
 * known here. */
static bool is_looked_after(const struct run *run, const struct inventory_shard *shard,
                            const struct inventory_server *server)
{
    const struct inventory *fleet = run->mandate.fleet;
    struct permit_heard heard;
    if (run->ears && run->ears->hear(run->ears->context, server->name, &heard))
        return true;
    for (size_t i = 0; i < fleet->host_count; i++)
        for (size_t j = 0; j < fleet->hosts[i].place_count; j++)
            if (fleet->hosts[i].places[j].shard == shard->index &&
                fleet->hosts[i].places[j].server == server->index)
                return true;
    return false;
}

static bool is_region_silent(const struct shard_observation *seen, size_t region)
{
    for (size_t i = 0; i < seen->shard->server_count; i++)
        if (seen->servers[i].server->region == region && seen->servers[i].status == ST_OK)
            return false;
    return true;
}

/* Somebody else failed it over between the order and now. */
static bool is_there_already(const struct run *run, const struct failover *failover)
{
    const struct route *route = &failover->route;
    return run->record.is_region_lost && strcmp(route->run, run->record.id) != 0 &&
           !failover_is_concerned(run->mandate.fleet, failover->shard, route,
                                  1 - run->mandate.to_region);
}

static enum status fail_over(struct run *run, const struct shard_observation *seen,
                             struct failover *failover, struct err *err)
{
    enum status status = ST_OK;
    failover->without = run->record.without;
    failover->without_count = run->record.without_count;
    failover->fence = run->fence;
    failover->wait.term = run->term;
    failover->is_region_lost = run->record.is_region_lost;
    failover_take_from_another_run(failover);
    if (failover->lost && run->record.is_region_lost && !run->fence)
        status = failover_know_fence(failover, clock_deadline(STORE_MS), err);
    if (!status)
        status = refuse_living(run, seen, failover, err);
    if (status)
        return status;
    failover->is_looked_after = is_looked_after(run, seen->shard, failover->lost);
    failover->ears = run->ears;
    failover->was_region_silent =
        run->record.is_region_lost && is_region_silent(seen, failover->lost->region);
    failover_run(failover);
    return ST_OK;
}

/* Nobody else has changed it since our lock is there. */
static enum status know_route(const struct run *run, const struct shard_observation *seen,
                              struct route *ret, struct err *err)
{
    const struct failover_ears *ears = run->ears;
    if (ears && ears->route(ears->context, seen->shard, run->mandate.token, ret))
        return ST_OK;
    return failover_run_route(run->mandate.store, run->mandate.fleet, seen, ret, err);
}

void failover_run_shard(struct run *run, const struct shard_observation *seen,
                        struct shard_report *report)
{
    struct route route = {0};
    struct err err = ERR_INIT;
    enum status status = know_route(run, seen, &route, &err);
    snprintf(report->primary, sizeof(report->primary), "%s", route.primary);
    if (!status) {
        AUTO(failover_release) struct failover failover;
        failover_init(&failover, &run->mandate, seen->shard, &route);
        if (is_there_already(run, &failover)) {
            report->result = MOVE_ALREADY_THERE;
            return;
        }
        status = fail_over(run, seen, &failover, &err);
        if (!status)
            fill_report(report, &failover);
    }
    if (!status)
        return;
    bool is_between = status != ST_NO_GO && run->mandate.is_resumed;
    report->result = is_between ? MOVE_STUCK : MOVE_UNDONE;
    report->err = err;
}
