/* SPDX-License-Identifier: Apache-2.0
 * 'failover': which shards have lost their primary, the go, and go. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/run.h"
#include "conductor/failover_run.h"

#include <stdio.h>
#include <string.h>

enum { OBSERVE_MS = 2000 };

/* One shard as it is, and whether its primary is lost. */
struct loss {
    const struct shard_observation *seen;
    struct route route;
    bool is_lost;
};

/* A shard that is not named is only taken when its primary is silent. */
static enum status judge(const struct fleet_scene *scene, struct loss *loss, bool is_named,
                         bool is_forced, struct err *err)
{
    struct err why = ERR_INIT;
    if (!is_named && loss->seen->primary)
        return ST_OK;
    enum status status = failover_run_judge(scene->store, scene->fleet, loss->seen,
                                            is_named && is_forced, &loss->route, &why);
    loss->is_lost = status == ST_OK;
    bool is_unfinished = status && loss->route.state != SHARD_SERVING;
    if (status == ST_NO_GO && !is_named && !is_unfinished)
        return ST_OK;
    *err = why;
    return status;
}

/* All shards of one run have the same home: the run's target. */
static enum status make_record(const struct fleet_scene *scene, const struct cli_args *args,
                               const struct loss *losses, struct run_record *ret, struct err *err)
{
    const char *home = NULL;
    AUTO_FREE char *reason = NULL;
    enum status status = run_demand_reason(scene->fleet, args, &reason, err);
    for (size_t i = 0; i < scene->shard_count && !status; i++) {
        if (!losses[i].is_lost)
            continue;
        if (home && strcmp(home, losses[i].route.home) != 0) {
            err_set(err, ST_INVALID, "shards of both regions have lost their primary");
            return err_hint(err, "take one region after the other, with --shard");
        }
        if (!home)
            run_record_init(ret, losses[i].route.home);
        home = losses[i].route.home;
        run_record_add_shard(ret, losses[i].seen->shard->name);
    }
    if (status)
        return status;
    if (!home) {
        err_set(err, ST_NO_GO, "no shard has lost its primary; nothing was changed");
        return err_hint(err, "holdfast status shows who is who");
    }
    ret->kind = RUN_FAILOVER;
    ret->reason = take_pointer(reason);
    ret->is_forced = cli_flag(args, "--force");
    for (size_t i = 0; i < cli_text_count(args, "--without"); i++)
        run_record_add_without(ret, cli_text_at(args, "--without", i));
    return ST_OK;
}

static bool is_server(const struct fleet_scene *scene, const char *name)
{
    for (size_t i = 0; i < scene->shard_count; i++)
        for (size_t j = 0; j < scene->shards[i]->server_count; j++)
            if (strcmp(scene->shards[i]->servers[j].name, name) == 0)
                return true;
    return false;
}

static enum status check_without(const struct fleet_scene *scene, const struct cli_args *args,
                                 struct err *err)
{
    for (size_t i = 0; i < cli_text_count(args, "--without"); i++)
        if (!is_server(scene, cli_text_at(args, "--without", i)))
            return err_set(err, ST_INVALID, "--without: there is no server '%s' in these shards",
                           cli_text_at(args, "--without", i));
    return ST_OK;
}

static enum status begin(const struct fleet_scene *scene, struct run_record *record,
                         const struct cli_args *args, struct err *err)
{
    struct run *run = NULL;
    enum status status = ST_OK;
    if (run_submit(scene, record, args, &status, err))
        return status;
    run_outlive_terminal();
    status = run_begin(scene->store, scene->fleet, record, &run, err);
    if (status)
        return status;
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((run->record.shard_count + 1) * sizeof(*shards));
    for (size_t i = 0; i < run->record.shard_count; i++)
        shards[i] = inventory_find_shard(scene->fleet, run->record.shards[i]);
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    fleet_observe(scene->fleet, shards, run->record.shard_count, clock_deadline(OBSERVE_MS), &seen);
    return run_carry_out(scene, &seen, run, cli_flag(args, "--json"), err);
}

static void print_losses(const struct loss *losses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (losses[i].is_lost)
            fprintf(stderr, "  %s: %s is lost: another server of %s takes over\n",
                    losses[i].seen->shard->name, losses[i].route.primary, losses[i].route.home);
}

static enum status look(const struct fleet_scene *scene, const struct cli_args *args,
                        const struct fleet_observation *seen, struct loss *losses, struct err *err)
{
    enum status status = check_without(scene, args, err);
    bool is_named = cli_text_count(args, "--shard") > 0;
    for (size_t i = 0; i < scene->shard_count && !status; i++) {
        losses[i].seen = &seen->shards[i];
        status = judge(scene, &losses[i], is_named, cli_flag(args, "--force"), err);
    }
    return status;
}

enum status run_failover(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(run_record_release) struct run_record record = {0};
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    bool as_json = cli_flag(args, "--json"), is_asked = !cli_flag(args, "--yes");
    run_take_signals();
    enum status status = run_scene_open(&scene, args, true, err);
    if (status)
        return status;
    fleet_observe(scene.fleet, scene.shards, scene.shard_count, clock_deadline(OBSERVE_MS), &seen);
    AUTO_FREE struct loss *losses = mem_zalloc((scene.shard_count + 1) * sizeof(*losses));
    status = look(&scene, args, &seen, losses, err);
    if (!status)
        status = make_record(&scene, args, losses, &record, err);
    if (status)
        return status;
    if (!as_json || is_asked)
        print_losses(losses, scene.shard_count);
    if (is_asked)
        status = run_ask_go("the name of the region", record.target, err);
    return status ? status : begin(&scene, &record, args, err);
}
