/* SPDX-License-Identifier: Apache-2.0
 * Orders that stand in the store until they are taken back: the pause (nothing is to act by
 * itself), and hosts that are drained (they shall have no role). */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "cli/run.h"
#include "conductor/pause.h"
#include "handover/order.h"
#include "show/hosts.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST_H = 24 * 90, OBSERVE_MS = 2000 };

/* ---- the pause ---- */

static enum status read_span(const char *text, int64_t *ret_ms, struct err *err)
{
    if (!text)
        return ST_OK;
    if (!clock_parse_span(text, ret_ms) || *ret_ms == 0) {
        err_set(err, ST_INVALID, "--for: '%s' is not a duration", text);
        return err_hint(err, "for example: --for 30m, --for 2h");
    }
    if (*ret_ms > (int64_t)LONGEST_H * 3600 * 1000)
        return err_set(err, ST_INVALID, "--for: '%s' is longer than %dh", text, LONGEST_H);
    return ST_OK;
}

static enum status pause_command(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(pause_release) struct pause before = {0}, now = {0};
    AUTO_FREE char *reason = NULL;
    int64_t for_ms = 0;
    enum status status = read_span(cli_text(args, "--for"), &for_ms, err);
    if (!status)
        status = run_read_reason(args, &reason, err);
    if (!status)
        status = run_scene_open(&scene, args, false, err);
    if (status)
        return status;
    struct err ignored = ERR_INIT;
    status_ignore(pause_load(scene.store, &before, &ignored), "it is replaced");
    status = pause_begin(scene.store, reason, for_ms, err);
    if (!status)
        status = pause_load(scene.store, &now, err);
    if (status)
        return status;
    AUTO_FREE char *text = pause_format(&now);
    log_event(EV_PAUSE, "pause", text, NULL);
    printf("%s\n", text);
    if (before.is_active) {
        AUTO_FREE char *old = pause_format(&before);
        printf("it was %s\n", old);
    }
    return ST_OK;
}

static enum status unpause_command(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(pause_release) struct pause before = {0};
    enum status status = run_scene_open(&scene, args, false, err);
    struct err ignored = ERR_INIT;
    if (!status) {
        status_ignore(pause_load(scene.store, &before, &ignored), "it is ended, whatever it says");
        status = pause_end(scene.store, err);
    }
    if (status)
        return status;
    AUTO_FREE char *text = before.is_active ? pause_format(&before) : mem_strdup("not paused");
    log_event(EV_PAUSE, "unpause", text, NULL);
    printf("it was %s\n", text);
    return ST_OK;
}

/* ---- hosts ---- */

/* What an order for a host is about. */
struct host_order {
    const char *host;
    bool is_return;
    struct fleet_scene scene;
    struct drain_list drained;
    struct drain_mark *mark; /* as it will be, in 'drained'; NULL: of a return, there is none */
    char left[RUN_ID_MAX];   /* the same order, which its process left half-way; "": none */
    struct fleet_observation seen;
    struct handover_plan plan;
    size_t region;
    bool was_done; /* the host is drained already, and nothing came back to it */
};

static void host_order_release(struct host_order *order)
{
    handover_plan_release(&order->plan);
    fleet_observation_release(&order->seen);
    drain_list_release(&order->drained);
    fleet_scene_release(&order->scene);
}

static enum status load_marks(const struct fleet_scene *scene, struct drain_list *ret,
                              struct err *err)
{
    return scene->store
               ? drain_list_load(scene->store, store_deadline(scene->store, STORE_WORK), ret, err)
               : ST_OK;
}

/* Only the shards that have a server of the host, or had one when it was drained. */
static void keep_shards(struct fleet_scene *scene, const char *host, const struct drain_mark *mark)
{
    struct drain_names servers = {0};
    size_t count = 0;
    handover_find_host(scene->fleet, host, &servers);
    for (size_t i = 0; i < scene->shard_count; i++)
        if (handover_is_on(scene->shards[i], &servers) ||
            (mark && handover_is_on(scene->shards[i], &mark->servers)))
            scene->shards[count++] = scene->shards[i];
    scene->shard_count = count;
    drain_names_release(&servers);
}

/* Of its servers. */
static enum status find_region(const struct fleet_scene *scene, const struct drain_mark *mark,
                               size_t *ret_region, struct err *err)
{
    const struct inventory_server *first = NULL;
    for (size_t i = 0; i < scene->shard_count; i++)
        for (size_t j = 0; j < scene->shards[i]->server_count; j++) {
            const struct inventory_server *server = &scene->shards[i]->servers[j];
            if (!drain_names_have(&mark->servers, server->name))
                continue;
            first = first ? first : server;
            if (server->region != first->region)
                return err_set(err, ST_INVALID, "%s and %s of host %s are in different regions",
                               first->name, server->name, mark->host);
        }
    *ret_region = first ? first->region : 0;
    return ST_OK;
}

/* A run of the same order whose process is gone: to order it again is to go on with it. */
static void find_left(struct host_order *order)
{
    char holder[RUN_ID_MAX];
    struct err ignored = ERR_INIT;
    struct store *store = order->scene.store;
    AUTO(run_record_release) struct run_record record = {0};
    enum run_kind kind = order->is_return ? RUN_RETURN : RUN_DRAIN;
    if (run_current(store, order->left, &ignored) == ST_OK &&
        run_lock_holder(store, holder, &ignored) == ST_NOT_FOUND &&
        run_record_load(store, order->left, &record, &ignored) == ST_OK && record.kind == kind &&
        strcmp(record.host, order->host) == 0 && !record.is_called_off)
        return;
    order->left[0] = '\0';
}

static enum status make_order(struct host_order *order, const struct cli_args *args,
                              struct err *err)
{
    struct fleet_scene *scene = &order->scene;
    enum status status = run_scene_open(scene, args, false, err);
    if (!status)
        status = load_marks(scene, &order->drained, err);
    if (status)
        return status;
    find_left(order);
    const struct drain_mark *before = drain_list_find(&order->drained, order->host);
    bool was_drained = before && !before->problem && before->state == DRAIN_DONE;
    keep_shards(scene, order->host, before);
    fleet_observe_lag(scene->fleet, scene->shards, scene->shard_count, clock_deadline(OBSERVE_MS),
                      &order->seen);
    struct handover_order what = {
        .host = order->host, .since_us = clock_wall_us(), .is_return = order->is_return};
    status =
        handover_make_mark(scene->fleet, &what, &order->seen, &order->drained, &order->mark, err);
    if (status || !order->mark)
        return status;
    status = find_region(scene, order->mark, &order->region, err);
    if (status)
        return status;
    handover_plan_make(scene->fleet, &order->seen, &order->drained, order->mark, &order->plan);
    order->was_done =
        was_drained && !order->is_return && order->plan.moves + order->plan.refused == 0;
    return ST_OK;
}

static enum status refuse_plan(const struct host_order *order, struct err *err)
{
    err_set(err, ST_NO_GO, "%zu role%s of host %s cannot move; nothing was changed",
            order->plan.refused, order->plan.refused == 1 ? "" : "s", order->host);
    return err_hint(err, "the lines with ! say why, and what to do");
}

static enum status begin_order(const struct host_order *order, char *take, struct run **ret,
                               struct err *err)
{
    const struct fleet_scene *scene = &order->scene;
    AUTO(run_record_release) struct run_record record = {0};
    run_record_init(&record, scene->fleet->regions[order->region]);
    record.kind = order->is_return ? RUN_RETURN : RUN_DRAIN;
    record.host = mem_strdup(order->host);
    record.reason = take;
    for (size_t i = 0; i < scene->shard_count; i++)
        run_record_add_shard(&record, scene->shards[i]->name);
    return run_begin_ordered(scene->store, scene->fleet, &record, ret, err);
}

/* The shards of one that was left are those that it had. */
static enum status carry_run(struct host_order *order, const struct cli_args *args,
                             char *take_reason, struct err *err)
{
    struct fleet_scene *scene = &order->scene;
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    struct run *run = NULL;
    run_outlive_terminal();
    enum status status = order->left[0]
                             ? run_take(scene->store, scene->fleet, order->left, false, &run, err)
                             : begin_order(order, take_reason, &run, err);
    if (status)
        return status;
    scene->shard_count = 0;
    for (size_t i = 0; i < run->record.shard_count; i++) {
        const struct inventory_shard *shard =
            inventory_find_shard(scene->fleet, run->record.shards[i]);
        if (shard)
            scene->shards[scene->shard_count++] = shard;
    }
    fleet_observe(scene->fleet, scene->shards, scene->shard_count, clock_deadline(OBSERVE_MS),
                  &seen);
    return run_carry_out(scene, &seen, run, cli_flag(args, "--json"), err);
}

/* What is to be typed next, when all is done. */
static void say_end(const struct host_order *order)
{
    if (order->is_return)
        fprintf(stderr, "host %s is not drained any more\n", order->host);
    else
        fprintf(stderr,
                "host %s is drained: it may go down; when it is back: holdfast host return %s\n",
                order->host, order->host);
}

static enum status carry_order(struct host_order *order, const struct cli_args *args,
                               struct err *err)
{
    bool is_dry = cli_flag(args, "--dry-run"), as_json = cli_flag(args, "--json");
    bool is_asked = !cli_flag(args, "--yes") && !is_dry;
    AUTO_FREE char *reason = NULL;
    enum status status = ST_OK;
    if (order->left[0] && !is_dry)
        fprintf(stderr, "run %s was not finished: it goes on\n", order->left);
    else if (!order->mark)
        return ST_OK;
    else if (is_dry || order->plan.refused || !as_json || is_asked)
        hosts_print_plan(&order->plan, order->mark, as_json && !is_asked,
                         is_dry || (order->plan.refused && as_json) ? stdout : stderr);
    if (order->plan.refused && (is_dry || !order->left[0]))
        return refuse_plan(order, err);
    if (is_dry)
        return ST_OK;
    if (!order->left[0])
        status = run_demand_reason(order->scene.fleet, args, &reason, err);
    if (!status && is_asked)
        status = run_ask_go("the name of the host", order->host, err);
    if (!status)
        status = carry_run(order, args, take_pointer(reason), err);
    if (!status)
        say_end(order);
    return status;
}

/* Nothing to do is no error: an order may be repeated. */
static enum status order_host(const struct cli_args *args, bool is_return, struct err *err)
{
    AUTO(host_order_release)
    struct host_order order = {.host = cli_operand(args, 0), .is_return = is_return};
    run_take_signals();
    enum status status = make_order(&order, args, err);
    if (status)
        return status;
    if (order.left[0] || (order.mark && !order.was_done))
        return carry_order(&order, args, err);
    AUTO_FREE char *words = NULL;
    if (order.mark)
        order.mark->state = DRAIN_DONE; /* as it is */
    words = order.mark ? drain_mark_format(order.mark)
                       : mem_printf("host %s is not drained", order.host);
    printf("%s\n", words);
    return ST_OK;
}

static enum status drain_command(const struct cli_args *args, struct err *err)
{
    return order_host(args, false, err);
}

static enum status return_command(const struct cli_args *args, struct err *err)
{
    return order_host(args, true, err);
}

static enum status list_command(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(drain_list_release) struct drain_list drained = {0};
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    enum status status = fleet_scene_open(&scene, args, false, err);
    if (!status)
        status = load_marks(&scene, &drained, err);
    if (status)
        return status;
    if (scene.store_err.status)
        fprintf(stderr, "! the store cannot be read: %s\n", scene.store_err.text);
    fleet_observe(scene.fleet, scene.shards, scene.shard_count, clock_deadline(OBSERVE_MS), &seen);
    hosts_print(scene.fleet, &seen, &drained, cli_flag(args, "--json"), stdout);
    return ST_OK;
}

/* clang-format off */
#define FLEET_OPTION {"--fleet", OPTION_TEXT, "FILE", "the fleet file (else $HOLDFAST_FLEET, else holdfast.yaml)", false, 0, 0}

static const struct cli_option pause_options[] = {
    FLEET_OPTION,
    {"--reason", OPTION_TEXT, "TEXT", "why; shown to everybody who looks", false, 0, 0},
    {"--for", OPTION_TEXT, "DURATION", "end by itself after this time: 30m, 2h", false, 0, 0},
    {0},
};

static const struct cli_option unpause_options[] = {FLEET_OPTION, {0}};

static const struct cli_option host_options[] = {
    FLEET_OPTION,
    {"--dry-run", OPTION_FLAG, NULL, "show what would be done, and do nothing", false, 0, 0},
    {"--reason", OPTION_TEXT, "TEXT", "what for; kept with the run and shown to everybody who looks", false, 0, 0},
    {"--yes", OPTION_FLAG, NULL, "go without asking", false, 0, 0},
    {"--json", OPTION_FLAG, NULL, "print one JSON document: the report, or the plan", false, 0, 0},
    {0},
};

static const struct cli_option host_list_options[] = {
    FLEET_OPTION,
    {"--json", OPTION_FLAG, NULL, "print one JSON document", false, 0, 0},
    {0},
};

const struct cli_command host_commands[] = {
    {"host list", "", "Show each host: its servers' roles, and whether it is drained", NULL, host_list_options, list_command,
     false},
    {"host drain", "HOST", "Move every role off a host, so that it may go down; nothing lost",
     "HOST is a host of the fleet file, or the address that its servers have there. Its primaries go to another server of "
     "their region, one by one as in a switchover: clients cannot write for some milliseconds a shard. Another server becomes the "
     "relay in place of its relays. Its replicas stay. Refused when writes would wait for an acknowledgement once the "
     "host is down. From then on nothing gives the host a role, also when it was restarted, until 'host return': no failover "
     "elects it while another can be, no relay is put there. May be repeated: it goes on where it was stopped. Exit "
     "status 0: it may go down; 1: some role stayed; 3: refused, nothing was changed; 4: aborted; 5: a shard waits for an operator.",
     host_options, drain_command, false},
    {"host return", "HOST", "Take a host back: it gets the roles that it had when it was drained",
     "Refused while a server that is to get a role back does not replicate, or is behind by more than policy.max_lag. What "
     "changed meanwhile stays: a shard that serves in the other region now is left there. Exit status as of 'host drain'.",
     host_options, return_command, false},
    {0},
};

const struct cli_command pause_commands[] = {
    {"pause", "", "Keep Holdfast from acting by itself or by schedule, until 'unpause'",
     "Not the same as stopping a run: that is 'run abort'. What an operator orders goes on, with a warning. Status, "
     "readiness and every plan say that the fleet is paused, by whom and why. A second pause replaces the first.",
     pause_options, pause_command, false},
    {"unpause", "", "End the pause", NULL, unpause_options, unpause_command, false},
    {0},
};
/* clang-format on */
