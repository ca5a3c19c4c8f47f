/* SPDX-License-Identifier: Apache-2.0
 * What a run came to, as JSON. */
#include "conductor/switchover.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/stats.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void shard_report_tell(struct shard_report *report, const struct story *story)
{
    for (unsigned i = 0; i < MOVE_PHASES; i++)
        report->phases_ms[i] = clock_ms(story->phase_ns[i]);
    for (size_t i = 0; i < story->span_count; i++)
        VEC_PUSH(report->spans, report->span_count, report->span_capacity, story->spans[i]);
    char *notes = mem_printf("%s%s", report->notes ? report->notes : "", buf_text(&story->notes));
    free(report->notes);
    report->notes = notes;
}

/* -1 and other negatives mean "not measured": null in JSON. Microseconds are enough. */
static json_t *ms_or_null(double ms)
{
    return ms < 0 ? json_null() : json_real(round(ms * 1000) / 1000);
}

/* The outage of a shard: by the probe, or else the critical section as the runner saw it. */
static double outage_of(const struct switchover_report *report, const struct shard_report *shard)
{
    return report->is_measured ? shard->outage_ms : shard->critical_ms;
}

static json_t *timeline_json(const struct switchover_report *report,
                             const struct shard_report *shard)
{
    json_t *timeline = json_array();
    for (size_t i = 0; i < shard->span_count; i++) {
        const struct move_span *span = &shard->spans[i];
        json_array_append_new(timeline,
                              json_pack("{s:s, s:o, s:o}", "phase", move_phase_name(span->phase),
                                        "from_ms", ms_or_null(clock_ms(span->from - report->began)),
                                        "to_ms", ms_or_null(clock_ms(span->to - report->began))));
    }
    return timeline;
}

static const char *wave_of(const struct switchover_report *report, size_t shard)
{
    for (size_t i = 0; i < report->waves.count; i++)
        if (shard < report->waves.items[i].end)
            return report->waves.items[i].name;
    return "";
}

/* A planned move counts what its old primary has beyond its final position. A failover cannot: it
 * has lost nothing that was acknowledged, or does not know. */
static json_t *lost_json(const struct switchover_report *report, const struct shard_report *shard)
{
    bool is_known = report->kind != RUN_FAILOVER || shard->is_nothing_lost;
    return is_known ? json_integer((json_int_t)shard->late_transactions) : json_null();
}

static json_t *shard_json(const struct switchover_report *report, size_t index)
{
    const struct shard_report *shard = &report->shards[index];
    json_t *phases = json_object();
    size_t count = 0;
    const enum move_phase *ran = move_phases_of(report->kind == RUN_FAILOVER, &count);
    for (size_t i = 0; i < count; i++)
        json_object_set_new(phases, move_phase_name(ran[i]), ms_or_null(shard->phases_ms[ran[i]]));
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:I, s:o, s:o}", "name", shard->shard->name, "result",
        move_result_name(shard->result), "epoch", (json_int_t)shard->epoch, "primary",
        shard->primary, "write_outage_ms", ms_or_null(outage_of(report, shard)), "baseline_gap_ms",
        ms_or_null(shard->baseline_ms), "critical_ms", ms_or_null(shard->critical_ms),
        "critical_statements", (json_int_t)shard->critical_statements, "phases_ms", phases,
        "lost_transactions", lost_json(report, shard));
    INVARIANT(object);
    json_object_set_new(object, "wave", json_string(wave_of(report, index)));
    json_object_set_new(object, "timeline", timeline_json(report, shard));
    if (shard->evidence)
        json_object_set_new(object, "loss_evidence", json_string(shard->evidence));
    if (shard->loss_ms >= 0)
        json_object_set_new(object, "loss_bound_ms", ms_or_null(shard->loss_ms));
    if (shard->loss_transactions >= 0)
        json_object_set_new(object, "loss_estimate", json_integer(shard->loss_transactions));
    if (shard->result == MOVE_STUCK)
        json_object_set_new(object, "writable", json_boolean(shard->is_writable));
    if (shard->at_least_ms >= 0)
        json_object_set_new(object, "outage_at_least_ms", ms_or_null(shard->at_least_ms));
    if (shard->closed_since_us)
        json_object_set_new(object, "closed_since_us",
                            json_integer((json_int_t)shard->closed_since_us));
    if (shard->err.status) {
        json_object_set_new(object, "error", json_string(shard->err.text));
        if (shard->err.hint[0])
            json_object_set_new(object, "hint", json_string(shard->err.hint));
        if (shard->cause)
            json_object_set_new(object, "began_with", json_string(shard->cause));
    }
    if (shard->notes && shard->notes[0])
        json_object_set_new(object, "notes", json_string(shard->notes));
    return object;
}

static size_t count_moved(const struct switchover_report *report)
{
    size_t moved = 0;
    for (size_t i = 0; i < report->count; i++)
        moved += report->shards[i].result == MOVE_MOVED;
    return moved;
}

/* How long half of those took that moved, from the first step to the last. */
static double usual_shard_ms(const struct switchover_report *report)
{
    AUTO(stats_release) struct stats took = {0};
    for (size_t i = 0; i < report->count; i++) {
        const struct shard_report *shard = &report->shards[i];
        nsec began = atomic_load(&shard->began_at), ended = atomic_load(&shard->ended_at);
        if (shard->result == MOVE_MOVED && began && ended > began)
            stats_add(&took, clock_ms(ended - began));
    }
    return took.count ? stats_percentile(&took, 50) : -1;
}

static json_t *outage_json(const struct switchover_report *report)
{
    AUTO(stats_release) struct stats outages = {0};
    for (size_t i = 0; i < report->count; i++)
        if (outage_of(report, &report->shards[i]) >= 0)
            stats_add(&outages, outage_of(report, &report->shards[i]));
    if (outages.count == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "p50", ms_or_null(stats_percentile(&outages, 50)), "p99",
                     ms_or_null(stats_percentile(&outages, 99)), "max",
                     ms_or_null(stats_percentile(&outages, 100)));
}

/* Who knows how long clients could not write; a failover's runner knows when it began. */
static const char *measured_by(const struct switchover_report *report)
{
    size_t moved = 0, timed = 0;
    for (size_t i = 0; i < report->count; i++) {
        moved += report->shards[i].result == MOVE_MOVED;
        timed += report->shards[i].result == MOVE_MOVED && report->shards[i].is_loss_timed;
    }
    if (report->kind == RUN_FAILOVER && timed > 0 && timed == moved)
        return "conductor";
    return report->is_measured ? "probe" : "runner";
}

/* What was ordered and what it came to, without the shards. */
static json_t *head_json(const struct switchover_report *report)
{
    char ordered[WALL_TEXT_MAX], began[WALL_TEXT_MAX];
    clock_wall_format(report->ordered_us, ordered);
    clock_wall_format(report->began_us, began);
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:b, s:{s:I, s:I}, s:o, s:o, s:I, s:I, s:I, "
        "s:s, s:o}",
        "run", report->run, "kind", run_kind_name(report->kind), "result",
        run_state_name(report->state), "from", report->from, "to", report->to, "by", report->by,
        "ordered", ordered, "began", began, "resumed", report->is_resumed, "promise", "rto_ms",
        (json_int_t)report->promise_rto_ms, "rpo_ms", (json_int_t)report->promise_rpo_ms, "took_ms",
        ms_or_null(report->took_ms), "estimate_ms", ms_or_null(report->estimate_ms), "waves",
        (json_int_t)report->waves.count, "settle_ms", (json_int_t)report->settle_ms, "moved",
        (json_int_t)count_moved(report), "measured_by", measured_by(report), "write_outage_ms",
        outage_json(report));
    INVARIANT(object);
    if (report->is_resumed && report->took_ms >= 0)
        json_object_set_new(
            object, "since_ordered_ms",
            ms_or_null((double)(report->began_us - report->ordered_us) / 1000 + report->took_ms));
    if (usual_shard_ms(report) >= 0)
        json_object_set_new(object, "shard_ms", ms_or_null(usual_shard_ms(report)));
    if (report->reason)
        json_object_set_new(object, "reason", json_string(report->reason));
    if (report->hooks)
        json_object_set_new(object, "hooks", json_loads(report->hooks, 0, NULL));
    if (report->audit)
        json_object_set_new(object, "audit", json_string(report->audit));
    if (report->stopped.status)
        json_object_set_new(object, "stopped", json_string(report->stopped.text));
    return object;
}

static char *dump(json_t *take, size_t style)
{
    char *text = json_dumps(take, style | JSON_REAL_PRECISION(9));
    json_decref(take);
    INVARIANT(text);
    return text;
}

char *switchover_report_head(const struct switchover_report *report)
{
    return dump(head_json(report), JSON_COMPACT);
}

char *switchover_report_shard(const struct switchover_report *report, size_t index)
{
    return dump(shard_json(report, index), JSON_COMPACT);
}

char *switchover_report_json(const struct switchover_report *report)
{
    json_t *object = head_json(report), *shards = json_array();
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(shards, shard_json(report, i));
    json_object_set_new(object, "shards", shards);
    return dump(object, JSON_INDENT(2));
}

/* ---- what an earlier process of the same run wrote ---- */

static double ms_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : -1;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* What it measured is all there is; its timeline began at another moment, and is left out. */
static void take_move(struct shard_report *shard, const json_t *earlier)
{
    const json_t *phases = json_object_get(earlier, "phases_ms");
    shard->result = MOVE_MOVED;
    shard->outage_ms = ms_at(earlier, "write_outage_ms");
    shard->baseline_ms = ms_at(earlier, "baseline_gap_ms");
    shard->critical_ms = ms_at(earlier, "critical_ms");
    shard->critical_statements =
        (size_t)json_integer_value(json_object_get(earlier, "critical_statements"));
    shard->late_transactions +=
        (uint64_t)json_integer_value(json_object_get(earlier, "lost_transactions"));
    for (unsigned i = 0; i < MOVE_PHASES; i++)
        shard->phases_ms[i] = ms_at(phases, move_phase_name((enum move_phase)i));
    shard->span_count = 0;
}

/* A run that waits may be resumed many times, and find the same each time. */
static void add_new_lines(struct buf *notes, const char *lines)
{
    for (const char *at = lines; *at;) {
        size_t length = strcspn(at, "\n");
        AUTO_FREE char *line = mem_printf("%.*s\n", (int)length, at);
        if (!strstr(buf_text(notes), line))
            buf_add(notes, line);
        at += length + (at[length] == '\n');
    }
}

/* The process before this one saw that nobody could write, and that was so until this one began. */
static void add_closed_time(struct shard_report *shard, const json_t *earlier)
{
    int64_t since = json_integer_value(json_object_get(earlier, "closed_since_us"));
    if (!since || since >= shard->began_us)
        return;
    double ms = (double)(shard->began_us - since) / 1000;
    shard->at_least_ms = ms > shard->at_least_ms ? ms : shard->at_least_ms;
    if (shard->closed_since_us)
        shard->closed_since_us = since;
}

/* Of a failover that the process before this one saw whole. */
static void take_evidence(struct shard_report *shard, const json_t *earlier)
{
    const char *evidence = text_at(earlier, "loss_evidence");
    if (!evidence[0] || shard->result != MOVE_MOVED || shard->is_nothing_lost)
        return;
    free(shard->evidence);
    shard->evidence = mem_strdup(evidence);
    shard->is_nothing_lost = json_is_integer(json_object_get(earlier, "lost_transactions"));
    shard->loss_ms = ms_at(earlier, "loss_bound_ms");
    const json_t *estimate = json_object_get(earlier, "loss_estimate");
    shard->loss_transactions = json_is_integer(estimate) ? json_integer_value(estimate) : -1;
}

void switchover_report_add_earlier(struct shard_report *shard, const char *json)
{
    json_t *earlier = json_loads(json, 0, NULL);
    const char *result = text_at(earlier, "result"), *why = text_at(earlier, "error");
    const char *moved = move_result_name(MOVE_MOVED);
    AUTO(buf_release) struct buf notes = {0};
    buf_add(&notes, text_at(earlier, "notes"));
    if (strcmp(result, moved) == 0 && shard->result == MOVE_ALREADY_THERE) {
        take_move(shard, earlier);
        buf_add(&notes, "moved before the run was resumed\n");
    } else if (result[0]) {
        AUTO_FREE char *before =
            mem_printf("before the run was resumed: %s%s%s\n", result, why[0] ? ": " : "", why);
        add_new_lines(&notes, before);
    }
    take_evidence(shard, earlier);
    add_closed_time(shard, earlier);
    add_new_lines(&notes, shard->notes ? shard->notes : "");
    free(shard->notes);
    shard->notes = buf_take(&notes);
    json_decref(earlier);
}
