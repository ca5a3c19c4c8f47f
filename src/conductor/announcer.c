/* SPDX-License-Identifier: Apache-2.0
 * Telling hooks where a run is; see announcer.h. What is said of a run that is resumed: a shard
 * that is found at its end gets 'shard.serving' once more, because the process that brought it
 * there may have died before it could tell. */
#include "conductor/announcer.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/route.h"
#include "hooks/hooks.h"

#include <string.h>

/* How long the end of a run waits for hooks that are behind. */
enum { CATCH_UP_MS = 60000, LOOK_MS = 100 };

struct announcer {
    struct run *run;
    const struct switchover_report *report;
    struct hooks *hooks;
    size_t *wave_of;                       /* by index of the shard */
    bool *has_told;                        /* a state of it; by index */
    const struct inventory_shard **shards; /* of the run, wave after wave */
};

_Static_assert((int)WAVES_MAX + 1 <= (int)HOOK_WAVES_MAX, "each wave has a place");
_Static_assert((int)HOOK_SHARD_SERVING + (int)SHARD_UNDOING == (int)HOOK_SHARD_UNDOING,
               "an event for each state, in the same order");

static struct hook_news of_run(const struct announcer *announcer, enum hook_event event)
{
    return (struct hook_news){
        .event = event, .shards = announcer->shards, .shard_count = announcer->report->count};
}

static struct hook_news of_wave(const struct announcer *announcer, enum hook_event event,
                                size_t index)
{
    const struct wave *wave = &announcer->report->waves.items[index];
    return (struct hook_news){.event = event,
                              .shards = announcer->shards + wave->first,
                              .shard_count = wave->end - wave->first,
                              .wave = wave->name,
                              .wave_index = index};
}

static struct hook_news of_shard(const struct announcer *announcer, enum hook_event event,
                                 const struct inventory_shard *shard, const struct route *route)
{
    size_t wave = announcer->wave_of[shard->index];
    return (struct hook_news){.event = event,
                              .shard = shard,
                              .wave = announcer->report->waves.items[wave].name,
                              .wave_index = wave,
                              .route = route};
}

/* From a mover's thread, also while clients wait. */
static void on_state(void *listener, const struct inventory_shard *shard, const struct route *route)
{
    struct announcer *announcer = listener;
    enum hook_event event = (enum hook_event)((int)HOOK_SHARD_SERVING + (int)route->state);
    struct hook_news news = of_shard(announcer, event, shard, route);
    announcer->has_told[shard->index] = true;
    hooks_tell(announcer->hooks, &news);
}

struct announcer *announcer_start(struct run *run, const struct switchover_report *report)
{
    const struct inventory *fleet = run->mandate.fleet;
    struct hooks_order order = {
        .fleet = fleet,
        .journal = run->mandate.journal,
        .run = run->record.id,
        .kind = run_kind_name(run->record.kind),
        .from = report->from,
        .to = report->to,
        .by = run->record.by,
        .origin = run->record.origin,
        .reason = run->record.reason,
        .is_resumed = run->mandate.is_resumed,
        .is_aborted = &run->mandate.is_aborted,
    };
    struct hooks *hooks = hooks_start(&order);
    if (!hooks)
        return NULL;
    struct announcer *announcer = mem_zalloc(sizeof(*announcer));
    *announcer = (struct announcer){.run = run, .report = report, .hooks = hooks};
    announcer->wave_of = mem_zalloc((fleet->shard_count + 1) * sizeof(*announcer->wave_of));
    announcer->has_told = mem_zalloc((fleet->shard_count + 1) * sizeof(*announcer->has_told));
    announcer->shards = mem_zalloc((report->count + 1) * sizeof(*announcer->shards));
    for (size_t wave = 0; wave < report->waves.count; wave++)
        for (size_t i = report->waves.items[wave].first; i < report->waves.items[wave].end; i++) {
            announcer->shards[i] = report->shards[i].shard;
            announcer->wave_of[report->shards[i].shard->index] = wave;
        }
    run->mandate.on_state = on_state;
    run->mandate.listener = announcer;
    return announcer;
}

/* ---- before ---- */

static enum status ask(struct announcer *announcer, const struct hook_news *news, struct err *err)
{
    return announcer->run->mandate.is_abort_only ? ST_OK : hooks_ask(announcer->hooks, news, err);
}

enum status announcer_begin_run(struct announcer *announcer, struct err *err)
{
    if (!announcer)
        return ST_OK;
    struct hook_news news = of_run(announcer, HOOK_RUN_BEFORE);
    return ask(announcer, &news, err);
}

enum status announcer_begin_wave(struct announcer *announcer, size_t wave, struct err *err)
{
    if (!announcer)
        return ST_OK;
    struct hook_news news = of_wave(announcer, HOOK_WAVE_BEFORE, wave);
    return ask(announcer, &news, err);
}

enum status announcer_begin_shard(struct announcer *announcer, const struct inventory_shard *shard,
                                  const struct route *route, struct err *err)
{
    if (!announcer)
        return ST_OK;
    struct hook_news news = of_shard(announcer, HOOK_SHARD_BEFORE, shard, route);
    return ask(announcer, &news, err);
}

/* ---- after ---- */

static bool came_back(enum move_result result)
{
    return result == MOVE_UNDONE || result == MOVE_ABORTED || result == MOVE_STOPPED;
}

void announcer_end_shard(struct announcer *announcer, const struct shard_report *shard)
{
    if (!announcer)
        return;
    struct route route = {.state = SHARD_SERVING, .epoch = shard->epoch};
    snprintf(route.primary, sizeof(route.primary), "%s", shard->primary);
    bool is_there = shard->result == MOVE_MOVED || shard->result == MOVE_ALREADY_THERE;
    snprintf(route.home, sizeof(route.home), "%s",
             is_there ? announcer->report->to : announcer->report->from);
    bool serves = is_there || came_back(shard->result);
    struct hook_news news =
        of_shard(announcer, HOOK_SHARD_SERVING, shard->shard, serves ? &route : NULL);
    if (announcer->run->mandate.is_resumed && is_there && !announcer->has_told[shard->shard->index])
        hooks_tell(announcer->hooks, &news);
    news.event = HOOK_SHARD_AFTER;
    news.result = move_result_name(shard->result);
    news.error = shard->err.status ? shard->err.text : NULL;
    if (came_back(shard->result))
        hooks_undo(announcer->hooks, &news);
    hooks_tell(announcer->hooks, &news);
}

void announcer_end_wave(struct announcer *announcer, size_t index)
{
    if (!announcer)
        return;
    const struct wave *wave = &announcer->report->waves.items[index];
    size_t back = 0, stuck = 0;
    for (size_t i = wave->first; i < wave->end; i++) {
        back += came_back(announcer->report->shards[i].result);
        stuck += announcer->report->shards[i].result == MOVE_STUCK;
    }
    struct hook_news news = of_wave(announcer, HOOK_WAVE_AFTER, index);
    news.result = stuck ? "stuck" : back ? "failed" : "done";
    if (back && !stuck)
        hooks_undo(announcer->hooks, &news);
    hooks_tell(announcer->hooks, &news);
}

void announcer_end_run(struct announcer *announcer, switchover_progress *progress, void *context,
                       char **ret_json)
{
    if (!announcer)
        return;
    const struct switchover_report *report = announcer->report;
    struct hook_news news = of_run(announcer, HOOK_RUN_AFTER);
    news.result = run_state_name(report->state);
    news.error = report->stopped.status ? report->stopped.text : NULL;
    if (report->state == RUN_ABORTED || report->state == RUN_FAILED)
        hooks_undo(announcer->hooks, &news);
    hooks_tell(announcer->hooks, &news);
    nsec give_up = clock_deadline(CATCH_UP_MS);
    while (!hooks_wait(announcer->hooks, clock_deadline(LOOK_MS)) && clock_now() < give_up)
        if (progress)
            progress(context, announcer->run, report, report->count);
    hooks_close(announcer->hooks);
    *ret_json = hooks_report(announcer->hooks);
}

struct hook_wait announcer_waiting(struct announcer *announcer)
{
    return announcer ? hooks_waiting(announcer->hooks) : (struct hook_wait){0};
}

size_t announcer_pending(struct announcer *announcer)
{
    return announcer ? hooks_pending(announcer->hooks) : 0;
}

void announcer_free(struct announcer *announcer)
{
    if (!announcer)
        return;
    announcer->run->mandate.on_state = NULL;
    hooks_free(announcer->hooks);
    free(announcer->wave_of);
    free(announcer->has_told);
    free(announcer->shards);
    free(announcer);
}
