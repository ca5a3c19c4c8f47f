/* SPDX-License-Identifier: Apache-2.0
 * What a writer remembers. */
#include "load/ledger.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the above */
#include <cmocka.h>

static void take(struct ledger *ledger, uint64_t count)
{
    while (count-- > 0)
        ledger_take(ledger);
}

static void acknowledged_numbers_take_no_memory(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    for (int i = 0; i < 100000; i++)
        ledger_acknowledge(&ledger, ledger_take(&ledger));
    assert_int_equal(ledger.acknowledged, 100000);
    assert_null(ledger.exceptions);
    assert_int_equal(ledger_find(&ledger, 1), LEDGER_ACKNOWLEDGED);
    assert_int_equal(ledger_find(&ledger, 100000), LEDGER_ACKNOWLEDGED);
    assert_int_equal(ledger_find(&ledger, 100001), LEDGER_UNUSED);
    assert_int_equal(ledger_find(&ledger, 0), LEDGER_UNUSED);
}

static void refused_newest_number_is_taken_again(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    ledger_acknowledge(&ledger, ledger_take(&ledger));
    for (int i = 0; i < 50; i++)
        ledger_refuse(&ledger, ledger_take(&ledger));
    assert_int_equal(ledger_take(&ledger), 2);
    assert_int_equal(ledger.count, 0);
}

static void refused_older_number_becomes_an_exception(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    take(&ledger, 2);
    ledger_refuse(&ledger, 1);
    ledger_acknowledge(&ledger, 2);
    assert_int_equal(ledger_find(&ledger, 1), LEDGER_REFUSED);
    assert_int_equal(ledger_take(&ledger), 3);
}

static void number_of_unknown_outcome_is_never_taken_again(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    ledger_doubt(&ledger, ledger_take(&ledger));
    assert_int_equal(ledger_take(&ledger), 2);
    assert_int_equal(ledger_find(&ledger, 1), LEDGER_UNKNOWN);
    assert_int_equal(ledger.unknown, 1);
}

static void neighbours_become_one_range_in_any_order(void **state UNUSED)
{
    static const uint64_t orders[][5] = {
        {3, 4, 5, 6, 7}, {7, 6, 5, 4, 3}, {3, 5, 7, 4, 6}, {5, 3, 7, 6, 4}};
    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        AUTO(ledger_release) struct ledger ledger = {0};
        take(&ledger, 9);
        for (size_t j = 0; j < 5; j++)
            ledger_doubt(&ledger, orders[i][j]);
        assert_int_equal(ledger.count, 1);
        assert_int_equal(ledger.exceptions[0].first, 3);
        assert_int_equal(ledger.exceptions[0].last, 7);
        assert_int_equal(ledger_find(&ledger, 2), LEDGER_ACKNOWLEDGED);
        assert_int_equal(ledger_find(&ledger, 8), LEDGER_ACKNOWLEDGED);
    }
}

static void neighbours_of_different_outcomes_stay_apart(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    take(&ledger, 4);
    ledger_doubt(&ledger, 1);
    ledger_refuse(&ledger, 2);
    ledger_doubt(&ledger, 3);
    assert_int_equal(ledger.count, 3);
    assert_int_equal(ledger_find(&ledger, 1), LEDGER_UNKNOWN);
    assert_int_equal(ledger_find(&ledger, 2), LEDGER_REFUSED);
    assert_int_equal(ledger_find(&ledger, 3), LEDGER_UNKNOWN);
    assert_int_equal(ledger_find(&ledger, 4), LEDGER_ACKNOWLEDGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_numbers_take_no_memory),
        cmocka_unit_test(refused_newest_number_is_taken_again),
        cmocka_unit_test(refused_older_number_becomes_an_exception),
        cmocka_unit_test(number_of_unknown_outcome_is_never_taken_again),
        cmocka_unit_test(neighbours_become_one_range_in_any_order),
        cmocka_unit_test(neighbours_of_different_outcomes_stay_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
