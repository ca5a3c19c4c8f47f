/* SPDX-License-Identifier: Apache-2.0
 * See run_json.h. */
#include "conductor/run_json.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"

char *run_left_text(const struct run_record *record)
{
    AUTO_FREE char *next = run_record_next(record);
    return mem_printf(
        "run %s: %s: %s", record->id,
        record->state == RUN_STUCK ? "it waits for an operator" : "its process is gone", next);
}

json_t *run_json(const struct run_record *record, bool alive)
{
    char started[WALL_TEXT_MAX];
    clock_wall_format(record->started_us, started);
    if (record->unreadable)
        return json_pack("{s:s, s:n, s:s}", "run", record->id, "state", "problem",
                         record->unreadable);
    return json_pack("{s:s, s:s, s:s?, s:s, s:b, s:s, s:s, s:s?, s:s?, s:s?, s:I}", "run",
                     record->id, "kind", run_kind_name(record->kind), "host", record->host, "state",
                     run_state_name(record->state), "alive", (int)alive, "to", record->target,
                     "started", started, "by", record->by, "origin", record->origin, "reason",
                     record->reason, "shards", (json_int_t)record->shard_count);
}

json_t *run_json_whole(const struct run_record *record, bool alive)
{
    bool is_left = !alive && !run_state_is_over(record->state);
    AUTO_FREE char *next = is_left ? run_record_next(record) : NULL;
    json_t *object = run_json(record, alive), *names = json_array();
    for (size_t i = 0; i < record->shard_count; i++)
        json_array_append_new(names, json_string(record->shards[i]));
    json_t *more = json_pack(
        "{s:o, s:s?, s:s?, s:I, s:I, s:f, s:b, s:b, s:s?}", "names", names, "audit", record->audit,
        "waves", record->waves, "settle_ms", (json_int_t)record->settle_ms, "failures_max",
        (json_int_t)record->failures_max, "estimate_ms", record->estimate_ms, "returns",
        (int)record->returns, "called_off", (int)record->is_called_off, "next", next);
    json_object_update(object, more);
    json_decref(more);
    return object;
}
