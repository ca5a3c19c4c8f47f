/* SPDX-License-Identifier: Apache-2.0
 * Progress of a run; see progress.h. Reads only what is atomic, never a move in flight; a shard's
 * result is read once its end was published. */
#include "show/progress.h"

#include "base/mem.h"
#include "base/scope.h"
#include "conductor/announcer.h"
#include "conductor/switchover.h"
#include "hooks/waiting.h"
#include "move/journal.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS = 80, LINE_MS = 1000 };

void progress_init(struct progress *progress, struct journal *journal)
{
    *progress =
        (struct progress){.out = stderr, .is_tty = isatty(STDERR_FILENO) == 1, .journal = journal};
}

void progress_release(struct progress *progress)
{
    if (progress->has_board)
        board_release(&progress->board);
}

static size_t columns_of(FILE *out)
{
    struct winsize size;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS;
}

static void tell_slow(struct progress *progress, nsec now)
{
    struct board *board = &progress->board;
    for (const struct board_shard *slow; (slow = board_find_slow(board, now));) {
        double ms = clock_ms(now - slow->began);
        if (progress->journal)
            journal_add(progress->journal, slow->name, "slow", "%s for %.1f s; usually %.2f s",
                        board_word(slow), ms / 1000, board->usual_ms / 1000);
        if (progress->out && !progress->is_tty)
            fprintf(progress->out, "%s is slow: %s for %.1f s; usually %.2f s\n", slow->name,
                    board_word(slow), ms / 1000, board->usual_ms / 1000);
    }
}

static void redraw(struct progress *progress, const char *note, nsec now)
{
    AUTO(buf_release) struct buf block = {0};
    AUTO(buf_release) struct buf text = {0};
    size_t lines = board_draw(&progress->board, note, now, columns_of(progress->out), &block);
    if (progress->lines)
        buf_printf(&text, "\x1b[%zuA", progress->lines);
    for (const char *at = buf_text(&block); *at;) {
        size_t length = strcspn(at, "\n");
        buf_printf(&text, "%.*s\x1b[K\n", (int)length, at);
        at += length + 1;
    }
    buf_add(&text, "\x1b[J"); /* there may be fewer lines than before */
    progress->lines = lines;
    fputs(buf_text(&text), progress->out);
    fflush(progress->out);
}

void progress_draw(struct progress *progress, const char *note, bool is_last)
{
    nsec now = clock_now();
    tell_slow(progress, now);
    if (!progress->out)
        return;
    if (progress->is_tty) {
        redraw(progress, note, now);
        return;
    }
    bool waits = strncmp(note, "waiting for hook ", strlen("waiting for hook ")) == 0;
    bool is_new = progress->board.done != progress->done || progress->lines == 0 ||
                  (waits && !progress->has_said_wait);
    if (!is_new || (now < progress->next && !is_last))
        return;
    AUTO(buf_release) struct buf line = {0};
    board_line(&progress->board, note, now, &line);
    fputs(buf_text(&line), progress->out);
    progress->done = progress->board.done;
    progress->has_said_wait = waits;
    progress->lines++;
    progress->next = now + LINE_MS * NSEC_PER_MS;
}

/* ---- of a run in this process ---- */

/* The wave that is under way, by how many shards are done. */
static const struct wave *wave_at(const struct waves *waves, size_t done)
{
    for (size_t i = 0; i < waves->count; i++)
        if (done < waves->items[i].end)
            return &waves->items[i];
    return NULL;
}

char *progress_wave_note(const struct waves *waves, size_t done, const char *stop)
{
    const struct wave *wave = waves->count > 1 ? wave_at(waves, done) : NULL;
    if (wave && done == wave->first && done)
        return mem_printf("looking at what moved%s%s", stop[0] ? ", " : "", stop);
    if (wave)
        return mem_printf("%s%s%s%s", strncmp(wave->name, "wave ", 5) == 0 ? "" : "wave ",
                          wave->name, stop[0] ? ", " : "", stop);
    return mem_strdup(stop);
}

static char *note_of(const struct run *run, const struct switchover_report *report, size_t done)
{
    size_t hooks = done == report->count ? announcer_pending(run->announcer) : 0;
    const char *stop = run_must_stop(run) ? "aborting" : "";
    struct hook_wait wait = announcer_waiting(run->announcer);
    if (wait.hook)
        return waiting_format(wait.hook, wait.event, wait.since_us, wait.limit_ms);
    if (hooks > 0)
        return mem_printf("waiting for %zu calls of hooks", hooks);
    return progress_wave_note(&report->waves, done, stop);
}

static void hear(struct board *board, const struct run *run, const struct switchover_report *report)
{
    nsec now = clock_now();
    for (size_t i = 0; i < report->count; i++) {
        const struct shard_report *shard = &report->shards[i];
        nsec began = atomic_load(&shard->began_at), ended = atomic_load(&shard->ended_at);
        int state = atomic_load(&run->mandate.shard_states[shard->shard->index]);
        if (began)
            board_begin(board, i, began);
        if (ended)
            board_end(board, i, ended, move_result_name(shard->result),
                      shard->result != MOVE_MOVED && shard->result != MOVE_ALREADY_THERE);
        else
            board_set_state(board, i, (enum shard_state)state, now);
    }
}

void progress_show(void *context, const struct run *run, const struct switchover_report *report,
                   size_t done)
{
    struct progress *progress = context;
    struct board *board = &progress->board;
    if (!progress->has_board) {
        board_init(board, report->count, report->began);
        board->from = report->from;
        board->to = report->to;
        board->estimate_ms = report->estimate_ms;
        board_set_known(board, report->usual_shard_ms);
        for (size_t i = 0; i < report->count; i++)
            board->shards[i].name = report->shards[i].shard->name;
        progress->has_board = true;
    }
    hear(board, run, report);
    AUTO_FREE char *note = note_of(run, report, done);
    progress_draw(progress, note, false);
}
