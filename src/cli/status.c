/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast status': one line a shard, and what is plainly wrong with it. */
#include "fleet/observation.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/fleet.h"
#include "cli/run.h"
#include "fleet/route.h"
#include "show/watch.h"
#include "store/store.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { LAG_MS = 1000, STORE_MS = 1000, INTERVAL_S = 2 };

/* One look, and how it is to be shown. */
struct look {
    struct fleet_scene scene;
    char *paused; /* by whom and why; NULL: it is not */
    bool as_json, is_watched;
};

static void look_release(struct look *look)
{
    fleet_scene_release(&look->scene);
}

/* What is shown of one shard. */
struct line {
    const struct shard_observation *seen;
    const char *home; /* region; NULL: none */
    const struct server_observation *relay;
    bool has_route;
    struct route route;
    const char *state;
    const char *semi_sync; /* "on", "no acker", "degraded", "off"; NULL: no primary */
    char **troubles;
    size_t trouble_count, trouble_capacity;
};

static void lines_free(struct line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < lines[i].trouble_count; j++)
            free(lines[i].troubles[j]);
        free(lines[i].troubles);
    }
    free(lines);
}

static void __attribute__((format(printf, 2, 3)))
add_trouble(struct line *line, const char *format, ...)
{
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    VEC_PUSH(line->troubles, line->trouble_count, line->trouble_capacity, buf_take(&text));
}

/* --- What is wrong ---------------------------------------------------------------------------- */

static void judge_server(struct line *line, const struct server_observation *server,
                         int64_t max_lag_ms)
{
    const struct sql_server_state *state = &server->state;
    const char *name = server->server->name;
    if (server->status) {
        add_trouble(line, "%s", server->err.text);
        return;
    }
    if (server == line->seen->primary)
        return;
    if (!state->is_read_only)
        add_trouble(line, "%s accepts writes%s", name,
                    state->channels > 0 ? " although it replicates" : "");
    else if (state->channels == 0 && line->seen->writable_count > 0)
        add_trouble(line, "%s replicates from nobody", name);
    else if (state->channels > 0 && !state->is_io_running)
        add_trouble(line, "%s does not receive: %s", name,
                    state->io_error[0] ? state->io_error : "IO thread stopped");
    else if (state->channels > 0 && !state->is_sql_running)
        add_trouble(line, "%s does not apply: %s", name,
                    state->sql_error[0] ? state->sql_error : "SQL thread stopped");
    else if (line->seen->primary && (server->lag_ms < 0 || server->lag_ms > (double)max_lag_ms))
        add_trouble(line, "%s lags by more than %lld ms", name,
                    (long long)(max_lag_ms < LAG_MS ? max_lag_ms : LAG_MS));
}

/* Of those in the fleet file; NULL when the address is none of them. */
static const struct server_observation *find_server(const struct shard_observation *seen,
                                                    const char *name)
{
    for (size_t i = 0; i < seen->shard->server_count; i++)
        if (strcmp(seen->servers[i].server->name, name) == 0)
            return &seen->servers[i];
    return NULL;
}

/* Silence is not death: it may well accept writes, and a second primary would lose some. In the
 * states of a move in which nobody may write, the route's primary says nothing. */
static void judge_silent_primary(struct line *line)
{
    const struct server_observation *at = find_server(line->seen, line->route.primary);
    if (!line->seen->primary && at && at->status && shard_state_is_writable(line->route.state))
        add_trouble(line,
                    "the store says that %s is its primary, which does not answer: do not open "
                    "another one",
                    line->route.primary);
}

static void judge_route(struct line *line)
{
    if (!line->has_route)
        return;
    const struct server_observation *primary = line->seen->primary;
    judge_silent_primary(line);
    if (line->route.state != SHARD_SERVING)
        add_trouble(line, "run %s is moving it, or left it: holdfast run show %s", line->route.run,
                    line->route.run);
    else if (primary && strcmp(line->route.primary, primary->server->name) != 0)
        add_trouble(line, "the store says that %s is its primary", line->route.primary);
}

static bool all_answered(const struct shard_observation *seen)
{
    for (size_t i = 0; i < seen->shard->server_count; i++)
        if (seen->servers[i].status)
            return false;
    return true;
}

static void judge(struct line *line, const struct inventory *fleet)
{
    const struct shard_observation *seen = line->seen;
    const struct server_observation *primary = seen->primary;
    if (seen->writable_count == 0)
        add_trouble(line, "no server %saccepts writes", all_answered(seen) ? "" : "that answers ");
    if (primary && primary->role == ROLE_CONFLICT)
        add_trouble(line, "the primary %s replicates from %s:%lld", primary->server->name,
                    primary->state.source_host, (long long)primary->state.source_port);
    bool has_no_acker = primary && strcmp(line->semi_sync, "no acker") == 0;
    if (has_no_acker)
        add_trouble(line, "no replica acknowledges: no write at %s returns", primary->server->name);
    if (primary && !has_no_acker && strcmp(line->semi_sync, "on") != 0)
        add_trouble(line, "semi-sync is %s: acknowledged writes are on one server only",
                    line->semi_sync);
    if (primary && primary->state.held_up_ms >= SQL_HELD_UP_MS)
        add_trouble(line, "writes wait for an acknowledgement, the longest for %.1f s",
                    (double)primary->state.held_up_ms / 1e3);
    if (primary && !line->relay)
        add_trouble(line, "no server of the other region replicates from the primary");
    for (size_t i = 0; i < seen->shard->server_count; i++)
        judge_server(line, &seen->servers[i], fleet->policy.max_lag_ms);
    judge_route(line);
}

/* False: there may be a route, and a move under way. */
static bool read_route(struct line *line, const struct fleet_scene *scene)
{
    struct err err = ERR_INIT;
    if (!scene->store)
        return scene->store_err.status == ST_OK;
    enum status status = route_load(scene->store, line->seen->shard->name, clock_deadline(STORE_MS),
                                    &line->route, &err);
    line->has_route = status == ST_OK;
    if (status == ST_OK || status == ST_NOT_FOUND)
        return true;
    add_trouble(line, "%s", err.text);
    return false;
}

static const char *semi_sync_of(const struct sql_server_state *state)
{
    if (!state->is_source_semi_sync)
        return "off";
    if (!state->is_semi_sync_active)
        return "degraded";
    return state->ackers > 0 ? "on" : state->waits_without_ackers ? "no acker" : "degraded";
}

static void read_line(struct line *line, const struct fleet_scene *scene)
{
    const struct server_observation *primary = line->seen->primary;
    bool is_route_known = read_route(line, scene);
    line->state = line->seen->writable_count == 0  ? "no primary"
                  : line->seen->writable_count > 1 ? "several primaries"
                  : is_route_known                 ? "serving"
                                                   : "unknown";
    if (line->has_route && (primary || line->route.state != SHARD_SERVING))
        line->state = shard_state_name(line->route.state);
    if (primary) {
        size_t home = primary->server->region;
        line->home = scene->fleet->regions[home];
        line->relay = line->seen->relays[1 - home];
        line->semi_sync = semi_sync_of(&primary->state);
    }
    judge(line, scene->fleet);
}

/* --- Showing it ------------------------------------------------------------------------------- */

static json_t *lag_json(double lag_ms)
{
    return lag_ms < 0 ? json_null() : json_real(lag_ms);
}

static json_t *servers_json(const struct line *line, const struct inventory *fleet)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < inventory_shard_size(line->seen->shard); i++) {
        const struct server_observation *at = &line->seen->servers[i];
        json_array_append_new(
            servers,
            json_pack("{s:s, s:s, s:s, s:s?, s:o, s:s?}", "server", at->server->name, "region",
                      fleet->regions[at->server->region], "role", server_role_name(at->role),
                      "source", at->source ? at->source->server->name : NULL, "lag_ms",
                      lag_json(at->lag_ms), "error", at->status ? at->err.text : NULL));
    }
    return servers;
}

static json_t *line_json(const struct line *line, const struct inventory *fleet)
{
    const struct server_observation *primary = line->seen->primary;
    json_t *troubles = json_array();
    for (size_t i = 0; i < line->trouble_count; i++)
        json_array_append_new(troubles, json_string(line->troubles[i]));
    json_t *json = json_pack(
        "{s:s, s:s, s:s?, s:s?, s:o, s:s?, s:I, s:s, s:I, s:o, s:o}", "name",
        line->seen->shard->name, "deployment", line->seen->shard->deployment, "home", line->home,
        "primary", primary ? primary->server->name : NULL, "lag_ms",
        lag_json(line->relay ? line->relay->lag_ms : -1), "semi_sync", line->semi_sync, "ackers",
        (json_int_t)(primary ? primary->state.ackers : 0), "state", line->state, "epoch",
        (json_int_t)line->route.epoch, "problems", troubles, "servers", servers_json(line, fleet));
    return json;
}

static void print_json(const struct line *lines, size_t count, const struct look *look, FILE *out)
{
    const struct fleet_scene *scene = &look->scene;
    const char *store_error = scene->store_err.status ? scene->store_err.text : NULL;
    json_t *shards = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(shards, line_json(&lines[i], scene->fleet));
    json_t *json = json_pack("{s:s?, s:o, s:s?}", "paused", look->paused, "shards", shards,
                             "store_error", store_error);
    json_dumpf(json, out, look->is_watched ? JSON_COMPACT : JSON_INDENT(2));
    fputs("\n", out);
    json_decref(json);
}

struct widths {
    int name, home, primary;
};

static int widest(int width, const char *text)
{
    int length = text ? (int)strlen(text) : 0;
    return length > width ? length : width;
}

static void print_line(const struct line *line, const struct widths *widths, FILE *out)
{
    const struct server_observation *primary = line->seen->primary;
    AUTO_FREE char *lag = line->relay && line->relay->lag_ms >= 0
                              ? mem_printf("%.1f ms", line->relay->lag_ms)
                              : mem_strdup("-");
    AUTO_FREE char *semi_sync = line->semi_sync && strcmp(line->semi_sync, "on") == 0
                                    ? mem_printf("%lld acker%s", (long long)primary->state.ackers,
                                                 primary->state.ackers == 1 ? "" : "s")
                                    : mem_strdup(line->semi_sync ? line->semi_sync : "-");
    size_t ignored_count = line->seen->shard->ignored_count;
    AUTO_FREE char *ignored =
        ignored_count ? mem_printf("  (%zu ignored)", ignored_count) : mem_strdup("");
    fprintf(out, "%c %-*s  %-*s  %-*s  %10s  %-9s  %s%s\n", line->trouble_count ? '!' : ' ',
            widths->name, line->seen->shard->name, widths->home, line->home ? line->home : "-",
            widths->primary, primary ? primary->server->name : "-", lag, semi_sync, line->state,
            ignored);
    for (size_t i = 0; i < line->trouble_count; i++)
        fprintf(out, "!   %s\n", line->troubles[i]);
}

static void print_lines(const struct line *lines, size_t count, FILE *out)
{
    struct widths widths = {widest(0, "SHARD"), widest(0, "HOME"), widest(0, "PRIMARY")};
    size_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        const struct server_observation *primary = lines[i].seen->primary;
        widths.name = widest(widths.name, lines[i].seen->shard->name);
        widths.home = widest(widths.home, lines[i].home);
        widths.primary = widest(widths.primary, primary ? primary->server->name : NULL);
        bad += lines[i].trouble_count > 0;
    }
    fprintf(out, "  %-*s  %-*s  %-*s  %10s  %-9s  %s\n", widths.name, "SHARD", widths.home, "HOME",
            widths.primary, "PRIMARY", "LAG", "SEMI-SYNC", "STATE");
    for (size_t i = 0; i < count; i++)
        print_line(&lines[i], &widths, out);
    if (bad)
        fprintf(out, "%zu of %zu shard%s: holdfast readiness says what to do\n", bad, count,
                count == 1 ? " needs attention" : "s need attention");
}

/* For scripts: a shard that nobody can write to, or that two servers accept writes of, is an error.
 * Whatever else is wrong with it, it serves. */
static enum status exit_status(const struct line *lines, size_t count, struct err *err)
{
    size_t bad = 0;
    for (size_t i = 0; i < count; i++)
        bad += lines[i].seen->writable_count != 1;
    if (bad == 0)
        return ST_OK;
    err_set(err, ST_NO_GO,
            "%zu of %zu %s not have exactly one server that answers and accepts writes", bad, count,
            count == 1 ? "shard does" : "shards do");
    return err_hint(err, "holdfast readiness says what to do");
}

/* One look at everything, into 'out'. */
static enum status look_once(struct look *look, FILE *out, struct err *err)
{
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    const struct fleet_scene *scene = &look->scene;
    fleet_observe_lag(scene->fleet, scene->shards, scene->shard_count, clock_deadline(LAG_MS),
                      &seen);
    struct line *lines = mem_zalloc((seen.count + 1) * sizeof(*lines));
    for (size_t i = 0; i < seen.count; i++) {
        lines[i].seen = &seen.shards[i];
        read_line(&lines[i], scene);
    }
    FILE *problems = look->is_watched ? out : stderr;
    look->paused = run_pause_text(scene->store);
    if (scene->store_err.status && !(look->as_json && look->is_watched))
        fprintf(problems, "! the store cannot be read: %s\n", scene->store_err.text);
    if (look->paused && !look->as_json)
        fprintf(out, "! %s\n", look->paused);
    if (look->as_json)
        print_json(lines, seen.count, look, out);
    else
        print_lines(lines, seen.count, out);
    enum status status = exit_status(lines, seen.count, err);
    lines_free(lines, seen.count);
    free(look->paused);
    return status;
}

/* Each time from the start: the fleet file, the store and the servers may have changed. */
static enum status look_afresh(const struct cli_args *args, bool is_watched, FILE *out,
                               struct err *err)
{
    AUTO(look_release)
    struct look look = {.as_json = cli_flag(args, "--json"), .is_watched = is_watched};
    enum status status = fleet_scene_open(&look.scene, args, true, err);
    return status ? status : look_once(&look, out, err);
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
    if (!cli_flag(args, "--watch"))
        return look_afresh(args, false, stdout, err);
    run_take_signals();
    watch_show(render, (void *)args,
               cli_flag(args, "--json") ? WATCH_FOR_PROGRAMS : WATCH_FOR_PEOPLE,
               cli_number(args, "--interval", INTERVAL_S), run_was_interrupted);
    return ST_OK;
}
