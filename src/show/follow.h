/* SPDX-License-Identifier: Apache-2.0
 * Following a run of another process through the store, until it ends. */
#ifndef HOLDFAST_SHOW_FOLLOW_H
#define HOLDFAST_SHOW_FOLLOW_H

#include "conductor/run_record.h"

struct store;

/* Show the run while it goes on. ST_OK: it ended, *ret is its record then; ST_STUCK: its process is
 * gone, the hint says what to type; ST_ABORTED: 'must_stop' said so, the run itself goes on. */
MUST_CHECK enum status follow_run(struct store *store, const char *id, bool (*must_stop)(void),
                                  struct run_record *ret, struct err *err);

#endif
