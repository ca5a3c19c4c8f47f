/* SPDX-License-Identifier: Apache-2.0
 * Units of permit/pulse: when a region's beats were sent at the latest; and a property test of that
 * with clocks that are wrong, beats that are late and out of order, watchers and conductors that
 * stand still. */
#include "permit/pulse.h"

#include "base/mem.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Times in ms here. */
#define MS NSEC_PER_MS

static void change(struct permit_pulse *pulse, int64_t revision, const char *granter, nsec sent,
                   nsec seen)
{
    AUTO_FREE char *value = permit_pulse_encode("c1", granter, sent);
    permit_pulse_on_change(pulse, revision, value, seen);
}

/* 19 s of one clock are at most 21 s of another. */
static void a_late_beat_counts_from_its_stamp(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    change(&pulse, 10, "g1", 5000, 100000);
    assert_int_equal(pulse.sent_by, 100000);
    change(&pulse, 12, "g1", 5000 + 1900, 900000);
    assert_int_equal(pulse.sent_by, 100000 + 2100);
    assert_int_equal(pulse.revision, 12);
    change(&pulse, 13, "g1", 5000 + 3800, 102300); /* less late than that one */
    assert_int_equal(pulse.sent_by, 102300);
    change(&pulse, 14, "g1", 5000, 950000); /* sent before, and lost on its way for long */
    change(&pulse, 15, "g1", 5000 + 5700, 950000);
    assert_int_equal(pulse.sent_by, 102300 + 2100);
}

static void who_was_never_heard_counts_from_when_he_is_seen(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    change(&pulse, 10, "g1", 5000, 100000);
    change(&pulse, 12, "g2", 5000, 200000);
    assert_int_equal(pulse.sent_by, 200000);
    change(&pulse, 13, "g2", 5000 + 19, 300000);
    assert_int_equal(pulse.sent_by, 200000 + 21);
}

/* Its own bound is 100021; the one before it lasts on. */
static void a_beat_that_overtook_another_lasts_on(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    change(&pulse, 10, "g1", 5000, 100000);
    change(&pulse, 11, "g2", 5000, 180000);
    change(&pulse, 12, "g1", 5000 + 19, 200000);
    assert_int_equal(pulse.sent_by, 180000);
    assert_int_equal(pulse.revision, 12);
}

static void what_a_reading_finds_may_have_overtaken_others(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    AUTO_FREE char *value = permit_pulse_encode("c1", "g1", 6000);
    change(&pulse, 10, "g1", 5000, 100000);
    permit_pulse_on_reading(&pulse, 10, value, 150000);
    assert_int_equal(pulse.sent_by, 100000); /* that one again */
    permit_pulse_on_reading(&pulse, 12, value, 200000);
    assert_int_equal(pulse.sent_by, 200000);
    permit_pulse_on_reading(&pulse, 10, value, 250000); /* an old one */
    assert_int_equal(pulse.revision, 12);
    assert_int_equal(pulse.sent_by, 200000);
}

static void no_beat_at_all_counts_from_when_that_was_seen(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    struct permit_term term = {1000, 2000, 7};
    assert_int_equal(permit_pulse_end(&pulse, &term), NSEC_NEVER);
    permit_pulse_on_reading(&pulse, 0, NULL, 100);
    permit_pulse_on_reading(&pulse, 0, NULL, 200);
    assert_int_equal(pulse.revision, 0);
    assert_int_equal(permit_pulse_end(&pulse, &term), 2100);
    change(&pulse, 10, "g1", 5000, 300);
    permit_pulse_on_change(&pulse, 11, NULL, 400); /* somebody deleted it by hand */
    assert_int_equal(pulse.revision, 0);
    assert_int_equal(pulse.sent_by, 400);
    permit_pulse_on_reading(&pulse, 10, "{}", 500); /* of before; the next beat will tell */
    assert_int_equal(pulse.sent_by, 500);
}

static void junk_has_no_stamp(UNUSED void **state)
{
    static const char *const values[] = {"",
                                         "{}",
                                         "[]",
                                         "{\"granter\":\"g1\"}",
                                         "{\"sent_ns\":5019}",
                                         "{\"granter\":\"\",\"sent_ns\":5019}",
                                         "{\"granter\":7,\"sent_ns\":5019}",
                                         "{\"granter\":\"g1\",\"sent_ns\":5019.0}",
                                         "{\"granter\":\"g1\",\"sent_ns\":\"5019\"}",
                                         "{\"granter\":\"g1\",\"sent_ns\":-5019}",
                                         "{\"granter\":\"g1\",\"sent_ns\":0}",
                                         "{\"granter\":\"g1\",\"sent_ns\":9223372036854775807}",
                                         "{\"granter\":\"g1\",\"sent_ns\":5019,\"sent_ns\":5019}",
                                         "{\"granter\":\"g1\\u0000\",\"sent_ns\":5019}",
                                         "{\"granter\":\"g1\",\"sent_ns\":5019} x"};
    struct permit_pulse pulse = {0};
    change(&pulse, 10, "g1", 5000, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        permit_pulse_on_change(&pulse, 11 + (int64_t)i, values[i], 100000 + (nsec)i);
        assert_int_equal(pulse.sent_by, 100000 + (nsec)i);
    }
    AUTO_FREE char *name = mem_zalloc(2 * PERMIT_GRANTER_MAX);
    memset(name, 'g', PERMIT_GRANTER_MAX);
    change(&pulse, 100, name, 5000, 200000);
    change(&pulse, 101, name, 5000, 300000);
    assert_int_equal(pulse.sent_by, 300000);
}

static void of_many_granters_the_one_heard_longest_ago_is_forgotten(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    char name[32];
    for (int i = 0; i <= PERMIT_PULSE_GRANTERS; i++) {
        snprintf(name, sizeof(name), "g%d", i);
        change(&pulse, 10 + i, name, 5000, 1000 + i);
    }
    change(&pulse, 50, "g1", 5000, 2000); /* was heard second */
    assert_int_equal(pulse.sent_by, 1000 + PERMIT_PULSE_GRANTERS);
    change(&pulse, 51, "g0", 5000, 3000);
    assert_int_equal(pulse.sent_by, 3000);
}

/* A machine stood still for 3 s, and its clock, too. That must not count for ever. */
static void what_a_stamp_rests_on_is_forgotten_after_a_while(UNUSED void **state)
{
    struct permit_pulse pulse = {0};
    int64_t revision = 10;
    nsec now = 0;
    for (; now < 30000 * MS; now += 500 * MS)
        change(&pulse, revision++, "g1", 1000 * MS + now, 100000 * MS + now);
    for (; now < 60000 * MS; now += 500 * MS)
        change(&pulse, revision++, "g1", (1000 - 3000) * MS + now, 100000 * MS + now);
    assert_int_equal(pulse.sent_by, 100000 * MS + now - 500 * MS);
}

/* ---- at random ---- */

enum { GRANTERS = 3, FLIGHTS = 6, STEPS = 4000, RUNS = 300, ROUNDING = 3 };

struct clock { /* reads offset + rate * real */
    nsec offset;
    double rate;
};

struct world {
    unsigned seed, run;
    nsec now, last_sent; /* of what is in the store */
    int64_t revision;
    struct clock watcher;
    struct granter {
        struct clock clock;
        char name[PERMIT_GRANTER_MAX];
        unsigned life;
    } granters[GRANTERS];
    struct flight {
        bool is_there;
        nsec sent;
        char *value; /* owned */
    } flights[FLIGHTS];
    struct permit_pulse pulse;
    bool is_broken; /* the watch: a reading has to come next */
    unsigned sharp, seen;
};

static unsigned draw(struct world *world, unsigned below)
{
    world->seed = world->seed * 1664525u + 1013904223u;
    return (world->seed >> 8) % below;
}

static nsec clock_read(const struct clock *clock, nsec now)
{
    return clock->offset + (nsec)((double)now * clock->rate);
}

static void start(struct world *world, struct granter *granter)
{
    static const double rates[] = {0.95, 0.95, 1.0, 1.05};
    size_t index = (size_t)(granter - world->granters);
    granter->clock = (struct clock){1000000 + draw(world, 1000000), rates[draw(world, 4)]};
    snprintf(granter->name, sizeof(granter->name), "g%zu-%u", index, granter->life++);
}

static void send(struct world *world, struct flight *flight)
{
    struct granter *granter = &world->granters[draw(world, GRANTERS)];
    if (draw(world, 200) == 0)
        start(world, granter);
    flight->is_there = true;
    flight->sent = world->now;
    flight->value =
        permit_pulse_encode("c", granter->name, clock_read(&granter->clock, world->now));
}

/* It is in the store, and is seen: at once, or much later. */
static void arrive(struct world *world, struct flight *flight)
{
    world->revision++;
    world->last_sent = flight->sent > world->last_sent ? flight->sent : world->last_sent;
    flight->is_there = false;
    if (draw(world, 30) == 0)
        world->now += draw(world, 3000000);
    if (draw(world, 50) == 0) {
        world->is_broken = true;
        return;
    }
    nsec seen = clock_read(&world->watcher, world->now);
    if (world->is_broken || draw(world, 50) == 0)
        permit_pulse_on_reading(&world->pulse, world->revision, flight->value, seen);
    else
        permit_pulse_on_change(&world->pulse, world->revision, flight->value, seen);
    world->is_broken = false;
    nsec sent = clock_read(&world->watcher, world->last_sent);
    if (world->pulse.sent_by < sent - ROUNDING)
        fail_msg("run %u: sent at %lld, said to be before %lld", world->run, (long long)sent,
                 (long long)world->pulse.sent_by);
    world->sharp += world->pulse.sent_by < seen - (seen - sent) / 2;
    world->seen++;
}

static void world_step(struct world *world)
{
    struct flight *flight = &world->flights[draw(world, FLIGHTS)];
    world->now += draw(world, 20000);
    if (!flight->is_there) {
        send(world, flight);
    } else if (draw(world, 3) > 0) {
        arrive(world, flight);
        free(take_pointer(flight->value));
    }
}

static void no_beat_was_sent_after_it_is_said_to_be(UNUSED void **state)
{
    unsigned sharp = 0, seen = 0;
    for (unsigned run = 1; run <= RUNS; run++) {
        struct world world = {.seed = run, .run = run, .watcher = {5000000, run % 2 ? 1.05 : 0.95}};
        for (size_t i = 0; i < GRANTERS; i++)
            start(&world, &world.granters[i]);
        for (size_t i = 0; i < STEPS; i++)
            world_step(&world);
        for (size_t i = 0; i < FLIGHTS; i++)
            free(world.flights[i].value);
        sharp += world.sharp;
        seen += world.seen;
    }
    print_message("%u beats, of %u it is known that they were late\n", seen, sharp);
    assert_true(sharp > seen / 20); /* else it shows nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_beat_counts_from_its_stamp),
        cmocka_unit_test(who_was_never_heard_counts_from_when_he_is_seen),
        cmocka_unit_test(a_beat_that_overtook_another_lasts_on),
        cmocka_unit_test(what_a_reading_finds_may_have_overtaken_others),
        cmocka_unit_test(no_beat_at_all_counts_from_when_that_was_seen),
        cmocka_unit_test(junk_has_no_stamp),
        cmocka_unit_test(of_many_granters_the_one_heard_longest_ago_is_forgotten),
        cmocka_unit_test(what_a_stamp_rests_on_is_forgotten_after_a_while),
        cmocka_unit_test(no_beat_was_sent_after_it_is_said_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
