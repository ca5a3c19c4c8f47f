/* SPDX-License-Identifier: Apache-2.0
 *
 * A board: where each shard of a run is, as far as it was heard, and how that looks. Fed by the
 * process that carries out the run, or by one that follows it through the store. Readable with 4
 * and with 2,000 shards: counts, and the shards that have been under way the longest. One that
 * takes much longer than those before it is called slow. No I/O and no clock.
 */
#ifndef HOLDFAST_SHOW_BOARD_H
#define HOLDFAST_SHOW_BOARD_H

#include "base/buf.h"
#include "base/clock.h"
#include "fleet/route.h"

#include <stdbool.h>
#include <stddef.h>

enum { BOARD_ROWS_MAX = 16 };

struct board_shard {
    const char *name; /* borrowed */
    enum shard_state state;
    bool has_begun, is_done, is_slow;
    nsec began, ended;
    const char *result; /* when done: a static text; NULL: not known */
    bool came_back;     /* when done: it is not where it was to go */
};

struct board {
    const char *from, *to; /* regions; from: or NULL */
    struct board_shard *shards;
    size_t count, done, back;
    nsec began;
    double estimate_ms; /* of the whole run; negative: none */
    double known_ms;    /* what a shard took in earlier runs; 0: not known */
    double usual_ms;    /* the median of what is done; while that is little, known_ms */
    size_t counted;     /* how many were done when it was made */
};

void board_init(struct board *board, size_t count, nsec began);
void board_release(struct board *board);

/* What a shard usually takes, as earlier runs say; negative: not known. */
void board_set_known(struct board *board, double ms);

/* What was heard of shard i. */
void board_set_state(struct board *board, size_t i, enum shard_state state, nsec now);
void board_begin(struct board *board, size_t i, nsec at);
void board_end(struct board *board, size_t i, nsec at, const char *result, bool came_back);

/* What it is about, or what came of it. */
const char *board_word(const struct board_shard *shard);

/* The next shard that turned slow since the last call; NULL: none. */
const struct board_shard *board_find_slow(struct board *board, nsec now);

/* A block of at most BOARD_ROWS_MAX + 4 lines, none wider than 'columns'. 'note' may be "". Gives
 * the number of lines. */
size_t board_draw(const struct board *board, const char *note, nsec now, size_t columns,
                  struct buf *out);
/* The same in one line, for where nothing can be drawn. */
void board_line(const struct board *board, const char *note, nsec now, struct buf *out);

#endif
