/* SPDX-License-Identifier: Apache-2.0
 *
 * Carrying out a run from the command line: the journal, the progress display, Ctrl-C, and the
 * words at the end. What a run does is in conductor/. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/progress.h"
#include "cli/run.h"
#include "conductor/switchover.h"
#include "move/fault.h"
#include "move/journal.h"
#include "store/store.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { STORE_MS = 5000 };

enum status run_scene_open(struct fleet_scene *scene, const struct cli_args *args,
                           bool has_shard_option, struct err *err)
{
    enum status status = fleet_scene_open(scene, args, has_shard_option, err);
    if (!status && scene->store_err.status) {
        *err = scene->store_err;
        return err->status;
    }
    if (!status && !scene->store)
        status = store_open(scene->fleet->store_url, clock_deadline(STORE_MS), &scene->store, err);
    return status ? status : fault_setup(err);
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

void run_take_signals(void)
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
static struct journal *open_journal(const struct fleet_scene *scene, const char *id)
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
    else if (report->state == RUN_FAILED)
        err_hint(err, "mend what 'why' says above; holdfast status shows where each shard is");
    else
        err_hint(err, "holdfast status shows where each shard is");
    return status;
}

enum status run_carry_out(const struct fleet_scene *scene,
                          const struct fleet_observation *observation, struct run *run,
                          bool as_json, struct err *err)
{
    run->mandate.journal = open_journal(scene, run->record.id);
    journal_add(run->mandate.journal, NULL, run->mandate.is_resumed ? "resume" : "begin",
                "%s: to %s by %s", run->record.id, run->record.target, run->record.by);
    set_running(run);
    struct progress progress = {.out = as_json ? NULL : stderr,
                                .is_tty = isatty(STDERR_FILENO) == 1};
    struct switchover_report report = {0};
    enum status status = switchover_run(run, observation, progress_show, &progress, &report, err);
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
