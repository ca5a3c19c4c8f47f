/* SPDX-License-Identifier: Apache-2.0
 * The status table and its look-ups. */
#include "base/scope.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const enum status all[] = {
#define X(name, text, http, exit_code, retry) name,
    STATUS_TABLE(X)
#undef X
};

static void only_success_exits_with_zero_and_has_a_2xx_http_status(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        bool is_ok = all[i] == ST_OK;
        assert_int_equal(status_exit_code(all[i]) == 0, is_ok);
        assert_int_equal(status_http(all[i]) / 100 == 2, is_ok);
        assert_in_range(status_exit_code(all[i]), 0, 125);
        assert_in_range(status_http(all[i]), 200, 599);
    }
}

static void every_status_has_its_own_name_and_text(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        assert_int_not_equal(strlen(status_text(all[i])), 0);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(status_name(all[i]), status_name(all[j]));
            assert_string_not_equal(status_text(all[i]), status_text(all[j]));
        }
    }
}

static void names_come_without_the_prefix(void **state UNUSED)
{
    assert_string_equal(status_name(ST_OK), "OK");
    assert_string_equal(status_name(ST_TIMEOUT), "TIMEOUT");
}

static void trying_again_helps_only_against_what_passes(void **state UNUSED)
{
    assert_true(status_can_retry(ST_BUSY));
    assert_true(status_can_retry(ST_TIMEOUT));
    assert_false(status_can_retry(ST_UNKNOWN)); /* it may have happened: look first */
    assert_false(status_can_retry(ST_FENCED));
    assert_false(status_can_retry(ST_OK));
}

static void a_number_outside_the_table_is_an_internal_error(void **state UNUSED)
{
    static const int numbers[] = {-1, (int)ARRAY_SIZE(all), 100000};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        assert_string_equal(status_name((enum status)numbers[i]), "INTERNAL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_success_exits_with_zero_and_has_a_2xx_http_status),
        cmocka_unit_test(every_status_has_its_own_name_and_text),
        cmocka_unit_test(names_come_without_the_prefix),
        cmocka_unit_test(trying_again_helps_only_against_what_passes),
        cmocka_unit_test(a_number_outside_the_table_is_an_internal_error),
    };
    return cmocka_run_group_tests_name("base/status", tests, NULL, NULL);
}
