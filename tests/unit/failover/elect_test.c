/* SPDX-License-Identifier: Apache-2.0
 * Who takes over from a lost primary. W1 is lost; W2 and W3 acknowledged its writes, E1 is its
 * relay, which acknowledges nothing and may all the same be ahead of both. */
#include "failover/elect.h"

#include "drain/mark.h"

#include "../fleet/fleet_test.h"
#include "permit/permit.h"

static const struct drain_list *drained_now; /* NULL: no host */

/* W1 is silent, and nobody receives any more. */
static void lose(struct sample *sample)
{
    sample_init(sample);
    sample->seen[W1].status = ST_UNREACHABLE;
    for (size_t i = W2; i < SERVERS; i++)
        sample->seen[i].state.is_io_running = false;
    sample->observation.later_position = NULL;
}

/* Received and applied that far. */
static void set_position(struct sample *sample, size_t index, const char *position)
{
    struct sql_server_state *state = &sample->seen[index].state;
    state->received = state->applied = state->position = state->binlog_state = position;
}

static const struct inventory_server *not_granted;
static size_t to_region;

static bool is_granted(void *context UNUSED, const struct inventory_server *server)
{
    return server != not_granted;
}

/* "w3", "w2 after e1", or the beginning of what is in the way. */
static void expect_without(struct sample *sample, const struct permit_list *revoked,
                           const char *wanted)
{
    struct election made;
    struct err err = ERR_INIT;
    char found[ERR_TEXT_MAX];
    sample_derive(sample);
    struct unwanted unwanted = {revoked, drained_now, is_granted, NULL};
    struct vacancy vacancy = {&sample->servers[W1], to_region};
    if (elect(&sample->observation, &vacancy, &unwanted, &made, &err))
        snprintf(found, sizeof(found), "%.*s", (int)strlen(wanted), err.text);
    else
        snprintf(found, sizeof(found), "%s%s%s", made.candidate->server->host,
                 made.ahead ? " after " : "", made.ahead ? made.ahead->server->host : "");
    assert_string_equal(found, wanted);
    assert_true(!err.status || err.hint[0]);
}

static void expect(struct sample *sample, const char *wanted)
{
    struct permit_list none = {0};
    expect_without(sample, &none, wanted);
}

static void one_whose_agent_would_close_it_takes_over_only_when_nobody_else_can(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    not_granted = &sample.servers[W2];
    expect(&sample, "w3");
    sample.seen[W3].status = ST_UNREACHABLE;
    expect(&sample, "w2");
    not_granted = NULL;
}

static void one_that_is_not_permitted_takes_over_only_when_nobody_else_can(void **state UNUSED)
{
    struct sample sample;
    AUTO(permit_list_release) struct permit_list revoked = {0};
    lose(&sample);
    permit_list_add(&revoked, sample.servers[W2].name, 7);
    expect_without(&sample, &revoked, "w3");
    set_position(&sample, W2, "7-101-501");
    expect_without(&sample, &revoked, "w3 after w2");
    permit_list_add(&revoked, sample.servers[W3].name, 8);
    expect_without(&sample, &revoked, "w2");
}

static void of_equals_the_first_in_the_file_takes_over(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    expect(&sample, "w2");
}

static void the_replica_that_has_more_takes_over(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    set_position(&sample, W3, "7-101-501");
    set_position(&sample, E1, "7-101-499");
    expect(&sample, "w3");
}

static void a_relay_ahead_of_both_replicas_is_caught_up_from(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    set_position(&sample, E1, "7-101-507");
    expect(&sample, "w2 after e1");
    set_position(&sample, W3, "7-101-503");
    expect(&sample, "w3 after e1"); /* it lacks less than the other */
}

static void what_only_a_far_replica_has_counts_as_well(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    sample.seen[E1].status = ST_TIMEOUT;
    set_position(&sample, E3, "7-101-502");
    expect(&sample, "w2 after e3");
}

static char w2_name[] = "w2:3306", w3_name[] = "w3:3306";
static char *drained_servers[] = {w2_name, w3_name};

static void a_server_of_a_drained_host_takes_over_only_when_nobody_else_can(void **state UNUSED)
{
    struct sample sample;
    struct drain_mark mark = {.state = DRAIN_DONE, .servers = {drained_servers, 1, 1}};
    struct drain_list drained = {&mark, 1};
    lose(&sample);
    set_position(&sample, W2, "7-101-501"); /* what it has is not lost */
    drained_now = &drained;
    expect(&sample, "w3 after w2");
    mark.servers.count = 2;
    expect(&sample, "w2");
    drained_now = NULL;
}

static void what_was_received_and_not_applied_is_not_lost(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    sample.seen[W3].state.received = "7-101-502";
    expect(&sample, "w3:3306 has received what nobody else has");
    sample.seen[W3].state.is_sql_running = false;
    sample.seen[W3].state.sql_error = "Error 'no room'";
    expect(&sample, "w3:3306 has received what nobody else has");
    set_position(&sample, W2, "7-101-502"); /* now somebody else has it, and applied it */
    expect(&sample, "w2");
}

static void replicas_that_apply_nothing_are_named(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    sample.seen[W2].state.received = sample.seen[W3].state.received = "7-101-502";
    expect(&sample, "w2:3306 has not applied what it received");
}

static void a_lost_primary_that_answers_and_has_more_is_caught_up_from(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    sample.seen[W1].status = ST_OK;
    sample.seen[W1].state.is_read_only = true;
    set_position(&sample, W1, "7-101-504");
    sample.seen[W1].state.applied = "";
    expect(&sample, "w2 after w1");
}

static void two_histories_are_nobodys_to_choose_from(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    set_position(&sample, W2, "7-102-501"); /* somebody wrote there */
    sample.seen[W2].state.binlog_state = "7-101-500,7-102-501";
    set_position(&sample, W3, "7-103-501");
    sample.seen[W3].state.binlog_state = "7-101-500,7-103-501";
    set_position(&sample, E1, "7-101-501");
    struct election made;
    struct err err = ERR_INIT;
    sample_derive(&sample);
    struct permit_list none = {0};
    struct unwanted nobody = {.revoked = &none};
    struct vacancy vacancy = {&sample.servers[W1], 0};
    assert_int_equal(elect(&sample.observation, &vacancy, &nobody, &made, &err), ST_CONFLICT);
}

static void only_a_server_of_the_region_with_a_log_takes_over(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    sample.seen[W2].state.has_binlog = false;
    expect(&sample, "w3");
    sample.seen[W3].status = ST_UNREACHABLE;
    expect(&sample, "no server of the region of w1:3306 can take over");
}

/* All of the west is silent. */
static void lose_region(struct sample *sample)
{
    lose(sample);
    sample->seen[W2].status = sample->seen[W3].status = ST_TIMEOUT;
    to_region = 1;
}

static void the_relay_takes_over_from_a_region(void **state UNUSED)
{
    struct sample sample;
    lose_region(&sample);
    set_position(&sample, E2, "7-101-499"); /* it had not passed all of it on */
    expect(&sample, "e1");
    sample.seen[E1].status = ST_UNREACHABLE; /* and what it had goes with it */
    expect(&sample, "e3");
    sample.seen[E2].status = sample.seen[E3].status = ST_UNREACHABLE;
    expect(&sample, "no server of the region other than that of w1:3306 can take over");
    to_region = 0;
}

static void what_still_answers_in_a_lost_region_is_caught_up_from(void **state UNUSED)
{
    struct sample sample;
    lose_region(&sample);
    sample.seen[W2].status = ST_OK;
    set_position(&sample, W2, "7-101-507");
    expect(&sample, "e1 after w2");
    sample.seen[W1].status = ST_OK; /* closed by its agent: it has everything */
    set_position(&sample, W1, "7-101-509");
    expect(&sample, "e1 after w1");
    to_region = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_relay_takes_over_from_a_region),
        cmocka_unit_test(what_still_answers_in_a_lost_region_is_caught_up_from),
        cmocka_unit_test(one_whose_agent_would_close_it_takes_over_only_when_nobody_else_can),
        cmocka_unit_test(one_that_is_not_permitted_takes_over_only_when_nobody_else_can),
        cmocka_unit_test(of_equals_the_first_in_the_file_takes_over),
        cmocka_unit_test(the_replica_that_has_more_takes_over),
        cmocka_unit_test(a_relay_ahead_of_both_replicas_is_caught_up_from),
        cmocka_unit_test(what_only_a_far_replica_has_counts_as_well),
        cmocka_unit_test(a_server_of_a_drained_host_takes_over_only_when_nobody_else_can),
        cmocka_unit_test(what_was_received_and_not_applied_is_not_lost),
        cmocka_unit_test(replicas_that_apply_nothing_are_named),
        cmocka_unit_test(a_lost_primary_that_answers_and_has_more_is_caught_up_from),
        cmocka_unit_test(two_histories_are_nobodys_to_choose_from),
        cmocka_unit_test(only_a_server_of_the_region_with_a_log_takes_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
