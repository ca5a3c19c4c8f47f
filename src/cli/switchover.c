/* SPDX-License-Identifier: Apache-2.0
 * 'plan switchover' and 'switchover': check, show the plan, ask for the go, and go. */
#include "api/readiness.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/run.h"
#include "conductor/history.h"
#include "conductor/waves.h"
#include "show/findings.h"
#include "store/store.h"

#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { CHECK_MS = 8000, OBSERVE_MS = 3000, COUNT_MS = 50 };

static enum status choose_target(const struct fleet_scene *scene, const struct cli_args *args,
                                 size_t *ret_region, struct err *err)
{
    const char *to = cli_text(args, "--to");
    if (!to) {
        err_set(err, ST_INVALID, "where to? --to REGION is missing");
        err_hint(err, "regions: %s, %s", scene->fleet->regions[0], scene->fleet->regions[1]);
        return ST_INVALID;
    }
    if (inventory_find_region(scene->fleet, to, ret_region))
        return ST_OK;
    err_set(err, ST_INVALID, "there is no region '%s' in the fleet file", to);
    err_hint(err, "regions: %s, %s", scene->fleet->regions[0], scene->fleet->regions[1]);
    return ST_INVALID;
}

/* What a command looks at before it decides. */
struct plan {
    struct fleet_scene scene;
    struct readiness readiness;
    struct history history;
    size_t to;
};

static void plan_release(struct plan *plan)
{
    history_release(&plan->history);
    readiness_release(&plan->readiness);
    fleet_scene_release(&plan->scene);
}

static enum status plan_make(struct plan *plan, const struct cli_args *args, struct err *err)
{
    enum status status = run_scene_open(&plan->scene, args, true, err);
    if (!status)
        status = choose_target(&plan->scene, args, &plan->to, err);
    if (status)
        return status;
    AUTO_FREE char *paused = run_pause_text(plan->scene.store);
    struct readiness_request request = {
        .fleet = plan->scene.fleet,
        .shards = plan->scene.shards,
        .shard_count = plan->scene.shard_count,
        .store = plan->scene.store,
        .paused = paused,
        .to_region = (int)plan->to,
    };
    readiness_check(&request, clock_deadline(CHECK_MS), &plan->readiness);
    struct err ignored = ERR_INIT;
    status_ignore(history_load(plan->scene.store, &plan->history, &ignored),
                  "then there is no estimate; the readiness check names what is wrong");
    return ST_OK;
}

static size_t shards_to_move(const struct plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->readiness.observation.count; i++) {
        const struct shard_observation *shard = &plan->readiness.observation.shards[i];
        count += shard->primary && shard->primary->server->region != plan->to;
    }
    return count;
}

static struct estimate estimate_of(const struct plan *plan, const struct run_record *record)
{
    struct waves waves = {0};
    struct err ignored = ERR_INIT;
    status_ignore(
        waves_parse(record ? record->waves : NULL, plan->scene.shard_count, &waves, &ignored),
        "it was checked when it was read");
    struct run_shape shape = {shards_to_move(plan), waves.count, record ? record->settle_ms : 0};
    return history_estimate(&plan->history, &shape);
}

static void print_span(double ms, FILE *out)
{
    long long s = llround(ms / 1000);
    if (s < 100)
        fprintf(out, "%.2g s", ms / 1000);
    else
        fprintf(out, "%lld:%02lld min", s / 60, s % 60);
}

static void print_estimate(const struct plan *plan, const struct run_record *record, FILE *out)
{
    struct estimate estimate = estimate_of(plan, record);
    if (shards_to_move(plan) == 0)
        return;
    if (estimate.runs == 0) {
        fprintf(out, "no estimate: no run of this fleet is on record yet\n");
        return;
    }
    fprintf(out, "estimated: ");
    print_span(estimate.took_ms, out);
    fprintf(out, " (");
    print_span(estimate.low_ms, out);
    fprintf(out, " to ");
    print_span(estimate.high_ms, out);
    fprintf(out, ")");
    if (estimate.outage_p50_ms >= 0)
        fprintf(out, ", each shard closed for writes for %.1f ms, the slowest for %.1f ms",
                estimate.outage_p50_ms, estimate.outage_p99_ms);
    fprintf(out, "; from the last %zu run%s\n", estimate.runs, estimate.runs == 1 ? "" : "s");
}

static json_t *ms_or_null(double ms)
{
    return ms < 0 ? json_null() : json_real(ms);
}

static json_t *estimate_json(const struct plan *plan)
{
    struct estimate estimate = estimate_of(plan, NULL);
    if (estimate.runs == 0)
        return json_null();
    return json_pack("{s:I, s:f, s:f, s:f, s:{s:o, s:o}}", "runs", (json_int_t)estimate.runs,
                     "took_ms", estimate.took_ms, "low_ms", estimate.low_ms, "high_ms",
                     estimate.high_ms, "write_outage_ms", "p50", ms_or_null(estimate.outage_p50_ms),
                     "p99", ms_or_null(estimate.outage_p99_ms));
}

static void print_plan(const struct plan *plan, FILE *out)
{
    size_t count = shards_to_move(plan);
    fprintf(out, "switchover to %s: %zu of %zu shards move\n", plan->scene.fleet->regions[plan->to],
            count, plan->readiness.observation.count);
    for (size_t i = 0; i < plan->readiness.observation.count; i++) {
        const struct shard_observation *shard = &plan->readiness.observation.shards[i];
        const struct server_observation *relay = shard->relays[plan->to];
        const char *from = shard->primary ? shard->primary->server->name : "no primary";
        if (shard->primary && shard->primary->server->region == plan->to)
            fprintf(out, "  %s: is there already (%s)\n", shard->shard->name, from);
        else
            fprintf(out, "  %s: %s -> %s\n", shard->shard->name, from,
                    relay ? relay->server->name : "no relay");
    }
}

static void print_plan_json(const struct plan *plan)
{
    json_t *shards = json_array();
    for (size_t i = 0; i < plan->readiness.observation.count; i++) {
        const struct shard_observation *shard = &plan->readiness.observation.shards[i];
        const struct server_observation *relay = shard->relays[plan->to];
        json_array_append_new(
            shards, json_pack("{s:s, s:s?, s:s?, s:b}", "name", shard->shard->name, "from",
                              shard->primary ? shard->primary->server->name : NULL, "to",
                              relay ? relay->server->name : NULL, "moves",
                              shard->primary && shard->primary->server->region != plan->to));
    }
    json_t *json = json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}", "kind", "switchover", "to",
                             plan->scene.fleet->regions[plan->to], "go",
                             plan->readiness.no_go_count == 0, "shards", shards, "findings",
                             findings_encode(&plan->readiness), "estimate", estimate_json(plan));
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    puts("");
    json_decref(json);
}

enum status run_plan_switchover(const struct cli_args *args, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    enum status status = plan_make(&plan, args, err);
    if (status)
        return status;
    bool is_go = plan.readiness.no_go_count == 0;
    if (cli_flag(args, "--json")) {
        print_plan_json(&plan);
        return is_go ? ST_OK : ST_NO_GO;
    }
    print_plan(&plan, stdout);
    print_estimate(&plan, NULL, stdout);
    findings_print(&plan.readiness, SEVERITY_WARNING, stdout);
    printf(is_go ? "go: holdfast switchover --to %s\n" : "NO-GO: to %s\n",
           plan.scene.fleet->regions[plan.to]);
    return is_go ? ST_OK : ST_NO_GO;
}

static enum status refuse(const struct plan *plan, bool as_json, struct err *err)
{
    if (as_json)
        print_plan_json(plan);
    else
        findings_print(&plan->readiness, SEVERITY_NO_GO, stderr);
    err_set(err, ST_NO_GO, "not ready: %zu no-go finding%s; nothing was changed",
            plan->readiness.no_go_count, plan->readiness.no_go_count == 1 ? "" : "s");
    err_hint(err, "mend them, then look again with: holdfast readiness");
    return ST_NO_GO;
}

/* Same shards, same ends? */
static bool is_same_plan(const struct plan *a, const struct plan *b)
{
    const struct fleet_observation *left = &a->readiness.observation;
    const struct fleet_observation *right = &b->readiness.observation;
    bool is_same = left->count == right->count;
    for (size_t i = 0; is_same && i < left->count; i++) {
        const struct server_observation *ends[] = {
            left->shards[i].primary, right->shards[i].primary, left->shards[i].relays[a->to],
            right->shards[i].relays[b->to]};
        for (size_t j = 0; is_same && j < ARRAY_SIZE(ends); j += 2)
            is_same = !ends[j] == !ends[j + 1] &&
                      (!ends[j] || strcmp(ends[j]->server->name, ends[j + 1]->server->name) == 0);
    }
    return is_same;
}

/* A plan may be read for an hour: what it says must still be so when the go is given. */
static enum status plan_again(const struct plan *read, const struct cli_args *args, bool as_json,
                              struct err *err)
{
    AUTO(plan_release) struct plan now = {0};
    enum status status = plan_make(&now, args, err);
    if (status)
        return status;
    if (now.readiness.no_go_count > 0)
        return refuse(&now, as_json, err);
    if (is_same_plan(read, &now))
        return ST_OK;
    err_set(err, ST_CONFLICT, "the fleet is not what the plan said any more; nothing was changed");
    return err_hint(err, "look again: holdfast plan switchover --to %s",
                    read->scene.fleet->regions[read->to]);
}

/* The last moment to think. Nothing is changed in it, and nobody else is kept from acting. */
static enum status count_down(long seconds, struct err *err)
{
    bool is_tty = isatty(STDERR_FILENO) == 1;
    nsec begins = clock_deadline(seconds * 1000);
    long shown = -1;
    while (clock_now() < begins && !run_was_interrupted()) {
        long left = (clock_ms_left(begins) + 999) / 1000;
        if (left != shown && (is_tty || shown < 0))
            fprintf(stderr, "%sbeginning in %ld s; Ctrl-C stops, nothing is changed until then%s",
                    is_tty ? "\r" : "", left, is_tty ? "\x1b[K" : "\n");
        shown = left;
        poll(NULL, 0, COUNT_MS);
    }
    fprintf(stderr, is_tty ? "\r\x1b[K" : "");
    if (!run_was_interrupted())
        return ST_OK;
    return err_set(err, ST_ABORTED, "stopped in the countdown: nothing was changed");
}

static char *copy_of(const char *text)
{
    return text && text[0] ? mem_strdup(text) : NULL;
}

/* How the run is to go: waves, what stops it, and what happens then. */
static enum status read_order(const struct cli_args *args, const struct plan *plan,
                              struct run_record *ret, struct err *err)
{
    struct waves waves;
    const char *shape = cli_text(args, "--wave"), *on_abort = cli_text(args, "--on-abort");
    enum status status = waves_parse(shape, plan->scene.shard_count, &waves, err);
    if (status)
        return status;
    if (!shape && cli_number(args, "--settle", -1) >= 0) {
        err_set(err, ST_INVALID, "--settle is the time between two waves, and there is no --wave");
        return err_hint(err, "add --wave, such as --wave canary=1,25%%,100%%");
    }
    if (on_abort && strcmp(on_abort, "stay") != 0 && strcmp(on_abort, "return") != 0) {
        err_set(err, ST_INVALID, "--on-abort: '%s' is neither 'stay' nor 'return'", on_abort);
        return err_hint(err, "stay: what moved stays there; return: it goes back");
    }
    AUTO_FREE char *reason = NULL;
    status = run_demand_reason(plan->scene.fleet, args, &reason, err);
    if (status)
        return status;
    run_record_init(ret, plan->scene.fleet->regions[plan->to]);
    for (size_t i = 0; i < plan->scene.shard_count; i++)
        run_record_add_shard(ret, plan->scene.shards[i]->name);
    ret->waves = copy_of(shape);
    ret->reason = take_pointer(reason);
    ret->settle_ms = cli_number(args, "--settle", 0) * 1000;
    ret->failures_max = cli_number(args, "--max-failures", shape ? 0 : -1);
    struct estimate estimate = estimate_of(plan, ret);
    ret->estimate_ms = estimate.runs ? estimate.took_ms : -1;
    ret->usual_shard_ms = estimate.shard_ms;
    ret->returns = on_abort && strcmp(on_abort, "return") == 0;
    return ST_OK;
}

static enum status begin(const struct plan *plan, struct run_record *record,
                         const struct cli_args *args, struct err *err)
{
    const struct fleet_scene *scene = &plan->scene;
    struct run *run = NULL;
    struct err ignored = ERR_INIT;
    enum status status = ST_OK;
    if (run_submit(scene, record, args, &status, err))
        return status;
    run_outlive_terminal();
    status_ignore(store_maintain(scene->store, store_deadline(scene->store, STORE_WORK), &ignored),
                  "house-keeping before the run; the next one does it");
    status = run_begin_ordered(scene->store, scene->fleet, record, &run, err);
    if (status)
        return status;
    /* Now that no other run can move anything: who is who? */
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    fleet_observe(scene->fleet, scene->shards, scene->shard_count, clock_deadline(OBSERVE_MS),
                  &seen);
    return run_carry_out(scene, &seen, run, cli_flag(args, "--json"), err);
}

enum status run_switchover(const struct cli_args *args, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    bool as_json = cli_flag(args, "--json"), is_asked = !cli_flag(args, "--yes");
    AUTO(run_record_release) struct run_record record = {0};
    run_take_signals();
    enum status status = plan_make(&plan, args, err);
    if (!status)
        status = read_order(args, &plan, &record, err);
    if (status)
        return status;
    if (plan.readiness.no_go_count > 0)
        return refuse(&plan, as_json, err);
    if (!as_json || is_asked) {
        print_plan(&plan, stderr);
        print_estimate(&plan, &record, stderr);
        findings_print(&plan.readiness, SEVERITY_WARNING, stderr);
    }
    bool moves = shards_to_move(&plan) > 0;
    long countdown = moves ? cli_number(args, "--countdown", 0) : 0;
    if (moves && is_asked)
        status = run_ask_go("the name of the region", plan.scene.fleet->regions[plan.to], err);
    if (!status && countdown > 0)
        status = count_down(countdown, err);
    if (!status && ((moves && is_asked) || countdown > 0))
        status = plan_again(&plan, args, as_json, err);
    readiness_release(&plan.readiness); /* a run asks again: of a large fleet that is not little */
    mem_trim();
    return status ? status : begin(&plan, &record, args, err);
}
