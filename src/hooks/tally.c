/* SPDX-License-Identifier: Apache-2.0
 * Counting a hook's calls; see tally.h. A report of many shards has room for some failures only. */
#include "hooks/tally.h"

#include "base/invariant.h"

#include <math.h>
#include <string.h>

enum { FAILURES_MAX = 8, OUTPUT_MAX = 1024 };

/* Not cut in the middle of a character. */
static json_t *start_of(const char *text)
{
    size_t length = strlen(text);
    if (length > OUTPUT_MAX)
        for (length = OUTPUT_MAX; length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80;)
            length--;
    return json_stringn(text, length);
}

static void keep_failure(struct tally *tally, const struct hook_call *call,
                         const struct hook_outcome *outcome)
{
    if (!tally->failures)
        tally->failures = json_array();
    if (json_array_size(tally->failures) >= FAILURES_MAX)
        return;
    json_t *failure = json_pack(
        "{s:s, s:s, s:s, s:f, s:o, s:I}", "event", call->event, "end", hook_end_name(outcome->end),
        "why", outcome->why ? outcome->why : "", "took_ms", round(outcome->took_ms), "output",
        start_of(outcome->output), "output_bytes", (json_int_t)outcome->output_bytes);
    INVARIANT(failure);
    if (call->shard)
        json_object_set_new(failure, "shard", json_string(call->shard));
    if (call->wave)
        json_object_set_new(failure, "wave", json_string(call->wave));
    json_array_append_new(tally->failures, failure);
}

void tally_add(struct tally *tally, const struct hook_call *call,
               const struct hook_outcome *outcome)
{
    tally->calls++;
    tally->undos += call->is_undo;
    tally->by_end[outcome->end]++;
    if (outcome->took_ms > tally->slowest_ms)
        tally->slowest_ms = outcome->took_ms;
    if (outcome->end != HOOK_OK)
        keep_failure(tally, call, outcome);
}

void tally_add_dropped(struct tally *tally)
{
    tally->dropped++;
}

json_t *tally_json(const struct tally *tally, const char *hook, bool is_given_up)
{
    json_t *json = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:o}", "name", hook, "calls",
        (json_int_t)tally->calls, "undos", (json_int_t)tally->undos, "failed",
        (json_int_t)tally->by_end[HOOK_FAILED], "timed_out", (json_int_t)tally->by_end[HOOK_LATE],
        "not_started", (json_int_t)tally->by_end[HOOK_NOT_STARTED], "cancelled",
        (json_int_t)tally->by_end[HOOK_CANCELLED], "not_called", (json_int_t)tally->dropped,
        "given_up", is_given_up, "slowest_ms", round(tally->slowest_ms), "failures",
        tally->failures ? json_deep_copy(tally->failures) : json_array());
    INVARIANT(json);
    return json;
}

void tally_release(struct tally *tally)
{
    json_decref(tally->failures);
}
