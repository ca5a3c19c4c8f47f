/* SPDX-License-Identifier: Apache-2.0
 * When a primary counts as lost. */
#include "failover/watch.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct loss_rules rules = {
    .suspect = 10, .hold_down = 100, .again = 50, .window = 1000, .most = 3};

static enum loss_verdict silent(struct loss_watch *watch, enum witness witness, nsec now)
{
    return loss_watch_see(watch, &rules, false, witness, now);
}

static void silence_and_a_silent_agent_together_are_a_loss(void **state UNUSED)
{
    struct loss_watch watch = {0};
    assert_int_equal(silent(&watch, WITNESS_SILENT, 1000), LOSS_SUSPECTED);
    assert_int_equal(silent(&watch, WITNESS_SILENT, 1009), LOSS_SUSPECTED);
    assert_int_equal(silent(&watch, WITNESS_SILENT, 1010), LOSS_CERTAIN);
}

static void one_answer_begins_the_silence_anew(void **state UNUSED)
{
    struct loss_watch watch = {0};
    assert_int_equal(silent(&watch, WITNESS_SILENT, 1000), LOSS_SUSPECTED);
    assert_int_equal(loss_watch_see(&watch, &rules, true, WITNESS_SILENT, 1009), LOSS_NONE);
    assert_int_equal(silent(&watch, WITNESS_SILENT, 1010), LOSS_SUSPECTED);
    assert_int_equal(silent(&watch, WITNESS_SILENT, 1020), LOSS_CERTAIN);
}

static void an_agent_that_lives_makes_it_doubtful(void **state UNUSED)
{
    struct loss_watch watch = {0};
    assert_int_equal(silent(&watch, WITNESS_ALIVE, 1000), LOSS_SUSPECTED);
    assert_int_equal(silent(&watch, WITNESS_ALIVE, 9000), LOSS_DOUBTFUL);
    assert_int_equal(silent(&watch, WITNESS_SILENT, 9001), LOSS_CERTAIN);
}

static void an_agent_that_says_so_is_believed_at_once(void **state UNUSED)
{
    struct loss_watch watch = {0};
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1000), LOSS_CERTAIN);
}

static void without_an_agent_it_is_an_operators(void **state UNUSED)
{
    struct loss_watch watch = {0};
    silent(&watch, WITNESS_NONE, 1000);
    assert_int_equal(silent(&watch, WITNESS_NONE, 9000), LOSS_UNCOVERED);
}

static void after_a_failover_the_next_one_waits(void **state UNUSED)
{
    struct loss_watch watch = {0};
    loss_watch_done(&watch, 1000);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1050), LOSS_HELD_DOWN);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1100), LOSS_CERTAIN);
}

static void after_one_in_vain_others_have_their_turn(void **state UNUSED)
{
    struct loss_watch watch = {0};
    loss_watch_failed(&watch, 1, 0, 1000);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1049), LOSS_TRIED);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1050), LOSS_CERTAIN);
    loss_watch_done(&watch, 1060);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1160), LOSS_CERTAIN);
    for (nsec at = 2000; at <= 2400; at += 50) /* they are no failovers: it does not flap */
        loss_watch_failed(&watch, 1, 0, at);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 2450), LOSS_CERTAIN);
}

static void those_in_vain_have_no_turns_of_their_own(void **state UNUSED)
{
    struct loss_watch watches[3] = {{0}};
    loss_watch_failed(watches, 3, 0, 1000);
    loss_watch_failed(watches, 3, 1, 1045);
    assert_int_equal(silent(&watches[0], WITNESS_DEAD, 1094), LOSS_TRIED);
    assert_int_equal(silent(&watches[0], WITNESS_DEAD, 1095), LOSS_CERTAIN);
    assert_int_equal(silent(&watches[2], WITNESS_DEAD, 1046), LOSS_CERTAIN);
}

static void one_that_answered_meanwhile_is_lost_anew(void **state UNUSED)
{
    struct loss_watch watch = {0};
    loss_watch_failed(&watch, 1, 0, 1000); /* it was back before anything was done */
    assert_int_equal(loss_watch_see(&watch, &rules, true, WITNESS_NONE, 1001), LOSS_NONE);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1002), LOSS_CERTAIN);
}

static void without_a_limit_it_is_failed_over_again_and_again(void **state UNUSED)
{
    struct loss_rules endless = rules;
    struct loss_watch watch = {0};
    endless.most = 0;
    for (nsec at = 1000; at <= 1400; at += 50)
        loss_watch_done(&watch, at);
    assert_int_equal(loss_watch_see(&watch, &endless, false, WITNESS_DEAD, 1500), LOSS_CERTAIN);
}

static void whoever_fails_over_again_and_again_is_left_to_an_operator(void **state UNUSED)
{
    struct loss_watch watch = {0};
    for (nsec at = 1000; at <= 1400; at += 200)
        loss_watch_done(&watch, at);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1600), LOSS_FLAPPING);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 1999), LOSS_FLAPPING);
    assert_int_equal(silent(&watch, WITNESS_DEAD, 2000), LOSS_CERTAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_and_a_silent_agent_together_are_a_loss),
        cmocka_unit_test(one_answer_begins_the_silence_anew),
        cmocka_unit_test(an_agent_that_lives_makes_it_doubtful),
        cmocka_unit_test(an_agent_that_says_so_is_believed_at_once),
        cmocka_unit_test(without_an_agent_it_is_an_operators),
        cmocka_unit_test(after_a_failover_the_next_one_waits),
        cmocka_unit_test(after_one_in_vain_others_have_their_turn),
        cmocka_unit_test(those_in_vain_have_no_turns_of_their_own),
        cmocka_unit_test(one_that_answered_meanwhile_is_lost_anew),
        cmocka_unit_test(without_a_limit_it_is_failed_over_again_and_again),
        cmocka_unit_test(whoever_fails_over_again_and_again_is_left_to_an_operator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
