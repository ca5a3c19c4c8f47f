/* SPDX-License-Identifier: Apache-2.0
 * 'failover': which shards have lost their primary, or their region, the go, and go. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "cli/run.h"
#include "conductor/failover_run.h"
#include "exposure/exposure.h"
#include "fleet/route.h"
#include "heal/regions.h"
#include "region/lost.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { OBSERVE_MS = 2000, STORE_MS = 4000, PAUSE_MS = 50 };

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
    struct failover_claim claim = {.is_forced = is_named && is_forced};
    enum status status =
        failover_run_judge(scene->store, scene->fleet, loss->seen, &claim, &loss->route, &why);
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
    status = run_begin_ordered(scene->store, scene->fleet, record, &run, err);
    if (status)
        return status;
    char aside[RUN_ID_MAX];
    snprintf(aside, sizeof(aside), "%s", run->record.aside);
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((run->record.shard_count + 1) * sizeof(*shards));
    for (size_t i = 0; i < run->record.shard_count; i++)
        shards[i] = inventory_find_shard(scene->fleet, run->record.shards[i]);
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    fleet_observe(scene->fleet, shards, run->record.shard_count, clock_deadline(OBSERVE_MS), &seen);
    status = run_carry_out(scene, &seen, run, cli_flag(args, "--json"), err);
    run_end_aside(scene, aside);
    return status;
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

/* ---- a region ---- */

/* What an operator orders with --to. */
struct region_order {
    size_t to, lost;
    struct region_look look;
    bool is_forced;
};

static void region_order_release(struct region_order *order)
{
    region_look_release(&order->look);
}

static enum status read_order(const struct fleet_scene *scene, const struct cli_args *args,
                              struct region_order *ret, struct err *err)
{
    const char *to = cli_text(args, "--to");
    *ret = (struct region_order){.is_forced = cli_flag(args, "--force")};
    if (!inventory_find_region(scene->fleet, to, &ret->to)) {
        err_set(err, ST_INVALID, "--to: there is no region '%s' in %s", to, scene->path);
        return err_hint(err, "regions: %s, %s", scene->fleet->regions[0], scene->fleet->regions[1]);
    }
    ret->lost = 1 - ret->to;
    if (cli_flag(args, "--accept-loss"))
        return ST_OK;
    err_set(err, ST_INVALID, "--to: what had not reached %s when %s was lost is lost with it", to,
            scene->fleet->regions[ret->lost]);
    return err_hint(err,
                    "--accept-loss says that this is known; while %s is alive, holdfast "
                    "switchover --to %s loses nothing",
                    scene->fleet->regions[ret->lost], to);
}

/* Whoever lives on there serves his clients, and nobody here sees it: only the store tells. */
static enum status look_at_region(const struct fleet_scene *scene, struct region_order *order,
                                  struct err *err)
{
    const char *lost = scene->fleet->regions[order->lost];
    const char *to = scene->fleet->regions[order->to];
    struct region_look *look = &order->look;
    fprintf(stderr, "looking whether region %s may still serve ...\n", lost);
    enum status status = region_look(scene->store, lost, look, err);
    if (status || look->standing != REGION_ALIVE || order->is_forced)
        return status;
    err_set(err, ST_NO_GO, "region %s is alive: conductor %s permits its servers to serve", lost,
            look->by[0] ? look->by : "?");
    return err_hint(
        err,
        "holdfast switchover --to %s loses nothing; --force closes its primaries first, "
        "and what has not reached %s by then is lost",
        to, to);
}

static void say_standing(const struct fleet_scene *scene, const struct region_order *order)
{
    const char *lost = scene->fleet->regions[order->lost];
    char since[WALL_TEXT_MAX];
    switch (order->look.standing) {
    case REGION_SILENT:
        fprintf(stderr, "region %s is silent: it is fenced first, and nobody there may serve\n",
                lost);
        break;
    case REGION_FENCED:
        clock_wall_format(order->look.fence.wall_us, since);
        fprintf(stderr, "region %s is fenced since %s, by %s: nobody there may serve\n", lost,
                since, order->look.fence.by);
        break;
    case REGION_ALIVE:
        fprintf(
            stderr,
            "! --force: region %s is alive; its primaries lose their permission, and are waited "
            "for until they are closed\n",
            lost);
        break;
    case REGION_UNWATCHED:
    case REGION_STANDINGS:
    default:
        fprintf(stderr,
                "! no conductor ever gave permission in %s: a primary that lives on there, where "
                "nobody sees it, goes on to accept writes, and these are lost\n",
                lost);
    }
}

static enum status judge_region(const struct fleet_scene *scene, const struct region_order *order,
                                bool is_named, struct loss *loss, struct err *err)
{
    struct err why = ERR_INIT;
    enum region_standing standing = order->look.standing;
    struct failover_claim claim = {
        .is_region_lost = true,
        .lost = order->lost,
        .is_fenced = standing == REGION_SILENT || standing == REGION_FENCED,
        .is_forced = order->is_forced,
    };
    enum status status =
        failover_run_judge(scene->store, scene->fleet, loss->seen, &claim, &loss->route, &why);
    loss->is_lost = status == ST_OK;
    bool is_known = loss->route.home[0] != '\0';
    bool is_there =
        status && is_known &&
        !failover_is_concerned(scene->fleet, loss->seen->shard, &loss->route, claim.lost);
    if (is_there && !is_named)
        return ST_OK;
    *err = why;
    return status;
}

static enum status judge_all(const struct fleet_scene *scene, const struct cli_args *args,
                             const struct region_order *order, struct loss *losses,
                             struct run_record *ret, struct err *err)
{
    AUTO_FREE char *reason = NULL;
    enum status status = run_demand_reason(scene->fleet, args, &reason, err);
    bool is_named = cli_text_count(args, "--shard") > 0;
    run_record_init(ret, scene->fleet->regions[order->to]);
    ret->kind = RUN_FAILOVER;
    ret->is_region_lost = true;
    ret->is_forced = order->is_forced;
    ret->reason = take_pointer(reason);
    for (size_t i = 0; i < scene->shard_count && !status; i++) {
        status = judge_region(scene, order, is_named, &losses[i], err);
        if (!status && losses[i].is_lost)
            run_record_add_shard(ret, losses[i].seen->shard->name);
    }
    if (status || ret->shard_count > 0)
        return status;
    return err_set(err, ST_NO_GO, "no shard is served in %s; nothing was changed",
                   scene->fleet->regions[order->lost]);
}

/* What is lost is its primary, or whom it is on its way to. */
static void print_region_loss(const struct loss *loss, size_t lost, const char *to)
{
    const struct route *route = &loss->route;
    const struct inventory_server *end = failover_find_end(loss->seen->shard, route, lost);
    if (end && strcmp(end->name, route->primary) != 0)
        fprintf(stderr,
                "  %s: %s by run %s: %s, which may be open, is lost with its region: a server of "
                "%s takes over\n",
                loss->seen->shard->name, shard_state_name(route->state), route->run, end->name, to);
    else
        fprintf(stderr, "  %s: %s is lost with its region: a server of %s takes over\n",
                loss->seen->shard->name, route->primary, to);
}

/* A run that is in the way of this one. It ends with the fence; without one only when it waits, or
 * its process is gone. */
static void say_unfinished(const struct fleet_scene *scene, const struct region_order *order)
{
    char left[RUN_ID_MAX], holder[RUN_ID_MAX];
    struct err ignored = ERR_INIT;
    if (run_current(scene->store, left, &ignored) ||
        (order->look.standing != REGION_SILENT &&
         run_lock_holder(scene->store, holder, &ignored) != ST_NOT_FOUND))
        return;
    fprintf(stderr, "  run %s is not finished: it is set aside\n", left);
}

static void print_region_losses(const struct fleet_scene *scene, const struct region_order *order,
                                const struct loss *losses)
{
    for (size_t i = 0; i < scene->shard_count; i++)
        if (losses[i].is_lost)
            print_region_loss(&losses[i], order->lost, scene->fleet->regions[order->to]);
    say_unfinished(scene, order);
    say_standing(scene, order);
}

/* Was a beat sent since it was found silent? */
static enum status check_silent(struct store *store, const struct permit_fencing *fencing,
                                const char *last, nsec deadline, struct err *err)
{
    AUTO(store_entry_release) struct store_entry beat = {0};
    AUTO_FREE char *key = permit_region_key(fencing->region);
    struct err ignored = ERR_INIT;
    if (store_get(store, key, deadline, &beat, &ignored) || beat.mod_rev == fencing->beat ||
        !permit_pulse_is_later(beat.value, last))
        return ST_OK;
    err_set(err, ST_NO_GO, "region %s gives permission again: it was not fenced", fencing->region);
    return err_hint(err, "holdfast region list; if it is lost all the same, give the order again");
}

/* Again when somebody took the run lock, or gave it back, in the same moment. */
static enum status put_fence(struct store *store, const struct permit_fencing *fencing,
                             const char *last, char ret_left[static RUN_ID_MAX], struct err *err)
{
    int64_t revision = 0;
    nsec deadline = clock_deadline(STORE_MS);
    enum status status = ST_CONFLICT;
    while (status == ST_CONFLICT && clock_now() < deadline) {
        *err = (struct err)ERR_INIT;
        status = region_fence(store, fencing, deadline, ret_left, &revision, err);
        if (status == ST_CONFLICT && check_silent(store, fencing, last, deadline, err))
            return err->status;
        if (status == ST_CONFLICT)
            poll(NULL, 0, PAUSE_MS);
    }
    if (status == ST_CONFLICT)
        return err_hint(err, "it is not fenced: give the order again, which looks anew");
    if (status != ST_EXISTS)
        return status;
    ret_left[0] = '\0'; /* by somebody else's fence: ours has ended nothing */
    *err = (struct err)ERR_INIT;
    return ST_OK;
}

/* What it sets aside is in the record then. */
static enum status fence(const struct fleet_scene *scene, const struct region_order *order,
                         struct run_record *record, struct err *err)
{
    struct permit_fencing fencing = {
        .region = scene->fleet->regions[order->lost],
        .own = scene->fleet->regions[order->to],
        .beat = order->look.pulse.revision,
        .term = order->look.term,
        .by = record->by,
        .reason = record->reason ? record->reason : "an operator said that it is lost",
    };
    if (order->look.standing != REGION_SILENT)
        return ST_OK;
    enum status status = put_fence(scene->store, &fencing, order->look.beat, record->aside, err);
    if (!status && record->aside[0])
        fprintf(stderr, "run %s was set aside with the fence\n", record->aside);
    return status;
}

static enum status fail_region_over(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(run_record_release) struct run_record record = {0};
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO(region_order_release) struct region_order order = {0};
    run_take_signals();
    enum status status = run_scene_open(&scene, args, true, err);
    if (!status)
        status = read_order(&scene, args, &order, err);
    if (!status)
        status = failover_run_check_target(scene.store, scene.fleet->regions[order.to], err);
    if (!status)
        status = look_at_region(&scene, &order, err);
    if (status)
        return status;
    fleet_observe(scene.fleet, scene.shards, scene.shard_count, clock_deadline(OBSERVE_MS), &seen);
    AUTO_FREE struct loss *losses = mem_zalloc((scene.shard_count + 1) * sizeof(*losses));
    for (size_t i = 0; i < scene.shard_count; i++)
        losses[i].seen = &seen.shards[i];
    status = judge_all(&scene, args, &order, losses, &record, err);
    if (status)
        return status;
    print_region_losses(&scene, &order, losses);
    if (!cli_flag(args, "--yes"))
        status = run_ask_go("the name of the region that shall serve", record.target, err);
    if (!status)
        status = fence(&scene, &order, &record, err);
    return status ? status : begin(&scene, &record, args, err);
}

/* ---- the command ---- */

enum status run_failover(const struct cli_args *args, struct err *err)
{
    if (cli_text(args, "--to"))
        return fail_region_over(args, err);
    if (cli_flag(args, "--accept-loss"))
        return err_set(err, ST_INVALID,
                       "--accept-loss is for --to REGION: inside its region a failover keeps "
                       "everything that was acknowledged");
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

/* ---- regions, as they stand ---- */

/* A region that is fenced, and what keeps it so. */
struct region_case {
    struct fleet_scene scene;
    size_t region;
    struct region_look look;
    struct fleet_observation before,
        seen; /* 'seen' is empty until a region is found to be fenced */
    nsec before_began;
    struct exposure_list exposures;
    struct permit_list revoked;
    struct route_list routes;
    struct buf missing;
};

static void region_case_release(struct region_case *found)
{
    region_look_release(&found->look);
    fleet_observation_release(&found->before);
    fleet_observation_release(&found->seen);
    exposure_list_release(&found->exposures);
    permit_list_release(&found->revoked);
    route_list_release(&found->routes);
    buf_release(&found->missing);
    fleet_scene_release(&found->scene);
}

static enum status open_case(struct region_case *found, const struct cli_args *args,
                             struct err *err)
{
    struct fleet_scene *scene = &found->scene;
    enum status status = run_scene_open(scene, args, false, err);
    nsec deadline = clock_deadline(STORE_MS);
    if (!status)
        status = permit_list_load(scene->store, deadline, &found->revoked, err);
    if (!status)
        status = route_list_load(scene->store, deadline, &found->routes, err);
    return status;
}

/* Twice, because what was written a moment before is to be there. The first look waits, for so long
 * at most, until all have applied what their primary had then. */
static void see_whole(struct region_case *found)
{
    const struct fleet_scene *scene = &found->scene;
    if (found->seen.count > 0)
        return;
    nsec first = clock_now();
    fleet_observe_lag(scene->fleet, scene->shards, scene->shard_count, clock_deadline(OBSERVE_MS),
                      &found->before);
    nsec second = clock_now();
    fleet_observe(scene->fleet, scene->shards, scene->shard_count, clock_deadline(OBSERVE_MS),
                  &found->seen);
    found->before_began = first;
    exposure_list_compare(&(struct exposure_look){&found->before, first},
                          &(struct exposure_look){&found->seen, second}, &found->exposures);
}

static enum status look_at(struct region_case *found, size_t region, struct err *err)
{
    region_look_release(&found->look);
    buf_clear(&found->missing);
    found->region = region;
    enum status status =
        region_look(found->scene.store, found->scene.fleet->regions[region], &found->look, err);
    if (status || found->look.standing != REGION_FENCED)
        return status;
    see_whole(found);
    struct region_view view = {.seen = &found->seen,
                               .revoked = &found->revoked,
                               .exposures = &found->exposures,
                               .since = found->before_began,
                               .region = region};
    region_find_missing(&view, &found->missing);
    return ST_OK;
}

static size_t count_homed(const struct region_case *found)
{
    const struct inventory *fleet = found->scene.fleet;
    size_t count = 0;
    for (size_t i = 0; i < fleet->shard_count; i++) {
        struct route route = {0};
        struct err ignored = ERR_INIT;
        count += route_list_get(&found->routes, fleet->shards[i].name, &route, &ignored) == ST_OK &&
                 strcmp(route.home, fleet->regions[found->region]) == 0;
    }
    return count;
}

static void print_missing(const struct region_case *found, FILE *out)
{
    for (const char *at = buf_text(&found->missing); *at;) {
        size_t length = strcspn(at, "\n");
        fprintf(out, "!   %.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
}

static void print_region(const struct region_case *found)
{
    const struct region_look *look = &found->look;
    bool is_fenced = look->standing == REGION_FENCED;
    AUTO_FREE char *fence = is_fenced ? permit_fence_format(&look->fence) : NULL;
    printf("%c %-12s %-10s %4zu  %s%s\n", is_fenced ? '!' : ' ',
           found->scene.fleet->regions[found->region], region_standing_name(look->standing),
           count_homed(found),
           is_fenced                         ? fence
           : look->standing == REGION_ALIVE  ? "permitted by conductor "
           : look->standing == REGION_SILENT ? "no conductor gives permission there; the last was "
                                             : "no conductor ever gave permission there",
           is_fenced ? "" : look->by);
    if (is_fenced)
        print_missing(found, stdout);
}

static enum status list_regions(const struct cli_args *args, struct err *err)
{
    AUTO(region_case_release) struct region_case found = {0};
    enum status status = open_case(&found, args, err);
    if (!status)
        printf("  %-12s %-10s %4s\n", "REGION", "MAY SERVE", "HOME");
    for (size_t i = 0; !status && i < found.scene.fleet->region_count; i++) {
        status = look_at(&found, i, err);
        if (!status)
            print_region(&found);
    }
    return status;
}

static enum status take_back(struct region_case *found, bool is_forced, struct err *err)
{
    struct run *run = NULL;
    enum status status = run_hold(found->scene.store, found->scene.fleet, &run, err);
    if (status)
        return status;
    status = region_give_back(run, &found->look.fence, is_forced, err);
    run_free(run);
    return status;
}

static enum status judge_return(const struct region_case *found, bool is_forced, struct err *err)
{
    const char *region = found->scene.fleet->regions[found->region];
    if (found->look.standing != REGION_FENCED)
        return err_set(err, ST_NO_GO, "region %s is not fenced", region);
    if (found->missing.length == 0)
        return ST_OK;
    print_missing(found, stderr);
    if (is_forced)
        return ST_OK;
    err_set(err, ST_NO_GO,
            "region %s is not whole: not all its servers follow as replicas, or it has not caught "
            "up",
            region);
    return err_hint(err,
                    "bring them back, or rebuild them, and wait for what is on its way; --force "
                    "gives it back all the same: each whose permission is withdrawn stays closed");
}

static enum status return_region(const struct cli_args *args, struct err *err)
{
    AUTO(region_case_release) struct region_case found = {0};
    const char *name = cli_operand(args, 0);
    size_t region = 0;
    enum status status = open_case(&found, args, err);
    if (status)
        return status;
    if (!inventory_find_region(found.scene.fleet, name, &region)) {
        err_set(err, ST_INVALID, "there is no region '%s' in %s", name, found.scene.path);
        return err_hint(err, "regions: %s, %s", found.scene.fleet->regions[0],
                        found.scene.fleet->regions[1]);
    }
    status = look_at(&found, region, err);
    if (!status)
        status = judge_return(&found, cli_flag(args, "--force"), err);
    if (!status && !cli_flag(args, "--yes"))
        status = run_ask_go("the name of the region", name, err);
    if (!status)
        status = take_back(&found, cli_flag(args, "--force"), err);
    if (!status)
        printf(
            "region %s may serve again: nothing is served there yet; holdfast switchover --to %s\n",
            name, name);
    return status;
}

/* clang-format off */
#define FLEET_OPTION {"--fleet", OPTION_TEXT, "FILE", "the fleet file (else $HOLDFAST_FLEET, else holdfast.yaml)", false, 0, 0}

static const struct cli_option list_options[] = {FLEET_OPTION, {0}};

static const struct cli_option return_options[] = {
    FLEET_OPTION,
    {"--force", OPTION_FLAG, NULL, "also when servers of it are missing, ahead, or behind, or a shard is served there", false, 0, 0},
    {"--yes", OPTION_FLAG, NULL, "do not ask for the go", false, 0, 0},
    {0},
};

const struct cli_command region_commands[] = {
    {"region list", "", "Show of each region whether it may serve, and what is served there",
     "A region that was lost is fenced, and stays so when it is back until all its servers follow as replicas again, and have "
     "caught up; the lines with ! say what is missing. Conductors give it back by themselves then, policy.hold_down after it was fenced.",
     list_options, list_regions, false},
    {"region return", "REGION", "Give a region back that was fenced, so that it may serve again",
     "Nothing is opened or moved by that: shards may be moved there again. Refused while a shard is still served there by its "
     "route, and, without --force, while a server of it is missing, has what the others lack, or "
     "it has not caught up: a loss of the other region would cost that then. A server whose permission "
     "was withdrawn stays closed in any case until it is a replica.",
     return_options, return_region, false},
    {0},
};
/* clang-format on */
