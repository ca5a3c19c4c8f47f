/* SPDX-License-Identifier: Apache-2.0
 * Where writes go: what the route says, and what a refusal changes. */
#include "load/internal.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the above */
#include <cmocka.h>

static const char west[] = "10.0.1.1:3306", east[] = "10.0.2.1:3306";

struct fixture {
    struct inventory *fleet;
    struct load_request request;
    struct load_report report;
    struct load_shard_report shard_report;
    struct load load;
    struct load_shard shard;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->fleet = inventory_new();
    struct inventory_shard *spec = inventory_add_shard(fixture->fleet, "d", "s0");
    assert_int_equal(inventory_add_server(spec, 0, west, NULL), ST_OK);
    assert_int_equal(inventory_add_server(spec, 1, east, NULL), ST_OK);
    fixture->request = (struct load_request){.fleet = fixture->fleet, .user = "u"};
    fixture->load.request = &fixture->request;
    fixture->load.report = &fixture->report;
    assert_int_equal(load__loop_open(&fixture->load.loop, NULL), ST_OK);
    fixture->shard = (struct load_shard){.load = &fixture->load,
                                         .spec = spec,
                                         .report = &fixture->shard_report,
                                         .target = NOBODY,
                                         .last_target = NOBODY,
                                         .routed_primary = NOBODY,
                                         .ends = {NOBODY, NOBODY},
                                         .standby = NOBODY};
    load__scouts_init(&fixture->shard);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 2; i++)
        load__channel_release(&fixture->shard.scouts[i].channel);
    free(fixture->shard.scouts);
    load__loop_close(&fixture->load.loop);
    inventory_free(fixture->fleet);
    free(fixture);
    return 0;
}

static void publish(struct load_shard *shard, enum shard_state state, const char *primary)
{
    struct route route = {.state = state, .epoch = 1};
    bool is_moving = state != SHARD_SERVING;
    snprintf(route.primary, sizeof(route.primary), "%s", primary);
    snprintf(route.old_primary, sizeof(route.old_primary), "%s", is_moving ? west : "");
    snprintf(route.new_primary, sizeof(route.new_primary), "%s", is_moving ? east : "");
    AUTO_FREE char *text = route_encode(&route);
    load__route_changed(shard, text);
}

static void preparing_opens_connections_to_the_new_primary(void **state)
{
    struct load_shard *shard = &((struct fixture *)*state)->shard;
    publish(shard, SHARD_SERVING, west);
    assert_int_equal(shard->target, 0);
    assert_int_equal(shard->standby, NOBODY);
    publish(shard, SHARD_PREPARING, west);
    assert_int_equal(shard->target, 0);
    assert_int_equal(shard->standby, 1);
}

static void frozen_route_stops_nobody_before_the_server_does(void **state)
{
    struct load_shard *shard = &((struct fixture *)*state)->shard;
    publish(shard, SHARD_PREPARING, west);
    publish(shard, SHARD_FROZEN, west);
    assert_int_equal(shard->target, 0);
    load__target_refused(shard, shard->generation, 1);
    assert_int_equal(shard->target, NOBODY);
}

static void new_primary_is_taken_when_the_route_names_it(void **state)
{
    struct load_shard *shard = &((struct fixture *)*state)->shard;
    publish(shard, SHARD_FROZEN, west);
    publish(shard, SHARD_PROMOTING, west);
    assert_int_equal(shard->target, NOBODY);
    publish(shard, SHARD_REDIRECTING, east);
    assert_int_equal(shard->target, 1);
    assert_int_equal(shard->standby, 0);
    publish(shard, SHARD_SERVING, east);
    assert_int_equal(shard->target, 1);
}

static void late_refusal_does_not_stop_writes_to_the_new_primary(void **state)
{
    struct load_shard *shard = &((struct fixture *)*state)->shard;
    publish(shard, SHARD_PREPARING, west);
    uint64_t sent = shard->generation;
    publish(shard, SHARD_REDIRECTING, east);
    load__target_refused(shard, sent, 1);
    assert_int_equal(shard->target, 1);
    assert_int_equal(shard->report->moves, 1);
}

static void move_that_was_undone_goes_on_where_it_was(void **state)
{
    struct load_shard *shard = &((struct fixture *)*state)->shard;
    publish(shard, SHARD_FROZEN, west);
    load__target_set(shard, 0);
    load__target_refused(shard, shard->generation, 1);
    publish(shard, SHARD_UNDOING, west);
    assert_int_equal(shard->target, NOBODY);
    publish(shard, SHARD_SERVING, west);
    assert_int_equal(shard->target, 0);
    assert_int_equal(shard->report->moves, 0);
}

static void route_that_cannot_be_read_or_is_gone_leaves_the_target(void **state)
{
    struct load_shard *shard = &((struct fixture *)*state)->shard;
    publish(shard, SHARD_SERVING, west);
    load__route_changed(shard, "{ nonsense");
    assert_false(shard->has_route);
    load__route_changed(shard, NULL);
    publish(shard, SHARD_SERVING, "10.9.9.9:3306");
    assert_false(shard->has_route);
    assert_int_equal(shard->target, 0);
}

#define TARGET_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TARGET_TEST(preparing_opens_connections_to_the_new_primary),
        TARGET_TEST(frozen_route_stops_nobody_before_the_server_does),
        TARGET_TEST(new_primary_is_taken_when_the_route_names_it),
        TARGET_TEST(late_refusal_does_not_stop_writes_to_the_new_primary),
        TARGET_TEST(move_that_was_undone_goes_on_where_it_was),
        TARGET_TEST(route_that_cannot_be_read_or_is_gone_leaves_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
