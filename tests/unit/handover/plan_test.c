/* SPDX-License-Identifier: Apache-2.0
 * What draining a host would do to a shard, and what stands in the way. W1 is the primary of west,
 * E1 the relay of east. */
#include "handover/plan.h"

#include "base/buf.h"
#include "handover/heir.h"
#include "handover/order.h"

#include "../fleet/fleet_test.h"

struct bench {
    struct sample sample;
    struct drain_list drained;
    struct drain_mark marks[2];
};

static void bench_init(struct bench *bench)
{
    *bench = (struct bench){.drained = {bench->marks, 0}};
    sample_init(&bench->sample);
}

static void bench_release(struct bench *bench)
{
    for (size_t i = 0; i < bench->drained.count; i++)
        drain_mark_release(&bench->marks[i]);
    sample_release(&bench->sample);
}

static struct drain_mark *mark(struct bench *bench, size_t server, enum drain_state state)
{
    struct drain_mark *ret = &bench->marks[bench->drained.count++];
    *ret = (struct drain_mark){.host = strdup(bench->sample.servers[server].host), .state = state};
    drain_names_add(&ret->servers, bench->sample.servers[server].name);
    return ret;
}

/* "primary w1 to w2"; a refusal or a note behind a bar. */
static void expect(struct bench *bench, const struct drain_mark *of, const char *wanted)
{
    struct fleet_observation seen = {&bench->sample.observation, 1};
    AUTO(handover_plan_release) struct handover_plan plan = {0};
    AUTO(buf_release) struct buf text = {0};
    sample_derive(&bench->sample);
    handover_plan_make(&bench->sample.fleet, &seen, &bench->drained, of, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        const struct handover_line *line = &plan.lines[i];
        buf_printf(&text, "%s %s to %s", handover_role_name(line->role),
                   line->from ? line->from->server->host : "-",
                   line->to ? line->to->server->host : "-");
        if (line->note)
            buf_printf(&text, "|%.20s", line->note);
        if (line->refusal.status)
            buf_printf(&text, "|%s", line->refusal.text);
        assert_true(!line->refusal.status || line->refusal.hint[0]);
    }
    assert_string_equal(buf_text(&text), wanted);
}

static void a_primary_goes_to_another_server_of_its_region(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    const struct drain_mark *w1 = mark(&bench, W1, DRAIN_GOING);
    expect(&bench, w1, "primary w1 to w2");
    bench.sample.seen[W3].state.source_host = "w2"; /* as a process that died left it */
    bench.sample.seen[W2].state.is_replica_semi_sync = false;
    expect(&bench, w1, "primary w1 to w2");
}

static void of_two_the_one_that_could_be_primary_is_taken(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    const struct drain_mark *w1 = mark(&bench, W1, DRAIN_GOING);
    bench.sample.seen[W2].state.has_binlog = false;
    expect(&bench, w1, "primary w1 to w3");
    bench.sample.seen[W2].state.is_io_running = false;
    expect(
        &bench, w1,
        "primary w1 to -|shard s0: nobody would acknowledge what w3:3306 writes: w2:3306 does not "
        "receive");
    bench.sample.seen[W3].status = ST_UNREACHABLE;
    expect(
        &bench, w1,
        "primary w1 to -|shard s0: no other server of its region can be primary: w2:3306 does not "
        "receive, w3:3306 does not answer");
}

static void a_relay_goes_to_another_server_or_stays_when_there_is_none(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    const struct drain_mark *e1 = mark(&bench, E1, DRAIN_GOING);
    expect(&bench, e1, "relay e1 to e2");
    bench.sample.seen[E2].status = bench.sample.seen[E3].status = ST_UNREACHABLE;
    expect(&bench, e1, "relay e1 to -|nobody else in its r");
}

static void a_replica_stays_unless_it_is_the_last_that_acknowledges(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    const struct drain_mark *w2 = mark(&bench, W2, DRAIN_GOING);
    expect(&bench, w2, "replica w2 to -");
    mark(&bench, W3, DRAIN_DONE);
    expect(&bench, w2,
           "replica w2 to -|shard s0: nobody would acknowledge what w1:3306 writes: w2:3306 is "
           "drained, w3:3306 is drained");
    sample_derive(&bench.sample);
    assert_false(heirs_has_acker(&bench.sample.observation, &bench.drained));
    assert_true(heirs_has_acker(&bench.sample.observation, NULL));
}

static void a_lone_primary_needs_a_server_of_the_other_region(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    const struct drain_mark *e1 = mark(&bench, E1, DRAIN_GOING);
    bench.sample.servers[W2].region = bench.sample.servers[W3].region = 1;
    expect(&bench, e1, "relay e1 to w2");
    for (size_t i = W2; i < SERVERS; i++)
        if (i != E1)
            bench.sample.seen[i].status = ST_UNREACHABLE;
    expect(&bench, e1,
           "relay e1 to -|nobody else in its r|shard s0: nobody would acknowledge what w1:3306 "
           "writes");
}

/* W2 has W1's place. */
static struct drain_mark *replaced(struct bench *bench)
{
    bench_init(bench);
    struct drain_mark *w1 = mark(bench, W1, DRAIN_RETURNS);
    drain_names_add(&w1->primaries, "w1:3306");
    sample_state(&bench->sample, W1);
    struct sql_server_state *old = &bench->sample.seen[W1].state;
    struct sql_server_state *now = &bench->sample.seen[W2].state;
    *now = *old;
    *old = bench->sample.seen[W3].state;
    for (size_t i = 0; i < E2; i++)
        if (i != W2)
            bench->sample.seen[i].state.source_host = "w2";
    bench->sample.seen[W1].lag_ms = 1;
    return w1;
}

static void what_a_host_had_comes_back_when_it_is_healthy(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    const struct drain_mark *w1 = replaced(&bench);
    expect(&bench, w1, "primary w2 to w1");
    bench.sample.seen[W1].lag_ms = 1500;
    expect(&bench, w1, "primary w2 to w1|shard s0: w1:3306 is 1500 ms behind");
    bench.sample.seen[W1].lag_ms = -1;
    expect(&bench, w1,
           "primary w2 to w1|shard s0: w1:3306 does not get there where its primary is");
    bench.sample.seen[W1].state.channels = 0;
    bench.sample.seen[W1].state.source_host = "";
    expect(&bench, w1, "primary w2 to w1|shard s0: w1:3306 replicates from nobody");
}

static void what_it_has_already_or_what_left_its_region_does_not(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    struct drain_mark *w1 = mark(&bench, W1, DRAIN_RETURNS);
    drain_names_add(&w1->primaries, "w1:3306");
    expect(&bench, w1, "primary - to -");
    struct drain_mark *e1 = mark(&bench, E1, DRAIN_RETURNS);
    drain_names_add(&e1->primaries, "e1:3306"); /* the shard was moved to west since */
    expect(&bench, e1, "primary w1 to -|its shard is in the ");
}

static void a_host_is_one_of_the_fleet_file_or_an_address(void **state UNUSED)
{
    AUTO(bench_release) struct bench bench;
    bench_init(&bench);
    struct sample *sample = &bench.sample;
    struct drain_names found = {0};
    sample->fleet.shards = &sample->shard;
    sample->fleet.shard_count = 1;
    assert_true(handover_find_host(&sample->fleet, "w2", &found));
    assert_int_equal(found.count, 1);
    assert_true(handover_is_on(&sample->shard, &found));
    drain_names_release(&found);
    found = (struct drain_names){0};
    assert_false(handover_find_host(&sample->fleet, "w9", &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_primary_goes_to_another_server_of_its_region),
        cmocka_unit_test(of_two_the_one_that_could_be_primary_is_taken),
        cmocka_unit_test(a_relay_goes_to_another_server_or_stays_when_there_is_none),
        cmocka_unit_test(a_replica_stays_unless_it_is_the_last_that_acknowledges),
        cmocka_unit_test(a_lone_primary_needs_a_server_of_the_other_region),
        cmocka_unit_test(what_a_host_had_comes_back_when_it_is_healthy),
        cmocka_unit_test(what_it_has_already_or_what_left_its_region_does_not),
        cmocka_unit_test(a_host_is_one_of_the_fleet_file_or_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
