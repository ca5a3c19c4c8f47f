/* SPDX-License-Identifier: Apache-2.0
 * The history of runs; see history.h.
 *
 * The model: a run takes a fixed time, and some for each shard; waiting between waves is known.
 * Runs of about the wanted size speak for themselves; others are scaled, and the error is given as
 * wider. */
#include "conductor/history.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/stats.h"
#include "conductor/report_store.h"
#include "conductor/run_record.h"
#include "move/journal.h"
#include "store/store.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAME_MIN = 3,      /* runs of the wanted size that are enough */
    SAME_MAX = 10,     /* older ones tell of another time */
    SAME_PERCENT = 20, /* so much larger or smaller is about the same size */
    LOW_PERCENTILE = 10,
    HIGH_PERCENTILE = 90,
};

/* With runs of one size only: the fixed time, in shards; and how wrong scaling may be. */
static const double fixed_shards = 0.5, scaling_error = 1.5;

static double number_at(const json_t *object, const char *key, double missing)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : missing;
}

/* It waited for a program that hung: that says nothing of the next run. */
static bool has_late_gate(const json_t *head)
{
    const json_t *hook = NULL, *failure = NULL;
    size_t i = 0, j = 0;
    json_array_foreach(json_object_get(head, "hooks"), i, hook)
    {
        json_array_foreach(json_object_get(hook, "failures"), j, failure)
        {
            const char *event = json_string_value(json_object_get(failure, "event"));
            const char *end = json_string_value(json_object_get(failure, "end"));
            if (event && end && strstr(event, ".before") && strcmp(end, "timed out") == 0)
                return true;
        }
    }
    return false;
}

void history_add(struct history *history, const char *head_json)
{
    json_t *head = json_loads(head_json, 0, NULL);
    const char *result = json_string_value(json_object_get(head, "result"));
    const char *kind = json_string_value(json_object_get(head, "kind"));
    const json_t *outage = json_object_get(head, "write_outage_ms");
    struct history_run run = {
        .shape.shards = (size_t)fmax(0, number_at(head, "moved", 0)),
        .shape.waves = (size_t)fmax(1, number_at(head, "waves", 1)),
        .shape.settle_ms = (int64_t)fmax(0, number_at(head, "settle_ms", 0)),
        .took_ms = number_at(head, "took_ms", -1),
        .shard_ms = number_at(head, "shard_ms", -1),
        .outage_p50_ms = number_at(outage, "p50", -1),
        .outage_p99_ms = number_at(outage, "p99", -1),
    };
    bool is_whole = kind && strcmp(kind, run_kind_name(RUN_SWITCHOVER)) == 0 && result &&
                    strcmp(result, run_state_name(RUN_DONE)) == 0 &&
                    !json_is_true(json_object_get(head, "resumed")) && !has_late_gate(head);
    if (is_whole && run.shape.shards > 0 && run.took_ms > 0)
        VEC_PUSH(history->runs, history->count, history->capacity, run);
    json_decref(head);
}

enum status history_load(struct store *store, struct history *ret, struct err *err)
{
    AUTO(store_list_release) struct store_list heads = {0};
    enum status status =
        store_list(store, "reports/", store_deadline(store, STORE_WORK), &heads, err);
    for (size_t i = heads.count; i-- > 0 && ret->count < HISTORY_RUNS_MAX;) /* by time */
        history_add(ret, heads.entries[i].value);
    return status;
}

void history_release(struct history *history)
{
    free(history->runs);
    *history = (struct history){0};
}

/* ---- the estimate ---- */

static double waiting_ms(const struct run_shape *shape)
{
    return shape->waves > 1 ? (double)(shape->waves - 1) * (double)shape->settle_ms : 0;
}

static double working_ms(const struct history_run *run)
{
    return fmax(1, run->took_ms - waiting_ms(&run->shape));
}

static bool is_about(const struct run_shape *one, const struct run_shape *other)
{
    double larger = (double)(one->shards > other->shards ? one->shards : other->shards);
    double smaller = (double)(one->shards > other->shards ? other->shards : one->shards);
    return one->waves == other->waves && larger * 100 <= smaller * (100 + SAME_PERCENT);
}

/* Neither part is negative. */
struct line {
    double fixed, each;
};

/* Half of the runs say more a shard. */
static double typical_each(const struct history *history)
{
    AUTO(stats_release) struct stats each = {0};
    for (size_t i = 0; i < history->count; i++)
        stats_add(&each, working_ms(&history->runs[i]) /
                             ((double)history->runs[i].shape.shards + fixed_shards));
    return stats_percentile(&each, 50);
}

/* What two runs of different size say a shard takes: the median over all pairs, because the first
 * run after a start, or one on a disk that stalled, says nothing of the others (Theil and Sen). */
static double each_of_pairs(const struct history *history)
{
    AUTO(stats_release) struct stats slopes = {0};
    for (size_t i = 0; i < history->count; i++)
        for (size_t j = 0; j < i; j++) {
            const struct history_run *a = &history->runs[i], *b = &history->runs[j];
            double more = (double)a->shape.shards - (double)b->shape.shards;
            if (more != 0)
                stats_add(&slopes, (working_ms(a) - working_ms(b)) / more);
        }
    return slopes.count ? stats_percentile(&slopes, 50) : 0;
}

static struct line fit(const struct history *history)
{
    AUTO(stats_release) struct stats fixed = {0};
    struct line line = {.each = each_of_pairs(history)};
    for (size_t i = 0; i < history->count; i++)
        stats_add(&fixed, working_ms(&history->runs[i]) -
                              line.each * (double)history->runs[i].shape.shards);
    line.fixed = stats_percentile(&fixed, 50);
    if (line.each > 0 && line.fixed >= 0)
        return line;
    line.each = typical_each(history);
    line.fixed = line.each * fixed_shards;
    return line;
}

static double on_line(const struct line *line, const struct run_shape *shape)
{
    return line->fixed + line->each * (double)shape->shards;
}

static void estimate_scaled(const struct history *history, const struct run_shape *shape,
                            struct estimate *ret)
{
    AUTO(stats_release) struct stats ratios = {0};
    struct line line = fit(history);
    for (size_t i = 0; i < history->count; i++)
        stats_add(&ratios, working_ms(&history->runs[i]) / on_line(&line, &history->runs[i].shape));
    double expected = on_line(&line, shape);
    ret->runs = history->count;
    ret->took_ms = expected;
    ret->low_ms = expected * fmin(1, stats_percentile(&ratios, LOW_PERCENTILE)) / scaling_error;
    ret->high_ms = expected * fmax(1, stats_percentile(&ratios, HIGH_PERCENTILE)) * scaling_error;
}

static double estimate_shard(const struct history *history)
{
    AUTO(stats_release) struct stats all = {0};
    for (size_t i = 0; i < history->count; i++)
        if (history->runs[i].shard_ms > 0)
            stats_add(&all, history->runs[i].shard_ms);
    return all.count ? stats_percentile(&all, 50) : -1;
}

static void estimate_outage(const struct history *history, struct estimate *ret)
{
    AUTO(stats_release) struct stats halves = {0}, most = {0};
    for (size_t i = 0; i < history->count; i++)
        if (history->runs[i].outage_p50_ms >= 0) {
            stats_add(&halves, history->runs[i].outage_p50_ms);
            stats_add(&most, history->runs[i].outage_p99_ms);
        }
    ret->outage_p50_ms = halves.count ? stats_percentile(&halves, 50) : -1;
    ret->outage_p99_ms = most.count ? stats_percentile(&most, HIGH_PERCENTILE) : -1;
}

struct estimate history_estimate(const struct history *history, const struct run_shape *shape)
{
    struct estimate estimate = {.shard_ms = -1, .outage_p50_ms = -1, .outage_p99_ms = -1};
    if (history->count == 0 || shape->shards == 0)
        return estimate;
    AUTO(stats_release) struct stats same = {0};
    for (size_t i = 0; i < history->count && same.count < SAME_MAX; i++)
        if (is_about(&history->runs[i].shape, shape))
            stats_add(&same, working_ms(&history->runs[i]));
    if (same.count >= SAME_MIN) {
        estimate.runs = same.count;
        estimate.took_ms = stats_percentile(&same, 50);
        estimate.low_ms = stats_percentile(&same, LOW_PERCENTILE);
        estimate.high_ms = stats_percentile(&same, HIGH_PERCENTILE);
    } else {
        estimate_scaled(history, shape, &estimate);
    }
    double waiting = waiting_ms(shape);
    estimate.took_ms += waiting;
    estimate.low_ms += waiting;
    estimate.high_ms += waiting;
    estimate.shard_ms = estimate_shard(history);
    estimate_outage(history, &estimate);
    return estimate;
}

/* ---- how many are kept ---- */

static enum status remove_run(struct store *store, const char *id, const char *journal_directory,
                              struct err *err)
{
    enum status status = report_remove(store, id, err);
    if (status)
        return status;
    if (journal_directory)
        journal_remove(journal_directory, id);
    AUTO_FREE char *key = run_record_key(id); /* last: until then the next call finds the rest */
    struct store_op op = {STORE_DELETE, key, NULL, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    return store_txn(store, &txn, store_deadline(store, STORE_WORK), &result, err);
}

/* Else it may be resumed. */
static bool is_finished(const struct run_record *record)
{
    return !record->unreadable && run_state_is_over(record->state);
}

enum status history_trim(struct store *store, size_t keep, const char *journal_directory,
                         struct err *err)
{
    struct run_record *records = NULL;
    size_t count = 0;
    enum status status = run_record_list(store, &records, &count, err);
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        left += is_finished(&records[i]);
    for (size_t i = 0; i < count && left > keep && !status; i++) {
        if (!is_finished(&records[i]))
            continue;
        status = remove_run(store, records[i].id, journal_directory, err);
        left--;
    }
    size_t unfinished = 0;
    for (size_t i = 0; i < count; i++)
        unfinished += !is_finished(&records[i]);
    run_record_list_free(records, count);
    if (journal_directory && !status)
        journal_trim(journal_directory, keep + unfinished);
    return status;
}
