/* SPDX-License-Identifier: Apache-2.0
 * How a run looks while it goes on; see board.h. */
#include "show/board.h"

#include "base/mem.h"
#include "base/scope.h"
#include "base/stats.h"

#include <stdlib.h>
#include <string.h>

/* A shard is slow when it takes SLOW_TIMES the median of at least SLOW_NEEDS others, and not less
 * than SLOW_LEAST_MS. */
enum { SLOW_TIMES = 10, SLOW_NEEDS = 3, SLOW_LEAST_MS = 1000, BAR_WIDTH = 30 };

void board_init(struct board *board, size_t count, nsec began)
{
    *board = (struct board){.count = count, .began = began, .estimate_ms = -1};
    board->shards = mem_zalloc((count + 1) * sizeof(*board->shards));
}

void board_set_known(struct board *board, double ms)
{
    board->known_ms = board->usual_ms = ms > 0 ? ms : 0;
}

void board_release(struct board *board)
{
    free(board->shards);
}

void board_begin(struct board *board, size_t i, nsec at)
{
    struct board_shard *shard = &board->shards[i];
    if (shard->has_begun)
        return;
    shard->has_begun = true;
    shard->began = at;
}

void board_set_state(struct board *board, size_t i, enum shard_state state, nsec now)
{
    board->shards[i].state = state;
    if (state != SHARD_SERVING)
        board_begin(board, i, now);
}

void board_end(struct board *board, size_t i, nsec at, const char *result, bool came_back)
{
    struct board_shard *shard = &board->shards[i];
    if (shard->is_done)
        return;
    board_begin(board, i, at);
    shard->is_done = true;
    shard->ended = at;
    shard->result = result;
    shard->came_back = came_back;
    board->done++;
    board->back += came_back;
}

static double age_ms(const struct board_shard *shard, nsec now)
{
    return clock_ms((shard->is_done ? shard->ended : now) - shard->began);
}

static bool is_in_flight(const struct board_shard *shard)
{
    return shard->has_begun && !shard->is_done;
}

/* Those that ended at once were there already, or never began: they say nothing. */
static void learn_usual(struct board *board)
{
    AUTO(stats_release) struct stats stats = {0};
    if (board->counted == board->done)
        return;
    board->counted = board->done;
    for (size_t i = 0; i < board->count; i++)
        if (board->shards[i].is_done && board->shards[i].ended > board->shards[i].began)
            stats_add(&stats, age_ms(&board->shards[i], 0));
    board->usual_ms = stats.count >= SLOW_NEEDS ? stats_percentile(&stats, 50) : board->known_ms;
}

const struct board_shard *board_find_slow(struct board *board, nsec now)
{
    learn_usual(board);
    for (size_t i = 0; i < board->count && board->usual_ms > 0; i++) {
        struct board_shard *shard = &board->shards[i];
        if (!is_in_flight(shard) || shard->is_slow || age_ms(shard, now) < SLOW_LEAST_MS ||
            age_ms(shard, now) < SLOW_TIMES * board->usual_ms)
            continue;
        shard->is_slow = true;
        return shard;
    }
    return NULL;
}

/* ---- words ---- */

const char *board_word(const struct board_shard *shard)
{
    if (shard->is_done)
        return shard->result ? shard->result : "done";
    if (!shard->has_begun)
        return "waiting";
    return shard->state == SHARD_SERVING ? "looked at" : shard_state_name(shard->state);
}

static void add_seconds(struct buf *out, double ms)
{
    if (ms < 60000)
        buf_printf(out, "%.1f s", ms / 1000);
    else
        buf_printf(out, "%d:%02d min", (int)(ms / 60000), (int)(ms / 1000) % 60);
}

/* As runs before this one say (they had the same waves), else from what is done; negative: not
 * known. */
static double left_ms(const struct board *board, nsec now)
{
    double elapsed = clock_ms(now - board->began);
    if (board->done == board->count)
        return -1;
    if (board->estimate_ms > elapsed)
        return board->estimate_ms - elapsed;
    return board->done > 0 ? elapsed / (double)board->done * (double)(board->count - board->done)
                           : -1;
}

static void add_summary(const struct board *board, nsec now, struct buf *out)
{
    bool is_failover = board->from && strcmp(board->from, board->to) == 0;
    buf_printf(out, "%s%s%s: %zu of %zu shard%s done",
               is_failover || !board->from ? "" : board->from,
               is_failover   ? "in "
               : board->from ? " -> "
                             : "to ",
               board->to, board->done, board->count, board->count == 1 ? "" : "s");
    if (board->back > 0)
        buf_printf(out, ", %zu of them did not move", board->back);
    buf_add(out, ", ");
    add_seconds(out, clock_ms(now - board->began));
    if (left_ms(board, now) >= 0) {
        buf_add(out, ", about ");
        add_seconds(out, left_ms(board, now));
        buf_add(out, " left");
    }
}

static void add_bar(const struct board *board, struct buf *out)
{
    size_t filled = board->count ? BAR_WIDTH * board->done / board->count : BAR_WIDTH;
    size_t counts[SHARD_STATES] = {0}, waiting = 0;
    for (size_t i = 0; i < board->count; i++) {
        counts[board->shards[i].state] += is_in_flight(&board->shards[i]);
        waiting += !board->shards[i].has_begun;
    }
    buf_add(out, "[");
    for (size_t i = 0; i < BAR_WIDTH; i++)
        buf_add(out, i < filled ? "#" : ".");
    buf_add(out, "]");
    const char *between = " ";
    if (waiting) {
        buf_printf(out, " waiting %zu", waiting);
        between = ", ";
    }
    for (unsigned state = 0; state < SHARD_STATES; state++) {
        if (!counts[state])
            continue;
        buf_printf(out, "%s%s %zu", between,
                   board_word(&(struct board_shard){.has_begun = true, .state = state}),
                   counts[state]);
        between = ", ";
    }
}

static const char *mark_of(const struct board_shard *shard)
{
    static const char *const marks[SHARD_STATES] = {
        [SHARD_SERVING] = "        ",     [SHARD_PREPARING] = "=>      ",
        [SHARD_FROZEN] = "===>    ",      [SHARD_PROMOTING] = "=====>  ",
        [SHARD_REDIRECTING] = "=======>", [SHARD_UNDOING] = "<=      ",
        [SHARD_FENCING] = "==>     ",     [SHARD_OPENING] = "=====>  ",
        [SHARD_REPOINTING] = "=======>",
    };
    if (shard->is_done)
        return shard->came_back ? "<       " : "========";
    return marks[shard->state];
}

static void add_row(const struct board *board, const struct board_shard *shard, int width, nsec now,
                    struct buf *out)
{
    buf_printf(out, "%c %-*s %s %-13s ", shard->is_slow && !shard->is_done ? '!' : ' ', width,
               shard->name, mark_of(shard), board_word(shard));
    if (shard->has_begun && age_ms(shard, now) > 0) /* else it had ended before we looked */
        add_seconds(out, age_ms(shard, now));
    if (shard->is_slow && !shard->is_done) {
        buf_add(out, ", usually ");
        add_seconds(out, board->usual_ms);
    }
}

/* ---- which shards ---- */

/* What was under way first comes first. */
static int by_age(const void *left, const void *right)
{
    const struct board_shard *a = *(const struct board_shard *const *)left;
    const struct board_shard *b = *(const struct board_shard *const *)right;
    return a->began != b->began ? (a->began > b->began) - (a->began < b->began) : (a > b) - (a < b);
}

/* All in their order when there is room, else those in flight by age. The caller frees. */
static const struct board_shard **choose(const struct board *board, size_t *ret_count)
{
    const struct board_shard **rows = mem_zalloc((board->count + 1) * sizeof(*rows));
    bool are_all = board->count <= BOARD_ROWS_MAX;
    size_t count = 0;
    for (size_t i = 0; i < board->count; i++)
        if (are_all || is_in_flight(&board->shards[i]))
            rows[count++] = &board->shards[i];
    if (!are_all)
        qsort(rows, count, sizeof(*rows), by_age);
    *ret_count = count;
    return rows;
}

/* A line that wraps would spoil the counting of lines. All of it is ASCII. */
static void end_line(struct buf *out, size_t start, size_t columns)
{
    if (out->length - start > columns)
        out->length = start + columns;
    buf_add(out, "\n");
}

size_t board_draw(const struct board *board, const char *note, nsec now, size_t columns,
                  struct buf *out)
{
    size_t count = 0, lines = 2, start = out->length;
    AUTO_FREE const struct board_shard **rows = choose(board, &count);
    add_summary(board, now, out);
    bool fits = out->length - start + strlen("; ") + strlen(note) <= columns;
    if (note[0] && !fits) { /* it must be seen whole: what an operator waits for */
        end_line(out, start, columns);
        start = out->length;
        lines++;
    }
    buf_printf(out, "%s%s", !note[0] ? "" : fits ? "; " : "  ", note);
    end_line(out, start, columns);
    start = out->length;
    add_bar(board, out);
    end_line(out, start, columns);
    size_t shown = count < BOARD_ROWS_MAX ? count : BOARD_ROWS_MAX, width = 0;
    for (size_t i = 0; i < shown; i++)
        width = strlen(rows[i]->name) > width ? strlen(rows[i]->name) : width;
    for (size_t i = 0; i < shown; i++, lines++) {
        start = out->length;
        add_row(board, rows[i], (int)width, now, out);
        end_line(out, start, columns);
    }
    if (count > shown) {
        start = out->length;
        buf_printf(out, "  and %zu more under way", count - shown);
        end_line(out, start, columns);
        lines++;
    }
    return lines;
}

void board_line(const struct board *board, const char *note, nsec now, struct buf *out)
{
    size_t in_flight = 0;
    add_summary(board, now, out);
    for (size_t i = 0; i < board->count; i++)
        in_flight += is_in_flight(&board->shards[i]);
    if (in_flight > 0)
        buf_printf(out, ", %zu under way", in_flight);
    buf_printf(out, "%s%s\n", note[0] ? "; " : "", note);
}
