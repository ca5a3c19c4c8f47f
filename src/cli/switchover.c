/* SPDX-License-Identifier: Apache-2.0
 * 'plan switchover' and 'switchover': check, show the plan, ask for the go, and go. */
#include "base/clock.h"
#include "base/scope.h"
#include "cli/findings.h"
#include "cli/run.h"
#include "store/store.h"

#include <string.h>

enum { STORE_MS = 5000, CHECK_MS = 8000, ANSWER_MAX = 256 };

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
    size_t to;
};

static void plan_release(struct plan *plan)
{
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
    struct readiness_request request = {
        .fleet = plan->scene.fleet,
        .shards = plan->scene.shards,
        .shard_count = plan->scene.shard_count,
        .store = plan->scene.store,
        .to_region = (int)plan->to,
    };
    readiness_check(&request, clock_deadline(CHECK_MS), &plan->readiness);
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
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:o, s:o}", "kind", "switchover", "to",
                  plan->scene.fleet->regions[plan->to], "go", plan->readiness.no_go_count == 0,
                  "shards", shards, "findings", findings_json(&plan->readiness));
    json_dumpf(json, stdout, JSON_INDENT(2));
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

/* The operator types the region's name. Anything else changes nothing. */
static enum status ask_go(const char *region, struct err *err)
{
    char answer[ANSWER_MAX] = "";
    fprintf(stderr, "Type the name of the region to go, anything else to stop: ");
    if (!fgets(answer, sizeof(answer), stdin))
        answer[0] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
    if (strcmp(answer, region) == 0)
        return ST_OK;
    err_set(err, ST_ABORTED, "no go: nothing was changed");
    err_hint(err, "type '%s' exactly, or give --yes", region);
    return ST_ABORTED;
}

static enum status begin(const struct plan *plan, bool as_json, struct err *err)
{
    const struct fleet_scene *scene = &plan->scene;
    struct run_record record;
    run_record_init(&record, scene->fleet->regions[plan->to]);
    for (size_t i = 0; i < scene->shard_count; i++)
        run_record_add_shard(&record, scene->shards[i]->name);
    struct run *run = NULL;
    struct err ignored = ERR_INIT;
    status_ignore(store_maintain(scene->store, clock_deadline(STORE_MS), &ignored),
                  "house-keeping before the run; the next one does it");
    run_take_signals();
    enum status status = run_begin(scene->store, scene->fleet, &record, &run, err);
    run_record_release(&record);
    return status ? status : run_carry_out(scene, &plan->readiness.observation, run, as_json, err);
}

enum status run_switchover(const struct cli_args *args, struct err *err)
{
    AUTO(plan_release) struct plan plan = {0};
    bool as_json = cli_flag(args, "--json");
    enum status status = plan_make(&plan, args, err);
    if (status)
        return status;
    if (plan.readiness.no_go_count > 0)
        return refuse(&plan, as_json, err);
    if (!as_json) {
        print_plan(&plan, stderr);
        findings_print(&plan.readiness, SEVERITY_WARNING, stderr);
    }
    if (shards_to_move(&plan) > 0 && !cli_flag(args, "--yes"))
        status = ask_go(plan.scene.fleet->regions[plan.to], err);
    return status ? status : begin(&plan, as_json, err);
}
