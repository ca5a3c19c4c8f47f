/* SPDX-License-Identifier: Apache-2.0
 * A report as lines for a terminal; see text.h. */
#include "report/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void add_ms(struct buf *out, const json_t *value, int width)
{
    if (json_is_number(value))
        buf_printf(out, " %*.1f", width, json_number_value(value));
    else
        buf_printf(out, " %*s", width, "-");
}

/* Measured, or at least known to have been so long. */
static void add_outage(struct buf *out, const json_t *shard)
{
    const json_t *least = json_object_get(shard, "outage_at_least_ms");
    char text[32];
    if (json_is_number(json_object_get(shard, "write_outage_ms")) || !json_is_number(least)) {
        add_ms(out, json_object_get(shard, "write_outage_ms"), 9);
        return;
    }
    snprintf(text, sizeof(text), ">%.1f", json_number_value(least));
    buf_printf(out, " %9s", text);
}

/* The phases that a line has room for. */
static const char *const *columns_of(const json_t *report)
{
    static const char *const move[] = {"freeze", "promote", "publish", NULL};
    static const char *const failover[] = {"detect", "fence", "drain", "elect",
                                           "wait",   "open",  NULL};
    return strcmp(text_at(report, "kind"), "failover") == 0 ? failover : move;
}

static void format_shard(const json_t *shard, const char *const *columns, int width,
                         struct buf *out)
{
    const json_t *phases = json_object_get(shard, "phases_ms");
    buf_printf(out, "  %-*s  %-13s %-22s", width, text_at(shard, "name"), text_at(shard, "result"),
               text_at(shard, "primary"));
    add_outage(out, shard);
    add_ms(out, json_object_get(shard, "baseline_gap_ms"), 9);
    for (; *columns; columns++)
        add_ms(out, json_object_get(phases, *columns), 8);
    const json_t *lost = json_object_get(shard, "lost_transactions");
    if (json_is_integer(lost))
        buf_printf(out, " %5lld\n", (long long)json_integer_value(lost));
    else
        buf_printf(out, " %5s\n", text_at(shard, "loss_evidence")[0] ? "?" : "-");
    if (!json_is_integer(lost) && text_at(shard, "loss_evidence")[0])
        buf_printf(out, "      lost: %s%s\n",
                   json_is_number(json_object_get(shard, "loss_bound_ms")) ? "" : "not known: ",
                   text_at(shard, "loss_evidence"));
    if (text_at(shard, "error")[0])
        buf_printf(out, "      why: %s\n", text_at(shard, "error"));
    if (text_at(shard, "began_with")[0])
        buf_printf(out, "      began with: %s\n", text_at(shard, "began_with"));
    if (text_at(shard, "hint")[0])
        buf_printf(out, "      next: %s\n", text_at(shard, "hint"));
    for (const char *at = text_at(shard, "notes"); *at;) {
        size_t length = strcspn(at, "\n");
        buf_printf(out, "      note: %.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
}

static int name_width(const json_t *shards)
{
    size_t width = 5, index = 0;
    const json_t *shard = NULL;
    json_array_foreach(shards, index, shard)
    {
        size_t length = strlen(text_at(shard, "name"));
        width = length > width ? length : width;
    }
    return (int)width;
}

/* Of a failover: a shard of which this is not known says why, in its place. */
static void format_loss(const json_t *shards, struct buf *out)
{
    size_t index = 0, proven = 0;
    const json_t *shard = NULL;
    json_array_foreach(shards, index, shard) proven +=
        text_at(shard, "loss_evidence")[0] &&
        json_is_integer(json_object_get(shard, "lost_transactions"));
    if (proven)
        buf_printf(
            out,
            "lost: nothing that was acknowledged, at %zu of %zu shard%s: every replica of the "
            "region answered, and the new primary has what they had received\n",
            proven, json_array_size(shards), json_array_size(shards) == 1 ? "" : "s");
}

static void format_summary(const json_t *report, struct buf *out)
{
    const json_t *outage = json_object_get(report, "write_outage_ms");
    const json_t *took = json_object_get(report, "took_ms");
    const json_t *estimate = json_object_get(report, "estimate_ms");
    const json_t *ordered = json_object_get(report, "since_ordered_ms");
    const char *from = text_at(report, "from"), *to = text_at(report, "to");
    bool is_move = strcmp(from, to) != 0;
    buf_printf(out, "run %s: %s %s%s%s: %s", text_at(report, "run"), text_at(report, "kind"),
               is_move ? from : "in", is_move ? " -> " : " ", to, text_at(report, "result"));
    if (!json_is_number(took))
        buf_printf(out, ", %zu shard%s so far", json_array_size(json_object_get(report, "shards")),
                   json_array_size(json_object_get(report, "shards")) == 1 ? "" : "s");
    else
        buf_printf(out, " in %.2f s", json_number_value(took) / 1000);
    if (json_is_number(ordered))
        buf_printf(out, " since it was resumed, %.2f s since it was ordered",
                   json_number_value(ordered) / 1000);
    if (json_is_number(took) && json_is_number(estimate))
        buf_printf(out, " (estimated %.2f s)", json_number_value(estimate) / 1000);
    buf_add(out, "\n");
    if (text_at(report, "stopped")[0])
        buf_printf(out, "stopped: %s\n", text_at(report, "stopped"));
    if (strcmp(text_at(report, "kind"), "failover") == 0)
        format_loss(json_object_get(report, "shards"), out);
    if (!json_is_object(outage))
        return;
    buf_printf(out, "write outage (%s): p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
               strcmp(text_at(report, "measured_by"), "conductor") == 0
                   ? "from when the primary answered no more until the new one was published"
               : strcmp(text_at(report, "kind"), "failover") == 0
                   ? "from the order to fail over until the new primary was published"
               : strcmp(text_at(report, "measured_by"), "probe") == 0
                   ? "as the probe saw it, the longest wait without a move under 'before'"
                   : "freeze to publish as the runner saw it: it had no probe",
               json_number_value(json_object_get(outage, "p50")),
               json_number_value(json_object_get(outage, "p99")),
               json_number_value(json_object_get(outage, "max")));
}

static void format_hook(const json_t *hook, struct buf *out)
{
    static const struct {
        const char *key, *words;
    } counts[] = {{"undos", "of them to undo"}, {"failed", "failed"},
                  {"timed_out", "timed out"},   {"not_started", "not started"},
                  {"cancelled", "cancelled"},   {"not_called", "calls not made"}};
    buf_printf(out, "hook %s: %lld calls", text_at(hook, "name"),
               (long long)json_integer_value(json_object_get(hook, "calls")));
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        json_int_t count = json_integer_value(json_object_get(hook, counts[i].key));
        if (count)
            buf_printf(out, ", %lld %s", (long long)count, counts[i].words);
    }
    buf_printf(out, ", slowest %.0f ms%s\n", json_number_value(json_object_get(hook, "slowest_ms")),
               json_is_true(json_object_get(hook, "given_up"))
                   ? "; it timed out each time and was given up"
                   : "");
    const json_t *failure = NULL;
    size_t index = 0;
    json_array_foreach(json_object_get(hook, "failures"), index, failure)
    {
        const char *of = text_at(failure, text_at(failure, "shard")[0] ? "shard" : "wave");
        buf_printf(out, "      %s%s%s: %s\n", text_at(failure, "event"), of[0] ? " " : "", of,
                   text_at(failure, "why"));
    }
}

static void format_orders(const char *audit, struct buf *out)
{
    for (const char *at = audit; *at; at += *at == '\n') {
        size_t length = strcspn(at, "\n");
        buf_printf(out, "  %.*s\n", (int)length, at);
        at += length;
    }
}

void report_text_format(const char *json, bool with_orders, struct buf *out)
{
    json_t *report = json_loads(json, 0, NULL);
    if (!report) {
        buf_add(out, "the report in the store does not read\n");
        return;
    }
    const json_t *shards = json_object_get(report, "shards"), *shard = NULL;
    size_t index = 0;
    int width = name_width(shards);
    format_summary(report, out);
    if (with_orders)
        format_orders(text_at(report, "audit"), out);
    const char *const *columns = columns_of(report);
    buf_printf(out, "  %-*s  %-13s %-22s %9s %9s", width, "shard", "result", "primary", "outage ms",
               "before");
    for (const char *const *at = columns; *at; at++)
        buf_printf(out, " %8s", *at);
    buf_printf(out, " %5s\n", "lost");
    json_array_foreach(shards, index, shard) format_shard(shard, columns, width, out);
    const json_t *hooks = json_object_get(report, "hooks"), *hook = NULL;
    json_array_foreach(hooks, index, hook) format_hook(hook, out);
    json_decref(report);
}
