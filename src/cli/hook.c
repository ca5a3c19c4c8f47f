/* SPDX-License-Identifier: Apache-2.0
 * hook list, events, test: see the hooks of the fleet file, and try one without a run. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "hooks/call.h"
#include "os/caller.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static enum status load(const struct cli_args *args, struct inventory **ret, struct err *err)
{
    return inventory_load(inventory_path(cli_text(args, "--fleet")), ret, err);
}

static void add_words(struct buf *out, const struct inventory_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        buf_printf(out, "%s%s", i ? " " : "", command->argv[i]);
}

static void add_trouble(struct buf *out, const struct inventory_command *command)
{
    if (hook_command_trouble(command))
        buf_printf(out, "!   %s %s\n", command->argv[0], hook_command_trouble(command));
}

static enum status hook_list(const struct cli_args *args, struct err *err)
{
    AUTO(inventory_freep) struct inventory *fleet = NULL;
    enum status status = load(args, &fleet, err);
    if (status)
        return status;
    AUTO(buf_release) struct buf out = {0};
    for (size_t i = 0; i < fleet->hook_count; i++) {
        const struct inventory_hook *hook = &fleet->hooks[i];
        buf_printf(&out, "%s: at most %lld ms%s\n    events:", hook->name,
                   (long long)hook->timeout_ms, hook->is_required ? ", required" : "");
        for (unsigned event = 0; event < HOOK_EVENTS; event++)
            if (hook->events & (1U << event))
                buf_printf(&out, " %s", hook_event_name((enum hook_event)event));
        buf_add(&out, "\n    exec: ");
        add_words(&out, &hook->exec);
        buf_add(&out, hook->undo.argv ? "\n    undo: " : "");
        add_words(&out, &hook->undo);
        buf_add(&out, "\n");
        add_trouble(&out, &hook->exec);
        add_trouble(&out, &hook->undo);
    }
    printf("%s", fleet->hook_count ? buf_text(&out) : "the fleet file has no hooks\n");
    return ST_OK;
}

static enum status hook_events(const struct cli_args *args, struct err *err)
{
    (void)args;
    (void)err;
    for (unsigned event = 0; event < HOOK_EVENTS; event++)
        printf("%s%s\n", hook_event_name((enum hook_event)event),
               hook_event_is_gate((enum hook_event)event) ? "  (a required hook can stop it)" : "");
    return ST_OK;
}

static enum status choose_hook(const struct inventory *fleet, const char *name,
                               const struct inventory_hook **ret, struct err *err)
{
    *ret = inventory_find_hook(fleet, name);
    if (*ret)
        return ST_OK;
    err_set(err, ST_NOT_FOUND, "the fleet file has no hook '%s'", name);
    return err_hint(err, "holdfast hook list");
}

/* The one that was asked for, else the hook's first. */
static enum status choose_event(const struct inventory_hook *hook, const char *name,
                                enum hook_event *ret, struct err *err)
{
    for (unsigned event = 0; event < HOOK_EVENTS; event++) {
        bool is_it = name ? strcmp(name, hook_event_name((enum hook_event)event)) == 0
                          : hook->events & (1U << event);
        if (!is_it)
            continue;
        *ret = (enum hook_event)event;
        return ST_OK;
    }
    const char *nearest = name ? cli_nearest(name, hook_event_names()) : NULL;
    err_set(err, ST_INVALID, "there is no event '%s'%s%s%s", name,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return err_hint(err, "holdfast hook events");
}

/* A made-up event of the fleet's first shard, as a run would tell it. */
static void make_example(const struct inventory *fleet, enum hook_event event, bool is_undo,
                         struct hook_call *ret)
{
    const struct inventory_shard *shard = &fleet->shards[0];
    AUTO_FREE char *by = caller_who();
    AUTO_FREE char *origin = caller_origin();
    struct hooks_order order = {.fleet = fleet,
                                .run = "test",
                                .kind = "test",
                                .from = fleet->regions[0],
                                .to = fleet->regions[1],
                                .by = by,
                                .origin = origin,
                                .reason = "holdfast hook test"};
    struct route route = {.state = SHARD_SERVING, .epoch = 1};
    bool is_of_shard = event >= HOOK_SHARD_BEFORE;
    if (event >= HOOK_SHARD_SERVING && event <= HOOK_SHARD_UNDOING)
        route.state = (enum shard_state)(event - HOOK_SHARD_SERVING);
    snprintf(route.home, sizeof(route.home), "%s", fleet->regions[0]);
    snprintf(route.primary, sizeof(route.primary), "%s", shard->servers[0].name);
    if (route.state != SHARD_SERVING) {
        const char *last = shard->servers[shard->server_count - 1].name;
        snprintf(route.old_primary, sizeof(route.old_primary), "%s", route.primary);
        snprintf(route.new_primary, sizeof(route.new_primary), "%s", last);
    }
    bool is_end = event == HOOK_RUN_AFTER || event == HOOK_WAVE_AFTER || event == HOOK_SHARD_AFTER;
    struct hook_news news = {.event = event,
                             .shard = is_of_shard ? shard : NULL,
                             .shards = &shard,
                             .shard_count = is_of_shard ? 0 : 1,
                             .wave =
                                 event == HOOK_RUN_BEFORE || event == HOOK_RUN_AFTER ? NULL : "all",
                             .route = is_of_shard ? &route : NULL,
                             .result = is_end ? is_of_shard ? "moved" : "done" : NULL};
    hook_call_init(ret, &order, &news, is_undo);
}

static enum status hook_test(const struct cli_args *args, struct err *err)
{
    AUTO(inventory_freep) struct inventory *fleet = NULL;
    const struct inventory_hook *hook = NULL;
    enum hook_event event = HOOK_RUN_BEFORE;
    bool is_undo = cli_flag(args, "--undo");
    enum status status = load(args, &fleet, err);
    if (!status)
        status = choose_hook(fleet, cli_operand(args, 0), &hook, err);
    if (!status)
        status = choose_event(hook, cli_text(args, "--event"), &event, err);
    if (status)
        return status;
    if (is_undo && !hook->undo.argv)
        return err_set(err, ST_INVALID, "hook '%s' has no undo", hook->name);
    AUTO(hook_call_release) struct hook_call call = {0};
    AUTO(hook_outcome_release) struct hook_outcome outcome = {0};
    make_example(fleet, event, is_undo, &call);
    AUTO(buf_release) struct buf words = {0};
    add_words(&words, is_undo ? &hook->undo : &hook->exec);
    printf("%s\nstandard input: %s\n", buf_text(&words), call.input);
    fflush(stdout);
    hook_call_make(&call, hook, NULL, &outcome);
    size_t length = strlen(outcome.output);
    printf("output: %s%s", length ? "\n" : "none\n", outcome.output);
    if (length && outcome.output[length - 1] != '\n')
        puts("");
    if (outcome.output_bytes > HOOK_OUTPUT_MAX)
        printf("(of its %zu bytes of output only the first %d are kept)\n", outcome.output_bytes,
               HOOK_OUTPUT_MAX);
    if (outcome.end == HOOK_OK) {
        printf("ok in %.0f ms\n", outcome.took_ms);
        return ST_OK;
    }
    return err_set(err, ST_IO, "hook '%s': %s", hook->name, outcome.why);
}

/* clang-format off */
#define FLEET_OPTION {"--fleet", OPTION_TEXT, "FILE", "the fleet file (else $HOLDFAST_FLEET, else holdfast.yaml)", false, 0, 0}

static const struct cli_option list_options[] = {FLEET_OPTION, {0}};

static const struct cli_option test_options[] = {
    FLEET_OPTION,
    {"--event", OPTION_TEXT, "EVENT", "which event to tell it (the first of its own)", false, 0, 0},
    {"--undo", OPTION_FLAG, NULL, "call its undo instead", false, 0, 0},
    {0},
};

const struct cli_command hook_commands[] = {
    {"hook list", "", "List the hooks of the fleet file",
     "Programs that are missing on this machine are marked with '!'.", list_options, hook_list, false},
    {"hook events", "", "List the events that hooks may be called for", NULL, NULL, hook_events, false},
    {"hook test", "NAME", "Call a hook with a made-up event, as a run would",
     "Shows what it is told, what it printed, and what a run would make of it. The event says \"kind\": \"test\"; "
     "otherwise the hook cannot tell it from a real one. Exit status 0 when the hook succeeded.",
     test_options, hook_test, false},
    {0},
};
/* clang-format on */
