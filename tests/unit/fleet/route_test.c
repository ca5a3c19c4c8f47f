/* SPDX-License-Identifier: Apache-2.0
 * Routes as text: what is written reads back, and nothing else does. */
#include "base/scope.h"
#include "fleet/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_route_reads_back_as_it_was_written(void **state UNUSED)
{
    struct route route = {
        .state = SHARD_PROMOTING, .epoch = 41, .runs_events = true, .frozen_us = 1795000000000000};
    snprintf(route.home, sizeof(route.home), "west");
    snprintf(route.primary, sizeof(route.primary), "[::1]:3306");
    snprintf(route.run, sizeof(route.run), "20261122-194248-803b");
    AUTO_FREE char *text = route_encode(&route);
    struct route read;
    assert_int_equal(route_decode(text, &read, NULL), ST_OK);
    assert_memory_equal(&read, &route, sizeof(route));
}

static void what_is_no_route_is_refused_and_quoted(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"state\": \"serving\"}",
        "{\"state\":\"asleep\",\"epoch\":1,\"home\":\"w\",\"primary\":\"p\",\"run\":\"\","
        "\"target\":"
        "\"\",\"old_primary\":\"\",\"new_primary\":\"\",\"runs_events\":false}",
        "{\"state\":\"serving\",\"epoch\":-1,\"home\":\"w\",\"primary\":\"p\",\"run\":\"\","
        "\"target\":"
        "\"\",\"old_primary\":\"\",\"new_primary\":\"\",\"runs_events\":false}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct route route;
        struct err err = ERR_INIT;
        assert_int_equal(route_decode(bad[i], &route, &err), ST_INVALID);
        assert_non_null(strstr(err.text, "a route that does not read"));
    }
}

static void only_the_states_between_freeze_and_publish_are_not_writable(void **state UNUSED)
{
    assert_true(shard_state_is_writable(SHARD_SERVING));
    assert_true(shard_state_is_writable(SHARD_PREPARING));
    assert_false(shard_state_is_writable(SHARD_FROZEN));
    assert_false(shard_state_is_writable(SHARD_PROMOTING));
    assert_true(shard_state_is_writable(SHARD_REDIRECTING));
    assert_false(shard_state_is_writable(SHARD_UNDOING));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_reads_back_as_it_was_written),
        cmocka_unit_test(what_is_no_route_is_refused_and_quoted),
        cmocka_unit_test(only_the_states_between_freeze_and_publish_are_not_writable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
