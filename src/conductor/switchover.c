/* SPDX-License-Identifier: Apache-2.0
 * Running a switchover over its shards; see switchover.h. Each shard belongs to one thread while
 * it moves; what came of it is handed over under the lock. */
#include "conductor/switchover.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/announcer.h"
#include "conductor/failover_run.h"
#include "conductor/health.h"
#include "conductor/report_store.h"
#include "conductor/shard_run.h"
#include "fleet/route.h"
#include "handover/order.h"
#include "hooks/waiting.h"
#include "move/journal.h"
#include "move/probe.h"
#include "store/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 128, PROGRESS_MS = 100 };

struct work {
    struct run *run;
    const struct fleet_observation *observation;
    struct switchover_report *report;
    atomic_size_t next;
    size_t end;   /* of this wave */
    bool is_busy; /* with an errand, under the lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t done;
    int64_t failed; /* shards that did not move, in all waves so far */
};

/* A process that was replaced has nothing to tell: the other one does. */
static enum status store_shard(const struct run *run, struct switchover_report *report,
                               size_t index, struct err *err)
{
    struct shard_report *shard = &report->shards[index];
    if (shard->is_stored || shard->result == MOVE_FENCED)
        return ST_OK;
    AUTO_FREE char *json = switchover_report_shard(report, index);
    enum status status = report_store_shard(&run->mandate, shard->shard->name, json, err);
    shard->is_stored = status == ST_OK;
    return status;
}

/* What the processes before this one wrote of the shard belongs to its story. */
static void add_earlier(const struct run *run, struct shard_report *report)
{
    AUTO_FREE char *json = NULL;
    struct err ignored = ERR_INIT;
    if (run->mandate.is_resumed &&
        report_load_shard(&run->mandate, report->shard->name, &json, &ignored) == ST_OK)
        switchover_report_add_earlier(report, json);
}

/* The process before this one ended after the move, and before it wrote what came of it. */
static void claim_move(const struct run *run, struct shard_report *report)
{
    struct route route = {0};
    struct err ignored = ERR_INIT;
    bool is_ours =
        run->mandate.is_resumed && report->result == MOVE_ALREADY_THERE &&
        route_load(run->mandate.store, report->shard->name,
                   store_deadline(run->mandate.store, STORE_WORK), &route, &ignored) == ST_OK &&
        route.state == SHARD_SERVING && strcmp(route.run, run->record.id) == 0;
    if (!is_ours)
        return;
    report->result = MOVE_MOVED;
    for (unsigned i = 0; i < MOVE_PHASES; i++)
        report->phases_ms[i] = -1;
    char *notes = mem_printf("%smoved before the run was resumed: the outage is not known\n",
                             report->notes ? report->notes : "");
    free(report->notes);
    report->notes = notes;
}

static void run_shard(struct work *work, size_t index)
{
    struct shard_report *report = &work->report->shards[index];
    struct err ignored = ERR_INIT;
    if (work->run->record.kind == RUN_FAILOVER)
        failover_run_shard(work->run, &work->observation->shards[index], report);
    else
        shard_run(work->run, &work->observation->shards[index], report);
    add_earlier(work->run, report);
    claim_move(work->run, report);
    status_ignore(store_shard(work->run, work->report, index, &ignored), "tried again at the end");
    announcer_end_shard(work->run->announcer, report);
}

/* What is in flight is undone or finished, nothing new begins. */
static void stop_run(struct work *work, const struct err *why)
{
    if (run_must_stop(work->run))
        return;
    work->report->stopped = *why;
    journal_add(work->run->mandate.journal, NULL, "stop", "%s", why->text);
    run_stop(work->run);
}

/* Under the lock. */
static void count_failure(struct work *work, const struct shard_report *report)
{
    int64_t most = work->run->record.failures_max;
    if (report->result == MOVE_MOVED || report->result == MOVE_ALREADY_THERE)
        return;
    if (++work->failed <= most || most < 0)
        return;
    struct err why = ERR_INIT;
    err_set(&why, ST_NO_GO, "%lld shard%s did not move, and %s (--max-failures): %s: %.200s",
            (long long)work->failed, work->failed == 1 ? "" : "s",
            most == 0 ? "none may stay behind" : "no more may stay behind", report->shard->name,
            report->err.text);
    stop_run(work, &why);
}

static void *work_on(void *context)
{
    struct work *work = context;
    for (;;) {
        size_t index = atomic_fetch_add(&work->next, 1);
        if (index >= work->end)
            return NULL;
        atomic_store(&work->report->shards[index].began_at, clock_now());
        run_shard(work, index);
        atomic_store(&work->report->shards[index].ended_at, clock_now());
        pthread_mutex_lock(&work->lock);
        work->done++;
        count_failure(work, &work->report->shards[index]);
        pthread_cond_signal(&work->changed);
        pthread_mutex_unlock(&work->lock);
    }
}

static void wait_until_done(struct work *work, switchover_progress *progress, void *context)
{
    pthread_mutex_lock(&work->lock);
    while (work->done < work->end || work->is_busy) {
        size_t done = work->done;
        pthread_mutex_unlock(&work->lock);
        struct hook_wait wait = announcer_waiting(work->run->announcer);
        waiting_set(work->run->waiting, &wait);
        if (progress)
            progress(context, work->run, work->report, done);
        pthread_mutex_lock(&work->lock);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PROGRESS_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        if (work->done == done)
            pthread_cond_timedwait(&work->changed, &work->lock, &until);
    }
    pthread_mutex_unlock(&work->lock);
    waiting_set(work->run->waiting, &(struct hook_wait){0});
    if (progress)
        progress(context, work->run, work->report, work->end);
}

static void run_wave(struct work *work, const struct wave *wave, switchover_progress *progress,
                     void *context)
{
    atomic_store(&work->next, wave->first);
    work->end = wave->end;
    size_t shards = wave->end - wave->first, count = shards < THREADS_MAX ? shards : THREADS_MAX;
    pthread_t threads[THREADS_MAX];
    for (size_t i = 0; i < count; i++)
        INVARIANT(pthread_create(&threads[i], NULL, work_on, work) == 0);
    wait_until_done(work, progress, context);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* May the next wave begin? */
static void pass_gate(struct work *work, size_t index)
{
    struct err why = ERR_INIT;
    const struct wave *wave = &work->report->waves.items[index];
    enum status status =
        health_wait(work->run, work->report, wave->end, work->run->record.settle_ms, &why);
    journal_add(work->run->mandate.journal, NULL, "gate", "after %s: %s", wave->name,
                status ? why.text : "well");
    if (status) {
        err_wrap(&why, "after %s", wave->name);
        stop_run(work, &why);
    }
}

/* Is it to begin? When not, what another process left in between is still brought to one side. */
static void ask_for_wave(struct work *work, size_t index)
{
    struct err why = ERR_INIT;
    enum status status = ST_OK;
    if (index == 0)
        status = announcer_begin_run(work->run->announcer, &why);
    if (!status && !run_must_stop(work->run))
        status = announcer_begin_wave(work->run->announcer, index, &why);
    if (status)
        stop_run(work, &why);
}

/* A stopped run goes through the remaining shards too: one that another process left in between is
 * brought to one side, the others are only reported. */
/* What may take long while no shard moves: beside the display. */
struct errand {
    void (*run)(struct work *work, size_t wave);
    struct work *work;
    size_t wave;
};

static void *run_errand(void *context)
{
    struct errand *errand = context;
    errand->run(errand->work, errand->wave);
    pthread_mutex_lock(&errand->work->lock);
    errand->work->is_busy = false;
    pthread_cond_signal(&errand->work->changed);
    pthread_mutex_unlock(&errand->work->lock);
    return NULL;
}

static void show_beside(struct errand *errand, switchover_progress *progress, void *context)
{
    pthread_t thread;
    errand->work->is_busy = true;
    INVARIANT(pthread_create(&thread, NULL, run_errand, errand) == 0);
    wait_until_done(errand->work, progress, context);
    pthread_join(thread, NULL);
}

static void run_waves(struct work *work, switchover_progress *progress, void *context)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&work->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&work->lock, NULL);
    const struct waves *waves = &work->report->waves;
    for (size_t i = 0; i < waves->count; i++) {
        show_beside(&(struct errand){ask_for_wave, work, i}, progress, context);
        run_wave(work, &waves->items[i], progress, context);
        announcer_end_wave(work->run->announcer, i);
        if (i + 1 < waves->count && !run_must_stop(work->run))
            show_beside(&(struct errand){pass_gate, work, i}, progress, context);
    }
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->lock);
}

/* The worst shard decides; 'taken over' means that another process will tell. */
static enum run_state judge(const struct run *run, const struct switchover_report *report,
                            bool *ret_is_fenced)
{
    size_t stuck = 0, stayed = 0;
    *ret_is_fenced = false;
    for (size_t i = 0; i < report->count; i++) {
        enum move_result result = report->shards[i].result;
        *ret_is_fenced = *ret_is_fenced || result == MOVE_FENCED;
        stuck += result == MOVE_STUCK;
        stayed += result == MOVE_UNDONE || result == MOVE_ABORTED || result == MOVE_STOPPED;
    }
    if (stuck)
        return RUN_STUCK;
    if (stayed)
        return run_must_stop(run) && !report->stopped.status ? RUN_ABORTED : RUN_FAILED;
    return RUN_DONE;
}

static void report_init(struct switchover_report *report, const struct run *run,
                        const struct fleet_observation *observation)
{
    *report = (struct switchover_report){.count = observation->count};
    snprintf(report->run, sizeof(report->run), "%s", run->record.id);
    const struct inventory *fleet = run->mandate.fleet;
    snprintf(report->to, sizeof(report->to), "%s", fleet->regions[run->mandate.to_region]);
    report->kind = run->record.kind;
    bool has_other = report->kind == RUN_SWITCHOVER || run->record.is_region_lost;
    size_t from = has_other ? 1 - run->mandate.to_region : run->mandate.to_region;
    snprintf(report->from, sizeof(report->from), "%s", fleet->regions[from]);
    char *of_host = report->kind == RUN_DRAIN    ? report->from
                    : report->kind == RUN_RETURN ? report->to
                                                 : NULL;
    if (of_host)
        snprintf(of_host, RUN_TARGET_MAX, "%.*s", RUN_TARGET_MAX - 1, run->record.host);
    report->shards = mem_zalloc((observation->count + 1) * sizeof(*report->shards));
    for (size_t i = 0; i < observation->count; i++)
        report->shards[i] = (struct shard_report){.shard = observation->shards[i].shard,
                                                  .outage_ms = -1,
                                                  .baseline_ms = -1,
                                                  .at_least_ms = -1,
                                                  .critical_ms = -1,
                                                  .loss_ms = -1,
                                                  .loss_transactions = -1};
    report->is_resumed = run->mandate.is_resumed;
    report->by = mem_strdup(run->record.by);
    report->reason = mem_strdup(run->record.reason);
    report->audit = mem_strdup(run->record.audit);
    report->ordered_us = run->record.started_us;
    report->settle_ms = run->record.settle_ms;
    report->estimate_ms = run->record.estimate_ms;
    report->usual_shard_ms = run->record.usual_shard_ms;
    report->began_us = clock_wall_us();
    report->began = clock_now();
    report->promise_rto_ms = fleet->promise_rto_ms;
    report->promise_rpo_ms = fleet->promise_rpo_ms;
    report->state = RUN_RUNNING;
    report->took_ms = -1;
}

/* What moved before the run was stopped goes back, when that was ordered: in a run of its own. One
 * that is only short of some shards was not stopped. */
static bool must_return(const struct run *run, const struct switchover_report *report)
{
    bool is_stopped =
        report->state == RUN_ABORTED || (report->state == RUN_FAILED && report->stopped.status);
    bool has_moved = false;
    for (size_t i = 0; i < report->count; i++)
        has_moved = has_moved || report->shards[i].result == MOVE_MOVED;
    return run->record.returns && is_stopped && has_moved;
}

static void order_return(const struct run *run, const struct switchover_report *report,
                         struct run_record *ret)
{
    run_record_init(ret, report->from);
    ret->state = RUN_RUNNING;
    ret->reason = mem_printf("run %s was stopped", run->record.id);
    ret->is_submitted = run->record.is_submitted;
    for (size_t i = 0; i < report->count; i++)
        if (report->shards[i].result == MOVE_MOVED)
            run_record_add_shard(ret, report->shards[i].shard->name);
}

static enum status record_end(struct run *run, struct switchover_report *report, struct err *err)
{
    AUTO_FREE char *head = switchover_report_head(report);
    enum status status = ST_OK;
    for (size_t i = 0; i < report->count && !status; i++)
        status = store_shard(run, report, i, err);
    if (!status)
        status = report_store_head(&run->mandate, CALL_REPORT_END, head, err);
    if (status == ST_FENCED)
        return status;
    struct err end_err = ERR_INIT;
    AUTO(run_record_release) struct run_record back = {0};
    bool returns = must_return(run, report);
    if (returns)
        order_return(run, report, &back);
    enum status ended = run_end(run, report->state, returns ? &back : NULL, &end_err);
    if (ended)
        *err = end_err;
    else
        snprintf(report->return_run, sizeof(report->return_run), "%s", back.id);
    return ended ? ended : status;
}

/* With that of another process to abort, which came meanwhile. */
static char *keep_orders(struct run *run)
{
    const char *abort = atomic_load(&run->aborted_by);
    if (abort)
        run_record_add_line(&run->record, abort);
    return mem_strdup(run->record.audit);
}

/* From now on the report says that the run goes on. Beside the moves when clients wait already. */
struct beginning {
    const struct run *run;
    char *head;
    bool has_thread;
    pthread_t thread;
};

static void *write_head(void *context)
{
    const struct beginning *beginning = context;
    struct err ignored = ERR_INIT;
    status_ignore(
        report_store_head(&beginning->run->mandate, CALL_REPORT_BEGIN, beginning->head, &ignored),
        "it is written again at the end");
    return NULL;
}

static void record_begin(const struct run *run, const struct switchover_report *report,
                         struct beginning *ret)
{
    *ret = (struct beginning){.run = run, .head = switchover_report_head(report)};
    ret->has_thread = run->record.kind == RUN_FAILOVER &&
                      pthread_create(&ret->thread, NULL, write_head, ret) == 0;
    if (!ret->has_thread)
        write_head(ret);
}

static void end_beginning(struct beginning *beginning)
{
    if (beginning->has_thread)
        pthread_join(beginning->thread, NULL);
    free(beginning->head);
}

/* ---- the mark of a host that is drained, or gets its roles back ---- */

static struct handover_order order_of(const struct run *run)
{
    const struct run_record *record = &run->record;
    return (struct handover_order){.host = record->host,
                                   .by = record->by,
                                   .origin = record->origin,
                                   .reason = record->reason,
                                   .since_us = record->started_us,
                                   .is_return = record->kind == RUN_RETURN};
}

static void begin_order(struct work *work)
{
    struct run *run = work->run;
    struct err why = ERR_INIT;
    if (!run_record_is_of_host(&run->record))
        return;
    struct handover_order order = order_of(run);
    if (handover_begin(&run->mandate, &order, work->observation, &run->drained, &run->mandate.mark,
                       &why))
        stop_run(work, &why);
    run->mandate.is_return = order.is_return;
}

/* Else the mark stays as it is: the order goes on when it is given again. */
static enum status end_order(struct work *work, struct err *err)
{
    struct run *run = work->run;
    struct err why = ERR_INIT;
    if (!run->mandate.mark)
        return ST_OK;
    if (run_must_stop(run)) {
        work->report->state = RUN_ABORTED;
        return ST_OK;
    }
    enum status status = handover_end(&run->mandate, work->observation, &run->drained, &why);
    if (status && status != ST_FENCED) {
        work->report->state = RUN_FAILED;
        work->report->stopped = why;
        return ST_OK;
    }
    if (status)
        *err = why;
    return status;
}

/* In the words of the shard that noticed it. */
static enum status say_fenced(const struct switchover_report *report, struct err *err)
{
    for (size_t i = 0; i < report->count; i++)
        if (report->shards[i].result == MOVE_FENCED)
            *err = report->shards[i].err;
    return ST_FENCED;
}

/* Nothing is in flight, and there is something left to do. */
static bool is_left_to_another(const struct run *run, const struct switchover_report *report)
{
    return atomic_load(&run->is_handed_over) && !atomic_load(&run->mandate.is_called_off) &&
           report->state != RUN_DONE && report->state != RUN_STUCK;
}

static enum status say_left(struct switchover_report *report, struct err *err)
{
    report->state = RUN_RUNNING;
    return err_set(err, ST_ABORTED, "run %s is left to another process", report->run);
}

enum status switchover_run(struct run *run, const struct fleet_observation *observation,
                           switchover_progress *progress, void *context,
                           struct switchover_report *ret, struct err *err)
{
    report_init(ret, run, observation);
    bool is_planned = run->record.kind != RUN_FAILOVER; /* else it broke before we looked */
    if (is_planned && run->mandate.fleet->probe.user && !run->mandate.is_abort_only)
        run->mandate.probe = probe_start(run->mandate.fleet);
    ret->is_measured =
        is_planned && run->mandate.fleet->probe.user; /* perhaps before it was resumed */
    struct err shape = ERR_INIT;
    if (waves_parse(run->record.waves, ret->count, &ret->waves, &shape)) /* checked when ordered */
        status_ignore(waves_parse(NULL, ret->count, &ret->waves, &shape), "one wave is no error");
    run->announcer = announcer_start(run, ret);
    struct work work = {.run = run, .observation = observation, .report = ret};
    struct beginning beginning;
    record_begin(run, ret, &beginning);
    begin_order(&work);
    run_waves(&work, progress, context);
    end_beginning(&beginning);
    probe_stop(run->mandate.probe);
    run->mandate.probe = NULL;
    bool is_fenced = false;
    ret->state = judge(run, ret, &is_fenced);
    if (ret->state == RUN_DONE && !is_fenced)
        is_fenced = end_order(&work, err) == ST_FENCED;
    ret->took_ms = clock_ms(clock_now() - ret->began);
    free(ret->audit);
    ret->audit = keep_orders(run);
    ret->is_called_off = atomic_load(&run->mandate.is_called_off);
    bool is_left = is_left_to_another(run, ret);
    if (!is_fenced && !is_left)
        announcer_end_run(run->announcer, progress, context, &ret->hooks);
    announcer_free(run->announcer);
    run->announcer = NULL;
    if (is_fenced)
        return say_fenced(ret, err);
    return is_left ? say_left(ret, err) : record_end(run, ret, err);
}

void switchover_report_release(struct switchover_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->shards[i].cause);
        free(report->shards[i].notes);
        free(report->shards[i].evidence);
        free(report->shards[i].spans);
    }
    free(report->shards);
    free(report->by);
    free(report->reason);
    free(report->audit);
    free(report->hooks);
    *report = (struct switchover_report){0};
}
