/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast status': one line a shard, and what is plainly wrong with it. */
#include "api/status.h"

#include "api/client.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/fleet.h"
#include "cli/run.h"
#include "drain/mark.h"
#include "fleet/observation.h"
#include "fleet/route.h"
#include "show/losses.h"
#include "show/runs.h"
#include "show/watch.h"
#include "store/store.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { MAX_AGE_MS = 10000, LAG_MS = 1000, INTERVAL_S = 2 };

/* How it is to be shown. */
struct manner {
    bool as_json, is_watched;
};

struct widths {
    int name, home, primary;
    bool has_loss; /* conductors know what a loss would cost */
};

static int widest(int width, const char *text)
{
    int length = text ? (int)strlen(text) : 0;
    return length > width ? length : width;
}

static size_t count_ignored(const struct status_shard *shard)
{
    size_t count = 0;
    for (size_t i = 0; i < shard->server_count; i++)
        count += strcmp(shard->servers[i].role, server_role_name(ROLE_IGNORED)) == 0;
    return count;
}

static char *semi_sync_text(const struct status_shard *shard)
{
    if (!shard->semi_sync || strcmp(shard->semi_sync, "on") != 0)
        return mem_strdup(shard->semi_sync ? shard->semi_sync : "-");
    return mem_printf("%lld acker%s", (long long)shard->ackers, shard->ackers == 1 ? "" : "s");
}

static void print_shard(const struct status_shard *shard, const struct widths *widths, FILE *out)
{
    size_t ignored_count = count_ignored(shard);
    AUTO_FREE char *lag =
        shard->lag_ms >= 0 ? mem_printf("%.1f ms", shard->lag_ms) : mem_strdup("-");
    AUTO_FREE char *semi_sync = semi_sync_text(shard);
    AUTO_FREE char *ignored =
        ignored_count ? mem_printf("  (%zu ignored)", ignored_count) : mem_strdup("");
    AUTO_FREE char *loss = widths->has_loss ? losses_cell(&shard->loss) : mem_strdup("");
    fprintf(out, "%c %-*s  %-*s  %-*s  %10s%s  %-9s  %s%s\n", shard->problem_count ? '!' : ' ',
            widths->name, shard->name, widths->home, shard->home ? shard->home : "-",
            widths->primary, shard->primary ? shard->primary : "-", lag, loss, semi_sync,
            shard->state, ignored);
    for (size_t i = 0; i < shard->problem_count; i++)
        fprintf(out, "!   %s\n", shard->problems[i]);
}

static void print_shards(const struct fleet_scene *scene, const struct fleet_status *seen,
                         FILE *out)
{
    struct widths widths = {widest(0, "SHARD"), widest(0, "HOME"), widest(0, "PRIMARY"), false};
    size_t bad = 0;
    for (size_t i = 0; i < seen->count; i++) {
        const struct status_shard *shard = &seen->shards[i];
        widths.name = widest(widths.name, shard->name);
        widths.home = widest(widths.home, shard->home);
        widths.primary = widest(widths.primary, shard->primary);
        widths.has_loss = widths.has_loss || shard->loss.region;
        bad += shard->problem_count > 0;
    }
    fprintf(out, "  %-*s  %-*s  %-*s  %10s%s  %-9s  %s\n", widths.name, "SHARD", widths.home,
            "HOME", widths.primary, "PRIMARY", "LAG", widths.has_loss ? LOSSES_HEAD : "",
            "SEMI-SYNC", "STATE");
    for (size_t i = 0; i < seen->count; i++)
        print_shard(&seen->shards[i], &widths, out);
    if (bad)
        fprintf(out, "%zu of %zu shard%s: holdfast readiness says what to do\n", bad, seen->count,
                seen->count == 1 ? " needs attention" : "s need attention");
    losses_show(scene->fleet, seen, out);
}

static enum status judge_left(const struct fleet_status *seen, struct err *err)
{
    size_t left = 0;
    for (size_t i = 0; i < seen->count; i++)
        left += status_is_left(seen, &seen->shards[i]);
    if (left == 0)
        return ST_OK;
    err_set(err, ST_NO_GO, "%zu of %zu shard%s in the middle of a move that nobody goes on with",
            left, seen->count, seen->count == 1 ? " is" : "s are");
    return err_hint(err, "%s", seen->run_left);
}

/* For scripts: a shard that nobody can write to, that two servers accept writes of, or that is in
 * between and stays so, is an error. Whatever else is wrong with it, it serves. */
static enum status exit_status(const struct fleet_status *seen, struct err *err)
{
    size_t bad = 0;
    for (size_t i = 0; i < seen->count; i++)
        bad += !seen->shards[i].primary;
    if (bad == 0)
        return judge_left(seen, err);
    err_set(err, ST_NO_GO,
            "%zu of %zu %s not have exactly one server that answers and accepts writes", bad,
            seen->count, seen->count == 1 ? "shard does" : "shards do");
    return err_hint(err, "holdfast readiness says what to do");
}

/* One look at everything, by ourselves. */
static void look(const struct fleet_scene *scene, struct fleet_status *ret)
{
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO(route_list_release) struct route_list routes = {0};
    AUTO(drain_list_release) struct drain_list drained = {0};
    AUTO_FREE char *paused = run_pause_text(scene->store);
    AUTO_FREE char *fenced = run_fenced_text(scene->store);
    AUTO_FREE char *run_left = runs_left_text(scene->store);
    struct err err = ERR_INIT;
    fleet_observe_lag(scene->fleet, scene->shards, scene->shard_count, clock_deadline(LAG_MS),
                      &seen);
    bool has_routes =
        scene->store &&
        !route_list_load(scene->store, store_deadline(scene->store, STORE_GLANCE), &routes, &err) &&
        !drain_list_load(scene->store, store_deadline(scene->store, STORE_GLANCE), &drained, &err);
    struct status_request request = {
        .fleet = scene->fleet,
        .seen = &seen,
        .routes = has_routes ? &routes : NULL,
        .store_error = scene->store_err.status ? scene->store_err.text : NULL,
        .routes_error = err.status ? err.text : NULL,
        .paused = paused,
        .fenced = fenced,
        .run_left = run_left,
        .drained = &drained,
    };
    status_make(&request, ret);
}

/* Whose look it is. */
struct source {
    const char *conductor; /* NULL: our own */
    double age_s;
};

static void print_json(const struct fleet_status *seen, const struct source *source,
                       struct manner manner, FILE *out)
{
    json_t *json = status_encode(seen);
    if (source->conductor) {
        json_object_set_new(json, "conductor", json_string(source->conductor));
        json_object_set_new(json, "age_ms", json_integer((json_int_t)(source->age_s * 1e3)));
    }
    json_dumpf(json, out,
               (manner.is_watched ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(9));
    fputs("\n", out);
    json_decref(json);
}

static void show(const struct fleet_scene *scene, const struct fleet_status *seen,
                 const struct source *source, struct manner manner, FILE *out)
{
    if (seen->store_error && !(manner.as_json && manner.is_watched))
        fprintf(manner.is_watched ? out : stderr, "! the store cannot be read: %s\n",
                seen->store_error);
    if (manner.as_json) {
        print_json(seen, source, manner, out);
        return;
    }
    if (seen->paused)
        fprintf(out, "! %s\n", seen->paused);
    if (seen->fenced)
        fprintf(out, "! %s (holdfast region list)\n", seen->fenced);
    for (size_t i = 0; fleet_status_drained(seen, i); i++)
        fprintf(out, "! %s\n", fleet_status_drained(seen, i));
    if (seen->run_left)
        fprintf(out, "! %s\n", seen->run_left);
    print_shards(scene, seen, out);
    if (source->conductor)
        fprintf(out, "as conductor %s saw it %.1f s ago\n", source->conductor, source->age_s);
}

/* What a conductor tells of our shards. */
static enum status ask(const struct fleet_scene *scene, struct fleet_status *ret,
                       struct source *ret_source, struct err *err)
{
    AUTO(client_answer_release) struct client_answer answer = {0};
    AUTO_FREE const char **names = fleet_scene_names(scene);
    struct fleet_status seen = {0};
    enum status status = client_get(scene->fleet, "/v1/status", MAX_AGE_MS, &answer, err);
    if (!status)
        status = status_decode(answer.json, &seen, err);
    if (!status)
        status = status_choose(&seen, names, scene->shard_count, err);
    if (status) {
        fleet_status_release(&seen);
        return status;
    }
    *ret = seen;
    *ret_source = (struct source){answer.conductor, (double)answer.age_ms / 1e3};
    return ST_OK;
}

/* Conductors are asked when there are any; without an answer we look from here. */
static void ask_or_look(struct fleet_scene *scene, bool is_direct, FILE *problems,
                        struct fleet_status *ret, struct source *ret_source)
{
    struct err err = ERR_INIT;
    if (scene->fleet->conductor_count > 0 && !is_direct) {
        if (!ask(scene, ret, ret_source, &err))
            return;
        if (problems)
            fprintf(problems, "! %s; looked from here\n", err.text);
    }
    fleet_scene_open_store(scene);
    look(scene, ret);
}

/* Each time from the start: the fleet file, the store and the servers may have changed. */
static enum status look_afresh(const struct cli_args *args, bool is_watched, FILE *out,
                               struct err *err)
{
    struct manner manner = {cli_flag(args, "--json"), is_watched};
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(fleet_status_release) struct fleet_status seen = {0};
    struct source source = {0};
    enum status status = fleet_scene_load(&scene, args, true, err);
    if (status)
        return status;
    FILE *problems = !is_watched ? stderr : manner.as_json ? NULL : out;
    ask_or_look(&scene, cli_flag(args, "--direct"), problems, &seen, &source);
    show(&scene, &seen, &source, manner, out);
    return exit_status(&seen, err);
}

static void render(void *context, FILE *out)
{
    struct err err = ERR_INIT;
    enum status status = look_afresh(context, true, out, &err);
    if (status && status != ST_NO_GO) /* that is in the lines */
        fprintf(out, "! %s\n", err.text);
}

enum status fleet_status(const struct cli_args *args, struct err *err)
{
    if (!cli_flag(args, "--watch") && cli_number(args, "--interval", -1) >= 0) {
        err_set(err, ST_INVALID,
                "--interval is the time between two looks, and there is no --watch");
        return err_hint(err, "add --watch");
    }
    if (!cli_flag(args, "--watch"))
        return look_afresh(args, false, stdout, err);
    run_take_signals();
    watch_show(render, (void *)args,
               cli_flag(args, "--json") ? WATCH_FOR_PROGRAMS : WATCH_FOR_PEOPLE,
               cli_number(args, "--interval", INTERVAL_S), run_was_interrupted);
    return ST_OK;
}
