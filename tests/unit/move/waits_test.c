/* SPDX-License-Identifier: Apache-2.0
 * The longest wait of a span: what touches it, what counts of it, what is still open. */
#include "base/mem.h"
#include "base/scope.h"
#include "move/waits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { NOW = 300 };

static nsec at(int ms)
{
    return 1000 * NSEC_PER_SEC + ms * NSEC_PER_MS;
}

static void assert_longest(const struct waits *waits, int from, int to, int clip, int open_since,
                           double want)
{
    struct waits_span span = {at(from), at(to), clip ? at(clip) : NSEC_NEVER};
    double got = waits_longest_ms(waits, &span, open_since ? at(open_since) : 0, at(NOW));
    assert_true(got > want - 0.001 && got < want + 0.001);
}

static void nobody_was_ever_acknowledged(UNUSED void **state)
{
    AUTO_FREE struct waits *waits = mem_zalloc(sizeof(*waits));
    assert_longest(waits, 0, 100, 0, 0, -1);
    assert_longest(waits, 0, 100, 0, 40, 260); /* but somebody waits */
}

static void what_touches_the_span_counts_whole(UNUSED void **state)
{
    AUTO_FREE struct waits *waits = mem_zalloc(sizeof(*waits));
    waits_add(waits, at(0), at(30));
    waits_add(waits, at(40), at(45));
    waits_add(waits, at(90), at(110));
    assert_longest(waits, 30, 100, 0, 0, 20); /* the first ended as the span began */
    assert_longest(waits, 29, 100, 0, 0, 30);
    assert_longest(waits, 31, 90, 0, 0, 5); /* the last began as it ended */
    assert_longest(waits, 60, 70, 0, 0, 0); /* all was well */
}

static void a_wait_that_goes_on_counts_up_to_the_clip(UNUSED void **state)
{
    AUTO_FREE struct waits *waits = mem_zalloc(sizeof(*waits));
    waits_add(waits, at(0), at(3));
    waits_add(waits, at(90), at(190));
    assert_longest(waits, 0, 100, 100, 0, 10);
    assert_longest(waits, 0, 100, 0, 0, 100);
    assert_longest(waits, 195, 250, 0, 200, 100);
    assert_longest(waits, 195, 250, 0, 250, 0); /* begins after the span */
}

static void the_newest_are_kept(UNUSED void **state)
{
    AUTO_FREE struct waits *waits = mem_zalloc(sizeof(*waits));
    waits_add(waits, at(0), at(500));
    for (int i = 0; i < WAITS_KEPT; i++)
        waits_add(waits, at(600 + i), at(601 + i));
    assert_longest(waits, 0, 10000, 0, 0, 1);
    assert_true(waits->first == at(500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_was_ever_acknowledged),
        cmocka_unit_test(what_touches_the_span_counts_whole),
        cmocka_unit_test(a_wait_that_goes_on_counts_up_to_the_clip),
        cmocka_unit_test(the_newest_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
