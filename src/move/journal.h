/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal of a run: what happened when, one JSON object a line, appended by any thread. For
 * people and reports; never the truth (that is the route). A journal that cannot be written is
 * said once and harms nothing else.
 */
#ifndef HOLDFAST_MOVE_JOURNAL_H
#define HOLDFAST_MOVE_JOURNAL_H

#include "base/clock.h"
#include "base/err.h"

struct journal;

/* Append to DIR/RUN.jsonl; DIR is made. NULL 'directory' keeps nothing. Never NULL. */
struct journal *journal_open(const char *directory, const char *run);
void journal_close(struct journal *journal);
/* Remove DIR/RUN.jsonl; it need not be there. */
void journal_remove(const char *directory, const char *run);
/* Remove the oldest of DIR until 'keep' are left: those of runs that another machine removed, too.
 */
void journal_trim(const char *directory, size_t keep);
/* 'shard' may be NULL; 'format' gives the words for people. */
void journal_add(struct journal *journal, const char *shard, const char *event, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

#endif
