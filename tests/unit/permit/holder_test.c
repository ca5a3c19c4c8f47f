/* SPDX-License-Identifier: Apache-2.0
 * Units of permit/holder: until when an agent lets a server be open, and what it says of it. */
#include "permit/holder.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { X, Y, SERVERS };
#define FENCE 50
static const char *const names[SERVERS] = {"10.0.1.11:3306", "10.0.1.12:3306"};

static int set_up(void **state)
{
    static struct permit_holder holder;
    permit_holder_init(&holder, names, SERVERS, FENCE);
    *state = &holder;
    return 0;
}

static int tear_down(void **state)
{
    permit_holder_release(*state);
    return 0;
}

/* A grant of this version; X is revoked in it, or nobody is. */
static void hear(struct permit_holder *holder, nsec sent, nsec span, int64_t version, bool is_x)
{
    static const char *const revoked[] = {"10.0.1.11:3306"};
    struct permit_grant grant = {
        .span = span, .version = version, .revoked = revoked, .revoked_count = is_x};
    permit_holder_on_grant(holder, sent, &grant);
}

static void shut(struct permit_holder *holder, size_t index)
{
    permit_holder_on_shut(holder, index, permit_holder_moment(holder, index));
}

static void without_an_answer_everything_must_be_closed(void **state)
{
    struct permit_holder *holder = *state;
    assert_true(permit_holder_must_close(holder, X, 0));
    assert_int_equal(permit_holder_due(holder), INT64_MIN);
    hear(holder, 1000, 0, 5, 0); /* a conductor without a basis */
    assert_true(permit_holder_must_close(holder, X, 0));
}

static void a_server_may_have_more_or_less_than_the_others(void **state)
{
    struct permit_holder *holder = *state;
    const struct permit_more more[] = {{names[Y], 500}};
    const struct permit_grant none = {.more = more, .more_count = 1, .version = 5};
    permit_holder_on_grant(holder, 1000, &none);
    assert_true(permit_holder_must_close(holder, X, 1000));
    assert_false(permit_holder_must_close(holder, Y, 1500 - FENCE - 1));
    assert_true(permit_holder_must_close(holder, Y, 1500 - FENCE));
    const struct permit_grant less = {.span = 300, .more = more, .more_count = 1, .version = 5};
    permit_holder_on_grant(holder, 1100, &less);
    assert_false(permit_holder_must_close(holder, X, 1400 - FENCE - 1));
    assert_true(permit_holder_must_close(holder, X, 1400 - FENCE));
    assert_false(permit_holder_must_close(holder, Y, 1600 - FENCE - 1));
}

static void a_guarded_permission_ends_before_the_rpo_is_over(UNUSED void **state)
{
    assert_int_equal(permit_guard_end(5000, 1000), 5000 + 900);
    assert_int_equal(permit_guard_end(INT64_MIN, 1000), INT64_MIN);
}

static void permission_counts_from_the_question(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 5, 0);
    assert_false(permit_holder_must_close(holder, X, 1500 - FENCE - 1));
    assert_true(permit_holder_must_close(holder, X, 1500 - FENCE));
    assert_int_equal(permit_holder_due(holder), 1500 - FENCE);
    hear(holder, 900, 500, 5, 0); /* late: takes nothing away */
    assert_int_equal(permit_holder_due(holder), 1500 - FENCE);
    hear(holder, 1200, 0, 5, 0);
    assert_int_equal(permit_holder_due(holder), 1500 - FENCE);
}

static void a_revoked_server_is_closed_at_once_and_no_other(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 5, 0);
    hear(holder, 1100, 500, 7, 1);
    assert_true(permit_holder_must_close(holder, X, 1101));
    assert_false(permit_holder_must_close(holder, Y, 1101));
    assert_int_equal(permit_holder_due(holder), INT64_MIN);
}

static void an_answer_that_revokes_does_not_extend(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 5, 0);
    hear(holder, 1400, 500, 7, 1);
    assert_int_equal(holder->servers[X].until, 1500);
    assert_int_equal(holder->servers[Y].until, 1900);
}

static void only_a_newer_answer_ends_a_revocation(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 7, 1);
    hear(holder, 900, 5000, 6, 0); /* late, or from a conductor that knows less */
    assert_true(permit_holder_must_close(holder, X, 1001));
    assert_int_equal(holder->servers[X].until, INT64_MIN);
    hear(holder, 1200, 500, 8, 0);
    assert_false(permit_holder_must_close(holder, X, 1201));
}

/* Two conductors, of which one lags behind. */
static void an_answer_from_before_it_was_given_back_does_not_close_it(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 7, 1);
    hear(holder, 1200, 500, 9, 0);
    hear(holder, 1210, 500, 8, 1);
    assert_false(permit_holder_must_close(holder, X, 1220));
    assert_int_equal(holder->servers[X].until, 1700);
    hear(holder, 1220, 500, 10, 1); /* revoked again */
    assert_true(permit_holder_must_close(holder, X, 1221));
    hear(holder, 1230, 500, 9, 0);
    assert_true(permit_holder_must_close(holder, X, 1231));
}

static void a_closing_confirms_what_was_known_before_it_began(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 5, 0);
    struct permit_moment before = permit_holder_moment(holder, X);
    hear(holder, 1100, 500, 7, 1); /* while it is being closed */
    permit_holder_on_shut(holder, X, before);
    assert_true(permit_holder_is_shut(holder, X));
    assert_int_equal(holder->servers[X].closed, 5);
    assert_int_equal(permit_holder_due(holder), 1600 - FENCE); /* Y's */
    shut(holder, X);
    assert_int_equal(holder->servers[X].closed, 7);
}

static void a_server_that_is_found_open_must_be_closed_again(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 7, 1);
    shut(holder, X);
    permit_holder_on_open(holder, X);
    assert_false(permit_holder_is_shut(holder, X));
    assert_int_equal(holder->servers[X].closed, 0);
    assert_int_equal(permit_holder_due(holder), INT64_MIN);
}

static void permission_makes_a_closing_void(void **state)
{
    struct permit_holder *holder = *state;
    hear(holder, 1000, 500, 7, 1);
    shut(holder, X);
    struct permit_moment before = permit_holder_moment(holder, X);
    hear(holder, 1200, 500, 8, 0); /* it may be opened from here on */
    assert_false(permit_holder_is_shut(holder, X));
    hear(holder, 1300, 500, 9, 1);
    permit_holder_on_shut(holder, X, before); /* it began before that */
    assert_false(permit_holder_is_shut(holder, X));
    assert_int_equal(permit_holder_due(holder), INT64_MIN);
    shut(holder, X);
    assert_int_equal(holder->servers[X].closed, 9);
}

static void a_sign_of_life_needs_permission_for_as_long_as_it_lasts(void **state)
{
    struct permit_holder *holder = *state;
    assert_false(permit_holder_may_sign(holder, 100, 1000));
    hear(holder, 1000, 500, 5, 0);
    assert_true(permit_holder_may_sign(holder, 100, 1500 - FENCE - 100));
    assert_false(permit_holder_may_sign(holder, 100, 1500 - FENCE - 99));
    shut(holder, X);
    shut(holder, Y);
    assert_true(permit_holder_may_sign(holder, 100, 9000)); /* nothing is open */
    permit_holder_on_open(holder, Y);
    assert_false(permit_holder_may_sign(holder, 100, 9000));
}

static void a_restarted_agent_goes_on_with_what_was_written_down(void **state)
{
    struct permit_holder *holder = *state;
    permit_holder_resume(holder, X, 1500, 6);
    permit_holder_resume(holder, Y, 1500, 0);
    assert_true(permit_holder_must_close(holder, X, 1000));
    assert_false(permit_holder_must_close(holder, Y, 1000));
    assert_true(permit_holder_must_close(holder, Y, 1500));
}

#define HOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDER_TEST(without_an_answer_everything_must_be_closed),
        HOLDER_TEST(permission_counts_from_the_question),
        HOLDER_TEST(a_server_may_have_more_or_less_than_the_others),
        HOLDER_TEST(a_guarded_permission_ends_before_the_rpo_is_over),
        HOLDER_TEST(a_revoked_server_is_closed_at_once_and_no_other),
        HOLDER_TEST(an_answer_that_revokes_does_not_extend),
        HOLDER_TEST(only_a_newer_answer_ends_a_revocation),
        HOLDER_TEST(an_answer_from_before_it_was_given_back_does_not_close_it),
        HOLDER_TEST(a_closing_confirms_what_was_known_before_it_began),
        HOLDER_TEST(a_server_that_is_found_open_must_be_closed_again),
        HOLDER_TEST(permission_makes_a_closing_void),
        HOLDER_TEST(a_sign_of_life_needs_permission_for_as_long_as_it_lasts),
        HOLDER_TEST(a_restarted_agent_goes_on_with_what_was_written_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
