/* SPDX-License-Identifier: Apache-2.0
 * run list, show, resume, abort, and report; and the table of all commands about runs. */
#include "cli/run.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "conductor/keeper.h"
#include "conductor/report_store.h"
#include "conductor/switchover.h"
#include "move/fault.h"
#include "os/file.h"
#include "report/html.h"
#include "show/follow.h"
#include "show/runs.h"
#include "store/store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { CHECK_MS = 5000, PAGE_MODE = 0644 };

/* The operand, or the run that is not finished. */
static enum status choose_run(const struct fleet_scene *scene, const struct cli_args *args,
                              char ret_id[static RUN_ID_MAX], struct err *err)
{
    const char *given = cli_operand(args, 0);
    if (given) {
        snprintf(ret_id, RUN_ID_MAX, "%s", given);
        return ST_OK;
    }
    enum status status = run_current(scene->store, ret_id, err);
    if (status == ST_NOT_FOUND) {
        err_set(err, ST_NOT_FOUND, "no run is unfinished");
        err_hint(err, "holdfast run list");
    }
    return status;
}

/* Nobody could bring it to one side once the run has ended. Perhaps it is the wrong fleet file. */
static enum status check_left_out(const struct fleet_scene *scene, const char *run,
                                  const char *shard, struct err *err)
{
    struct route route = {0};
    struct err none = ERR_INIT;
    if (route_load(scene->store, shard, store_deadline(scene->store, STORE_GLANCE), &route,
                   &none) ||
        route.state == SHARD_SERVING || strcmp(route.run, run) != 0)
        return ST_OK;
    err_set(err, ST_INVALID, "shard '%s' is in the middle of its move (%s), and not in %s", shard,
            shard_state_name(route.state), scene->path);
    return err_hint(err,
                    "put it back until the run has ended; when all of it is gone for good: "
                    "holdfast run abort %s leaves it so",
                    run);
}

/* And those that it left in the middle, when they are back in the fleet file. */
static enum status add_left(struct fleet_scene *scene, const struct run *run, struct err *err)
{
    AUTO_FREE bool *is_left = mem_zalloc(scene->fleet->shard_count + 1);
    enum status status = run_list_left(scene->store, scene->fleet, run->record.id, is_left, err);
    for (size_t i = 0; i < scene->shard_count; i++)
        is_left[scene->shards[i]->index] = false; /* in the list already */
    for (size_t i = 0; i < scene->fleet->shard_count; i++)
        if (is_left[i])
            scene->shards[scene->shard_count++] = &scene->fleet->shards[i];
    return status;
}

/* The shards of the record in place of all. One that was taken out of the fleet file is nobody's to
 * move any more; the others must not wait for it. */
static enum status choose_record_shards(struct fleet_scene *scene, const struct run *run,
                                        struct err *err)
{
    const struct run_record *record = &run->record;
    enum status status = ST_OK;
    for (size_t i = 0; i < record->shard_count && !run->mandate.is_abort_only && !status; i++)
        if (!inventory_find_shard(scene->fleet, record->shards[i]))
            status = check_left_out(scene, record->id, record->shards[i], err);
    if (status)
        return status;
    free(scene->shards);
    scene->shards =
        mem_zalloc((record->shard_count + scene->fleet->shard_count + 1) * sizeof(*scene->shards));
    scene->shard_count = 0;
    for (size_t i = 0; i < record->shard_count && !run->had_ended; i++) {
        const struct inventory_shard *shard = inventory_find_shard(scene->fleet, record->shards[i]);
        if (shard)
            scene->shards[scene->shard_count++] = shard;
        else
            fprintf(stderr, "holdfast: run %s: its shard '%s' is not in %s any more: left out\n",
                    record->id, record->shards[i], scene->path);
    }
    return add_left(scene, run, err);
}

/* Take over an unfinished run and bring every shard to one side. No readiness check stands in the
 * way: shards in between must not wait for it; each step looks for itself. */
static enum status take_over(const struct cli_args *args, bool abort_only, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    char id[RUN_ID_MAX] = "";
    enum status status = run_scene_open(&scene, args, false, err);
    if (!status)
        status = choose_run(&scene, args, id, err);
    struct run *run = NULL;
    run_take_signals();
    run_outlive_terminal();
    if (!status)
        status = run_take(scene.store, scene.fleet, id, abort_only, &run, err);
    if (status)
        return status;
    if (run->mandate.is_abort_only && !abort_only)
        fprintf(
            stderr,
            "holdfast: run %s was called off: it is only brought to one side; to move its shards, "
            "begin a new run\n",
            run->record.id);
    status = choose_record_shards(&scene, run, err);
    if (status) {
        run_free(run);
        return status;
    }
    AUTO(fleet_observation_release) struct fleet_observation observation = {0};
    fleet_observe(scene.fleet, scene.shards, scene.shard_count, clock_deadline(CHECK_MS),
                  &observation);
    char aside[RUN_ID_MAX];
    snprintf(aside, sizeof(aside), "%s", run->record.aside);
    status = run_carry_out(&scene, &observation, run, cli_flag(args, "--json"), err);
    run_end_aside(&scene, aside);
    return status;
}

static enum status run_resume(const struct cli_args *args, struct err *err)
{
    return take_over(args, false, err);
}

/* A run whose process lives is asked; one that was left behind is taken over and undone. */
static enum status run_abort_command(const struct cli_args *args, struct err *err)
{
    char id[RUN_ID_MAX] = "", holder[RUN_ID_MAX] = "";
    {
        AUTO(fleet_scene_release) struct fleet_scene scene = {0};
        enum status status = run_scene_open(&scene, args, false, err);
        if (!status)
            status = choose_run(&scene, args, id, err);
        if (status)
            return status;
        struct err ignored = ERR_INIT;
        if (run_lock_holder(scene.store, holder, &ignored) == ST_OK && strcmp(holder, id) == 0) {
            status = keeper_request_abort(scene.store, id, err);
            if (!status && cli_flag(args, "--json"))
                printf("{\"run\": \"%s\", \"asked\": true}\n", id);
            else if (!status)
                printf("run %s was asked to abort; it says itself what came of it\n", id);
            return status;
        }
    }
    return take_over(args, true, err);
}

static enum status run_list(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    enum status status = run_scene_open(&scene, args, false, err);
    return status ? status : runs_print_list(scene.store, cli_flag(args, "--json"), err);
}

/* Live, until it ends; then as it is shown without. */
static enum status run_follow(const struct fleet_scene *scene, const char *id, bool as_json,
                              struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    run_take_signals();
    struct follow_manner manner = {.interrupts = run_interrupts};
    enum status status = follow_run(scene->store, id, &manner, &record, err);
    if (status)
        return status;
    struct err none = ERR_INIT;
    status_ignore(runs_print_report(scene->store, id, as_json, &none), "there may be no report");
    status = run_exit_status(record.state);
    if (status)
        err_set(err, status, "run %s: %s", id, run_state_name(record.state));
    AUTO_FREE char *next = run_record_next(&record);
    return record.state == RUN_STUCK ? err_hint(err, "mend what 'why' says, then: %s", next)
                                     : status;
}

/* There is one on each machine that carried the run out. */
static void show_journal(const struct fleet_scene *scene, const char *id)
{
    AUTO_FREE char *directory = inventory_journal(scene->fleet);
    AUTO_FREE char *path = mem_printf("%s/%s.jsonl", directory, id);
    if (access(path, F_OK) == 0)
        printf("journal: %s\n", path);
}

static enum status run_show(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    char id[RUN_ID_MAX] = "";
    bool as_json = cli_flag(args, "--json");
    enum status status = run_scene_open(&scene, args, false, err);
    if (!status)
        status = choose_run(&scene, args, id, err);
    if (status)
        return status;
    if (cli_flag(args, "--follow"))
        return run_follow(&scene, id, as_json, err);
    status = runs_print_one(scene.store, id, as_json, err);
    if (!status && !as_json)
        show_journal(&scene, id);
    return status;
}

/* Every crash point of a move, for the tests that stop the conductor at each of them. */
static enum status dev_points(const struct cli_args *args, struct err *err)
{
    (void)args;
    (void)err;
    for (unsigned call = 0; call < CALLS; call++)
        for (unsigned moment = 0; moment < FAULT_MOMENTS; moment++)
            if (fault_has_moment((enum call)call, (enum fault_moment)moment))
                printf("%s:%s\n", call_name((enum call)call),
                       fault_moment_name((enum fault_moment)moment));
    return ST_OK;
}

/* Only a file may be replaced: a rename would put one in the place of a device, too. */
static enum status check_page_path(const struct cli_args *args, mode_t *ret_mode, struct err *err)
{
    const char *path = cli_text(args, "--html");
    struct stat info;
    if (cli_flag(args, "--json")) {
        err_set(err, ST_INVALID, "--json and --html are two answers: give one of them");
        return err_hint(err, "holdfast report %s --html %s", cli_operand(args, 0), path);
    }
    if (strcmp(path, "-") == 0 || stat(path, &info))
        return ST_OK;
    if (S_ISDIR(info.st_mode)) {
        err_set(err, ST_INVALID, "option --html: '%s' is a folder", path);
        return err_hint(err, "name a file in it: --html %s%s%s.html", path,
                        path[strlen(path) - 1] == '/' ? "" : "/", cli_operand(args, 0));
    }
    if (!S_ISREG(info.st_mode)) {
        err_set(err, ST_INVALID, "option --html: '%s' is not a file", path);
        return err_hint(err, "'--html -' writes to standard output");
    }
    *ret_mode = info.st_mode & 0777;
    return ST_OK;
}

static enum status write_page(const struct buf *page, const char *path, mode_t mode,
                              struct err *err)
{
    if (strcmp(path, "-") == 0) {
        bool is_written = fwrite(page->data, 1, page->length, stdout) == page->length;
        return is_written && fflush(stdout) == 0
                   ? ST_OK
                   : err_set_errno(err, errno, "write", "standard output");
    }
    AUTO_FREE char *real = realpath(path, NULL); /* what a link points to, not the link */
    enum status status = file_write(real ? real : path, page->data, page->length, mode, err);
    if (status)
        return err_wrap(err, "write the report");
    printf("wrote %s: %zu KiB\n", path, (page->length + 1023) / 1024);
    return ST_OK;
}

static enum status report_as_page(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(buf_release) struct buf page = {0};
    AUTO_FREE char *json = NULL;
    mode_t mode = PAGE_MODE;
    enum status status = check_page_path(args, &mode, err);
    if (!status)
        status = run_scene_open(&scene, args, false, err);
    if (!status)
        status = report_load(scene.store, cli_operand(args, 0), &json, err);
    if (!status)
        status = report_html_format(json, &page, err);
    return status ? status : write_page(&page, cli_text(args, "--html"), mode, err);
}

static enum status report(const struct cli_args *args, struct err *err)
{
    if (cli_text(args, "--html"))
        return report_as_page(args, err);
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    enum status status = run_scene_open(&scene, args, false, err);
    return status ? status
                  : runs_print_report(scene.store, cli_operand(args, 0), cli_flag(args, "--json"),
                                      err);
}

#define FLEET_OPTION                                                                               \
    {                                                                                              \
        "--fleet", OPTION_TEXT, "FILE",                                                            \
            "the fleet file (else $HOLDFAST_FLEET, else holdfast.yaml)", false, 0, 0               \
    }
#define JSON_OPTION                                                                                \
    {                                                                                              \
        "--json", OPTION_FLAG, NULL, "print one JSON document", false, 0, 0                        \
    }

/* clang-format off */
static const struct cli_option plan_options[] = {
    FLEET_OPTION,
    {"--to", OPTION_TEXT, "REGION", "the region that shall serve", false, 0, 0},
    {"--shard", OPTION_TEXT, "NAME", "only this shard; may be repeated", true, 0, 0},
    {"--deployment", OPTION_TEXT, "NAME", "only the shards of this deployment; may be repeated",
     true, 0, 0},
    JSON_OPTION,
    {0},
};

static const struct cli_option failover_options[] = {
    FLEET_OPTION,
    {"--shard", OPTION_TEXT, "NAME", "only this shard, else all whose primary is silent; may be repeated",
     true, 0, 0},
    {"--deployment", OPTION_TEXT, "NAME", "only the shards of this deployment; may be repeated",
     true, 0, 0},
    {"--without", OPTION_TEXT, "HOST:PORT", "go on although this server does not answer either",
     true, 0, 0},
    {"--to", OPTION_TEXT, "REGION", "the other region is lost: this one shall serve", false, 0, 0},
    {"--accept-loss", OPTION_FLAG, NULL, "with --to: what had not reached it is lost", false, 0, 0},
    {"--force", OPTION_FLAG, NULL, "also when the primary, or its region, is alive", false, 0, 0},
    {"--reason", OPTION_TEXT, "TEXT", "what it is for; kept with the run", false, 0, 0},
    {"--yes", OPTION_FLAG, NULL, "do not ask for the go", false, 0, 0},
    {"--direct", OPTION_FLAG, NULL, "carry it out by this process, not by a conductor", false, 0, 0},
    {"--json", OPTION_FLAG, NULL, "print the report as JSON", false, 0, 0},
    {0},
};

static const struct cli_option switchover_options[] = {
    FLEET_OPTION,
    {"--to", OPTION_TEXT, "REGION", "the region that shall serve", false, 0, 0},
    {"--shard", OPTION_TEXT, "NAME", "only this shard; may be repeated", true, 0, 0},
    {"--deployment", OPTION_TEXT, "NAME", "only the shards of this deployment; may be repeated",
     true, 0, 0},
    {"--wave", OPTION_TEXT, "SHAPE", "in waves, such as canary=1,25%,100%; each must be well", false,
     0, 0},
    {"--settle", OPTION_NUMBER, "SECONDS", "how long a wave must stay well before the next (0)",
     false, 0, 86400},
    {"--max-failures", OPTION_NUMBER, "N",
     "stop when more shards do not move (0 with --wave, else no limit)", false, 0, 1000000},
    {"--on-abort", OPTION_TEXT, "WHAT", "what moved before a stop: stay, or return", false, 0, 0},
    {"--reason", OPTION_TEXT, "TEXT", "what for; kept with the run", false, 0, 0},
    {"--countdown", OPTION_NUMBER, "SECONDS", "wait before the run begins; Ctrl-C stops it", false,
     0, 86400},
    {"--yes", OPTION_FLAG, NULL, "go without asking", false, 0, 0},
    {"--direct", OPTION_FLAG, NULL, "carry it out by this process, not by a conductor", false, 0, 0},
    JSON_OPTION,
    {0},
};

static const struct cli_option show_options[] = {
    FLEET_OPTION,
    JSON_OPTION,
    {"--follow", OPTION_FLAG, NULL, "show it live until it ends", false, 0, 0},
    {0},
};

static const struct cli_option run_options[] = {FLEET_OPTION, JSON_OPTION, {0}};

static const struct cli_option report_options[] = {
    FLEET_OPTION,
    JSON_OPTION,
    {"--html", OPTION_TEXT, "FILE", "write one HTML page; '-' is standard output", false, 0, 0},
    {0},
};

const struct cli_command run_commands[] = {
    {"plan switchover", "", "Show what a switchover would do, and whether it may",
     "Checks everything that 'switchover' checks, and changes nothing. Exit status 3 on a no-go.",
     plan_options, run_plan_switchover, false},
    {"switchover", "", "Move the active region: planned, nothing lost",
     "Checks that every shard is ready, shows the plan, asks for the go, and moves the shards' "
     "primaries to the region. Clients cannot write for some milliseconds a shard. Ctrl-C aborts "
     "at any moment: what is in flight is undone or finished, nothing is left in between. Exit "
     "status 0: every shard is there; 1: some did not move; 3: not ready, nothing was changed; 4: aborted; 5: a shard "
     "waits for an operator. The conductor that leads carries it out, where there are any (docs/operate.md); the command "
     "follows, and Ctrl-C asks it to abort.",
     switchover_options, run_switchover, false},
    {"failover", "", "Give shards another primary: theirs is lost, or its region",
     "For a primary whose host is dead, hangs or is cut off. Its replicas stop to acknowledge it, apply "
     "what they received, and the one that has everything takes over. Every server of the region but "
     "the lost one must answer: what was acknowledged may be in any of them. With --to REGION --accept-loss the "
     "other region is lost as a whole: it is fenced, so that nobody there may serve, and a server of REGION takes over "
     "each of its shards, without what had not got there; the report says how much that may be. Refused while the region "
     "is alive. Asks for the go. Exit status, and who carries it "
     "out, as of 'switchover'.",
     failover_options, run_failover, false},
    {"run list", "", "List all runs", NULL, run_options, run_list, false},
    {"run show", "[RUN]", "Show a run: the state of each shard, and its report",
     "Without RUN: the one that is not finished. With --follow: live, until it ends, whichever process carries it out; "
     "the exit status is the run's. Ctrl-C ends the following, not the run.",
     show_options, run_show, false},
    {"run resume", "[RUN]", "Continue a run whose process is gone, or that waits for an operator",
     "Takes the run over: finishes or undoes what was in flight, then moves the remaining shards.",
     run_options, run_resume, false},
    {"run abort", "[RUN]", "Abort a run: of a live process, or one that was left behind",
     "What is past the point of no return is finished, everything else goes back. A live process is asked, and says "
     "itself what came of it: --json is {\"run\", \"asked\"} then, else the report.",
     run_options, run_abort_command, false},
    {"report", "RUN", "Print the report of a run, or make a page of it",
     "With --html: one HTML page that needs nothing beside it, to read, print or pass on: what was "
     "ordered, whether the promise was kept, the write outage, what went wrong, and the timeline of "
     "every shard.",
     report_options, report, false},
    {"dev points", "", "List the crash points of a move", NULL, NULL, dev_points, true},
    {0},
};
/* clang-format on */
