/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/observation: what follows from the states of the servers. */
#include "fleet_test.h"

static void set_source(struct sample *sample, size_t replica, const char *host)
{
    sample->seen[replica].state.channels = host != NULL;
    sample->seen[replica].state.source_host = host ? host : "";
    sample->seen[replica].state.source_port = host ? 3306 : 0;
}

static void as_designed(struct sample *sample UNUSED)
{
}

static void all_read_only(struct sample *sample)
{
    sample->seen[W1].state.is_read_only = true;
}

static void two_writable(struct sample *sample)
{
    sample->seen[W2].state.is_read_only = false;
}

static void primary_replicates(struct sample *sample)
{
    set_source(sample, W1, "e1");
}

static void relay_is_dead(struct sample *sample)
{
    sample->seen[E1].status = ST_UNREACHABLE;
}

static void follows_a_stranger(struct sample *sample)
{
    set_source(sample, W2, "elsewhere");
}

static void all_of_east_crosses(struct sample *sample)
{
    set_source(sample, E3, "w1");
}

static void source_has_another_name(struct sample *sample)
{
    set_source(sample, E1, "10.0.0.1");
    sample->seen[E1].state.source_id = 101;
}

static void source_id_is_not_unique(struct sample *sample)
{
    source_has_another_name(sample);
    sample->seen[W3].state.server_id = 101;
}

static void moved_to_east(struct sample *sample)
{
    set_source(sample, W1, "e1");
    sample->seen[W1].state.is_read_only = true;
    set_source(sample, E1, NULL);
    sample->seen[E1].state.is_read_only = false;
}

static void ignored_is_writable(struct sample *sample)
{
    sample_ignore_e3(sample);
    sample->seen[E3].state.is_read_only = false;
}

static void ignored_is_dead_and_is_followed(struct sample *sample)
{
    sample_ignore_e3(sample);
    sample->seen[E3].status = ST_UNREACHABLE;
    set_source(sample, E2, "e3");
}

struct role_case {
    const char *name;
    void (*spoil)(struct sample *sample);
    const char *roles;                   /* of W1 to E3 */
    int primary, relay_west, relay_east; /* server, -1: none */
};

static const struct role_case role_cases[] = {
    {"as designed", as_designed, "primary replica replica relay replica replica", W1, -1, E1},
    {"all read-only", all_read_only, "fenced replica replica relay replica replica", -1, -1, -1},
    {"two writable", two_writable, "primary conflict replica relay replica replica", -1, -1, -1},
    {"primary replicates", primary_replicates, "conflict replica replica relay replica replica", W1,
     -1, E1},
    {"relay is dead", relay_is_dead, "primary replica replica unknown replica replica", W1, -1, -1},
    {"follows a stranger", follows_a_stranger, "primary replica replica relay replica replica", W1,
     -1, E1},
    {"all of east crosses", all_of_east_crosses, "primary replica replica relay replica relay", W1,
     -1, E1},
    {"another name", source_has_another_name, "primary replica replica relay replica replica", W1,
     -1, E1},
    {"id not unique", source_id_is_not_unique, "primary replica replica replica replica replica",
     W1, -1, -1},
    {"ignored is writable", ignored_is_writable, "primary replica replica relay replica ignored",
     W1, -1, E1},
    {"ignored is dead", ignored_is_dead_and_is_followed,
     "primary replica replica relay replica ignored", W1, -1, E1},
    {"moved to east", moved_to_east, "relay replica replica primary replica replica", E1, W1, -1},
};

static int index_of(const struct sample *sample, const struct server_observation *server)
{
    return server ? (int)(server - sample->seen) : -1;
}

static void roles_follow_from_the_states(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(role_cases); i++) {
        const struct role_case *at = &role_cases[i];
        struct sample sample;
        sample_init(&sample);
        at->spoil(&sample);
        sample_derive(&sample);
        AUTO(buf_release) struct buf roles = {0};
        for (size_t j = 0; j < SERVERS; j++)
            buf_printf(&roles, "%s%s", j ? " " : "", server_role_name(sample.seen[j].role));
        print_message("case: %s\n", at->name);
        assert_string_equal(buf_text(&roles), at->roles);
        assert_int_equal(index_of(&sample, sample.observation.primary), at->primary);
        assert_int_equal(index_of(&sample, sample.observation.relays[0]), at->relay_west);
        assert_int_equal(index_of(&sample, sample.observation.relays[1]), at->relay_east);
    }
}

static void writable_servers_are_counted(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    two_writable(&sample);
    sample.seen[E3].status = ST_TIMEOUT; /* what does not answer is not counted */
    sample.seen[E3].state.is_read_only = false;
    sample_derive(&sample);
    assert_int_equal(sample.observation.writable_count, 2);
}

static void source_is_found_by_address_in_any_case(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    set_source(&sample, W2, "W1");
    sample_derive(&sample);
    assert_ptr_equal(sample.seen[W2].source, &sample.seen[W1]);
}

static void server_that_refuses_the_connection_is_unknown_at_once(void **state UNUSED)
{
    static char name[] = "127.0.0.1:1", host[] = "127.0.0.1";
    struct sample sample;
    sample_init(&sample);
    sample.servers[0] =
        (struct inventory_server){.name = name, .host = host, .port = 1, .region = 0};
    sample.shard.server_count = 1;
    sample.fleet.shards = &sample.shard;
    sample.fleet.shard_count = 1;
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    fleet_observe_lag(&sample.fleet, NULL, 0, clock_deadline(2000), &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.shards[0].servers[0].status, ST_UNREACHABLE);
    assert_int_equal(seen.shards[0].servers[0].role, ROLE_UNKNOWN);
    assert_null(seen.shards[0].primary);
    assert_true(seen.shards[0].servers[0].lag_ms < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_follow_from_the_states),
        cmocka_unit_test(writable_servers_are_counted),
        cmocka_unit_test(source_is_found_by_address_in_any_case),
        cmocka_unit_test(server_that_refuses_the_connection_is_unknown_at_once),
    };
    return cmocka_run_group_tests_name("fleet/observation", tests, NULL, NULL);
}
