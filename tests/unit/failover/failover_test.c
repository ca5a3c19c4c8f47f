/* SPDX-License-Identifier: Apache-2.0
 * Whose server of a region may be open, by the route of a shard that a run left in the middle. */
#include "failover/failover.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { WEST, EAST };

/* clang-format off */
static const struct {
    enum shard_state state;
    const char *primary, *old_primary, *new_primary;
    const char *of_west, *of_east; /* "": nobody */
} cases[] = {
    {SHARD_SERVING,     "w1", "",   "",   "w1", ""},
    /* a move to the other region */
    {SHARD_PREPARING,   "w1", "w1", "e1", "w1", ""},
    {SHARD_FROZEN,      "w1", "w1", "e1", "w1", ""},
    {SHARD_PROMOTING,   "w1", "w1", "e1", "w1", "e1"},
    {SHARD_UNDOING,     "w1", "w1", "e1", "w1", ""},
    {SHARD_REDIRECTING, "e1", "w1", "e1", "",   "e1"},
    /* inside one: the old one may be open yet */
    {SHARD_PROMOTING,   "w1", "w1", "w2", "w1", ""},
    /* a failover inside a region, and from one that is lost */
    {SHARD_FENCING,     "w1", "w1", "",   "w1", ""},
    {SHARD_OPENING,     "w1", "w1", "w2", "w2", ""},
    {SHARD_FENCING,     "w1", "w1", "e1", "w1", "e1"},
    {SHARD_OPENING,     "w1", "w1", "e1", "w1", "e1"},
    {SHARD_REPOINTING,  "e1", "w1", "e1", "",   "e1"},
    /* of a move whose goal was lost: back to where it came from */
    {SHARD_FENCING,     "w1", "e1", "",   "w1", "e1"},
    {SHARD_OPENING,     "w1", "e1", "w2", "w2", "e1"},
    {SHARD_REPOINTING,  "w2", "e1", "w2", "w2", ""},
};
/* clang-format on */

static const char *name_end(const struct inventory_shard *shard, const struct route *route,
                            size_t region)
{
    const struct inventory_server *end = failover_find_end(shard, route, region);
    return end ? end->name : "";
}

static void who_may_be_open_follows_from_the_route(void **state)
{
    (void)state;
    struct inventory_server servers[] = {
        {.name = (char *)"w1", .region = WEST, .index = 0},
        {.name = (char *)"w2", .region = WEST, .index = 1},
        {.name = (char *)"e1", .region = EAST, .index = 2},
    };
    struct inventory_shard shard = {.servers = servers, .server_count = ARRAY_SIZE(servers)};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct route route = {.state = cases[i].state};
        snprintf(route.primary, sizeof(route.primary), "%s", cases[i].primary);
        snprintf(route.old_primary, sizeof(route.old_primary), "%s", cases[i].old_primary);
        snprintf(route.new_primary, sizeof(route.new_primary), "%s", cases[i].new_primary);
        assert_string_equal(name_end(&shard, &route, WEST), cases[i].of_west);
        assert_string_equal(name_end(&shard, &route, EAST), cases[i].of_east);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_be_open_follows_from_the_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
