/* SPDX-License-Identifier: Apache-2.0
 * When a paced writer writes next. */
#include "load/internal.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the above */
#include <cmocka.h>

#define MS NSEC_PER_MS

static void writes_come_one_period_apart(void **state UNUSED)
{
    assert_int_equal(load__next_beat(1000 * MS, 40 * MS, 1000 * MS), 1040 * MS);
    assert_int_equal(load__next_beat(1000 * MS, 40 * MS, 1003 * MS), 1040 * MS);
}

static void writer_that_was_held_up_does_not_catch_up(void **state UNUSED)
{
    assert_int_equal(load__next_beat(1000 * MS, 40 * MS, 1100 * MS), 1120 * MS);
    assert_int_equal(load__next_beat(1000 * MS, 40 * MS, 1120 * MS), 1160 * MS);
}

static void writers_that_waited_together_go_on_apart(void **state UNUSED)
{
    nsec freed = 1107 * MS;
    for (nsec beat = 1000 * MS; beat < 1040 * MS; beat += 10 * MS)
        assert_int_equal((load__next_beat(beat, 40 * MS, freed) - beat) % (40 * MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_come_one_period_apart),
        cmocka_unit_test(writer_that_was_held_up_does_not_catch_up),
        cmocka_unit_test(writers_that_waited_together_go_on_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
