/* SPDX-License-Identifier: Apache-2.0
 * Progress of a run; see progress.h. Reads only the atomic states, never a move in flight. */
#include "cli/progress.h"

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

static void draw(struct progress *progress, const struct run *run,
                 const struct shard_report *shards, size_t done)
{
    AUTO(buf_release) struct buf text = {0};
    if (progress->lines)
        buf_printf(&text, "\x1b[%zuA", progress->lines);
    progress->lines = 1;
    buf_printf(&text, "\x1b[2K%zu of %zu shards done%s\n", done, run->record.shard_count,
               run_must_stop(run) ? ", aborting" : "");
    for (size_t i = 0; i < run->record.shard_count && i < ROWS_MAX; i++, progress->lines++) {
        size_t index = shards[i].shard->index;
        enum shard_state state = (enum shard_state)atomic_load(&run->mandate.shard_states[index]);
        buf_printf(&text, "\x1b[2K  %-16s %s %s\n", shards[i].shard->name, mark_of(state),
                   shard_state_name(state));
    }
    fputs(buf_text(&text), progress->out);
    fflush(progress->out);
}

void progress_show(void *context, const struct run *run, const struct shard_report *shards,
                   size_t done)
{
    struct progress *progress = context;
    if (!progress->out)
        return;
    if (progress->is_tty)
        draw(progress, run, shards, done);
    else if (done != progress->done)
        fprintf(progress->out, "%zu of %zu shards done\n", done, run->record.shard_count);
    progress->done = done;
}
