/* SPDX-License-Identifier: Apache-2.0
 * The report as the HTML page needs it, and how its texts and figures are written; see
 * report_page.h. */
#include "report/page.h"

#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What no run takes: keeps absurd figures of a damaged report out of the drawing. */
#define MS_MAX 1e9

static const struct {
    const char *class_name, *sign;
} results[MOVE_RESULTS] = {
    [MOVE_PENDING] = {"bad", "?"},      [MOVE_MOVED] = {"ok", "✓"},
    [MOVE_ALREADY_THERE] = {"ok", "="}, [MOVE_UNDONE] = {"back", "↩"},
    [MOVE_ABORTED] = {"back", "■"},     [MOVE_STOPPED] = {"back", "■"},
    [MOVE_STUCK] = {"bad", "!"},        [MOVE_FENCED] = {"bad", "→"},
};

const char *page_class(enum move_result result)
{
    return results[result].class_name;
}

const char *page_sign(enum move_result result)
{
    return results[result].sign;
}

/* ---- reading ---- */

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static double ms_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double ms = json_is_number(value) ? json_number_value(value) : -1;
    return ms < 0 ? -1 : fmin(ms, MS_MAX);
}

const char *page_head(const struct page *page, const char *key)
{
    return text_at(page->report, key);
}

static bool find_phase(const char *name, enum move_phase *ret)
{
    for (unsigned i = 0; i < MOVE_PHASES; i++)
        if (strcmp(move_phase_name((enum move_phase)i), name) == 0) {
            *ret = (enum move_phase)i;
            return true;
        }
    return false;
}

static enum move_result find_result(const char *name)
{
    for (unsigned i = 0; i < MOVE_RESULTS; i++)
        if (strcmp(move_result_name((enum move_result)i), name) == 0)
            return (enum move_result)i;
    return MOVE_PENDING;
}

static void read_timeline(const json_t *timeline, struct page_shard *shard)
{
    size_t index = 0;
    const json_t *entry = NULL;
    shard->frozen = -1;
    json_array_foreach(timeline, index, entry)
    {
        struct page_span span = {.from = ms_at(entry, "from_ms"), .to = ms_at(entry, "to_ms")};
        if (!find_phase(text_at(entry, "phase"), &span.phase) || span.from < 0 ||
            span.to < span.from)
            continue;
        VEC_PUSH(shard->spans, shard->span_count, shard->span_capacity, span);
        if ((span.phase == PHASE_FREEZE || span.phase == PHASE_FENCE) && shard->frozen < 0)
            shard->frozen = span.from;
    }
}

/* A failover of an older version counted 0 without knowing it. */
static void read_loss(const json_t *json, bool is_failover, struct page_shard *shard)
{
    const json_t *lost = json_object_get(json, "lost_transactions");
    const char *evidence = text_at(json, "loss_evidence");
    bool is_known = json_is_integer(lost) && (!is_failover || evidence[0]);
    shard->lost = is_known ? json_integer_value(lost) : -1;
    shard->loss_bound = ms_at(json, "loss_bound_ms");
    shard->doubt = "";
    if (!is_known && is_failover && shard->result == MOVE_MOVED)
        shard->doubt = evidence[0] ? evidence : "this report does not say";
}

static void read_shard(const json_t *json, bool is_failover, struct page_shard *shard)
{
    const json_t *phases = json_object_get(json, "phases_ms");
    shard->name = text_at(json, "name");
    shard->said = text_at(json, "result");
    shard->result = find_result(shard->said);
    shard->wave = text_at(json, "wave");
    shard->primary = text_at(json, "primary");
    shard->error = text_at(json, "error");
    shard->cause = text_at(json, "began_with");
    shard->hint = text_at(json, "hint");
    shard->notes = text_at(json, "notes");
    shard->outage = ms_at(json, "write_outage_ms");
    shard->at_least = ms_at(json, "outage_at_least_ms");
    shard->before = ms_at(json, "baseline_gap_ms");
    shard->critical = ms_at(json, "critical_ms");
    shard->is_writable = json_is_true(json_object_get(json, "writable"));
    read_loss(json, is_failover, shard);
    for (unsigned i = 0; i < MOVE_PHASES; i++)
        shard->phases[i] = ms_at(phases, move_phase_name((enum move_phase)i));
    read_timeline(json_object_get(json, "timeline"), shard);
}

static void read_head(struct page *page)
{
    const json_t *promise = json_object_get(page->report, "promise");
    page->took = ms_at(page->report, "took_ms");
    page->since_ordered = ms_at(page->report, "since_ordered_ms");
    page->estimate = ms_at(page->report, "estimate_ms");
    page->rto = ms_at(promise, "rto_ms");
    page->rpo = ms_at(promise, "rpo_ms");
    page->is_failover = strcmp(page_head(page, "kind"), "failover") == 0;
    page->leaves_region =
        page->is_failover && strcmp(page_head(page, "from"), page_head(page, "to")) != 0;
    page->is_timed = page->is_failover && strcmp(page_head(page, "measured_by"), "conductor") == 0;
    page->is_probed = strcmp(page_head(page, "measured_by"), "probe") == 0;
    page->is_resumed = json_is_true(json_object_get(page->report, "resumed"));
    page->has_waves = json_integer_value(json_object_get(page->report, "waves")) > 1;
    page->phases = move_phases_of(page->is_failover, &page->phase_count);
    page->end = fmax(page->took, 1);
}

enum status page_load(struct page *ret, const char *json, struct err *err)
{
    json_error_t error;
    json_t *report = json_loads(json, 0, &error);
    const json_t *shards = json_object_get(report, "shards"), *shard = NULL;
    if (!json_is_array(shards)) {
        json_decref(report);
        return err_set(err, ST_INVALID, "the report in the store does not read%s%s",
                       report ? "" : ": ", report ? "" : error.text);
    }
    struct page page = {.report = report, .count = json_array_size(shards)};
    page.shards = mem_zalloc((page.count + 1) * sizeof(*page.shards));
    read_head(&page);
    size_t index = 0;
    json_array_foreach(shards, index, shard)
    {
        struct page_shard *to = &page.shards[index];
        read_shard(shard, page.is_failover, to);
        page.has_timeline = page.has_timeline || json_is_array(json_object_get(shard, "timeline"));
        for (size_t i = 0; i < to->span_count; i++)
            page.end = fmax(page.end, to->spans[i].to);
    }
    *ret = page;
    return ST_OK;
}

void page_release(struct page *page)
{
    for (size_t i = 0; i < page->count; i++)
        free(page->shards[i].spans);
    free(page->shards);
    json_decref(page->report);
    *page = (struct page){0};
}

bool page_is_simple(const struct page_shard *shard)
{
    return (shard->result == MOVE_MOVED || shard->result == MOVE_ALREADY_THERE) &&
           !shard->error[0] && !shard->doubt[0] && shard->lost <= 0;
}

bool page_is_plain(const struct page_shard *shard)
{
    return page_is_simple(shard) && !shard->notes[0];
}

/* ---- writing ---- */

/* What stands in the page in place of the 'length' bytes at 'at'; NULL: they themselves. */
static const char *instead_of(const unsigned char *at, size_t left, size_t *ret_length)
{
    static const char *const escapes[] = {
        ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};
    bool is_shown = false;
    *ret_length = text_next(at, left, &is_shown);
    if (!is_shown)
        return TEXT_REPLACED;
    return *at < ARRAY_SIZE(escapes) ? escapes[*at] : NULL;
}

void page_text_bytes(struct buf *out, const char *text, size_t length)
{
    size_t kept = 0, size = 0;
    for (size_t at = 0; at < length; at += size) {
        const char *instead = instead_of((const unsigned char *)text + at, length - at, &size);
        if (!instead)
            continue;
        buf_add_bytes(out, text + kept, at - kept);
        buf_add(out, instead);
        kept = at + size;
    }
    buf_add_bytes(out, text + kept, length - kept);
}

void page_text(struct buf *out, const char *text)
{
    page_text_bytes(out, text, strlen(text));
}

void page_count(struct buf *out, long long number)
{
    if (number >= 1000) {
        page_count(out, number / 1000);
        buf_printf(out, ",%03lld", number % 1000);
    } else {
        buf_printf(out, "%lld", number);
    }
}

void page_ms(struct buf *out, double ms)
{
    if (ms < 0) {
        buf_add(out, "–");
    } else if (ms < 99.95) {
        buf_printf(out, "%.1f&nbsp;ms", ms);
    } else if (ms < 9999.5) {
        page_count(out, llround(ms));
        buf_add(out, "&nbsp;ms");
    } else {
        buf_printf(out, "%.1f&nbsp;s", ms / 1000);
    }
}

double page_nice_below(double x)
{
    double power = pow(10, floor(log10(x) + 1e-9));
    return x >= 5 * power ? 5 * power : x >= 2 * power ? 2 * power : power;
}

double page_nice_above(double x)
{
    double power = pow(10, floor(log10(x) + 1e-9));
    return x <= power       ? power
           : x <= 2 * power ? 2 * power
           : x <= 5 * power ? 5 * power
                            : 10 * power;
}
