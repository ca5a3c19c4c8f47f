/* SPDX-License-Identifier: Apache-2.0
 * The record of a run: what is kept of who ordered it. */
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void of_many_orders_the_first_and_the_last_are_kept(UNUSED void **state)
{
    AUTO(run_record_release) struct run_record record = {0};
    run_record_init(&record, "west");
    for (int i = 0; i < 1000; i++) {
        AUTO_FREE char *line = mem_printf("order %d", i);
        run_record_add_line(&record, line);
    }
    assert_ptr_equal(strstr(record.audit, "order 0\n"), record.audit);
    assert_non_null(strstr(record.audit, "\norder 7\norder 976\n"));
    assert_non_null(strstr(record.audit, "\norder 999"));
    assert_true(strlen(record.audit) < 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_many_orders_the_first_and_the_last_are_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
