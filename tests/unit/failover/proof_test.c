/* SPDX-License-Identifier: Apache-2.0
 * When it is known that nothing acknowledged was lost. W1 is lost; W2 and W3 acknowledged its
 * writes. */
#include "failover/proof.h"

#include "../fleet/fleet_test.h"

static const struct election made = {0};

/* What is said of the sample, as it is at both moments but for what 'spoil' does in between. */
static void expect(struct sample *sample, void (*spoil)(struct sample *sample), const char *wanted)
{
    AUTO(proof_release) struct proof proof = {0};
    struct election elected = {.candidate = &sample->seen[W2]};
    sample_derive(sample);
    proof_see_first(&proof, &sample->observation, &sample->servers[W1]);
    if (spoil)
        spoil(sample);
    proof_weigh(&proof, &sample->observation, &sample->servers[W1], &elected);
    assert_int_equal(proof.is_proven, !wanted);
    if (wanted && !strstr(buf_text(&proof.words), wanted))
        fail_msg("'%s' is not in '%s'", wanted, buf_text(&proof.words));
    assert_true(proof.words.length > 0);
}

static void lose(struct sample *sample)
{
    sample_init(sample);
    sample->seen[W1].status = ST_UNREACHABLE;
}

static void all_of_the_region_answered_and_acknowledged(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    expect(&sample, NULL, NULL);
    sample.seen[E1].status = ST_UNREACHABLE; /* no acker */
    expect(&sample, NULL, NULL);
    sample.seen[W3].state.is_replica_semi_sync = false; /* one is enough */
    expect(&sample, NULL, NULL);
}

static void silence_w3(struct sample *sample)
{
    sample->seen[W3].status = ST_TIMEOUT;
}

static void who_did_not_answer_may_have_what_nobody_else_has(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    expect(&sample, silence_w3, "did not answer, and may hold acknowledged writes");
}

static void take_over(struct sample *sample)
{
    sample->seen[W2].state.is_replica_semi_sync = sample->seen[W3].state.is_replica_semi_sync =
        true;
}

static void flags_that_came_later_are_no_acknowledgement(void **state UNUSED)
{
    struct sample sample;
    lose(&sample);
    sample.seen[W2].state.is_replica_semi_sync = sample.seen[W3].state.is_replica_semi_sync = false;
    expect(&sample, take_over, "no replica of its region acknowledged");
}

static void a_primary_that_answers_says_whether_it_waited(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    expect(&sample, NULL, NULL);
    sample.seen[W1].state.semi_sync_timeout_ms = 10000;
    expect(&sample, NULL, "did not wait until each write was acknowledged");
}

static void who_takes_over_a_run_did_not_see_who_acknowledged(void **state UNUSED)
{
    struct sample sample;
    AUTO(proof_release) struct proof proof = {0};
    lose(&sample);
    sample_derive(&sample);
    proof_weigh(&proof, &sample.observation, &sample.servers[W1], &made);
    assert_false(proof.is_proven);
    assert_non_null(strstr(buf_text(&proof.words), "by the process before this one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_the_region_answered_and_acknowledged),
        cmocka_unit_test(who_did_not_answer_may_have_what_nobody_else_has),
        cmocka_unit_test(flags_that_came_later_are_no_acknowledgement),
        cmocka_unit_test(a_primary_that_answers_says_whether_it_waited),
        cmocka_unit_test(who_takes_over_a_run_did_not_see_who_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
