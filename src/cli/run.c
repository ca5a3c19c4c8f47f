/* SPDX-License-Identifier: Apache-2.0
 *
 * plan, switchover, run ..., report: the operator's side of a run. What a run does is in
 * conductor/; here are the go, the progress display, Ctrl-C and the words at the end. */
#include "cli/internal.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/progress.h"
#include "conductor/fault.h"
#include "conductor/journal.h"
#include "conductor/keeper.h"
#include "conductor/switchover.h"
#include "fleet/readiness.h"
#include "store/store.h"

#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { STORE_MS = 5000, CHECK_MS = 5000, ANSWER_MAX = 256 };

/* What every command here works with. */
struct scene {
    struct inventory *fleet;
    struct store *store;
    const struct inventory_shard **shards;
    size_t shard_count;
    struct readiness readiness;
};

static void scene_release(struct scene *scene)
{
    readiness_release(&scene->readiness);
    store_close(scene->store);
    free(scene->shards);
    inventory_free(scene->fleet);
}

static enum status scene_open(struct scene *scene, const struct cli_args *args, struct err *err)
{
    const char *path = inventory_path(cli_text(args, "--fleet"));
    enum status status = inventory_load(path, &scene->fleet, err);
    if (!status)
        status = store_open(scene->fleet->store_url, clock_deadline(STORE_MS), &scene->store, err);
    return status ? status : fault_setup(err);
}

static enum status choose_shard(struct scene *scene, const char *name, struct err *err)
{
    const struct inventory_shard *shard = inventory_find_shard(scene->fleet, name);
    if (!shard) {
        err_set(err, ST_INVALID, "there is no shard '%s' in the fleet file", name);
        err_hint(err, "holdfast status lists the shards");
        return ST_INVALID;
    }
    for (size_t i = 0; i < scene->shard_count; i++)
        if (scene->shards[i] == shard)
            return ST_OK;
    scene->shards[scene->shard_count++] = shard;
    return ST_OK;
}

/* --shard NAME..., or all. */
static enum status choose_shards(struct scene *scene, const struct cli_args *args, struct err *err)
{
    size_t named = cli_text_count(args, "--shard");
    scene->shards = mem_zalloc((scene->fleet->shard_count + 1) * sizeof(*scene->shards));
    for (size_t i = 0; i < named; i++) {
        enum status status = choose_shard(scene, cli_text_at(args, "--shard", i), err);
        if (status)
            return status;
    }
    for (size_t i = 0; named == 0 && i < scene->fleet->shard_count; i++)
        scene->shards[scene->shard_count++] = &scene->fleet->shards[i];
    return ST_OK;
}

static enum status choose_target(const struct scene *scene, const struct cli_args *args,
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

static void check(struct scene *scene, size_t to, const char *resuming)
{
    struct readiness_request request = {
        .fleet = scene->fleet,
        .shards = scene->shards,
        .shard_count = scene->shard_count,
        .store = scene->store,
        .to_region = (int)to,
        .resuming = resuming,
    };
    readiness_check(&request, clock_deadline(CHECK_MS), &scene->readiness);
}

static void print_findings(const struct readiness *readiness, enum severity least, FILE *out)
{
    for (size_t i = 0; i < readiness->count; i++) {
        const struct finding *finding = &readiness->findings[i];
        if (finding->severity < least)
            continue;
        fprintf(out, "  %s: %s%s%s: %s [%s]\n", severity_name(finding->severity),
                finding->shard ? finding->shard : "fleet", finding->server ? " " : "",
                finding->server ? finding->server : "", finding->problem, finding->check);
        if (finding->advice && finding->advice[0])
            fprintf(out, "      do: %s\n", finding->advice);
    }
}

static size_t shards_to_move(const struct scene *scene, size_t to)
{
    size_t count = 0;
    for (size_t i = 0; i < scene->readiness.observation.count; i++) {
        const struct shard_observation *shard = &scene->readiness.observation.shards[i];
        count += shard->primary && shard->primary->server->region != to;
    }
    return count;
}

static void print_plan(const struct scene *scene, size_t to, FILE *out)
{
    size_t count = shards_to_move(scene, to);
    fprintf(out, "switchover to %s: %zu of %zu shards move\n", scene->fleet->regions[to], count,
            scene->readiness.observation.count);
    for (size_t i = 0; i < scene->readiness.observation.count; i++) {
        const struct shard_observation *shard = &scene->readiness.observation.shards[i];
        const struct server_observation *relay = shard->relays[to];
        const char *from = shard->primary ? shard->primary->server->name : "no primary";
        if (shard->primary && shard->primary->server->region == to)
            fprintf(out, "  %s: is there already (%s)\n", shard->shard->name, from);
        else
            fprintf(out, "  %s: %s -> %s\n", shard->shard->name, from,
                    relay ? relay->server->name : "no relay");
    }
}

static enum status refuse(const struct scene *scene, struct err *err)
{
    print_findings(&scene->readiness, SEVERITY_NO_GO, stderr);
    err_set(err, ST_NO_GO, "not ready: %zu no-go findings; nothing was changed",
            scene->readiness.no_go_count);
    err_hint(err, "mend them, then look again with: holdfast readiness");
    return ST_NO_GO;
}

static json_t *findings_json(const struct readiness *readiness)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < readiness->count; i++) {
        const struct finding *finding = &readiness->findings[i];
        json_array_append_new(
            findings,
            json_pack("{s:s, s:s, s:b, s:s?, s:s?, s:s, s:s?}", "check", finding->check, "severity",
                      severity_name(finding->severity), "accepted", (int)finding->is_accepted,
                      "shard", finding->shard, "server", finding->server, "problem",
                      finding->problem, "advice", finding->advice));
    }
    return findings;
}

static void print_json(json_t *object)
{
    AUTO_FREE char *text = json_dumps(object, JSON_INDENT(2));
    json_decref(object);
    printf("%s\n", text ? text : "{}");
}

static void print_plan_json(const struct scene *scene, size_t to)
{
    json_t *shards = json_array();
    for (size_t i = 0; i < scene->readiness.observation.count; i++) {
        const struct shard_observation *shard = &scene->readiness.observation.shards[i];
        const struct server_observation *relay = shard->relays[to];
        json_array_append_new(
            shards, json_pack("{s:s, s:s?, s:s?, s:b}", "name", shard->shard->name, "from",
                              shard->primary ? shard->primary->server->name : NULL, "to",
                              relay ? relay->server->name : NULL, "moves",
                              shard->primary && shard->primary->server->region != to));
    }
    print_json(json_pack("{s:s, s:s, s:b, s:o, s:o}", "kind", "switchover", "to",
                         scene->fleet->regions[to], "go", scene->readiness.no_go_count == 0,
                         "shards", shards, "findings", findings_json(&scene->readiness)));
}

static enum status plan_switchover(const struct cli_args *args, struct err *err)
{
    AUTO(scene_release) struct scene scene = {0};
    size_t to = 0;
    enum status status = scene_open(&scene, args, err);
    if (!status)
        status = choose_shards(&scene, args, err);
    if (!status)
        status = choose_target(&scene, args, &to, err);
    if (status)
        return status;
    check(&scene, to, NULL);
    bool is_go = scene.readiness.no_go_count == 0;
    if (cli_flag(args, "--json")) {
        print_plan_json(&scene, to);
        return is_go ? ST_OK : ST_NO_GO;
    }
    print_plan(&scene, to, stdout);
    print_findings(&scene.readiness, SEVERITY_WARNING, stdout);
    printf(is_go ? "go: holdfast switchover --to %s\n" : "NO-GO: to %s\n",
           scene.fleet->regions[to]);
    return is_go ? ST_OK : ST_NO_GO;
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

/* For the signal handler: one run a process. Ctrl-C counts from before the run begins, so that it
 * never leaves a run behind in the store. */
static struct run *_Atomic running;
static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    is_interrupted = 1;
    struct run *run = atomic_load(&running);
    if (run)
        run_abort(run);
}

static void take_signals(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

/* From here on Ctrl-C aborts this run; NULL: there is none any more. */
static void set_running(struct run *run)
{
    atomic_store(&running, run);
    if (run && is_interrupted)
        run_abort(run);
}

/* Beside the embedded store; another store keeps no journal yet. */
static struct journal *open_journal(const struct scene *scene, const char *id)
{
    const char *url = scene->fleet->store_url;
    bool is_local = strncmp(url, "file://", 7) == 0;
    AUTO_FREE char *directory = is_local ? mem_printf("%s/journal", url + 7) : NULL;
    return journal_open(directory, id);
}

static enum status exit_status_of(enum run_state state)
{
    static const enum status statuses[RUN_STATES] = {
        [RUN_RUNNING] = ST_INTERNAL, [RUN_DONE] = ST_OK,     [RUN_ABORTED] = ST_ABORTED,
        [RUN_FAILED] = ST_IO,        [RUN_STUCK] = ST_STUCK,
    };
    return statuses[state];
}

static enum status say_result(const struct switchover_report *report, bool as_json, struct err *err)
{
    AUTO_FREE char *json = switchover_report_json(report);
    AUTO(buf_release) struct buf text = {0};
    switchover_report_format(json, &text);
    if (as_json)
        printf("%s\n", json);
    else
        printf("%s", buf_text(&text));
    fflush(stdout);
    enum status status = exit_status_of(report->state);
    if (status == ST_OK)
        return ST_OK;
    err_set(err, status, "run %s %s", report->run,
            report->state == RUN_STUCK     ? "waits for an operator"
            : report->state == RUN_ABORTED ? "was aborted; no shard is in between"
                                           : "failed; no shard is in between");
    if (report->state == RUN_STUCK)
        err_hint(err, "mend what 'why' says above, then: holdfast run resume %s", report->run);
    else
        err_hint(err, "mend what 'why' says above; holdfast status shows where each shard is");
    return status;
}

/* Run it to its end, with progress and Ctrl-C. Takes the run. */
static enum status carry_out(struct scene *scene, struct run *run, bool as_json, struct err *err)
{
    run->journal = open_journal(scene, run->record.id);
    journal_add(run->journal, NULL, run->is_resumed ? "resume" : "begin", "%s: to %s by %s",
                run->record.id, run->record.target, run->record.by);
    set_running(run);
    struct progress progress = {.out = as_json ? NULL : stderr,
                                .is_tty = isatty(STDERR_FILENO) == 1};
    struct switchover_report report = {0};
    enum status status =
        switchover_run(run, &scene->readiness.observation, progress_show, &progress, &report, err);
    set_running(NULL);
    if (status == ST_OK)
        status = say_result(&report, as_json, err);
    else if (status != ST_FENCED) {
        struct err ignored = ERR_INIT;
        status_ignore(say_result(&report, as_json, &ignored), "the store's failure is worse");
        err_hint(err,
                 "the servers are as the report says; when the store is back: holdfast run "
                 "resume %s",
                 run->record.id);
    }
    switchover_report_release(&report);
    run_free(run);
    return status;
}

static enum status begin(struct scene *scene, size_t to, bool as_json, struct err *err)
{
    struct run_record record;
    run_record_init(&record, scene->fleet->regions[to]);
    for (size_t i = 0; i < scene->shard_count; i++)
        run_record_add_shard(&record, scene->shards[i]->name);
    struct run *run = NULL;
    struct err ignored = ERR_INIT;
    status_ignore(store_maintain(scene->store, clock_deadline(STORE_MS), &ignored),
                  "house-keeping before the run; the next one does it");
    take_signals();
    enum status status = run_begin(scene->store, scene->fleet, &record, &run, err);
    run_record_release(&record);
    return status ? status : carry_out(scene, run, as_json, err);
}

static enum status switchover(const struct cli_args *args, struct err *err)
{
    AUTO(scene_release) struct scene scene = {0};
    size_t to = 0;
    bool as_json = cli_flag(args, "--json");
    enum status status = scene_open(&scene, args, err);
    if (!status)
        status = choose_shards(&scene, args, err);
    if (!status)
        status = choose_target(&scene, args, &to, err);
    if (status)
        return status;
    check(&scene, to, NULL);
    if (scene.readiness.no_go_count > 0)
        return refuse(&scene, err);
    if (!as_json) {
        print_plan(&scene, to, stderr);
        print_findings(&scene.readiness, SEVERITY_WARNING, stderr);
    }
    if (shards_to_move(&scene, to) > 0 && !cli_flag(args, "--yes"))
        status = ask_go(scene.fleet->regions[to], err);
    return status ? status : begin(&scene, to, as_json, err);
}

/* The operand, or the run that is not finished. */
static enum status choose_run(const struct scene *scene, const struct cli_args *args,
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

static enum status choose_record_shards(struct scene *scene, const struct run_record *record,
                                        struct err *err)
{
    scene->shards = mem_zalloc((record->shard_count + 1) * sizeof(*scene->shards));
    for (size_t i = 0; i < record->shard_count; i++) {
        enum status status = choose_shard(scene, record->shards[i], err);
        if (status)
            return err_wrap(err, "run %s", record->id);
    }
    return ST_OK;
}

/* Take over an unfinished run and bring every shard to one side. No readiness check stands in the
 * way: shards in between must not wait for it; each step looks for itself. */
static enum status take_over(const struct cli_args *args, bool abort_only, struct err *err)
{
    AUTO(scene_release) struct scene scene = {0};
    char id[RUN_ID_MAX] = "";
    enum status status = scene_open(&scene, args, err);
    if (!status)
        status = choose_run(&scene, args, id, err);
    struct run *run = NULL;
    take_signals();
    if (!status)
        status = run_take(scene.store, scene.fleet, id, &run, err);
    if (status)
        return status;
    run->is_abort_only = abort_only;
    status = choose_record_shards(&scene, &run->record, err);
    if (status) {
        run_free(run);
        return status;
    }
    fleet_observe(scene.fleet, scene.shards, scene.shard_count, clock_deadline(CHECK_MS),
                  &scene.readiness.observation);
    return carry_out(&scene, run, cli_flag(args, "--json"), err);
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
        AUTO(scene_release) struct scene scene = {0};
        enum status status = scene_open(&scene, args, err);
        if (!status)
            status = choose_run(&scene, args, id, err);
        if (status)
            return status;
        struct err ignored = ERR_INIT;
        if (run_lock_holder(scene.store, holder, &ignored) == ST_OK && strcmp(holder, id) == 0) {
            status = keeper_request_abort(scene.store, id, err);
            if (!status)
                printf("run %s was asked to abort; it says itself what came of it\n", id);
            return status;
        }
    }
    return take_over(args, true, err);
}

static enum status run_list(const struct cli_args *args, struct err *err)
{
    AUTO(scene_release) struct scene scene = {0};
    struct run_record *records = NULL;
    size_t count = 0;
    enum status status = scene_open(&scene, args, err);
    if (!status)
        status = run_record_list(scene.store, &records, &count, err);
    if (status)
        return status;
    json_t *list = json_array();
    if (count == 0 && !cli_flag(args, "--json"))
        printf("no runs yet\n");
    for (size_t i = 0; i < count; i++) {
        char started[WALL_TEXT_MAX];
        clock_wall_format(records[i].started_us, started);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "run", records[i].id,
                                        "state", run_state_name(records[i].state), "to",
                                        records[i].target, "started", started, "by", records[i].by,
                                        "shards", (json_int_t)records[i].shard_count));
        if (!cli_flag(args, "--json"))
            printf("%s  %-8s to %s, %zu shards, %s by %s\n", records[i].id,
                   run_state_name(records[i].state), records[i].target, records[i].shard_count,
                   started, records[i].by);
    }
    if (cli_flag(args, "--json"))
        print_json(json_incref(list));
    json_decref(list);
    run_record_list_free(records, count);
    return ST_OK;
}

/* The record, and where each of its shards is now. */
static void print_run_json(const struct scene *scene, const struct run_record *record)
{
    AUTO_FREE char *text = run_record_encode(record);
    json_t *object = json_loads(text, 0, NULL), *routes = json_array();
    for (size_t i = 0; i < record->shard_count; i++) {
        struct route route;
        struct err err = ERR_INIT;
        if (route_load(scene->store, record->shards[i], clock_deadline(STORE_MS), &route, &err))
            continue;
        json_array_append_new(
            routes, json_pack("{s:s, s:s, s:s, s:s, s:I}", "shard", record->shards[i], "state",
                              shard_state_name(route.state), "home", route.home, "primary",
                              route.primary, "epoch", (json_int_t)route.epoch));
    }
    json_object_set_new(object, "routes", routes);
    print_json(object);
}

static void show_shards(const struct scene *scene, const struct run_record *record)
{
    for (size_t i = 0; i < record->shard_count; i++) {
        struct route route;
        struct err err = ERR_INIT;
        if (route_load(scene->store, record->shards[i], clock_deadline(STORE_MS), &route, &err))
            printf("  %s: %s\n", record->shards[i], err.text[0] ? err.text : "not begun");
        else
            printf("  %s: %s, home %s, primary %s, epoch %llu\n", record->shards[i],
                   shard_state_name(route.state), route.home, route.primary,
                   (unsigned long long)route.epoch);
    }
}

static enum status print_report(const struct scene *scene, const char *id, bool as_json,
                                struct err *err)
{
    AUTO_FREE char *json = NULL;
    enum status status = run_report_load(scene->store, id, &json, err);
    if (status)
        return status;
    AUTO(buf_release) struct buf text = {0};
    switchover_report_format(json, &text);
    printf("%s%s", as_json ? json : buf_text(&text), as_json ? "\n" : "");
    return ST_OK;
}

static enum status run_show(const struct cli_args *args, struct err *err)
{
    AUTO(scene_release) struct scene scene = {0};
    char id[RUN_ID_MAX] = "";
    struct run_record record = {0};
    enum status status = scene_open(&scene, args, err);
    if (!status)
        status = choose_run(&scene, args, id, err);
    if (!status)
        status = run_record_load(scene.store, id, &record, err);
    if (status)
        return status;
    if (cli_flag(args, "--json")) {
        print_run_json(&scene, &record);
    } else {
        printf("run %s: to %s: %s, by %s\n", record.id, record.target, run_state_name(record.state),
               record.by);
        show_shards(&scene, &record);
        struct err none = ERR_INIT;
        status_ignore(print_report(&scene, id, false, &none), "there may be no report yet");
    }
    run_record_release(&record);
    return ST_OK;
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

static enum status report(const struct cli_args *args, struct err *err)
{
    AUTO(scene_release) struct scene scene = {0};
    enum status status = scene_open(&scene, args, err);
    return status ? status
                  : print_report(&scene, cli_operand(args, 0), cli_flag(args, "--json"), err);
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
    JSON_OPTION,
    {0},
};

static const struct cli_option switchover_options[] = {
    FLEET_OPTION,
    {"--to", OPTION_TEXT, "REGION", "the region that shall serve", false, 0, 0},
    {"--shard", OPTION_TEXT, "NAME", "only this shard; may be repeated", true, 0, 0},
    {"--yes", OPTION_FLAG, NULL, "go without asking", false, 0, 0},
    JSON_OPTION,
    {0},
};

static const struct cli_option run_options[] = {FLEET_OPTION, JSON_OPTION, {0}};

const struct cli_command run_commands[] = {
    {"plan switchover", "", "Show what a switchover would do, and whether it may",
     "Checks everything that 'switchover' checks, and changes nothing. Exit status 3 on a no-go.",
     plan_options, plan_switchover, false},
    {"switchover", "", "Move the active region: planned, nothing lost",
     "Checks that every shard is ready, shows the plan, asks for the go, and moves the shards' "
     "primaries to the region. Clients cannot write for some milliseconds a shard. Ctrl-C aborts "
     "at any moment: what is in flight is undone or finished, nothing is left in between. Exit "
     "status 0: every shard is there; 3: not ready, nothing was changed; 4: aborted; 5: a shard "
     "waits for an operator.",
     switchover_options, switchover, false},
    {"run list", "", "List all runs", NULL, run_options, run_list, false},
    {"run show", "[RUN]", "Show a run: the state of each shard, and its report",
     "Without RUN: the one that is not finished.", run_options, run_show, false},
    {"run resume", "[RUN]", "Continue a run whose process is gone, or that waits for an operator",
     "Takes the run over: finishes or undoes what was in flight, then moves the remaining shards.",
     run_options, run_resume, false},
    {"run abort", "[RUN]", "Abort a run: of a live process, or one that was left behind",
     "What is past the point of no return is finished, everything else goes back.",
     run_options, run_abort_command, false},
    {"report", "RUN", "Print the report of a run", NULL, run_options, report, false},
    {"dev points", "", "List the crash points of a move", NULL, NULL, dev_points, true},
    {0},
};
/* clang-format on */
