/* SPDX-License-Identifier: Apache-2.0
 * Gaps and latencies. */
#include "load/gauge.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the above */
#include <cmocka.h>

#define MS NSEC_PER_MS

static void gap_is_the_longest_time_between_two_acknowledgements(void **state UNUSED)
{
    struct gauge gauge;
    gauge_start(&gauge, 100 * MS);
    gauge_acknowledge(&gauge, 100 * MS, 101 * MS);
    gauge_acknowledge(&gauge, 101 * MS, 151 * MS);
    gauge_acknowledge(&gauge, 151 * MS, 155 * MS);
    gauge_stop(&gauge, 160 * MS);
    assert_int_equal(gauge.longest, 50 * MS);
    assert_int_equal(gauge.longest_began, 101 * MS);
}

static void silence_to_the_end_is_a_gap(void **state UNUSED)
{
    struct gauge gauge;
    gauge_start(&gauge, 0);
    gauge_acknowledge(&gauge, 0, 10 * MS);
    gauge_stop(&gauge, 5000 * MS);
    assert_int_equal(gauge.longest, 4990 * MS);
    assert_int_equal(gauge.longest_began, 10 * MS);
}

static void silence_from_the_start_is_a_gap(void **state UNUSED)
{
    struct gauge gauge;
    gauge_start(&gauge, 7 * MS);
    gauge_acknowledge(&gauge, 7 * MS, 3007 * MS);
    gauge_stop(&gauge, 3010 * MS);
    assert_int_equal(gauge.longest, 3000 * MS);
    assert_int_equal(gauge.longest_began, 7 * MS);
}

static void run_without_an_acknowledgement_is_one_gap(void **state UNUSED)
{
    struct gauge gauge;
    gauge_start(&gauge, 5 * MS);
    gauge_stop(&gauge, 1005 * MS);
    assert_int_equal(gauge.longest, 1000 * MS);
    assert_true(gauge_latency_ms(&gauge, 50) == 0);
}

static void answer_after_the_stop_does_not_shorten_the_gap(void **state UNUSED)
{
    struct gauge gauge;
    gauge_start(&gauge, 0);
    gauge_stop(&gauge, 1000 * MS);
    gauge_acknowledge(&gauge, 0, 1500 * MS);
    assert_int_equal(gauge.longest, 1000 * MS);
    assert_int_equal(gauge.total, 1);
}

static void percentiles_are_at_most_a_sixteenth_too_high(void **state UNUSED)
{
    static const int64_t latencies_us[] = {1, 15, 16, 17, 100, 999, 1000, 12345, 1000000, 90000000};
    for (size_t i = 0; i < ARRAY_SIZE(latencies_us); i++) {
        struct gauge gauge;
        gauge_start(&gauge, 0);
        gauge_acknowledge(&gauge, 0, latencies_us[i] * 1000);
        double got = gauge_latency_ms(&gauge, 99), exact = (double)latencies_us[i] / 1000;
        if (got < exact || got > exact * 17 / 16)
            fail_msg("%f ms became %f ms", exact, got);
    }
}

static void percentile_is_the_nearest_rank(void **state UNUSED)
{
    struct gauge gauge;
    gauge_start(&gauge, 0);
    for (int i = 0; i < 98; i++)
        gauge_acknowledge(&gauge, 0, 8000);
    gauge_acknowledge(&gauge, 0, 12000);
    gauge_acknowledge(&gauge, 0, 15000);
    assert_true(gauge_latency_ms(&gauge, 50) == 0.008);
    assert_true(gauge_latency_ms(&gauge, 99) == 0.012);
    assert_true(gauge_latency_ms(&gauge, 100) == 0.015);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gap_is_the_longest_time_between_two_acknowledgements),
        cmocka_unit_test(silence_to_the_end_is_a_gap),
        cmocka_unit_test(silence_from_the_start_is_a_gap),
        cmocka_unit_test(run_without_an_acknowledgement_is_one_gap),
        cmocka_unit_test(answer_after_the_stop_does_not_shorten_the_gap),
        cmocka_unit_test(percentiles_are_at_most_a_sixteenth_too_high),
        cmocka_unit_test(percentile_is_the_nearest_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
