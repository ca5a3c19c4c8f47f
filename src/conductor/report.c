/* SPDX-License-Identifier: Apache-2.0
 * What a run came to, as JSON. */
#include "conductor/switchover.h"

#include "base/invariant.h"
#include "base/scope.h"
#include "base/stats.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static json_t *shard_json(const struct switchover_report *report, const struct shard_report *shard)
{
    json_t *phases = json_object();
    for (unsigned i = 0; i < MOVE_PHASES; i++)
        json_object_set_new(phases, move_phase_name((enum move_phase)i),
                            ms_or_null(shard->phases_ms[i]));
    json_t *object = json_pack(
        "{s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:I, s:o, s:I}", "name", shard->shard->name, "result",
        move_result_name(shard->result), "epoch", (json_int_t)shard->epoch, "primary",
        shard->primary, "write_outage_ms", ms_or_null(outage_of(report, shard)), "baseline_gap_ms",
        ms_or_null(shard->baseline_ms), "critical_ms", ms_or_null(shard->critical_ms),
        "critical_statements", (json_int_t)shard->critical_statements, "phases_ms", phases,
        "lost_transactions", (json_int_t)shard->late_transactions);
    INVARIANT(object);
    json_object_set_new(object, "timeline", timeline_json(report, shard));
    if (shard->err.status) {
        json_object_set_new(object, "error", json_string(shard->err.text));
        if (shard->err.hint[0])
            json_object_set_new(object, "hint", json_string(shard->err.hint));
    }
    if (shard->notes && shard->notes[0])
        json_object_set_new(object, "notes", json_string(shard->notes));
    return object;
}

static const char *wave_of(const struct switchover_report *report, size_t shard)
{
    for (size_t i = 0; i < report->waves.count; i++)
        if (shard < report->waves.items[i].end)
            return report->waves.items[i].name;
    return "";
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

static json_t *report_json(const struct switchover_report *report)
{
    char ordered[WALL_TEXT_MAX], began[WALL_TEXT_MAX];
    clock_wall_format(report->ordered_us, ordered);
    clock_wall_format(report->began_us, began);
    json_t *shards = json_array();
    for (size_t i = 0; i < report->count; i++) {
        json_t *shard = shard_json(report, &report->shards[i]);
        json_object_set_new(shard, "wave", json_string(wave_of(report, i)));
        json_array_append_new(shards, shard);
    }
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:b, s:{s:I, s:I}, s:o, s:s, s:o, s:o}", "run",
        report->run, "kind", "switchover", "result", run_state_name(report->state), "from",
        report->from, "to", report->to, "by", report->by, "ordered", ordered, "began", began,
        "resumed", report->is_resumed, "promise", "rto_ms", (json_int_t)report->promise_rto_ms,
        "rpo_ms", (json_int_t)report->promise_rpo_ms, "took_ms", ms_or_null(report->took_ms),
        "measured_by", report->is_measured ? "probe" : "runner", "write_outage_ms",
        outage_json(report), "shards", shards);
    INVARIANT(object);
    if (report->reason)
        json_object_set_new(object, "reason", json_string(report->reason));
    if (report->audit)
        json_object_set_new(object, "audit", json_string(report->audit));
    if (report->stopped.status)
        json_object_set_new(object, "stopped", json_string(report->stopped.text));
    return object;
}

static char *dump(const json_t *object, size_t style)
{
    char *text = json_dumps(object, style | JSON_REAL_PRECISION(9));
    INVARIANT(text);
    return text;
}

char *switchover_report_json(const struct switchover_report *report)
{
    json_t *object = report_json(report);
    char *text = dump(object, JSON_INDENT(2));
    json_decref(object);
    return text;
}

char *switchover_report_json_stored(const struct switchover_report *report, size_t cap_bytes)
{
    json_t *object = report_json(report), *shard = NULL;
    char *text = dump(object, JSON_COMPACT);
    if (strlen(text) > cap_bytes) {
        size_t index = 0;
        json_array_foreach(json_object_get(object, "shards"), index, shard)
            json_object_del(shard, "timeline");
        free(text);
        text = dump(object, JSON_COMPACT);
    }
    json_decref(object);
    return text;
}
