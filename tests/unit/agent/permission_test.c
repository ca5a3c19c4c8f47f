/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/permission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS NSEC_PER_MS
static const nsec TTL = 2000 * MS, NOW = 1000000 * MS;

static struct permission begun(nsec carried)
{
    struct permission permission;
    permission_begin(&permission, TTL, carried, NOW);
    return permission;
}

static void it_counts_from_when_the_question_was_sent(void **state)
{
    (void)state;
    struct permission permission = begun(NOW - 1);
    permission_grant(&permission, NOW, 1000);
    assert_true(permission_holds(&permission, NOW + 1000 * MS - 1));
    assert_false(permission_holds(&permission, NOW + 1000 * MS));
}

static void an_answer_that_was_under_way_for_too_long_gives_none(void **state)
{
    (void)state;
    struct permission permission = begun(NOW - 1);
    permission_grant(&permission, NOW - 5000 * MS, 1400); /* it waited in a frozen process */
    assert_false(permission_holds(&permission, NOW));
}

static void an_earlier_or_shorter_grant_takes_nothing_away(void **state)
{
    (void)state;
    struct permission permission = begun(NOW - 1);
    permission_grant(&permission, NOW, 1400);
    permission_grant(&permission, NOW + 10 * MS, 0);
    permission_grant(&permission, NOW + 10 * MS, 200);
    permission_grant(&permission, NOW - 100 * MS, 1400);
    assert_int_equal(permission_end(&permission), NOW + 1400 * MS);
}

static void nobody_grants_more_than_the_ttl_without_its_margin(void **state)
{
    (void)state;
    struct permission permission = begun(NOW - 1);
    permission_grant(&permission, NOW, INT64_MAX);
    assert_int_equal(permission_end(&permission), NOW + 1800 * MS);
}

static void what_a_predecessor_had_goes_on_to_its_end(void **state)
{
    (void)state;
    struct permission permission = begun(NOW + 300 * MS);
    assert_true(permission_holds(&permission, NOW + 299 * MS));
    assert_false(permission_holds(&permission, NOW + 300 * MS));
}

static void a_predecessor_whose_permission_has_ended_leaves_no_time(void **state)
{
    (void)state;
    struct permission permission = begun(NOW - 1);
    assert_false(permission_holds(&permission, NOW));
}

static void without_a_predecessor_there_is_a_moment_to_ask(void **state)
{
    (void)state;
    struct permission permission = begun(0);
    assert_true(permission_holds(&permission, NOW + TTL / 2 - 1));
    assert_false(permission_holds(&permission, NOW + TTL / 2));
    permission_end_trial(&permission);
    assert_false(permission_holds(&permission, NOW));
}

static void revocations_of_an_older_revision_are_no_news(void **state)
{
    (void)state;
    struct permission permission = begun(0);
    assert_true(permission_is_news(&permission, 7));
    assert_true(permission_is_news(&permission, 7));
    assert_false(permission_is_news(&permission, 6));
    assert_true(permission_is_news(&permission, 8));
    assert_int_equal(permission.revision, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_counts_from_when_the_question_was_sent),
        cmocka_unit_test(an_answer_that_was_under_way_for_too_long_gives_none),
        cmocka_unit_test(an_earlier_or_shorter_grant_takes_nothing_away),
        cmocka_unit_test(nobody_grants_more_than_the_ttl_without_its_margin),
        cmocka_unit_test(what_a_predecessor_had_goes_on_to_its_end),
        cmocka_unit_test(a_predecessor_whose_permission_has_ended_leaves_no_time),
        cmocka_unit_test(without_a_predecessor_there_is_a_moment_to_ask),
        cmocka_unit_test(revocations_of_an_older_revision_are_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
