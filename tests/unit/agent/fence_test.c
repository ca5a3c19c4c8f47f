/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fence.h"
#include "base/scope.h"
#include "permit/permit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS NSEC_PER_MS
static const nsec TTL = 2000 * MS, NOW = 1000000 * MS;

static enum deed plan(struct fence_view view)
{
    return fence_plan(&view, TTL, NOW);
}

static void one_that_may_serve_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(plan((struct fence_view){.is_allowed = true, .has_process = true}), DEED_NONE);
}

static void one_that_may_not_is_told_first(void **state)
{
    (void)state;
    assert_int_equal(plan((struct fence_view){.began = NOW, .has_process = true}), DEED_SHUT);
}

static void one_that_was_told_gets_its_time_and_no_more(void **state)
{
    (void)state;
    struct fence_view view = {.is_shutting = true, .has_process = true};
    view.began = NOW - fence_bound(TTL) + 1;
    assert_int_equal(plan(view), DEED_NONE);
    view.began = NOW - fence_bound(TTL);
    assert_int_equal(plan(view), DEED_KILL);
}

static void one_that_refuses_to_be_told_is_killed_as_well(void **state)
{
    (void)state;
    struct fence_view view = {.retry_at = NOW + 1, .has_process = true};
    view.began = NOW - 1;
    assert_int_equal(plan(view), DEED_NONE);
    view.began = NOW - fence_bound(TTL);
    assert_int_equal(plan(view), DEED_KILL);
}

static void one_that_refuses_writes_is_never_killed(void **state)
{
    (void)state;
    struct fence_view view = {.began = NOW - 100 * TTL, .is_shut = true, .has_process = true};
    assert_int_equal(plan(view), DEED_NONE);
    assert_true(fence_next(&view, TTL, NOW) == NSEC_NEVER);
}

static void one_whose_process_is_not_known_is_told_for_ever(void **state)
{
    (void)state;
    struct fence_view view = {.began = NOW - 100 * TTL};
    assert_int_equal(plan(view), DEED_SHUT);
    view.retry_at = NOW + 5 * MS;
    assert_int_equal(plan(view), DEED_NONE);
    assert_int_equal(fence_next(&view, TTL, NOW), NOW + 5 * MS);
}

static void one_that_survives_is_killed_again(void **state)
{
    (void)state;
    struct fence_view view = {
        .began = NOW - TTL, .is_shutting = true, .has_process = true, .killed_at = NOW - 1};
    assert_int_equal(plan(view), DEED_NONE);
    view.killed_at = NOW - 100 * MS;
    assert_int_equal(plan(view), DEED_KILL);
}

static void the_kill_comes_before_the_permission_ends(void **state)
{
    (void)state;
    static const nsec ttls[] = {500 * MS, 1000 * MS, 2000 * MS, 3000 * MS, 60000 * MS};
    for (size_t i = 0; i < ARRAY_SIZE(ttls); i++) {
        nsec began = NOW - permit_fence_span(ttls[i]);
        struct fence_view view = {.began = began, .is_shutting = true, .has_process = true};
        nsec kill_at = fence_next(&view, ttls[i], began);
        assert_true(kill_at > began && kill_at <= NOW);
    }
}

static void a_human_is_told_once_of_one_that_is_not_closed_within_a_second(void **state)
{
    (void)state;
    struct fence_view view = {.began = NOW, .is_shutting = true, .has_process = true};
    assert_int_equal(fence_alarm(&view), NOW + NSEC_PER_SEC);
    view.is_told_of = true;
    assert_true(fence_alarm(&view) == NSEC_NEVER);
    assert_true(fence_alarm(&(struct fence_view){.is_allowed = true}) == NSEC_NEVER);
    assert_true(fence_alarm(&(struct fence_view){.began = NOW, .is_shut = true}) == NSEC_NEVER);
}

static void whatever_is_known_a_plan_exists_and_time_brings_it_on(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        struct fence_view view = {.is_allowed = bits & 1,
                                  .is_shut = bits & 2,
                                  .is_shutting = bits & 4,
                                  .has_process = bits & 8,
                                  .retry_at = bits & 16 ? NOW + 7 * MS : 0,
                                  .killed_at = bits & 32 ? NOW - 3 * MS : 0,
                                  .began = NOW};
        enum deed deed = plan(view);
        nsec next = fence_next(&view, TTL, NOW);
        bool is_open = !view.is_allowed && !view.is_shut;
        assert_true(is_open || deed == DEED_NONE);
        if (is_open && (view.has_process || !view.is_shutting))
            assert_true(next != NSEC_NEVER);
        if (is_open && view.has_process)
            assert_int_equal(fence_plan(&view, TTL, NOW + TTL), DEED_KILL);
        if (deed == DEED_KILL)
            assert_true(view.has_process);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_may_serve_is_left_alone),
        cmocka_unit_test(one_that_may_not_is_told_first),
        cmocka_unit_test(one_that_was_told_gets_its_time_and_no_more),
        cmocka_unit_test(one_that_refuses_to_be_told_is_killed_as_well),
        cmocka_unit_test(one_that_refuses_writes_is_never_killed),
        cmocka_unit_test(one_whose_process_is_not_known_is_told_for_ever),
        cmocka_unit_test(one_that_survives_is_killed_again),
        cmocka_unit_test(the_kill_comes_before_the_permission_ends),
        cmocka_unit_test(a_human_is_told_once_of_one_that_is_not_closed_within_a_second),
        cmocka_unit_test(whatever_is_known_a_plan_exists_and_time_brings_it_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
