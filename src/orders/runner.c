/* SPDX-License-Identifier: Apache-2.0
 * See runner.h. Whoever orders takes the run lock, the thread does the rest. */
#include "orders/runner.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/history.h"
#include "conductor/switchover.h"
#include "fleet/inventory.h"
#include "move/journal.h"

#include <pthread.h>
#include <string.h>

enum { LOOK_MS = 250, OBSERVE_MS = 3000 };

struct runner {
    struct runner_host host;
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    struct run *next; /* begun, to be carried out; NULL: none */
    struct run *now;  /* being carried out */
    bool must_stop;
};

static struct store *store_of(const struct runner *runner)
{
    return runner->host.store(runner->host.context);
}

/* ---- one run ---- */

/* One that is not in the fleet file any more is nobody's to move. */
static size_t list_shards(const struct runner *runner, const struct run_record *record,
                          const struct inventory_shard **ret)
{
    size_t count = 0;
    for (size_t i = 0; i < record->shard_count; i++) {
        ret[count] = inventory_find_shard(runner->host.fleet, record->shards[i]);
        count += ret[count] != NULL;
    }
    return count;
}

static void write_down(struct run *run, const char *folder)
{
    const char *order = strrchr(run->record.audit, '\n');
    order = order ? order + 1 : run->record.audit;
    run->mandate.journal = journal_open(folder, run->record.id);
    journal_add(run->mandate.journal, NULL, run->mandate.is_resumed ? "resume" : "begin", "%s",
                order);
    log_event(EV_RUN_ORDER, "run", run->record.id, "order", order, NULL);
}

/* Whoever stops the conductor must find it; NULL: it is over. */
static void set_now(struct runner *runner, struct run *run)
{
    pthread_mutex_lock(&runner->lock);
    runner->now = run;
    if (run && runner->must_stop)
        run_hand_over(run);
    pthread_mutex_unlock(&runner->lock);
}

/* Takes the run. */
static void carry(struct runner *runner, struct run *run, char ret_next[static RUN_ID_MAX])
{
    const struct inventory *fleet = runner->host.fleet;
    AUTO(switchover_report_release) struct switchover_report report = {0};
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((run->record.shard_count + 1) * sizeof(*shards));
    AUTO_FREE char *folder = inventory_journal(fleet);
    struct err err = ERR_INIT;
    size_t count = list_shards(runner, &run->record, shards);
    write_down(run, folder);
    runner->host.lend_ears(runner->host.context, run);
    set_now(runner, run);
    fleet_observe(fleet, shards, count, clock_deadline(OBSERVE_MS), &seen);
    enum status status = switchover_run(run, &seen, NULL, NULL, &report, &err);
    log_event(EV_RUN_STATE, "run", report.run, "state", run_state_name(report.state), "why",
              status ? err.text : "", NULL);
    set_now(runner, NULL);
    run_free(run);
    snprintf(ret_next, RUN_ID_MAX, "%s", report.return_run);
}

static void trim(struct runner *runner)
{
    const struct inventory *fleet = runner->host.fleet;
    AUTO_FREE char *folder = inventory_journal(fleet);
    struct err ignored = ERR_INIT;
    status_ignore(history_trim(store_of(runner), fleet->policy.keep_runs, folder, &ignored),
                  "the next run tries again");
}

/* The run that yielded. */
static void end_aside(struct runner *runner, const char *id)
{
    char next[RUN_ID_MAX];
    struct run *run = NULL;
    struct err err = ERR_INIT;
    if (run_call_off(store_of(runner), runner->host.fleet, id, &run, &err))
        log_event(EV_RUN_STATE, "run", id, "state", "set aside", "why", err.text, NULL);
    if (!run)
        return;
    carry(runner, run, next);
    status_ignore(run_set_aside(store_of(runner), id, &err),
                  "it has ended, else it was stuck: nobody waits for it");
}

/* What moved before it was stopped may have to go back, in a run of its own; and a run that yielded
 * to it is brought to its end. */
static void carry_all(struct runner *runner, struct run *run)
{
    char next[RUN_ID_MAX] = "", aside[RUN_ID_MAX];
    struct err err = ERR_INIT;
    snprintf(aside, sizeof(aside), "%s", run->record.aside);
    carry(runner, run, next);
    if (next[0] && !run_take(store_of(runner), runner->host.fleet, next, false, &run, &err)) {
        run->mandate.is_resumed = false; /* nobody has begun it */
        carry(runner, run, next);
    }
    if (aside[0])
        end_aside(runner, aside);
    trim(runner);
}

/* ---- what another process left ---- */

/* Not when a shard is not known here: it may be half-way, and who has the right fleet file brings
 * it to one side. */
static bool may_take(const struct runner *runner, const struct run_record *record)
{
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((record->shard_count + 1) * sizeof(*shards));
    return record->is_submitted && record->state == RUN_RUNNING &&
           list_shards(runner, record, shards) == record->shard_count;
}

static struct run *find_left(const struct runner *runner)
{
    AUTO(run_record_release) struct run_record record = {0};
    struct run *run = NULL;
    struct err err = ERR_INIT;
    struct store *store = store_of(runner);
    if (store && runner->host.find_left(runner->host.context, &record) && may_take(runner, &record))
        status_ignore(run_take(store, runner->host.fleet, record.id, false, &run, &err),
                      "somebody else has it, or the next look tries again");
    return run;
}

/* ---- the thread ---- */

static struct run *wait_for_next(struct runner *runner)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&runner->lock);
    if (!runner->next && !runner->must_stop)
        pthread_cond_timedwait(&runner->changed, &runner->lock, &until);
    struct run *next = take_pointer(runner->next);
    pthread_mutex_unlock(&runner->lock);
    return next;
}

static bool must_stop(struct runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    bool must_stop = runner->must_stop;
    pthread_mutex_unlock(&runner->lock);
    return must_stop;
}

static void *work(void *context)
{
    struct runner *runner = context;
    while (!must_stop(runner)) {
        struct run *run = wait_for_next(runner);
        if (!run)
            run = find_left(runner);
        if (run)
            carry_all(runner, run);
    }
    return NULL;
}

struct runner *runner_start(const struct runner_host *host)
{
    struct runner *runner = mem_zalloc(sizeof(*runner));
    pthread_condattr_t attributes;
    runner->host = *host;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&runner->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&runner->lock, NULL);
    INVARIANT(pthread_create(&runner->thread, NULL, work, runner) == 0);
    return runner;
}

void runner_stop(struct runner *runner)
{
    if (!runner)
        return;
    pthread_mutex_lock(&runner->lock);
    runner->must_stop = true;
    if (runner->now)
        run_hand_over(runner->now);
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    pthread_join(runner->thread, NULL);
    run_free(runner->next); /* the next leader begins it */
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    free(runner);
}

enum status runner_begin(struct runner *runner, struct run_record *take, struct err *err)
{
    struct run *run = NULL;
    enum status status = run_begin_ordered(store_of(runner), runner->host.fleet, take, &run, err);
    if (status)
        return status;
    pthread_mutex_lock(&runner->lock);
    bool has_room = !runner->next;
    if (has_room)
        runner->next = run;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    if (!has_room) /* that one lost its lock while it waited: the leader takes ours */
        run_free(run);
    return ST_OK;
}
