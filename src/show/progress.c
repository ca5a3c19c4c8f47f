/* SPDX-License-Identifier: Apache-2.0
 * Progress of a run; see progress.h. Reads only the atomic states, never a move in flight. */
#include "show/progress.h"

#include "base/buf.h"
#include "base/scope.h"

enum { ROWS_MAX = 16 };

static const char *mark_of(enum shard_state state)
{
    static const char *const marks[SHARD_STATES] = {
        [SHARD_SERVING] = "        ",     [SHARD_PREPARING] = "=>      ",
        [SHARD_FROZEN] = "===>    ",      [SHARD_PROMOTING] = "=====>  ",
        [SHARD_REDIRECTING] = "=======>", [SHARD_UNDOING] = "<=      ",
    };
    return marks[state];
}

/* The wave that is under way, by how many shards are done. */
static const struct wave *wave_at(const struct switchover_report *report, size_t done)
{
    const struct waves *waves = &report->waves;
    for (size_t i = 0; i < waves->count; i++)
        if (done < waves->items[i].end)
            return &waves->items[i];
    return waves->count ? &waves->items[waves->count - 1] : NULL;
}

static void add_summary(struct buf *text, const struct run *run,
                        const struct switchover_report *report, size_t done)
{
    buf_printf(text, "%zu of %zu shards done", done, report->count);
    const struct wave *wave = report->waves.count > 1 ? wave_at(report, done) : NULL;
    if (wave && done < report->count)
        buf_printf(text, ", %s",
                   done == wave->first && done ? "looking at what moved" : wave->name);
    buf_add(text, run_must_stop(run) ? ", aborting\n" : "\n");
}

static void draw(struct progress *progress, const struct run *run,
                 const struct switchover_report *report, size_t done)
{
    AUTO(buf_release) struct buf text = {0};
    if (progress->lines)
        buf_printf(&text, "\x1b[%zuA", progress->lines);
    progress->lines = 1;
    buf_add(&text, "\x1b[2K");
    add_summary(&text, run, report, done);
    const struct wave *wave = wave_at(report, done);
    size_t first = wave ? wave->first : 0, end = wave ? wave->end : 0;
    for (size_t i = first; i < end && i < first + ROWS_MAX; i++, progress->lines++) {
        const struct inventory_shard *shard = report->shards[i].shard;
        size_t index = shard->index;
        enum shard_state state = (enum shard_state)atomic_load(&run->mandate.shard_states[index]);
        buf_printf(&text, "\x1b[2K  %-16s %s %s\n", shard->name, mark_of(state),
                   shard_state_name(state));
    }
    buf_add(&text, "\x1b[J"); /* a wave may be smaller than the one before */
    fputs(buf_text(&text), progress->out);
    fflush(progress->out);
}

void progress_show(void *context, const struct run *run, const struct switchover_report *report,
                   size_t done)
{
    struct progress *progress = context;
    if (!progress->out)
        return;
    if (progress->is_tty)
        draw(progress, run, report, done);
    else if (done != progress->done) {
        AUTO(buf_release) struct buf text = {0};
        add_summary(&text, run, report, done);
        fputs(buf_text(&text), progress->out);
    }
    progress->done = done;
}
