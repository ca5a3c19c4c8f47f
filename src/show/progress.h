/* SPDX-License-Identifier: Apache-2.0
 * Showing a run while it goes on: a block of lines that is redrawn on a terminal, or a line for
 * each change of a shard elsewhere. */
#ifndef HOLDFAST_SHOW_PROGRESS_H
#define HOLDFAST_SHOW_PROGRESS_H

#include "conductor/switchover.h"

#include <stdio.h>

struct progress {
    FILE *out; /* NULL: silent */
    bool is_tty;
    size_t lines; /* drawn last time, on a terminal */
    size_t done;
};

void progress_show(void *progress, const struct run *run, const struct switchover_report *report,
                   size_t done);

#endif
