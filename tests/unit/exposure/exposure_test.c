/* SPDX-License-Identifier: Apache-2.0
 * Units of exposure/: what a loss of the home region would cost, from what servers said when. */
#include "exposure/exposure.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { W1, W2, E1, E2, SERVERS };
#define MS NSEC_PER_MS

static struct inventory *fleet;
static struct exposure_track *track;

static int set_up(UNUSED void **state)
{
    static const char *const names[SERVERS] = {"w1", "w2", "e1", "e2"};
    fleet = inventory_new();
    struct inventory_shard *shard = inventory_add_shard(fleet, "d", "s0");
    for (size_t i = 0; i < SERVERS; i++)
        assert_int_equal(inventory_add_server(shard, i >= E1, names[i], NULL), ST_OK);
    track = exposure_track_new(&fleet->shards[0]);
    return 0;
}

static int tear_down(UNUSED void **state)
{
    exposure_track_free(track);
    inventory_free(fleet);
    return 0;
}

static void see(const struct exposure_sight *sight)
{
    exposure_track_see(track, sight);
}

/* Of w1, the primary; of one of the others, which follows 'source'. */
static void see_primary(nsec asked, const char *position)
{
    see(&(struct exposure_sight){W1, asked, true, false, 101, 0, position, ""});
}

static void see_closed(nsec asked, const char *position)
{
    see(&(struct exposure_sight){W1, asked, false, false, 101, 0, position, ""});
}

static void see_replica(size_t server, nsec asked, int64_t source, const char *received)
{
    see(&(struct exposure_sight){server, asked, false, true, 101 + (int64_t)server, source,
                                 received, received});
}

static nsec covered(void)
{
    AUTO(exposure_release) struct exposure exposure;
    exposure_get(track, &exposure);
    return exposure.covered_until;
}

static void nothing_is_covered_before_the_other_region_said_what_it_has(UNUSED void **state)
{
    AUTO(exposure_release) struct exposure exposure;
    exposure_get(track, &exposure);
    assert_null(exposure.primary);
    assert_true(exposure_ms(&exposure, 100) < 0);
    see_primary(10, "0-101-5");
    assert_int_equal(covered(), EXPOSURE_NEVER);
    see_replica(W2, 20, 101, "0-101-9"); /* it would be lost with the primary */
    assert_int_equal(covered(), EXPOSURE_NEVER);
    assert_int_equal(exposure_since(track, W1), EXPOSURE_NEVER);
}

static void covered_is_the_newest_moment_whose_position_was_received(UNUSED void **state)
{
    AUTO(exposure_release) struct exposure exposure;
    see_primary(10 * MS, "0-101-5");
    see_primary(20 * MS, "0-101-7");
    see_primary(30 * MS, "0-101-9");
    see_replica(E1, 31 * MS, 101, "0-101-8");
    exposure_get(track, &exposure);
    assert_int_equal(exposure.covered_until, 20 * MS);
    assert_true(exposure_ms(&exposure, 50 * MS) == 30);
    assert_int_equal(exposure.transactions, 1);
    assert_string_equal(exposure.primary->name, "w1:3306");
    assert_string_equal(exposure.position, "0-101-9");
    assert_int_equal(exposure.asked, 30 * MS);
    assert_string_equal(exposure.receiver->name, "e1:3306");
    assert_string_equal(exposure.received, "0-101-8");
    assert_int_equal(exposure.receiver_asked, 31 * MS);
}

static void a_primary_that_writes_nothing_stays_covered(UNUSED void **state)
{
    see_primary(10, "0-101-5");
    see_replica(E1, 11, 101, "0-101-5");
    assert_int_equal(covered(), 10);
    see_primary(500, "0-101-5"); /* the other region has not answered since */
    assert_int_equal(covered(), 500);
    see_primary(600, "0-101-6");
    see_primary(700, "0-101-6");
    assert_int_equal(covered(), 500);
    see_replica(E1, 701, 101, "0-101-6");
    assert_int_equal(covered(), 700);
}

static void a_late_answer_of_an_older_question_changes_nothing(UNUSED void **state)
{
    see_primary(20, "0-101-7");
    see_replica(E1, 21, 101, "0-101-7");
    see_primary(10, "0-101-5");
    see_replica(E1, 5, 101, "0-101-2");
    assert_int_equal(covered(), 20);
    AUTO(exposure_release) struct exposure exposure;
    exposure_get(track, &exposure);
    assert_string_equal(exposure.received, "0-101-7");
}

static void a_region_far_behind_is_still_followed(UNUSED void **state)
{
    for (nsec i = 1; i <= 1000; i++) {
        AUTO_FREE char *position = mem_printf("0-101-%lld", (long long)i);
        see_primary(i, position);
    }
    assert_int_equal(covered(), EXPOSURE_NEVER);
    see_replica(E1, 1001, 101, "0-101-1");
    assert_int_equal(covered(), 1);
    see_replica(E1, 1002, 101, "0-101-900"); /* as exact as what is remembered allows */
    assert_true(covered() > 600 && covered() <= 900);
    see_replica(E1, 1003, 101, "0-101-1000");
    assert_int_equal(covered(), 1000);
}

static void other_domains_count_too(UNUSED void **state)
{
    see_primary(10, "0-101-5,1-101-3");
    see_replica(E1, 11, 101, "0-101-9");
    assert_int_equal(covered(), EXPOSURE_NEVER);
    see_replica(E1, 12, 101, "0-101-5,1-101-3");
    assert_int_equal(covered(), 10);
}

static void a_closed_primary_is_covered_once_all_of_it_is_there(UNUSED void **state)
{
    see_primary(10, "0-101-5");
    see_replica(E1, 11, 101, "0-101-5");
    see_primary(20, "0-101-8");
    see_closed(30, "0-101-9");
    see_closed(90, "0-101-9");
    assert_int_equal(exposure_since(track, W1), 10);
    see_replica(E1, 91, 101, "0-101-9");
    assert_int_equal(exposure_since(track, W1), 90);
    see_closed(99, "0-101-9");
    assert_int_equal(exposure_since(track, W1), 99);
}

static void a_replica_has_acknowledged_nothing_until_it_was_seen(UNUSED void **state)
{
    see_replica(W2, 40, 101, "0-101-5");
    assert_int_equal(exposure_since(track, W2), 40);
    /* opened: what it was as a replica counts on, until more of it is covered */
    see(&(struct exposure_sight){W2, 50, true, true, 102, 101, "0-102-6", "0-101-5"});
    see(&(struct exposure_sight){W2, 60, true, false, 102, 0, "0-102-7", ""});
    assert_int_equal(exposure_since(track, W2), 40);
    see_replica(E1, 61, 102, "0-102-6");
    assert_int_equal(exposure_since(track, W2), 50);
}

static void the_primary_is_who_was_open_last(UNUSED void **state)
{
    AUTO(exposure_release) struct exposure exposure;
    see_primary(10, "0-101-5");
    see(&(struct exposure_sight){E1, 50, true, false, 103, 0, "0-103-6", ""});
    see_closed(60, "0-101-5"); /* it came back, and follows nobody yet */
    see_replica(W2, 61, 103, "0-103-6");
    exposure_get(track, &exposure);
    assert_string_equal(exposure.primary->name, "e1:3306");
    assert_string_equal(exposure.receiver->name, "w2:3306");
    assert_int_equal(exposure.covered_until, 50);
}

static void what_receives_from_the_primary_comes_before_what_is_behind_it(UNUSED void **state)
{
    AUTO(exposure_release) struct exposure exposure;
    see_primary(10, "0-101-5");
    see_replica(E1, 11, 104, "0-101-5");
    see_replica(E2, 12, 101, "0-101-5");
    exposure_get(track, &exposure);
    assert_string_equal(exposure.receiver->name, "e2:3306");
}

static void the_least_that_tells_is_asked(UNUSED void **state)
{
    for (size_t i = 0; i < SERVERS; i++)
        assert_false(exposure_wants(track, i));
    see_primary(10, "0-101-5");
    see_replica(W2, 10, 101, "0-101-5");
    see_replica(E1, 11, 101, "0-101-5");
    see_replica(E2, 11, 103, "0-101-5");
    assert_true(exposure_wants(track, W1));
    assert_false(exposure_wants(track, W2));
    assert_true(exposure_wants(track, E1));
    assert_false(exposure_wants(track, E2));
    see_primary(20, "0-101-9");
    see_replica(E2, 21, 103, "0-101-7"); /* has more than e1, whatever became of that */
    assert_false(exposure_wants(track, E1));
    assert_true(exposure_wants(track, E2));
}

static void expect_bound(const char *position, nsec covered, int64_t transactions)
{
    struct exposure_bound bound;
    assert_true(exposure_bound(track, W1, position, &bound));
    assert_int_equal(bound.covered, covered);
    assert_int_equal(bound.transactions, transactions);
}

static void a_loss_is_bounded_by_what_the_new_primary_has(UNUSED void **state)
{
    struct exposure_bound bound;
    see_primary(10, "0-101-5");
    assert_false(exposure_bound(track, W1, "0-101-4", &bound));
    see_replica(E1, 11, 101, "0-101-5");
    see_primary(20, "0-101-7");
    see_replica(E1, 21, 101, "0-101-7");
    see_primary(30, "0-101-9");
    assert_int_equal(covered(), 20);
    expect_bound("0-101-7", 20, 2);
    expect_bound("0-101-6", 10, 3); /* it was restarted: what it had received is gone */
    assert_false(exposure_bound(track, W1, "0-101-4", &bound));
    assert_false(exposure_bound(track, W1, "", &bound));
    assert_false(exposure_bound(track, W1, "?", &bound));
    expect_bound("0-101-9", 30, 0); /* it got more before the end than was seen */
    assert_false(exposure_bound(track, W2, "0-101-9", &bound)); /* which was no primary */
}

static void what_was_received_long_ago_is_known_about_as_exactly_as_it_is_old(UNUSED void **state)
{
    struct exposure_bound bound;
    for (nsec i = 1; i <= 10000; i++) {
        AUTO_FREE char *position = mem_printf("0-101-%lld", (long long)i);
        see_primary(i, position);
        see_replica(E1, i, 101, position);
    }
    for (nsec lost = 1; lost < 10000; lost += lost) {
        AUTO_FREE char *position = mem_printf("0-101-%lld", (long long)(10000 - lost));
        assert_true(exposure_bound(track, W1, position, &bound));
        assert_in_range(bound.covered, lost * 4 < 10000 ? 10000 - lost * 4 : 1, 10000 - lost);
        assert_int_equal(bound.transactions, lost);
    }
}

/* A look at w1 and e1. */
static void make_look(struct shard_observation *shard, struct server_observation *servers,
                      const char *position, const char *received)
{
    *shard = (struct shard_observation){.shard = &fleet->shards[0], .servers = servers};
    for (size_t i = 0; i < SERVERS; i++)
        servers[i] = (struct server_observation){.server = &fleet->shards[0].servers[i],
                                                 .status = ST_UNREACHABLE};
    servers[W1].status = servers[E1].status = ST_OK;
    servers[W1].state = (struct sql_server_state){.server_id = 101, .position = position};
    servers[W1].state.received = "";
    servers[E1].state = (struct sql_server_state){
        .server_id = 103, .is_read_only = true, .channels = 1, .source_id = 101};
    servers[E1].state.position = servers[E1].state.received = received;
}

static void two_looks_tell_whether_the_first_was_caught_up_with(UNUSED void **state)
{
    static const struct {
        const char *received;
        nsec covered;
        int64_t transactions;
    } cases[] = {{"0-101-5", EXPOSURE_NEVER, 4}, {"0-101-7", 10, 2}};
    for (size_t i = 0; i < 2; i++) {
        struct server_observation before[SERVERS], after[SERVERS];
        struct shard_observation shards[2];
        AUTO(exposure_list_release) struct exposure_list list = {0};
        make_look(&shards[0], before, "0-101-7", "0-101-4");
        make_look(&shards[1], after, "0-101-9", cases[i].received);
        struct fleet_observation first = {&shards[0], 1}, second = {&shards[1], 1};
        exposure_list_compare(&(struct exposure_look){&first, 10},
                              &(struct exposure_look){&second, 20}, &list);
        assert_int_equal(list.count, 1);
        assert_int_equal(list.items[0].covered_until, cases[i].covered);
        assert_int_equal(list.items[0].transactions, cases[i].transactions);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_covered_before_the_other_region_said_what_it_has),
        TEST(covered_is_the_newest_moment_whose_position_was_received),
        TEST(a_primary_that_writes_nothing_stays_covered),
        TEST(a_late_answer_of_an_older_question_changes_nothing),
        TEST(a_region_far_behind_is_still_followed),
        TEST(other_domains_count_too),
        TEST(a_closed_primary_is_covered_once_all_of_it_is_there),
        TEST(a_replica_has_acknowledged_nothing_until_it_was_seen),
        TEST(the_primary_is_who_was_open_last),
        TEST(what_receives_from_the_primary_comes_before_what_is_behind_it),
        TEST(the_least_that_tells_is_asked),
        TEST(a_loss_is_bounded_by_what_the_new_primary_has),
        TEST(what_was_received_long_ago_is_known_about_as_exactly_as_it_is_old),
        TEST(two_looks_tell_whether_the_first_was_caught_up_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
