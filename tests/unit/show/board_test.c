/* SPDX-License-Identifier: Apache-2.0
 * The board: what is shown of few and of many shards, and when one is slow. */
#include "base/mem.h"
#include "base/scope.h"
#include "show/board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MS NSEC_PER_MS

enum { MANY = 2000, WIDE = 100 };

static struct board make(size_t count)
{
    struct board board;
    board_init(&board, count, 0);
    board.from = "west";
    board.to = "east";
    for (size_t i = 0; i < count; i++)
        board.shards[i].name = "s";
    return board;
}

static size_t count_lines(const char *text, size_t *ret_widest)
{
    size_t lines = 0;
    *ret_widest = 0;
    for (; *text; lines++) {
        size_t length = strcspn(text, "\n");
        *ret_widest = length > *ret_widest ? length : *ret_widest;
        text += length + 1;
    }
    return lines;
}

static void a_few_shards_are_all_shown_in_their_order(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(3);
    AUTO(buf_release) struct buf out = {0};
    board.shards[1].name = "s1";
    board_set_state(&board, 0, SHARD_PREPARING, 100 * MS);
    board_end(&board, 0, 300 * MS, "moved", false);
    board_set_state(&board, 1, SHARD_FROZEN, 500 * MS);
    assert_int_equal(board_draw(&board, "wave canary", 1000 * MS, WIDE, &out), 5);
    assert_string_equal(buf_text(&out),
                        "west -> east: 1 of 3 shards done, 1.0 s, about 2.0 s left; wave canary\n"
                        "[##########....................] waiting 1, frozen 1\n"
                        "  s  ======== moved         0.2 s\n"
                        "  s1 ===>     frozen        0.5 s\n"
                        "  s           waiting       \n");
}

static void a_failover_is_in_its_region(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(1);
    AUTO(buf_release) struct buf out = {0};
    board.to = board.from;
    board_draw(&board, "", 1000 * MS, WIDE, &out);
    assert_memory_equal(buf_text(&out), "in west: 0 of 1 shard done", 26);
}

static void many_shards_are_counts_and_those_under_way_the_longest(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(MANY);
    AUTO(buf_release) struct buf out = {0};
    for (size_t i = 0; i < 100; i++)
        board_set_state(&board, i, SHARD_PREPARING, (nsec)(1000 - i) * MS);
    board.shards[99].name = "oldest";
    for (size_t i = 100; i < 300; i++)
        board_end(&board, i, 900 * MS, "undone", true);
    size_t widest = 0, lines = board_draw(&board, "", 2000 * MS, WIDE, &out);
    assert_int_equal(lines, 2 + BOARD_ROWS_MAX + 1);
    assert_int_equal(count_lines(buf_text(&out), &widest), lines);
    const char *text = buf_text(&out);
    assert_non_null(strstr(text, "200 of 2000 shards done, 200 of them did not move"));
    assert_non_null(strstr(text, "waiting 1700, preparing 100"));
    assert_non_null(strstr(text, "  and 84 more under way\n"));
    const char *row = strstr(strchr(text, '[') + 1, "\n") + 1;
    assert_memory_equal(row, "  oldest", 8);
    AUTO(buf_release) struct buf narrow = {0};
    board_draw(&board, "", 2000 * MS, 20, &narrow);
    assert_int_equal(count_lines(buf_text(&narrow), &widest), lines);
    assert_true(widest <= 20);
}

static void a_shard_is_slow_when_it_takes_ten_times_as_long_as_the_others(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(5);
    board_begin(&board, 4, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_null(board_find_slow(&board, 20000 * MS)); /* nobody knows yet what is usual */
        board_begin(&board, i, 1 * MS);
        board_end(&board, i, 201 * MS, "moved", false);
    }
    assert_null(board_find_slow(&board, 1900 * MS));
    const struct board_shard *slow = board_find_slow(&board, 2100 * MS);
    assert_ptr_equal(slow, &board.shards[4]);
    assert_null(board_find_slow(&board, 2200 * MS)); /* said once */
    AUTO(buf_release) struct buf out = {0};
    board_draw(&board, "", 2500 * MS, WIDE, &out);
    assert_non_null(strstr(buf_text(&out), "! s          looked at     2.5 s, usually 0.2 s\n"));
}

static void earlier_runs_tell_what_is_usual_until_this_one_does(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(5);
    board_set_known(&board, 200);
    board_begin(&board, 0, 0);
    assert_null(board_find_slow(&board, 1900 * MS));
    assert_ptr_equal(board_find_slow(&board, 2100 * MS), &board.shards[0]);
    for (size_t i = 1; i < 4; i++) {
        board_begin(&board, i, 0);
        board_end(&board, i, 1000 * MS, "moved", false);
    }
    board_begin(&board, 4, 0);
    assert_null(board_find_slow(&board, 9000 * MS));
    assert_ptr_equal(board_find_slow(&board, 11000 * MS), &board.shards[4]);
}

static void a_fast_fleet_does_not_make_a_shard_slow_within_a_second(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(4);
    for (size_t i = 0; i < 3; i++) {
        board_begin(&board, i, 0);
        board_end(&board, i, 10 * MS, "moved", false);
    }
    board_begin(&board, 3, 1);
    assert_null(board_find_slow(&board, 900 * MS));
    assert_non_null(board_find_slow(&board, 1100 * MS));
}

static void what_is_there_already_says_nothing_of_what_is_usual(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(5);
    for (size_t i = 0; i < 4; i++)
        board_end(&board, i, 10 * MS, "already there", false);
    board_begin(&board, 4, 1);
    assert_null(board_find_slow(&board, 60000 * MS));
}

static void the_time_left_comes_from_earlier_runs_until_something_is_done(void **state UNUSED)
{
    AUTO(board_release) struct board board = make(4);
    AUTO(buf_release) struct buf out = {0};
    board.estimate_ms = 90000;
    board_line(&board, "", 5000 * MS, &out);
    assert_string_equal(buf_text(&out),
                        "west -> east: 0 of 4 shards done, 5.0 s, about 1:25 min left\n");
}

static void a_note_is_seen_whole_on_a_narrow_terminal(void **state UNUSED)
{
    AUTO(board_release) struct board board;
    AUTO(buf_release) struct buf out = {0};
    board_init(&board, 1, 0);
    board.to = "east";
    board.shards[0].name = "s0";
    size_t lines = board_draw(&board, "wave canary, aborting", 1000 * MS, 40, &out);
    assert_int_equal(lines, 4);
    assert_non_null(
        strstr(buf_text(&out), "to east: 0 of 1 shard done, 1.0 s\n  wave canary, aborting\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(earlier_runs_tell_what_is_usual_until_this_one_does),
        cmocka_unit_test(a_note_is_seen_whole_on_a_narrow_terminal),
        cmocka_unit_test(a_few_shards_are_all_shown_in_their_order),
        cmocka_unit_test(a_failover_is_in_its_region),
        cmocka_unit_test(many_shards_are_counts_and_those_under_way_the_longest),
        cmocka_unit_test(a_shard_is_slow_when_it_takes_ten_times_as_long_as_the_others),
        cmocka_unit_test(a_fast_fleet_does_not_make_a_shard_slow_within_a_second),
        cmocka_unit_test(what_is_there_already_says_nothing_of_what_is_usual),
        cmocka_unit_test(the_time_left_comes_from_earlier_runs_until_something_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
