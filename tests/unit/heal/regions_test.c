/* SPDX-License-Identifier: Apache-2.0
 * When a region that was fenced is whole: the east of a shard whose primary is W1, of the west. */
#include "heal/regions.h"

#include "exposure/exposure.h"
#include "permit/permit.h"

#include "../fleet/fleet_test.h"

#define SINCE (1000 * NSEC_PER_MS)

/* What region_find_missing() says, "; " between the lines. */
static void expect(struct sample *sample, const struct exposure *exposure, const char *wanted)
{
    AUTO(buf_release) struct buf lines = {0};
    struct permit_list none = {0};
    struct exposure copy = *exposure;
    struct exposure_list exposures = {&copy, 1};
    sample_derive(sample);
    struct fleet_observation seen = {&sample->observation, 1};
    struct region_view view = {
        .seen = &seen, .revoked = &none, .exposures = &exposures, .since = SINCE, .region = 1};
    region_find_missing(&view, &lines);
    assert_string_equal(buf_text(&lines), wanted);
}

static struct exposure exposure_of(struct sample *sample, nsec covered, int64_t transactions)
{
    return (struct exposure){
        .primary = &sample->servers[W1], .covered_until = covered, .transactions = transactions};
}

static void what_was_acknowledged_until_a_moment_ago_must_be_there(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    struct exposure exposure = exposure_of(&sample, SINCE, 3);
    expect(&sample, &exposure, ""); /* under load there is always something on its way */
    exposure = exposure_of(&sample, SINCE - 1, 1234);
    expect(&sample, &exposure, "shard s0 is about 1234 transactions behind w1:3306\n");
}

static void what_is_not_known_to_be_there_is_missing(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    struct exposure exposure = exposure_of(&sample, EXPOSURE_NEVER, -1);
    expect(&sample, &exposure, "whether shard s0 has caught up with w1:3306 is not known\n");
    exposure.transactions = 0; /* what was asked for long ago is there */
    expect(&sample, &exposure, "whether shard s0 has caught up with w1:3306 is not known\n");
    exposure.primary = NULL;
    expect(&sample, &exposure, "shard s0 has no primary that it could have caught up with\n");
}

static void first_its_servers_have_to_follow(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    struct exposure exposure = exposure_of(&sample, EXPOSURE_NEVER, 1234);
    sample.seen[E2].state.is_io_running = false;
    expect(&sample, &exposure, "e2:3306 is not a replica that works\n");
}

static void a_primary_that_it_had_itself_says_nothing(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    struct exposure exposure = exposure_of(&sample, SINCE, 0);
    exposure.primary = &sample.servers[E1]; /* it follows now, and was not seen since */
    expect(&sample, &exposure, "shard s0 has no primary that it could have caught up with\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_until_a_moment_ago_must_be_there),
        cmocka_unit_test(what_is_not_known_to_be_there_is_missing),
        cmocka_unit_test(first_its_servers_have_to_follow),
        cmocka_unit_test(a_primary_that_it_had_itself_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
