/* SPDX-License-Identifier: Apache-2.0
 * The order of events: set up, connect, write for the given time, wait for the last answers,
 * verify. Also the mark in the store that keeps 'load clean' away from rows of a run under way. */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "load/internal.h"
#include "store/store.h"

#include <poll.h>
#include <stdlib.h>

enum {
    WARM_MS = 5000,  /* for all writers to be connected before the clock starts */
    DRAIN_MS = 2000, /* for the answers to the last writes */
    PROGRESS_MS = 500,
    MARK_MS = STORE_LEASE_MS_MAX,
};

/* --- the mark -------------------------------------------------------------------------------- */

static enum status set_mark(struct load *load, struct err *err)
{
    struct store *store = load->request->store;
    enum status status =
        store_lease_grant(store, MARK_MS, store_deadline(store, STORE_WORK), &load->lease, err);
    AUTO_FREE char *key = mem_printf(LOAD_KEYS "%s", load->report->run);
    struct store_op put = {STORE_PUT, key, "{}", load->lease};
    struct store_txn txn = {.ops = &put, .op_count = 1};
    struct store_txn_result result;
    status =
        status ? status : store_txn(store, &txn, store_deadline(store, STORE_WORK), &result, err);
    load->lease_due = clock_deadline(MARK_MS / 3);
    return status ? err_wrap(err, "note the load run in the store") : ST_OK;
}

/* The process's end would do it too. */
static void drop_mark(const struct load *load)
{
    if (load->lease)
        status_ignore(store_lease_revoke(load->request->store, load->lease,
                                         store_deadline(load->request->store, STORE_WORK), NULL),
                      "the lease ends by itself");
}

static void keep_mark(struct load *load, nsec now)
{
    if (now < load->lease_due)
        return;
    load->lease_due = now + MARK_MS / 3 * NSEC_PER_MS;
    status_ignore(store_lease_keepalive(load->request->store, load->lease,
                                        store_deadline(load->request->store, STORE_GLANCE), NULL),
                  "asked again in twenty minutes, before it ends");
}

/* --- rounds ---------------------------------------------------------------------------------- */

static uint64_t count_acknowledged(const struct load *load, size_t shard)
{
    uint64_t count = 0;
    for (size_t i = 0; i < load->request->writers; i++)
        count += load->shards[shard].writers[i].ledger.acknowledged;
    return count;
}

static void say_progress(struct load *load, nsec now)
{
    const struct load_request *request = load->request;
    if (!request->on_progress || now < load->progress_due)
        return;
    struct load_progress progress = {.elapsed = now - load->started,
                                     .duration = load->duration,
                                     .shard_count = load->shard_count};
    for (size_t i = 0; i < load->shard_count; i++) {
        progress.acknowledged += count_acknowledged(load, i);
        progress.silent_count += now - load->shards[i].gauge.last > SILENCE_MS * NSEC_PER_MS;
    }
    double seconds = clock_ms(now - load->progress_at) / 1000;
    progress.rate = (double)(progress.acknowledged - load->progress_count) / seconds;
    load->progress_at = now;
    load->progress_count = progress.acknowledged;
    load->progress_due = now + PROGRESS_MS * NSEC_PER_MS;
    request->on_progress(&progress);
}

static void round_once(struct load *load)
{
    load__loop_round(&load->loop);
    if (load->loop.has_news) {
        load->loop.has_news = false;
        load__routes_read(load);
    }
    nsec now = clock_now();
    for (size_t i = 0; i < load->shard_count; i++) {
        load__target_pump(&load->shards[i], now);
        for (size_t j = 0; j < load->request->writers; j++)
            load__writer_pump(&load->shards[i].writers[j], now);
    }
}

static bool is_interrupted(const struct load *load)
{
    return load->request->is_interrupted && load->request->is_interrupted();
}

/* How many writers are as asked. */
static size_t count_writers(const struct load *load, bool (*is)(const struct writer *writer))
{
    size_t count = 0;
    for (size_t i = 0; i < load->shard_count; i++)
        for (size_t j = 0; j < load->request->writers; j++)
            count += is(&load->shards[i].writers[j]);
    return count;
}

/* Connecting is not the load's business. Who is not connected in time counts as a gap from then. */
static void warm_up(struct load *load)
{
    nsec deadline = clock_deadline(WARM_MS);
    size_t all = load->shard_count * load->request->writers;
    load->loop.wake = clock_now();
    do
        round_once(load);
    while (count_writers(load, load__writer_is_ready) < all && clock_now() < deadline &&
           !is_interrupted(load));
}

/* Paced writers start one after the other, not all at once. */
static void start_writing(struct load *load)
{
    const struct load_request *request = load->request;
    nsec now = clock_now(), period = request->rate ? NSEC_PER_SEC / request->rate : 0;
    load->started = load->progress_at = now;
    load->progress_due = now + PROGRESS_MS * NSEC_PER_MS;
    load->duration = request->duration_ms * NSEC_PER_MS;
    load->is_writing = true;
    load->loop.wake = now;
    for (size_t i = 0; i < load->shard_count; i++) {
        load->shards[i].report->moves = 0;
        gauge_start(&load->shards[i].gauge, now);
        for (size_t j = 0; j < request->writers; j++)
            load->shards[i].writers[j].due = now + period * (nsec)j / (nsec)request->writers;
    }
}

static void stop_writing(struct load *load)
{
    nsec now = clock_now();
    load->is_writing = false;
    load->report->seconds = clock_ms(now - load->started) / 1000;
    for (size_t i = 0; i < load->shard_count; i++)
        gauge_stop(&load->shards[i].gauge, now);
}

static void write_rows(struct load *load)
{
    start_writing(load);
    nsec end = load->started + load->duration;
    for (nsec now = load->started; now < end && !is_interrupted(load); now = clock_now()) {
        load__loop_wake_at(&load->loop, end);
        round_once(load);
        say_progress(load, now);
        keep_mark(load, now);
    }
    load->report->was_interrupted = is_interrupted(load);
    stop_writing(load);
    nsec deadline = clock_deadline(DRAIN_MS);
    while (count_writers(load, load__writer_is_busy) > 0 && clock_now() < deadline)
        load__loop_round(&load->loop);
    for (size_t i = 0; i < load->shard_count; i++)
        for (size_t j = 0; j < load->request->writers; j++)
            load__writer_give_up(&load->shards[i].writers[j]);
}

/* --- the report ------------------------------------------------------------------------------ */

/* The gauge's clock is the boot clock; people want to know when. */
static int64_t wall_of(nsec then)
{
    return clock_wall_us() - (clock_now() - then) / 1000;
}

static void report_shard(struct load *load, size_t index)
{
    const struct load_shard *shard = &load->shards[index];
    struct load_shard_report *report = shard->report;
    report->acknowledged = count_acknowledged(load, index);
    for (size_t i = 0; i < load->request->writers; i++) {
        const struct ledger *ledger = &shard->writers[i].ledger;
        uint64_t exceptions = 0;
        for (size_t j = 0; j < ledger->count; j++)
            exceptions += ledger->exceptions[j].last - ledger->exceptions[j].first + 1;
        INVARIANT(ledger->acknowledged + exceptions == ledger->taken); /* every outcome is told */
        report->unknown += ledger->unknown;
    }
    report->rate = (double)report->acknowledged / load->report->seconds;
    report->longest_gap_ms = clock_ms(shard->gauge.longest);
    report->gap_at_us = wall_of(shard->gauge.longest_began);
    report->p50_ms = gauge_latency_ms(&shard->gauge, 50);
    report->p99_ms = gauge_latency_ms(&shard->gauge, 99);
    load->report->acknowledged += report->acknowledged;
    load->report->unknown += report->unknown;
    load->report->rate += report->rate;
}

static void verify(struct load *load)
{
    for (size_t i = 0; i < load->shard_count; i++)
        report_shard(load, i);
    if (load->request->on_progress) {
        struct load_progress progress = {.elapsed = load->duration + 1,
                                         .duration = load->duration,
                                         .acknowledged = load->report->acknowledged,
                                         .shard_count = load->shard_count};
        load->request->on_progress(&progress);
    }
    load__verify(load, clock_deadline(load->request->verify_ms));
}

enum status load_run(const struct load_request *request, struct load_report *ret, struct err *err)
{
    struct load_report report = {0};
    struct load load = {
        .request = request, .report = &report, .loop = {.epoll_fd = -1, .timer_fd = -1}};
    enum status status = load__setup(&load, err);
    status = status ? status : set_mark(&load, err);
    if (!status) {
        warm_up(&load);
        write_rows(&load);
        verify(&load);
    }
    drop_mark(&load);
    load__release(&load);
    if (status)
        load_report_release(&report);
    else
        *ret = report;
    return status;
}
