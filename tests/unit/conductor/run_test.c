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
    expect_status(end_order(start_order(store, RUN_FAILOVER), &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "is in progress"));
    assert_false(run_must_stop(run));
    run_free(run);
    expect_status(end_order(start_order(store, RUN_FAILOVER), &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "was not finished"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(order_waits_for_whoever_brings_roles_back),
        STORE_TEST(failover_makes_whoever_brings_roles_back_stop),
        STORE_TEST(order_does_not_wait_for_another_run),
        STORE_TEST(order_gives_up_on_one_that_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
