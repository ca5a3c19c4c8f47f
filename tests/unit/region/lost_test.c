/* SPDX-License-Identifier: Apache-2.0
 * Whether a region is alive, when a beat comes while it is looked at. */
#include "../store/store_test.h"

#include "permit/pulse.h"
#include "region/lost.h"

#include <pthread.h>

enum { WAIT_MS = 400, LATER_MS = 100 };

static void put_text(struct store *store, const char *key, const char *value)
{
    struct store_op op = {STORE_PUT, key, value, 0};
    struct store_txn_result result = {0};
    EXPECT_OK(store_txn(store, &(struct store_txn){NULL, 0, &op, 1}, soon(), &result, &trouble));
}

static void put_beat(struct store *store, const char *granter, nsec sent)
{
    AUTO_FREE char *key = permit_region_key("west");
    AUTO_FREE char *value = permit_pulse_encode("west-1", granter, sent);
    put_text(store, key, value);
}

struct beater {
    struct store *store;
    const char *granter;
    nsec sent;
};

static void *beat_later(void *context)
{
    struct beater *beater = context;
    usleep(LATER_MS * 1000); /* the look has begun, and has not ended */
    put_beat(beater->store, beater->granter, beater->sent);
    return NULL;
}

/* It has beaten at 'first', and a beat that was sent at 'next' comes while somebody looks. */
static enum region_standing standing_after(struct store *store, const char *granter, nsec next)
{
    nsec first = 5000;
    struct beater beater = {store, granter, next};
    AUTO(region_look_release) struct region_look look = {0};
    pthread_t thread;
    put_text(store, PERMIT_TERM_KEY, "{\"ttl_ms\":400,\"wait_ms\":400}");
    put_beat(store, "west-1-a", first);
    assert_int_equal(pthread_create(&thread, NULL, beat_later, &beater), 0);
    nsec began = clock_now();
    EXPECT_OK(region_look(store, "west", &look, &trouble));
    nsec took = clock_now() - began;
    pthread_join(thread, NULL);
    if (look.standing == REGION_SILENT)
        assert_true(took >= (LATER_MS / 2 + WAIT_MS) * NSEC_PER_MS); /* counted from that beat on */
    return look.standing;
}

static void beat_that_was_sent_later_says_that_it_is_alive(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    assert_int_equal(standing_after(store, "west-1-a", 5001), REGION_ALIVE);
}

static void beat_of_another_granter_says_that_it_is_alive(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    assert_int_equal(standing_after(store, "west-2-b", 1), REGION_ALIVE);
}

static void beat_that_was_long_on_its_way_does_not(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    assert_int_equal(standing_after(store, "west-1-a", 4000), REGION_SILENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(beat_that_was_sent_later_says_that_it_is_alive),
        STORE_TEST(beat_of_another_granter_says_that_it_is_alive),
        STORE_TEST(beat_that_was_long_on_its_way_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
