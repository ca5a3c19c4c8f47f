/* SPDX-License-Identifier: Apache-2.0
 * The shape of a run: sizes count from the start, every shard is in exactly one wave. */
#include "base/buf.h"
#include "base/scope.h"
#include "conductor/waves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* "canary 0-1, wave 2 1-3" */
static void assert_waves(const char *text, size_t shards, const char *want)
{
    AUTO(buf_release) struct buf got = {0};
    struct waves waves;
    struct err err = ERR_INIT;
    assert_int_equal(waves_parse(text, shards, &waves, &err), ST_OK);
    for (size_t i = 0; i < waves.count; i++)
        buf_printf(&got, "%s%s %zu-%zu", i ? ", " : "", waves.items[i].name, waves.items[i].first,
                   waves.items[i].end);
    assert_string_equal(buf_text(&got), want);
}

static void assert_refused(const char *text, const char *words)
{
    struct waves waves;
    struct err err = ERR_INIT;
    assert_int_equal(waves_parse(text, 100, &waves, &err), ST_INVALID);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void without_a_shape_there_is_one_wave(UNUSED void **state)
{
    assert_waves(NULL, 4, "all 0-4");
    assert_waves("", 4, "all 0-4");
    assert_waves("100%", 4, "wave 1 0-4");
    assert_waves("canary=1", 0, "");
}

static void sizes_count_from_the_start_and_round_up(UNUSED void **state)
{
    assert_waves("canary=1,25%,100%", 8, "canary 0-1, wave 2 1-2, wave 3 2-8");
    assert_waves("canary=1,25%,100%", 1000, "canary 0-1, wave 2 1-250, wave 3 250-1000");
    assert_waves("1%,half=50%", 10, "wave 1 0-1, half 1-5, rest 5-10");
}

static void a_wave_that_adds_nothing_is_left_out(UNUSED void **state)
{
    assert_waves("canary=1,25%,100%", 2, "canary 0-1, wave 2 1-2");
    assert_waves("canary=1,25%,100%", 1, "canary 0-1");
    assert_waves("canary=5,25%", 8, "canary 0-5, rest 5-8");
    assert_waves("3,3,5", 4, "wave 1 0-3, wave 2 3-4");
}

static void what_is_no_shape_is_refused_by_its_part(UNUSED void **state)
{
    assert_refused("canary", "'canary' is neither a number");
    assert_refused("canary=,5", "is neither");
    assert_refused("1,,5", "is neither");
    assert_refused("-1", "is neither");
    assert_refused("5%%", "is neither");
    assert_refused("0", "moves nothing");
    assert_refused("0%", "moves nothing");
    assert_refused("101%", "more than all");
    assert_refused("50%,25%", "'25%' is less than the wave before it");
    assert_refused("a b=1", "has a name");
    assert_refused("=1", "has a name");
    assert_refused("99999999999", "is neither");
    assert_refused("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "more than 16 waves");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_shape_there_is_one_wave),
        cmocka_unit_test(sizes_count_from_the_start_and_round_up),
        cmocka_unit_test(a_wave_that_adds_nothing_is_left_out),
        cmocka_unit_test(what_is_no_shape_is_refused_by_its_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
