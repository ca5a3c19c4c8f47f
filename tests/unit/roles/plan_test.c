/* SPDX-License-Identifier: Apache-2.0
 * Which steps bring a shard's roles back, and what is left to an operator. W1 is the primary of
 * west, E1 the relay of east. */
#include "roles/plan.h"

#include "drain/mark.h"
#include "permit/permit.h"
#include "roles/ahead.h"

#include "../fleet/fleet_test.h"

static struct permit_list revoked; /* what the store says of that; see revoke() */
static struct drain_list drained;

static struct role_plan plan_of(struct sample *sample)
{
    struct role_plan plan;
    sample_derive(sample);
    role_plan_make(&sample->observation, sample->has_route ? &sample->route : NULL, &revoked,
                   &drained, &plan);
    return plan;
}

static void set_route(struct sample *sample, const char *primary)
{
    sample->has_route = true;
    sample->route = (struct route){.state = SHARD_SERVING, .home = "west"};
    snprintf(sample->route.primary, sizeof(sample->route.primary), "%s", primary);
}

/* As after a restart: read-only, both flags off, following nobody. */
static void restart(struct sample *sample, size_t index)
{
    struct sql_server_state *state = &sample->seen[index].state;
    state->is_read_only = true;
    state->is_source_semi_sync = state->is_replica_semi_sync = state->is_semi_sync_active = false;
    state->is_io_running = state->is_sql_running = false;
    state->ackers = 0;
}

static void forget(struct sample *sample, size_t index)
{
    restart(sample, index);
    sample->seen[index].state.channels = 0;
    sample->seen[index].state.source_host = "";
}

/* "w2 start replication, w2 acknowledge"; the obstacles behind a bar. */
static void expect_plan(struct sample *sample, const char *wanted)
{
    AUTO(role_plan_release) struct role_plan plan = plan_of(sample);
    AUTO(buf_release) struct buf text = {0};
    for (size_t i = 0; i < plan.step_count; i++) {
        const struct role_step *step = &plan.steps[i];
        buf_printf(&text, "%s%s %s", i ? ", " : "", step->server->server->host,
                   role_action_name(step->action));
        if (step->source)
            buf_printf(&text, " %s at %s", step->source->host,
                       step->position ? step->position : "its place");
        bool is_near = step->source && step->source->region == step->server->server->region;
        assert_true(!step->source || step->acknowledges == is_near);
        assert_true(step->why[0]);
    }
    for (size_t i = 0; i < plan.obstacle_count; i++) {
        const struct role_obstacle *obstacle = &plan.obstacles[i];
        buf_printf(&text, "|%s: %.30s", obstacle->server ? obstacle->server->host : "shard",
                   obstacle->what);
        assert_true(obstacle->advice[0]);
    }
    assert_string_equal(buf_text(&text), wanted);
}

static void a_shard_in_its_roles_needs_nothing(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    expect_plan(&sample, "");
    set_route(&sample, "w1:3306");
    expect_plan(&sample, "");
}

static void a_restarted_replica_acknowledges_and_runs_again(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    restart(&sample, W2);
    expect_plan(&sample, "w2 acknowledge, w2 start replication");
}

static void a_restarted_relay_runs_and_does_not_acknowledge(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    restart(&sample, E1);
    expect_plan(&sample, "e1 start replication");
    sample.seen[E1].state.is_replica_semi_sync = true;
    sample.seen[E1].state.is_source_semi_sync = true;
    expect_plan(&sample, "e1 switch semi-sync source off, e1 do not acknowledge, "
                         "e1 start replication");
}

static void a_server_that_follows_nobody_is_pointed(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    forget(&sample, W2);
    forget(&sample, E3);
    expect_plan(&sample, "w2 replicate w1 at 7-101-500, e3 replicate e1 at 7-101-500, "
                         "w2 acknowledge, e3 acknowledge");
}

static void a_former_primary_begins_after_its_own_writes(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    forget(&sample, W2);
    sample.seen[W2].state.applied = "3-9-4,7-101-400";
    sample.seen[W2].state.position = "7-102-490";
    sample.seen[W2].state.binlog_state = "7-102-490";
    sample.seen[W1].state.binlog_state = "3-9-4,7-102-490,7-101-500";
    sample.observation.later_position = (char[]){"3-9-4,7-101-510"};
    expect_plan(&sample, "w2 replicate w1 at 3-9-4,7-102-490, w2 acknowledge");
}

static void whoever_follows_the_wrong_server_is_pointed(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    sample.seen[E2].state.source_host = "w1"; /* two relays: E1 has a follower */
    expect_plan(&sample, "e2 replicate e1 at its place, e2 acknowledge");
    sample.seen[E2].state.source_host = "elsewhere";
    expect_plan(&sample, "e2 replicate e1 at its place, e2 acknowledge");
}

static void a_region_whose_relay_is_gone_gets_another(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    sample.seen[E1].status = ST_UNREACHABLE;
    sample.seen[E1].flavour = NULL;
    sample.seen[E1].problem = (char *)"refused";
    expect_plan(&sample, "e2 replicate w1 at its place, e3 replicate e2 at its place, "
                         "e3 acknowledge|e1: it does not answer: refused");
}

static void what_the_primary_lacks_is_never_pointed_over(void **state UNUSED)
{
    static const struct {
        const char *position, *applied, *binlog_state;
    } cases[] = {
        {"7-102-511", "7-101-500", "7-102-511"},
        {"7-101-500", "7-101-511", "7-101-500"},
        {"8-102-1,7-101-500", "7-101-500", "8-102-1,7-101-500"},
        {"7-102-450", "7-101-500", "7-102-450"}, /* below the primary's numbers */
        {"nonsense", "7-101-500", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sample sample;
        sample_init(&sample);
        forget(&sample, W2);
        sample.seen[W2].state.position = cases[i].position;
        sample.seen[W2].state.applied = cases[i].applied;
        sample.seen[W2].state.binlog_state = cases[i].binlog_state;
        expect_plan(&sample, "|w2: it should replicate from w1:33");
    }
}

static void an_error_of_the_applier_is_for_an_operator(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    sample.seen[E2].state.is_sql_running = false;
    sample.seen[E2].state.sql_error = "Duplicate entry '7'";
    expect_plan(&sample, "|e2: it does not apply: Duplicate e");
}

static void a_closed_primary_is_opened_only_when_nobody_else_can_be_it(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    forget(&sample, W1);
    expect_plan(&sample, "|shard: no server accepts writes, and ");
    set_route(&sample, "w1:3306");
    expect_plan(&sample, "w1 accept writes");
    set_route(&sample, "w2:3306");
    expect_plan(&sample, "|w2: the store says that w2:3306 is");
    set_route(&sample, "w9:3306");
    expect_plan(&sample, "|shard: the store says that w9:3306 is");
    set_route(&sample, "w1:3306");
    sample.route.state = SHARD_PROMOTING;
    expect_plan(&sample, "|shard: a run is in the middle of movi");
    set_route(&sample, "w1:3306");
    sample.seen[E3].status = ST_TIMEOUT;
    expect_plan(&sample, "|e3: no server that answers accepts");
}

/* Such as when it is our own certificates that no server accepts: all of them may be well. */
static void nobody_is_told_to_open_a_server_beside_a_silent_one(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    for (size_t i = 0; i < SERVERS; i++)
        sample.seen[i].status = ST_TIMEOUT;
    expect_plan(&sample, "|w1: no server that answers accepts");
}

/* Its agent had closed it, and a replica is down: where there are agents nobody else may be open.
 */
static void a_silent_replica_does_not_keep_a_whole_primary_closed(void **state UNUSED)
{
    static const size_t silent[] = {W3, E1, E3};
    for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
        struct sample sample;
        sample_init(&sample);
        set_route(&sample, "w1:3306");
        sample.seen[W1].state.is_read_only = true;
        sample.seen[silent[i]].status = ST_TIMEOUT;
        AUTO(role_plan_release) struct role_plan without = plan_of(&sample);
        assert_int_equal(without.step_count, 0);
        sample.servers[silent[i]].has_agent = true;
        AUTO(role_plan_release) struct role_plan plan = plan_of(&sample);
        assert_int_equal(plan.steps[plan.step_count - 1].action, ROLE_OPEN);
        sample.seen[W1].state.is_source_semi_sync = false; /* it was restarted */
        AUTO(role_plan_release) struct role_plan restarted = plan_of(&sample);
        assert_int_equal(restarted.step_count, 0);
    }
}

/* W3 was the primary before W1. */
static void a_replaced_primary_does_not_keep_its_heir_closed(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    forget(&sample, W1);
    set_route(&sample, "w1:3306");
    permit_list_add(&revoked, "w3:3306", 12);
    const struct sql_flavour *flavour = sample.seen[W3].flavour;
    sample.seen[W3].status = ST_TIMEOUT; /* dead, or frozen: it may not be open any more */
    sample.seen[W3].flavour = NULL;
    sample.servers[W3].has_agent = true;
    expect_plan(&sample, "|w3: no server that answers accepts");
    sample.seen[W1].state.is_source_semi_sync = true; /* it was not restarted: it lost nothing */
    expect_plan(&sample, "w1 accept writes|w3: it does not answer: ");
    sample.seen[W3].status = ST_OK;
    sample.seen[W3].flavour = flavour;
    forget(&sample, W3);
    sample.seen[W3].state.position = "7-103-502";
    sample.seen[W3].state.binlog_state = "7-101-501,7-103-502"; /* it had acknowledged for W1 */
    expect_plan(&sample, "|w3: it was the primary, and has wh|w3: it has what the primary w1:330");
    sample.seen[W3].state.binlog_state = "7-101-500,7-103-502";
    expect_plan(&sample, "w1 accept writes|w3: it was the primary, and has wh");
    sample.route.state = SHARD_FENCING; /* a run decides who is right */
    expect_plan(&sample, "|shard: a run is in the middle of movi");
    permit_list_release(&revoked);
    set_route(&sample, "w1:3306");
    expect_plan(&sample, "|w3: it should replicate from w1:33"
                         "|w3: it has what the primary w1:330");
}

static void what_a_replaced_primary_has_beyond_its_heir_is_told_from_to(void **state UNUSED)
{
    struct sample sample;
    AUTO(buf_release) struct buf words = {0};
    sample_init(&sample);
    sample.seen[W3].state.server_id = 103;
    sample.seen[W1].state.binlog_state = "7-101-500,7-103-480";
    sample.seen[W3].state.binlog_state = "7-101-450,7-103-480";
    assert_false(roles_find_tail(&sample.seen[W1], &sample.seen[W3], &words));
    sample.seen[W3].state.binlog_state = "7-101-450,7-103-481";
    assert_true(roles_find_tail(&sample.seen[W1], &sample.seen[W3], &words));
    sample.seen[W3].state.binlog_state = "7-101-450,7-103-483,8-103-1";
    assert_true(roles_find_tail(&sample.seen[W1], &sample.seen[W3], &words));
    assert_string_equal(buf_text(&words), "7-103-4817-103-481 to 7-103-483, 8-103-1");
}

static void a_closed_primary_that_lacks_something_is_not_opened(void **state UNUSED)
{
    static const char *const fields[] = {"received", "applied", "position"};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        struct sample sample;
        sample_init(&sample);
        forget(&sample, W1);
        set_route(&sample, "w1:3306");
        struct sql_server_state *w3 = &sample.seen[W3].state;
        *(i == 0 ? &w3->received : i == 1 ? &w3->applied : &w3->position) = "7-101-511";
        expect_plan(&sample, "|w3: it has what the primary w1:330");
    }
}

static void two_writable_servers_are_left_to_an_operator(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    sample.seen[E2].state.is_read_only = false;
    expect_plan(&sample, "|shard: 2 servers accept writes");
}

static void a_primary_that_the_store_does_not_know_is_not_followed(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    forget(&sample, W2);
    set_route(&sample, "e1:3306");
    expect_plan(&sample, "|w1: it accepts writes, but the sto");
}

static void a_primary_without_semi_sync_gets_it_again(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    sample.seen[W1].state.is_source_semi_sync = false;
    expect_plan(&sample, "w1 wait for acknowledgements");
}

/* East has one server: W3 acknowledges there, for the time when it will be the primary. */
static void set_lone_east(struct sample *sample)
{
    sample_init(sample);
    sample->shard.server_count = E2;
    sample->seen[W3].state.source_host = "e1";
}

static void the_acker_of_a_lone_server_stays_across_regions(void **state UNUSED)
{
    struct sample sample;
    set_lone_east(&sample);
    expect_plan(&sample, "");
    restart(&sample, W3);
    expect_plan(&sample, "w3 acknowledge, w3 start replication");
    set_lone_east(&sample);
    sample.seen[W2].status = ST_UNREACHABLE; /* the primary needs it more */
    sample.seen[W2].flavour = NULL;
    sample.seen[W2].problem = (char *)"refused";
    expect_plan(&sample,
                "w3 replicate w1 at its place, w3 acknowledge|w2: it does not answer: refused");
}

static void a_lone_primary_keeps_who_acknowledges_across_regions(void **state UNUSED)
{
    struct sample sample;
    set_lone_east(&sample);
    struct sql_server_state primary = sample.seen[W1].state;
    sample.seen[W1].state = sample.seen[E1].state;
    sample.seen[E1].state = primary;
    sample.seen[W1].state.source_host = "e1";
    expect_plan(&sample, "");
    sample.seen[W1].state.is_replica_semi_sync = true; /* the relay may */
    expect_plan(&sample, "");
    sample.seen[W1].state.is_replica_semi_sync = false;
    restart(&sample, W3);
    expect_plan(&sample, "w3 acknowledge, w3 start replication");
    sample.seen[W3].state.source_host = "w1"; /* then the relay must */
    expect_plan(&sample, "w1 acknowledge, w3 acknowledge, w3 start replication");
}

/* Somebody opened W2 by hand while W1 was down. W1 has what nobody acknowledged, so its numbers are
 * higher. W2 was only stopped: it still has a source. */
static void writes_of_another_primary_are_seen_below_the_numbers(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    forget(&sample, W1);
    set_route(&sample, "w1:3306");
    sample.seen[W1].state.binlog_state = "7-101-500";
    restart(&sample, W2);
    sample.seen[W2].state.position = "7-102-497";
    sample.seen[W2].state.applied = "7-101-495";
    sample.seen[W2].state.binlog_state = "7-101-495,7-102-497";
    expect_plan(&sample, "|w2: it has what the primary w1:330");
    sample.seen[W1].state.is_read_only = false; /* then somebody opened W1 as well */
    sample.seen[W1].state.is_source_semi_sync = true;
    expect_plan(&sample, "|w2: it should replicate from w1:33");
    sample_init(&sample); /* who followed W2 is not pointed at W1 */
    sample.seen[W1].state.binlog_state = "7-101-500";
    sample.seen[W3].state.source_host = "elsewhere";
    sample.seen[W3].state.position = sample.seen[W3].state.applied = "7-102-497";
    expect_plan(&sample, "|w3: it should replicate from w1:33");
    sample.seen[W1].state.applied = "7-102-498"; /* W1 followed as well, once */
    expect_plan(&sample, "w3 replicate w1 at its place, w3 acknowledge");
}

static void writes_that_wait_for_an_acker_that_has_them_are_acknowledged(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    sample.seen[W1].state.held_up_ms = SQL_HELD_UP_MS - 1;
    expect_plan(&sample, "");
    sample.seen[W1].state.held_up_ms = SQL_HELD_UP_MS;
    expect_plan(&sample, "w2 acknowledge what it has");
    restart(&sample, W2);
    expect_plan(&sample, "w2 acknowledge, w2 start replication, w3 acknowledge what it has");
    restart(&sample, W3);
    expect_plan(&sample,
                "w2 acknowledge, w3 acknowledge, w2 start replication, w3 start replication");
    sample_init(&sample); /* it died in between */
    sample.seen[W2].state.uses_gtid = false;
    expect_plan(&sample, "w2 replicate w1 at its place, w2 acknowledge");
}

static void a_drained_host_has_no_relay_until_it_returns(void **state UNUSED)
{
    static const char moved[] = "e1 replicate e2 at its place, e2 replicate w1 at its place, "
                                "e3 replicate e2 at its place, e1 acknowledge, e3 acknowledge";
    static char e1[] = "e1:3306", e2[] = "e2:3306";
    char *old[] = {e1}, *wanted[] = {e2};
    struct drain_mark mark = {.state = DRAIN_DONE, .servers = {old, 1, 1}};
    struct sample sample;
    sample_init(&sample);
    drained = (struct drain_list){&mark, 1};
    expect_plan(&sample, moved);
    sample.shard.server_count = E2; /* nobody else can be it */
    expect_plan(&sample, "");
    sample_init(&sample);
    mark = (struct drain_mark){
        .state = DRAIN_RETURNS, .servers = {wanted, 1, 1}, .relays = {wanted, 1, 1}};
    expect_plan(&sample, moved);
    drained = (struct drain_list){0};
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_in_its_roles_needs_nothing),
        cmocka_unit_test(a_restarted_replica_acknowledges_and_runs_again),
        cmocka_unit_test(a_restarted_relay_runs_and_does_not_acknowledge),
        cmocka_unit_test(a_server_that_follows_nobody_is_pointed),
        cmocka_unit_test(a_former_primary_begins_after_its_own_writes),
        cmocka_unit_test(whoever_follows_the_wrong_server_is_pointed),
        cmocka_unit_test(a_region_whose_relay_is_gone_gets_another),
        cmocka_unit_test(what_the_primary_lacks_is_never_pointed_over),
        cmocka_unit_test(an_error_of_the_applier_is_for_an_operator),
        cmocka_unit_test(a_closed_primary_is_opened_only_when_nobody_else_can_be_it),
        cmocka_unit_test(nobody_is_told_to_open_a_server_beside_a_silent_one),
        cmocka_unit_test(a_silent_replica_does_not_keep_a_whole_primary_closed),
        cmocka_unit_test(a_replaced_primary_does_not_keep_its_heir_closed),
        cmocka_unit_test(what_a_replaced_primary_has_beyond_its_heir_is_told_from_to),
        cmocka_unit_test(a_closed_primary_that_lacks_something_is_not_opened),
        cmocka_unit_test(two_writable_servers_are_left_to_an_operator),
        cmocka_unit_test(a_primary_that_the_store_does_not_know_is_not_followed),
        cmocka_unit_test(a_primary_without_semi_sync_gets_it_again),
        cmocka_unit_test(the_acker_of_a_lone_server_stays_across_regions),
        cmocka_unit_test(a_lone_primary_keeps_who_acknowledges_across_regions),
        cmocka_unit_test(writes_that_wait_for_an_acker_that_has_them_are_acknowledged),
        cmocka_unit_test(a_drained_host_has_no_relay_until_it_returns),
        cmocka_unit_test(writes_of_another_primary_are_seen_below_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
