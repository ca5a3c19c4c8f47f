/* SPDX-License-Identifier: Apache-2.0
 * 'fleet converge': show which servers are not in their roles, ask for the go, and bring them back.
 */
#include "roles/converge.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/fleet.h"
#include "cli/run.h"
#include "drain/mark.h"
#include "fleet/observation.h"
#include "move/journal.h"
#include "permit/permit.h"
#include "store/store.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { LAG_MS = 2000, CONVERGE_MS = 60 * 1000 };

/* The plans of all shards, before anything is done. */
struct look {
    struct fleet_observation seen;
    struct role_plan *plans; /* as in seen.shards */
    size_t step_count, obstacle_count;
};

static void look_release(struct look *look)
{
    for (size_t i = 0; i < look->seen.count; i++)
        role_plan_release(&look->plans[i]);
    free(look->plans);
    fleet_observation_release(&look->seen);
}

static enum status look_at(const struct fleet_scene *scene, struct look *ret, struct err *err)
{
    fleet_observe_lag(scene->fleet, scene->shards, scene->shard_count, clock_deadline(LAG_MS),
                      &ret->seen);
    ret->plans = mem_zalloc((ret->seen.count + 1) * sizeof(*ret->plans));
    AUTO(permit_list_release) struct permit_list revoked = {0};
    AUTO(drain_list_release) struct drain_list drained = {0};
    enum status status = ST_OK;
    if (scene->store)
        status =
            permit_list_load(scene->store, store_deadline(scene->store, STORE_WORK), &revoked, err);
    if (scene->store && !status)
        status =
            drain_list_load(scene->store, store_deadline(scene->store, STORE_WORK), &drained, err);
    for (size_t i = 0; i < ret->seen.count && !status; i++) {
        const struct shard_observation *shard = &ret->seen.shards[i];
        struct route route = {0};
        enum status known = scene->store
                                ? route_load(scene->store, shard->shard->name,
                                             store_deadline(scene->store, STORE_WORK), &route, err)
                                : ST_NOT_FOUND;
        if (known && known != ST_NOT_FOUND)
            return known;
        role_plan_make(shard, known ? NULL : &route, &revoked, &drained, &ret->plans[i]);
        ret->step_count += ret->plans[i].step_count;
        ret->obstacle_count += ret->plans[i].obstacle_count;
    }
    return status;
}

/* ---- what is said: the same lines for a plan and for what came of it ---- */

/* One list of a shard in lines: indented, the second line of an obstacle more so. */
static void print_lines(const char *mark, const char *lines, FILE *out)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        bool is_more = lines[0] == ' ';
        fprintf(out, "  %s%.*s\n", is_more ? "  " : mark, (int)length, lines);
        lines += length + (lines[length] == '\n');
    }
}

static void print_shard(const char *name, const char *steps, const char *left, FILE *out)
{
    if (!steps[0] && !left[0])
        return;
    fprintf(out, "%s\n", name);
    print_lines("", steps, out);
    print_lines("! ", left, out);
}

static json_t *lines_json(const char *lines)
{
    json_t *array = json_array();
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        json_array_append_new(array, json_stringn(lines, length));
        lines += length + (lines[length] == '\n');
    }
    return array;
}

struct said {
    FILE *out; /* of lines */
    bool as_json;
    json_t *shards;
};

static void say(struct said *said, const char *name, const char *steps, const char *left)
{
    if (said->as_json)
        json_array_append_new(said->shards, json_pack("{s:s, s:o, s:o}", "name", name, "steps",
                                                      lines_json(steps), "left", lines_json(left)));
    else
        print_shard(name, steps, left, said->out);
}

static void say_plan(struct said *said, const struct look *look)
{
    for (size_t i = 0; i < look->seen.count; i++) {
        const struct role_plan *plan = &look->plans[i];
        AUTO(buf_release) struct buf steps = {0}, left = {0};
        for (size_t j = 0; j < plan->step_count; j++) {
            role_step_describe(&plan->steps[j], &steps);
            buf_add(&steps, "\n");
        }
        for (size_t j = 0; j < plan->obstacle_count; j++) {
            role_obstacle_describe(&plan->obstacles[j], &left);
            buf_add(&left, "\n");
        }
        say(said, look->seen.shards[i].shard->name, buf_text(&steps), buf_text(&left));
    }
}

static void say_end(struct said *said, bool is_done, size_t left_count)
{
    if (!said->as_json)
        return;
    json_t *object = json_pack("{s:b, s:I, s:o}", "done", is_done, "left", (json_int_t)left_count,
                               "shards", said->shards);
    json_dumpf(object, stdout, JSON_INDENT(2));
    puts("");
    json_decref(object);
}

static enum status judge(size_t left, struct err *err)
{
    if (left == 0)
        return ST_OK;
    err_set(err, ST_NO_GO, "%zu thing%s left that need%s an operator", left, left == 1 ? "" : "s",
            left == 1 ? "s" : "");
    return err_hint(err, "the lines with ! say what and where");
}

/* It is no run: its order and what came of it are in the journal "converge", and in the log. */
static void keep_order(const struct fleet_scene *scene, struct run *run, const char *reason)
{
    run->mandate.journal = run_open_journal(scene, "converge");
    run_record_add_order(&run->record, "ordered to bring roles back: %s",
                         reason ? reason : "no reason given");
    journal_add(run->mandate.journal, NULL, "begin", "%s", run->record.audit);
    log_event(EV_RUN_ORDER, "run", "converge", "order", run->record.audit, NULL);
}

static void keep_outcome(const struct run *run, const struct roles_outcome *outcome)
{
    struct journal *journal = run->mandate.journal;
    if (outcome->done[0])
        journal_add(journal, outcome->shard->name, "done", "%s", outcome->done);
    if (outcome->left[0])
        journal_add(journal, outcome->shard->name, "left", "%s", outcome->left);
    if (outcome->err.status)
        journal_add(journal, outcome->shard->name, "failure", "%s", outcome->err.text);
}

static enum status converge(const struct fleet_scene *scene, const char *reason, struct said *said,
                            struct err *err)
{
    struct run *run = NULL;
    run_outlive_terminal();
    enum status status = run_hold(scene->store, scene->fleet, &run, err);
    if (status)
        return status;
    keep_order(scene, run, reason);
    run_set_running(run);
    struct roles_outcome *outcomes = mem_zalloc((scene->shard_count + 1) * sizeof(*outcomes));
    roles_converge(&run->mandate, scene->shards, scene->shard_count, clock_deadline(CONVERGE_MS),
                   outcomes);
    size_t left = 0, done = 0;
    for (size_t i = 0; i < scene->shard_count; i++) {
        left += outcomes[i].left_count;
        done += outcomes[i].done_count;
        if (outcomes[i].err.status) {
            status = outcomes[i].err.status;
            *err = outcomes[i].err;
        }
        keep_outcome(run, &outcomes[i]);
        say(said, outcomes[i].shard->name, outcomes[i].done, outcomes[i].left);
        roles_outcome_release(&outcomes[i]);
    }
    free(outcomes);
    run_set_running(NULL);
    run_free(run);
    say_end(said, true, left);
    if (!said->as_json)
        printf("%zu step%s done\n", done, done == 1 ? "" : "s");
    return status ? status : judge(left, err);
}

/* Where nothing is to be done, or shall be. */
static enum status only_look(const struct look *look, struct said *said, bool is_dry,
                             struct err *err)
{
    size_t left = look->obstacle_count + (is_dry ? look->step_count : 0);
    say_plan(said, look);
    say_end(said, false, left);
    if (left == 0 && !said->as_json)
        printf("every server that answers is in its role\n");
    if (!is_dry || look->step_count == 0)
        return judge(look->obstacle_count, err);
    err_set(err, ST_NO_GO, "%zu step%s to do", look->step_count, look->step_count == 1 ? "" : "s");
    return err_hint(err, "holdfast fleet converge");
}

enum status fleet_converge(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(look_release) struct look look = {0};
    bool is_dry = cli_flag(args, "--dry-run"), as_json = cli_flag(args, "--json");
    struct said said = {stdout, as_json, as_json ? json_array() : NULL};
    run_take_signals();
    enum status status = is_dry ? fleet_scene_open(&scene, args, true, err)
                                : run_scene_open(&scene, args, true, err);
    if (!status && scene.store_err.status) {
        *err = scene.store_err;
        status = err->status;
    }
    if (!status)
        status = look_at(&scene, &look, err);
    if (!status && (is_dry || look.step_count == 0))
        return only_look(&look, &said, is_dry, err);
    AUTO_FREE char *reason = NULL;
    if (!status)
        status = run_demand_reason(scene.fleet, args, &reason, err);
    bool is_asked = !cli_flag(args, "--yes");
    if (!status && is_asked) {
        struct said plan = {.out = as_json ? stderr : stdout};
        say_plan(&plan, &look);
        status = run_ask_go("yes", "yes", err);
    }
    if (!status)
        return converge(&scene, reason, &said, err);
    json_decref(said.shards);
    return status;
}
