/* SPDX-License-Identifier: Apache-2.0
 * Percentiles by nearest rank. */
#include "base/scope.h"
#include "base/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_percentile(struct stats *stats, double percent, double wanted)
{
    assert_float_equal(stats_percentile(stats, percent), wanted, 0);
}

static void without_samples_every_percentile_is_zero(void **state UNUSED)
{
    AUTO(stats_release) struct stats stats = {0};
    assert_percentile(&stats, 50, 0);
    assert_percentile(&stats, 100, 0);
}

static void one_sample_is_every_percentile(void **state UNUSED)
{
    AUTO(stats_release) struct stats stats = {0};
    stats_add(&stats, 3.5);
    assert_percentile(&stats, 0, 3.5);
    assert_percentile(&stats, 50, 3.5);
    assert_percentile(&stats, 100, 3.5);
}

static void percentiles_of_unsorted_samples_are_samples_of_nearest_rank(void **state UNUSED)
{
    AUTO(stats_release) struct stats stats = {0};
    for (int i = 0; i < 100; i++)
        stats_add(&stats, (i * 37) % 100 + 1); /* 1 to 100, shuffled */
    static const struct {
        double percent, wanted;
    } cases[] = {{0, 1}, {1, 1}, {50, 50}, {50.1, 51}, {90, 90}, {99, 99}, {99.5, 100}, {100, 100}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_percentile(&stats, cases[i].percent, cases[i].wanted);
}

static void the_median_of_an_even_number_is_the_lower_middle(void **state UNUSED)
{
    AUTO(stats_release) struct stats stats = {0};
    static const double samples[] = {4, 1, 3, 2};
    for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
        stats_add(&stats, samples[i]);
    assert_percentile(&stats, 50, 2);
}

static void samples_can_be_added_after_a_percentile_was_read(void **state UNUSED)
{
    AUTO(stats_release) struct stats stats = {0};
    stats_add(&stats, 9);
    assert_percentile(&stats, 100, 9);
    stats_add(&stats, -1);
    assert_percentile(&stats, 0, -1);
    assert_percentile(&stats, 100, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_samples_every_percentile_is_zero),
        cmocka_unit_test(one_sample_is_every_percentile),
        cmocka_unit_test(percentiles_of_unsorted_samples_are_samples_of_nearest_rank),
        cmocka_unit_test(the_median_of_an_even_number_is_the_lower_middle),
        cmocka_unit_test(samples_can_be_added_after_a_percentile_was_read),
    };
    return cmocka_run_group_tests_name("base/stats", tests, NULL, NULL);
}
