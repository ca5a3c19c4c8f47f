/* SPDX-License-Identifier: Apache-2.0
 *
 * Carrying out a run from the command line: the journal, the progress display, Ctrl-C, and the
 * words at the end. What a run does is in conductor/. */
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "cli/run.h"
#include "conductor/history.h"
#include "conductor/pause.h"
#include "conductor/report_store.h"
#include "conductor/switchover.h"
#include "move/fault.h"
#include "move/journal.h"
#include "orders/send.h"
#include "permit/fence.h"
#include "report/text.h"
#include "show/follow.h"
#include "show/progress.h"
#include "store/store.h"

#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBSERVE_MS = 5000, REASON_MAX = 500, ANSWER_MAX = 256 };

enum status run_scene_open(struct fleet_scene *scene, const struct cli_args *args,
                           bool has_shard_option, struct err *err)
{
    scene->patience = STORE_WORK;
    enum status status = fleet_scene_open(scene, args, has_shard_option, err);
    if (!status && scene->store_err.status) {
        *err = scene->store_err;
        return err->status;
    }
    if (!status && !scene->store)
        status = inventory_open_store(scene->fleet,
                                      store_url_deadline(scene->fleet->store_url, STORE_WORK),
                                      &scene->store, err);
    return status ? status : fault_setup(err);
}

enum status run_read_reason(const struct cli_args *args, char **ret, struct err *err)
{
    const char *given = cli_text(args, "--reason");
    AUTO_FREE char *line = given ? text_clean_line(given) : NULL;
    if (line && strlen(line) > REASON_MAX)
        return err_set(err, ST_INVALID, "--reason: %zu bytes are too many: at most %d",
                       strlen(line), REASON_MAX);
    *ret = line && line[strspn(line, " ")] ? take_pointer(line) : NULL;
    return ST_OK;
}

enum status run_demand_reason(const struct inventory *fleet, const struct cli_args *args,
                              char **ret, struct err *err)
{
    enum status status = run_read_reason(args, ret, err);
    if (status || *ret || !fleet->policy.is_reason_required)
        return status;
    err_set(err, ST_INVALID, "policy.reason_required: what is it for? --reason is missing");
    return err_hint(err, "add --reason TEXT; it is kept with the order");
}

char *run_pause_text(struct store *store)
{
    AUTO(pause_release) struct pause pause = {0};
    struct err err = ERR_INIT;
    if (store && pause_load(store, &pause, &err))
        return mem_strdup(err.text);
    return pause.is_active ? pause_format(&pause) : NULL;
}

char *run_fenced_text(struct store *store)
{
    AUTO(permit_fences_release) struct permit_fences fences = {0};
    struct err ignored = ERR_INIT;
    if (store)
        status_ignore(
            permit_fences_load(store, store_deadline(store, STORE_GLANCE), &fences, &ignored),
            "that the store does not answer is said elsewhere");
    return permit_fences_format(&fences);
}

/* For the signal handler: one run a process. Ctrl-C counts from before the run begins, so that it
 * never leaves a run behind in the store. */
static struct run *_Atomic running;
static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupts = interrupts < 2 ? interrupts + 1 : 2;
    struct run *run = atomic_load(&running);
    if (run)
        run_abort(run);
}

void run_take_signals(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* A handler and not SIG_IGN, which the programs of hooks would inherit. */
static void on_hangup(int signal_number)
{
    (void)signal_number;
}

void run_outlive_terminal(void)
{
    struct sigaction action = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
    sigaction(SIGHUP, &action, NULL);
}

bool run_was_interrupted(void)
{
    return interrupts > 0;
}

int run_interrupts(void)
{
    return interrupts;
}

enum status run_ask_go(const char *what, const char *answer, struct err *err)
{
    char typed[ANSWER_MAX] = "";
    fflush(stdout);
    if (!run_was_interrupted())
        fprintf(stderr, "Type %s to go, anything else to stop: ", what);
    if (run_was_interrupted() || !fgets(typed, sizeof(typed), stdin))
        typed[0] = '\0';
    typed[strcspn(typed, "\r\n")] = '\0';
    if (strcmp(typed, answer) == 0)
        return ST_OK;
    err_set(err, ST_ABORTED, "no go: nothing was changed");
    return err_hint(err, "type '%s' exactly, or give --yes", answer);
}

void run_set_running(struct run *run)
{
    atomic_store(&running, run);
    if (run && interrupts)
        run_abort(run);
}

struct journal *run_open_journal(const struct fleet_scene *scene, const char *id)
{
    AUTO_FREE char *directory = inventory_journal(scene->fleet);
    return journal_open(directory, id);
}

/* Old runs make room. Not while an operator waits for anything else. */
static void trim_history(const struct fleet_scene *scene)
{
    AUTO_FREE char *directory = inventory_journal(scene->fleet);
    struct err err = ERR_INIT;
    if (history_trim(scene->store, scene->fleet->policy.keep_runs, directory, &err))
        fprintf(stderr, "holdfast: old runs were not removed: %s; the next run tries again\n",
                err.text);
}

enum status run_exit_status(enum run_state state)
{
    static const enum status statuses[RUN_STATES] = {
        [RUN_RUNNING] = ST_INTERNAL, [RUN_DONE] = ST_OK,     [RUN_ABORTED] = ST_ABORTED,
        [RUN_FAILED] = ST_IO,        [RUN_STUCK] = ST_STUCK,
    };
    return statuses[state];
}

/* What is printed at the end: one JSON document, or each report as it is known. */
struct words {
    bool as_json;
    json_t *json; /* of the run; with "return" when what moved went back */
};

static void say_report(struct words *words, const char *json)
{
    AUTO(buf_release) struct buf text = {0};
    if (!words->as_json) {
        report_text_format(json, false, &text);
        printf("%s", buf_text(&text));
        fflush(stdout);
    } else if (words->json) {
        json_object_set_new(words->json, "return", json_loads(json, 0, NULL));
    } else {
        words->json = json_loads(json, 0, NULL);
    }
}

static void words_finish(struct words *words)
{
    if (!words->json)
        return;
    json_dumpf(words->json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    puts("");
    fflush(stdout);
    json_decref(words->json);
}

/* The end of a run, wherever it was carried out. */
struct outcome {
    const char *run;
    enum run_state state;
    bool is_called_off;
    bool has_only_stopped; /* no shard says why, only the run as a whole */
};

static bool has_why(const struct switchover_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->shards[i].err.status)
            return true;
    return false;
}

static enum status result_of(const struct outcome *report, struct err *err)
{
    enum status status = run_exit_status(report->state);
    if (status == ST_OK)
        return ST_OK;
    err_set(err, status, "run %s %s", report->run,
            report->state == RUN_STUCK     ? "waits for an operator"
            : report->state == RUN_ABORTED ? "was aborted; no shard is in between"
                                           : "failed; no shard is in between");
    if (report->state == RUN_STUCK)
        err_hint(err, "mend what 'why' says above, then: holdfast run %s %s",
                 report->is_called_off ? "abort" : "resume", report->run);
    else if (report->state == RUN_FAILED)
        err_hint(err, "mend what '%s' says above; holdfast status shows where each shard is",
                 report->has_only_stopped ? "stopped" : "why");
    else
        err_hint(err, "holdfast status shows where each shard is");
    return status;
}

/* One run to its end, with progress; takes it. The report is filled in any case. */
static enum status carry(const struct fleet_scene *scene,
                         const struct fleet_observation *observation, struct run *run,
                         struct words *words, struct switchover_report *ret, struct err *err)
{
    run->mandate.journal = run_open_journal(scene, run->record.id);
    const char *order = strrchr(run->record.audit, '\n');
    order = order ? order + 1 : run->record.audit;
    journal_add(run->mandate.journal, NULL, run->mandate.is_resumed ? "resume" : "begin", "%s",
                order);
    log_event(EV_RUN_ORDER, "run", run->record.id, "order", order, NULL);
    run_set_running(run);
    AUTO(progress_release) struct progress progress;
    progress_init(&progress, run->mandate.journal);
    if (words->as_json)
        progress.out = NULL;
    enum status status = switchover_run(run, observation, progress_show, &progress, ret, err);
    run_set_running(NULL);
    if (status != ST_FENCED) {
        if (progress.has_board) /* there were shards */
            progress_draw(&progress, "", true);
        AUTO_FREE char *json = switchover_report_json(ret);
        say_report(words, json);
    }
    if (status && status != ST_FENCED)
        err_hint(err,
                 "the servers are as the report says; when the store is back: holdfast run "
                 "resume %s",
                 run->record.id);
    run_free(run);
    if (status) /* its end is not recorded, or another process has the word: nothing follows */
        ret->state = RUN_RUNNING;
    struct outcome outcome = {ret->run, ret->state, ret->is_called_off,
                              ret->stopped.status && !has_why(ret)};
    return status ? status : result_of(&outcome, err);
}

/* What moved before the run was stopped goes back: a run of its own, in one wave. Ctrl-C that
 * stopped the first one does not stop this one; another Ctrl-C does. */
static enum status carry_back(const struct fleet_scene *scene,
                              const struct switchover_report *stopped, struct words *words,
                              struct err *err)
{
    struct run *run = NULL;
    interrupts = 0;
    enum status status =
        run_take(scene->store, scene->fleet, stopped->return_run, false, &run, err);
    if (status)
        return status;
    run->mandate.is_resumed = false; /* nobody has begun it */
    if (!words->as_json)
        fprintf(stderr, "moving %zu shard%s back to %s\n", run->record.shard_count,
                run->record.shard_count == 1 ? "" : "s", stopped->from);
    const struct inventory_shard **shards =
        mem_zalloc((run->record.shard_count + 1) * sizeof(*shards));
    for (size_t i = 0; i < run->record.shard_count; i++)
        shards[i] = inventory_find_shard(scene->fleet, run->record.shards[i]);
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO(switchover_report_release) struct switchover_report report = {0};
    fleet_observe(scene->fleet, shards, run->record.shard_count, clock_deadline(OBSERVE_MS), &seen);
    free(shards);
    return carry(scene, &seen, run, words, &report, err);
}

enum status run_carry_out(const struct fleet_scene *scene,
                          const struct fleet_observation *observation, struct run *run,
                          bool as_json, struct err *err)
{
    struct words words = {.as_json = as_json};
    AUTO(switchover_report_release) struct switchover_report report = {0};
    enum status status = carry(scene, observation, run, &words, &report, err);
    if (report.return_run[0]) {
        struct err back = ERR_INIT;
        enum status returned = carry_back(scene, &report, &words, &back);
        if (returned) {
            *err = back;
            status = returned;
        }
    }
    words_finish(&words);
    if (ferror(stdout)) /* who only sees that error must know that the run is over */
        fprintf(stderr, "holdfast: run %s: %s; what could not be printed: holdfast report %s\n",
                report.run, run_state_name(report.state), report.run);
    if (status != ST_FENCED)
        trim_history(scene);
    return status;
}

void run_end_aside(const struct fleet_scene *scene, const char *aside)
{
    struct err err = ERR_INIT;
    bool has_left = false;
    if (!aside[0])
        return;
    enum status status = run_has_left(scene->store, scene->fleet, aside, &has_left, &err);
    if (!status && !has_left)
        status = run_close(scene->store, aside, RUN_FAILED, &err);
    if (has_left)
        fprintf(stderr,
                "run %s was set aside, and left shards in the middle; when their servers answer: "
                "holdfast run abort %s\n",
                aside, aside);
    else if (status)
        fprintf(stderr, "run %s was set aside; that it has ended is not recorded: %s\n", aside,
                err.text);
}

/* ---- carried out by a conductor ---- */

static bool has_only_stopped(const char *report)
{
    json_t *json = json_loads(report, 0, NULL), *shard = NULL;
    bool only = json_object_get(json, "stopped");
    size_t i = 0;
    json_array_foreach(json_object_get(json, "shards"), i, shard) only =
        only && !json_object_get(shard, "error");
    json_decref(json);
    return only;
}

/* Follow one run, say its report; what follows from it is in *ret_next, "" when nothing does. */
static enum status follow(const struct fleet_scene *scene, const char *id, struct words *words,
                          const char *from, char ret_next[static RUN_ID_MAX], struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    AUTO_FREE char *report = NULL;
    struct follow_manner manner = {
        .interrupts = run_interrupts, .aborts = true, .is_silent = words->as_json, .from = from};
    enum status status = follow_run(scene->store, id, &manner, &record, err);
    if (!status)
        status = report_load(scene->store, id, &report, err);
    if (status)
        return status;
    say_report(words, report);
    snprintf(ret_next, RUN_ID_MAX, "%s", record.return_run);
    struct outcome outcome = {id, record.state, record.is_called_off, has_only_stopped(report)};
    return result_of(&outcome, err);
}

static enum status follow_all(const struct fleet_scene *scene, const struct run_record *order,
                              bool as_json, struct err *err)
{
    struct words words = {.as_json = as_json};
    char id[RUN_ID_MAX] = "", next[RUN_ID_MAX] = "", last[RUN_ID_MAX] = "";
    const struct inventory *fleet = scene->fleet;
    bool is_first = strcmp(order->target, fleet->regions[0]) == 0;
    const char *other = fleet->regions[is_first ? 1 : 0];
    snprintf(id, sizeof(id), "%s", order->id);
    enum status status =
        follow(scene, id, &words, order->kind == RUN_FAILOVER ? order->target : other, next, err);
    if (next[0]) {
        struct err back = ERR_INIT;
        interrupts = 0;
        if (!as_json)
            fprintf(stderr, "what moved goes back to %s\n", other);
        enum status returned = follow(scene, next, &words, order->target, last, &back);
        if (returned) {
            *err = back;
            status = returned;
        }
    }
    words_finish(&words);
    return status;
}

bool run_submit(const struct fleet_scene *scene, const struct run_record *record,
                const struct cli_args *args, enum status *ret_status, struct err *err)
{
    const char *conductor = NULL;
    bool is_refused = false, as_json = cli_flag(args, "--json");
    struct err why = ERR_INIT;
    if (scene->fleet->conductor_count == 0 || cli_flag(args, "--direct"))
        return false;
    enum status status =
        order_send(scene->fleet, scene->store, record, &conductor, &is_refused, &why);
    if (status && !is_refused) {
        fprintf(stderr, "! %s; carried out by this process\n", why.text);
        return false;
    }
    if (status) {
        *err = why;
        *ret_status = status;
        return true;
    }
    if (!as_json)
        fprintf(stderr, "run %s is carried out by conductor %s; Ctrl-C aborts it\n", record->id,
                conductor ? conductor : "of which no answer came");
    *ret_status = follow_all(scene, record, as_json, err);
    return true;
}
