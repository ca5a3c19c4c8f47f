/* SPDX-License-Identifier: Apache-2.0
 *
 * Showing a run while it goes on: a block that is drawn over itself on a terminal; elsewhere a line
 * when something changed, at most one a second. What is slow is also told to the journal.
 */
#ifndef HOLDFAST_SHOW_PROGRESS_H
#define HOLDFAST_SHOW_PROGRESS_H

#include "show/board.h"

#include <stdio.h>

struct journal;
struct waves;
struct run;
struct switchover_report;

struct progress {
    FILE *out; /* NULL: silent */
    bool is_tty;
    struct journal *journal; /* NULL: what is slow is only shown */
    size_t lines;            /* drawn last time on a terminal; said so far elsewhere */
    size_t done;             /* in the line before, elsewhere */
    bool has_said_wait;      /* in the line before, elsewhere: that it waits for a hook */
    nsec next;               /* when the next line may come */
    bool has_board;
    struct board board;
};

/* To standard error, where it is seen when the output goes elsewhere. */
void progress_init(struct progress *progress, struct journal *journal);
void progress_release(struct progress *progress);

/* A switchover_progress (conductor/switchover.h); 'progress' is a struct progress. */
void progress_show(void *progress, const struct run *run, const struct switchover_report *report,
                   size_t done);

/* The wave that is under way when so many shards are done, and 'stop': "aborting", or "". The
 * caller frees. */
char *progress_wave_note(const struct waves *waves, size_t done, const char *stop);

/* The board as it is now; 'is_last' does not wait for the next line's time. */
void progress_draw(struct progress *progress, const char *note, bool is_last);

#endif
