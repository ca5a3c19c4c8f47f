/* SPDX-License-Identifier: Apache-2.0
 * Following a run of another process through the store, until it ends. */
#ifndef HOLDFAST_SHOW_FOLLOW_H
#define HOLDFAST_SHOW_FOLLOW_H

#include "conductor/run_record.h"

struct store;

struct follow_manner {
    int (*interrupts)(void); /* how often Ctrl-C was pressed */
    bool aborts;             /* the first one asks the run to abort, the next ends the following */
    bool is_silent;
    const char *from; /* region; NULL: not known */
};

/* Show the run while it goes on. ST_OK: it ended, *ret is its record then; ST_STUCK: its process is
 * gone, and of a submitted one no other took it, the hint says what to type; ST_ABORTED: no longer
 * followed, the run itself goes on. */
MUST_CHECK enum status follow_run(struct store *store, const char *id,
                                  const struct follow_manner *manner, struct run_record *ret,
                                  struct err *err);

#endif
