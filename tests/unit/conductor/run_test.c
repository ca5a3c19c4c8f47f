/* SPDX-License-Identifier: Apache-2.0
 * Who may begin a run, and for whom an order waits. */
#include "../store/store_test.h"

#include "conductor/run.h"
#include "fleet/inventory.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

static char west[] = "west", east[] = "east";
static const struct inventory fleet = {.regions = {west, east}, .region_count = 2};

struct order {
    struct store *store;
    enum run_kind kind;
    pthread_t thread;
    struct run *run;
    enum status status;
    struct err err;
    atomic_bool is_over;
};

static void *begin(void *context)
{
    struct order *order = context;
    AUTO(run_record_release) struct run_record record = {0};
    run_record_init(&record, "east");
    record.kind = order->kind;
    order->status = run_begin_ordered(order->store, &fleet, &record, &order->run, &order->err);
    atomic_store(&order->is_over, true);
    return NULL;
}

static struct order *start_order(struct store *store, enum run_kind kind)
{
    struct order *order = mem_zalloc(sizeof(*order));
    *order = (struct order){.store = store, .kind = kind};
    assert_int_equal(pthread_create(&order->thread, NULL, begin, order), 0);
    return order;
}

enum { AT_ONCE_MS = 3000 /* half of what an order waits at most */ };

static enum status end_order(struct order *order, struct err *err)
{
    pthread_join(order->thread, NULL);
    enum status status = order->status;
    *err = order->err;
    run_free(order->run);
    free(order);
    return status;
}

static struct run *bring_roles_back(struct store *store)
{
    struct run *run = NULL;
    EXPECT_OK(run_hold(store, &fleet, &run, &trouble));
    return run;
}

static void order_waits_for_whoever_brings_roles_back(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct run *holder = bring_roles_back(store);
    struct order *order = start_order(store, RUN_SWITCHOVER);
    usleep(400 * 1000); /* it is refused and waits; when it does not, the next line says so */
    assert_false(atomic_load(&order->is_over));
    assert_false(run_must_stop(holder));
    run_free(holder);
    struct err err = ERR_INIT;
    expect_status(end_order(order, &err), ST_OK, &err);
}

static void failover_makes_whoever_brings_roles_back_stop(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct run *holder = bring_roles_back(store);
    struct order *order = start_order(store, RUN_FAILOVER);
    for (nsec deadline = soon(); !run_must_stop(holder) && clock_now() < deadline;)
        usleep(1000);
    assert_true(run_must_stop(holder));
    run_free(holder);
    struct err err = ERR_INIT;
    expect_status(end_order(order, &err), ST_OK, &err);
}

static void order_does_not_wait_for_another_run(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    AUTO(run_record_release) struct run_record record = {0};
    struct run *run = NULL;
    struct err err = ERR_INIT;
    run_record_init(&record, "east");
    EXPECT_OK(run_begin(store, &fleet, &record, &run, &trouble));
    nsec began = clock_now();
    expect_status(end_order(start_order(store, RUN_FAILOVER), &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "is in progress"));
    assert_false(run_must_stop(run));
    run_free(run);
    expect_status(end_order(start_order(store, RUN_FAILOVER), &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "was not finished"));
    assert_true(clock_now() - began < AT_ONCE_MS * NSEC_PER_MS);
}

/* Its time is over, and it says so. */
static void order_gives_up_on_one_that_goes_on(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct run *holder = bring_roles_back(store);
    struct err err = ERR_INIT;
    expect_status(end_order(start_order(store, RUN_SWITCHOVER), &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "brings roles back"));
    run_free(holder);
}

static void begin_record(struct store *store, struct run_record *take, struct run **ret)
{
    EXPECT_OK(run_begin_ordered(store, &fleet, take, ret, &trouble));
}

/* As after the death of its process. */
static void leave_a_run(struct store *store, char ret_id[static RUN_ID_MAX])
{
    AUTO(run_record_release) struct run_record record = {0};
    struct run *run = NULL;
    run_record_init(&record, "east");
    begin_record(store, &record, &run);
    snprintf(ret_id, RUN_ID_MAX, "%s", run->record.id);
    run_free(run);
}

static void failover_of_a_region_remembers_the_run_that_yields(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    AUTO(run_record_release) struct run_record record = {0}, found = {0};
    char left[RUN_ID_MAX];
    struct run *run = NULL;
    leave_a_run(store, left);
    run_record_init(&record, "east");
    record.kind = RUN_FAILOVER;
    record.is_region_lost = true;
    nsec began = clock_now();
    begin_record(store, &record, &run);
    assert_true(clock_now() - began < AT_ONCE_MS * NSEC_PER_MS);
    EXPECT_OK(run_record_load(store, run->record.id, &found, &trouble));
    assert_string_equal(found.aside, left);
    run_free(run);
}

static void run_that_was_set_aside_waits_for_the_one_that_is_not_finished(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    char aside[RUN_ID_MAX], left[RUN_ID_MAX];
    struct run *run = NULL;
    struct err err = ERR_INIT;
    leave_a_run(store, aside);
    EXPECT_OK(run_set_aside(store, aside, &trouble));
    leave_a_run(store, left);
    expect_status(run_take(store, &fleet, aside, true, &run, &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "was set aside"));
    assert_non_null(strstr(err.text, left));
}

static void end_that_is_recorded_stays(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    AUTO(run_record_release) struct run_record found = {0}, ended = {0};
    char left[RUN_ID_MAX];
    struct run *run = NULL;
    leave_a_run(store, left);
    EXPECT_OK(run_set_aside(store, left, &trouble));
    EXPECT_OK(run_close(store, left, RUN_FAILED, &trouble));
    EXPECT_OK(run_record_load(store, left, &found, &trouble));
    assert_int_equal(found.state, RUN_FAILED);
    EXPECT_OK(run_close(store, left, RUN_ABORTED, &trouble));
    EXPECT_OK(run_record_load(store, left, &ended, &trouble));
    assert_int_equal(ended.state, RUN_FAILED);
    expect_status(run_take(store, &fleet, left, true, &run, &trouble), ST_NOT_FOUND, &trouble);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(order_waits_for_whoever_brings_roles_back),
        STORE_TEST(failover_makes_whoever_brings_roles_back_stop),
        STORE_TEST(order_does_not_wait_for_another_run),
        STORE_TEST(order_gives_up_on_one_that_goes_on),
        STORE_TEST(failover_of_a_region_remembers_the_run_that_yields),
        STORE_TEST(run_that_was_set_aside_waits_for_the_one_that_is_not_finished),
        STORE_TEST(end_that_is_recorded_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
