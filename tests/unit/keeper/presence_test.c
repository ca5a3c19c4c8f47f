/* SPDX-License-Identifier: Apache-2.0
 * When a kept program counts as away; times are made up, in milliseconds. */
#include "base/scope.h"
#include "keeper/presence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { GRACE = 2000, BEGIN = 10000 };

static nsec at(int64_t ms)
{
    return ms * NSEC_PER_MS;
}

static struct presence begin(bool has_signs)
{
    return (struct presence){at(GRACE), has_signs, at(BEGIN), at(BEGIN)};
}

/* Looks from the last one on until 'ms', as often as the keeper does. */
static bool look_until(struct presence *presence, const struct sight *sight, int64_t ms)
{
    while (presence->looked < at(ms))
        presence_look(presence, sight, presence->looked + at(PRESENCE_LOOK_MS));
    return presence_is_away(presence);
}

static void what_runs_is_there_and_what_ended_is_away_after_the_grace(void **state UNUSED)
{
    struct presence presence = begin(false);
    struct sight sight = {.runs = true, .started = at(BEGIN)};
    assert_false(look_until(&presence, &sight, BEGIN + 5000));
    sight.runs = false;
    assert_false(look_until(&presence, &sight, BEGIN + 5000 + GRACE));
    assert_true(look_until(&presence, &sight, BEGIN + 5050 + GRACE));
}

static void what_ends_at_once_is_away_however_often_it_starts(void **state UNUSED)
{
    struct presence presence = begin(false);
    for (int64_t ms = BEGIN; ms < BEGIN + GRACE + 200; ms += 100) {
        struct sight sight = {.runs = true, .started = at(ms)};
        look_until(&presence, &sight, ms + 100);
    }
    assert_true(presence_is_away(&presence));
    struct sight sight = {.runs = true, .started = presence.looked};
    assert_false(look_until(&presence, &sight, BEGIN + GRACE + 1000));
}

static void one_that_is_stopped_is_away(void **state UNUSED)
{
    struct presence presence = begin(false);
    struct sight sight = {.runs = true, .is_stopped = true, .started = at(BEGIN - 5000)};
    assert_true(look_until(&presence, &sight, BEGIN + GRACE + 50));
    sight.is_stopped = false;
    assert_false(look_until(&presence, &sight, BEGIN + GRACE + 100));
}

static void who_gives_signs_is_there_by_them_alone(void **state UNUSED)
{
    struct presence presence = begin(true);
    struct sight sight = {.runs = true, .started = at(BEGIN), .last_sign = at(BEGIN + 1000)};
    assert_false(look_until(&presence, &sight, BEGIN + 1000 + GRACE));
    assert_true(look_until(&presence, &sight, BEGIN + 1050 + GRACE));
    sight.last_sign = presence.looked;
    assert_false(look_until(&presence, &sight, BEGIN + 1100 + GRACE));
}

static void time_in_which_nobody_looked_is_not_held_against_it(void **state UNUSED)
{
    struct presence presence = begin(true);
    struct sight sight = {.runs = true, .started = at(BEGIN), .last_sign = at(BEGIN + 1000)};
    look_until(&presence, &sight, BEGIN + 2000);
    presence_look(&presence, &sight, at(BEGIN + 60000)); /* all of the host was stopped */
    assert_false(presence_is_away(&presence));
    assert_false(look_until(&presence, &sight, BEGIN + 60000 + GRACE - 1200));
    assert_true(look_until(&presence, &sight, BEGIN + 60000 + GRACE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_runs_is_there_and_what_ended_is_away_after_the_grace),
        cmocka_unit_test(what_ends_at_once_is_away_however_often_it_starts),
        cmocka_unit_test(one_that_is_stopped_is_away),
        cmocka_unit_test(who_gives_signs_is_there_by_them_alone),
        cmocka_unit_test(time_in_which_nobody_looked_is_not_held_against_it),
    };
    return cmocka_run_group_tests_name("keeper/presence", tests, NULL, NULL);
}
