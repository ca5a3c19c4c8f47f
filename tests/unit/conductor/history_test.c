/* SPDX-License-Identifier: Apache-2.0
 * The estimate: from runs of the wanted size, from others, and from none. */
#include "conductor/history.h"

#include "base/mem.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after the above */
#include <cmocka.h>

struct past {
    int moved, waves, settle_ms;
    double took_ms;
};

static void remember(struct history *history, const struct past *past, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *head = mem_printf(
            "{\"kind\":\"switchover\",\"result\":\"done\",\"resumed\":false,\"moved\":%d,\"waves\":"
            "%d,"
            "\"settle_ms\":%d,\"took_ms\":%f,"
            "\"hooks\":[{\"failures\":[{\"event\":\"run.after\",\"end\":\"timed out\"}]}],"
            "\"write_outage_ms\":{\"p50\":4.0,\"p99\":9.0,\"max\":9.0}}",
            past[i].moved, past[i].waves, past[i].settle_ms, past[i].took_ms);
        history_add(history, head);
    }
    assert_int_equal(history->count, count);
}

static struct estimate estimate_for(const struct past *past, size_t count, struct run_shape shape)
{
    AUTO(history_release) struct history history = {0};
    remember(&history, past, count);
    return history_estimate(&history, &shape);
}

static void runs_of_the_same_size_speak_for_themselves(void **state UNUSED)
{
    static const struct past past[] = {
        {4, 1, 0, 480}, {4, 1, 0, 500}, {4, 1, 0, 650}, {1, 1, 0, 170}, {400, 1, 0, 9000}};
    struct estimate estimate = estimate_for(past, ARRAY_SIZE(past), (struct run_shape){4, 1, 0});
    assert_int_equal(estimate.runs, 3);
    assert_float_equal(estimate.took_ms, 500, 1e-6);
    assert_float_equal(estimate.low_ms, 480, 1e-6);
    assert_float_equal(estimate.high_ms, 650, 1e-6);
    assert_float_equal(estimate.outage_p50_ms, 4, 1e-6);
    assert_float_equal(estimate.outage_p99_ms, 9, 1e-6);
}

static void other_sizes_are_scaled_with_a_wider_error(void **state UNUSED)
{
    static const struct past past[] = {{1, 1, 0, 200}, {1, 1, 0, 200}, {4, 1, 0, 500}};
    struct estimate estimate = estimate_for(past, ARRAY_SIZE(past), (struct run_shape){10, 1, 0});
    assert_int_equal(estimate.runs, 3);
    assert_float_equal(estimate.took_ms, 1100, 1); /* 100 ms, and 100 for each shard */
    assert_true(estimate.low_ms < 800 && estimate.high_ms > 1500);
}

static void a_run_that_is_out_of_line_is_not_believed(void **state UNUSED)
{
    static const struct past past[] = {
        {1, 1, 0, 200}, {2, 1, 0, 300}, {4, 1, 0, 2300}, {3, 1, 0, 400}, {1, 1, 0, 210}};
    struct estimate estimate = estimate_for(past, ARRAY_SIZE(past), (struct run_shape){4, 1, 0});
    assert_float_equal(estimate.took_ms, 500, 60);
}

static void one_size_alone_still_gives_an_estimate(void **state UNUSED)
{
    static const struct past past[] = {{4, 1, 0, 450}};
    struct estimate estimate = estimate_for(past, 1, (struct run_shape){40, 1, 0});
    assert_true(estimate.took_ms > 2000 && estimate.took_ms < 4500);
    assert_true(estimate.low_ms < estimate.took_ms && estimate.took_ms < estimate.high_ms);
}

static void waiting_between_waves_is_known_and_not_scaled(void **state UNUSED)
{
    static const struct past past[] = {
        {4, 3, 10000, 20600}, {4, 3, 10000, 20600}, {4, 3, 10000, 20600}};
    struct estimate same = estimate_for(past, ARRAY_SIZE(past), (struct run_shape){4, 3, 1000});
    assert_float_equal(same.took_ms, 2600, 1e-6);
    struct estimate once = estimate_for(past, ARRAY_SIZE(past), (struct run_shape){4, 1, 0});
    assert_float_equal(once.took_ms, 600, 60);
}

static void a_larger_run_is_never_expected_to_be_shorter(void **state UNUSED)
{
    static const struct past odd[] = {{1, 1, 0, 900}, {8, 1, 0, 300}}; /* a slow disk, once */
    double before = 0;
    for (size_t shards = 1; shards < 3000; shards = shards * 2 + 1) {
        struct estimate estimate =
            estimate_for(odd, ARRAY_SIZE(odd), (struct run_shape){shards, 1, 0});
        assert_true(estimate.took_ms > before);
        before = estimate.took_ms;
    }
}

static void what_says_nothing_is_left_out(void **state UNUSED)
{
    static const char *const heads[] = {
        "",
        "[]",
        "{}",
        "{\"result\":\"done\"}",
        "{\"kind\":\"switchover\",\"result\":\"failed\",\"moved\":4,\"took_ms\":10}",
        "{\"result\":\"running\",\"moved\":0,\"took_ms\":null}",
        "{\"kind\":\"switchover\",\"result\":\"done\",\"resumed\":true,\"moved\":4,\"took_ms\":10}",
        "{\"result\":\"done\",\"moved\":-4,\"took_ms\":10}",
        "{\"kind\":\"switchover\",\"result\":\"done\",\"moved\":4,\"took_ms\":10,\"hooks\":[{},{"
        "\"failures\":[{\"event\":"
        "\"wave.before\",\"end\":\"timed out\"}]}]}",
        "{\"kind\":\"failover\",\"result\":\"done\",\"moved\":4,\"took_ms\":10}",
        "{\"result\":7,\"moved\":\"x\",\"took_ms\":[]}",
    };
    AUTO(history_release) struct history history = {0};
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        history_add(&history, heads[i]);
    assert_int_equal(history.count, 0);
    struct run_shape shape = {4, 1, 0};
    assert_int_equal(history_estimate(&history, &shape).runs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_the_same_size_speak_for_themselves),
        cmocka_unit_test(other_sizes_are_scaled_with_a_wider_error),
        cmocka_unit_test(a_run_that_is_out_of_line_is_not_believed),
        cmocka_unit_test(one_size_alone_still_gives_an_estimate),
        cmocka_unit_test(waiting_between_waves_is_known_and_not_scaled),
        cmocka_unit_test(a_larger_run_is_never_expected_to_be_shorter),
        cmocka_unit_test(what_says_nothing_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
