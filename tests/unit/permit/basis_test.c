/* SPDX-License-Identifier: Apache-2.0
 * Units of permit/basis: what a conductor may grant, for how long, and what it knows of agents. */
#include "permit/basis.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define TTL (2 * NSEC_PER_SEC)
#define MARGIN (200 * NSEC_PER_MS)
#define X "10.0.1.11:3306"
#define Y "10.0.1.12:3306"

static void list(struct permit_basis *basis, int64_t revision, const char *server, int64_t revoked)
{
    struct permit_list list = {.revision = revision};
    if (server)
        permit_list_add(&list, server, revoked);
    permit_basis_on_list(basis, &list);
    assert_null(list.items);
}

static void beat(struct permit_basis *basis, nsec sent, int64_t revision)
{
    struct permit_beat beat = {sent, TTL, revision};
    permit_basis_on_beat(basis, &beat);
}

/* The span that is granted at 'now', and the revision at which X is revoked. */
static nsec ask(const struct permit_basis *basis, nsec now, int64_t *ret_revoked)
{
    if (ret_revoked)
        *ret_revoked = permit_list_find(&basis->list, X);
    assert_int_equal(permit_list_find(&basis->list, Y), 0);
    return permit_basis_span(basis, now);
}

static void nothing_is_granted_before_a_beat_and_a_list(UNUSED void **state)
{
    AUTO(permit_basis_release) struct permit_basis basis;
    permit_basis_init(&basis);
    assert_int_equal(ask(&basis, 0, NULL), 0);
    list(&basis, 10, NULL, 0);
    assert_int_equal(ask(&basis, 0, NULL), 0);
    beat(&basis, 100, 12);
    assert_int_equal(ask(&basis, 100, NULL), 0);
}

static void a_beat_counts_from_when_it_was_sent(UNUSED void **state)
{
    AUTO(permit_basis_release) struct permit_basis basis;
    permit_basis_init(&basis);
    beat(&basis, 1000, 12);
    list(&basis, 12, NULL, 0);
    assert_int_equal(ask(&basis, 1000, NULL), TTL - MARGIN);
    assert_int_equal(ask(&basis, 1500, NULL), TTL - MARGIN - 500);
    assert_int_equal(ask(&basis, 1000 + TTL - MARGIN, NULL), 0);
    assert_int_equal(ask(&basis, 1000 + 2 * TTL, NULL), 0);
}

static void a_list_older_than_the_beat_does_not_do(UNUSED void **state)
{
    AUTO(permit_basis_release) struct permit_basis basis;
    permit_basis_init(&basis);
    beat(&basis, 0, 12);
    list(&basis, 11, NULL, 0);
    assert_int_equal(ask(&basis, 0, NULL), 0);
    list(&basis, 12, NULL, 0);
    assert_int_equal(ask(&basis, 0, NULL), TTL - MARGIN);
    beat(&basis, 500, 13); /* the next one waits for its list, too */
    assert_int_equal(ask(&basis, 500, NULL), TTL - MARGIN - 500);
    list(&basis, 14, NULL, 0);
    assert_int_equal(ask(&basis, 500, NULL), TTL - MARGIN);
}

static void a_newer_list_counts_at_once_an_older_one_never(UNUSED void **state)
{
    AUTO(permit_basis_release) struct permit_basis basis;
    int64_t revoked = 0;
    permit_basis_init(&basis);
    list(&basis, 12, NULL, 0);
    beat(&basis, 0, 12);
    list(&basis, 20, X, 15);
    assert_int_equal(ask(&basis, 0, &revoked), TTL - MARGIN);
    assert_int_equal(revoked, 15);
    list(&basis, 14, NULL, 0); /* from a member that lags */
    ask(&basis, 0, &revoked);
    assert_int_equal(revoked, 15);
    list(&basis, 21, NULL, 0);
    ask(&basis, 0, &revoked);
    assert_int_equal(revoked, 0);
}

static void late_news_of_an_old_beat_take_nothing_away(UNUSED void **state)
{
    AUTO(permit_basis_release) struct permit_basis basis;
    permit_basis_init(&basis);
    list(&basis, 30, NULL, 0);
    beat(&basis, 1000, 20);
    beat(&basis, 500, 19);
    assert_int_equal(ask(&basis, 1000, NULL), TTL - MARGIN);
}

static void a_fenced_region_is_granted_nothing(UNUSED void **state)
{
    AUTO(permit_basis_release) struct permit_basis basis;
    permit_basis_init(&basis);
    list(&basis, 12, NULL, 0);
    beat(&basis, 0, 12);
    beat(&basis, 10, 13);
    permit_basis_on_fence(&basis);
    list(&basis, 13, NULL, 0);
    assert_int_equal(ask(&basis, 20, NULL), 0);
}

static void hear(struct permit_ears *ears, const char *server, bool is_closed, int64_t version)
{
    struct permit_told told = {
        .server = server, .host = "db-w1", .is_closed = is_closed, .version = version};
    permit_ears_on_told(ears, &told, 5);
}

static void the_last_grant_is_remembered(UNUSED void **state)
{
    AUTO(permit_ears_release) struct permit_ears ears = {0};
    struct permit_told told = {.server = X, .host = "db-w1"};
    permit_ears_on_told(&ears, &told, 5);
    assert_true(permit_ears_find(&ears, X)->granted == INT64_MIN);
    told.is_granted = true;
    permit_ears_on_told(&ears, &told, 6);
    told.is_granted = false;
    permit_ears_on_told(&ears, &told, 7);
    assert_int_equal(permit_ears_find(&ears, X)->granted, 6);
    assert_int_equal(permit_ears_find(&ears, X)->at, 7);
}

static void closings_are_remembered_by_version(UNUSED void **state)
{
    AUTO(permit_ears_release) struct permit_ears ears = {0};
    assert_null(permit_ears_find(&ears, X));
    hear(&ears, Y, false, 0);
    hear(&ears, X, true, 12);
    hear(&ears, X, true, 11); /* late */
    const struct permit_heard *heard = permit_ears_find(&ears, X);
    assert_non_null(heard);
    assert_int_equal(heard->closed, 12);
    assert_int_equal(heard->at, 5);
    assert_string_equal(heard->host, "db-w1");
    assert_false(permit_ears_find(&ears, Y)->is_closed);
    hear(&ears, X, false, 12);
    assert_int_equal(permit_ears_find(&ears, X)->closed, 0);
}

static void spans_leave_room_for_one_blink(UNUSED void **state)
{
    nsec least = NSEC_PER_SEC / 2;
    assert_int_equal(permit_margin(least), 50 * NSEC_PER_MS);
    assert_true(least - permit_margin(least) - permit_fence_span(least) >
                2 * permit_interval(least));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_granted_before_a_beat_and_a_list),
        cmocka_unit_test(the_last_grant_is_remembered),
        cmocka_unit_test(a_beat_counts_from_when_it_was_sent),
        cmocka_unit_test(a_list_older_than_the_beat_does_not_do),
        cmocka_unit_test(a_newer_list_counts_at_once_an_older_one_never),
        cmocka_unit_test(late_news_of_an_old_beat_take_nothing_away),
        cmocka_unit_test(a_fenced_region_is_granted_nothing),
        cmocka_unit_test(closings_are_remembered_by_version),
        cmocka_unit_test(spans_leave_room_for_one_blink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
