/* SPDX-License-Identifier: Apache-2.0
 * Writing a shard's state to a real store that fails in every way it can. */
#include "base/mem.h"
#include "base/scope.h"
#include "move/internal.h"
#include "move/journal.h"
#include "move/mandate.h"
#include "move/record.h"
#include "os/file.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { STORE_MS = 5000 };

struct scene {
    char folder[64];
    struct store *store;
    struct inventory *fleet;
    struct mandate mandate;
    struct move move;
    enum store_fault next_fault; /* of the next transaction, once */
};

static enum store_fault inject(void *context, enum store_fault_point point, const char *operation)
{
    struct scene *scene = context;
    if (point != STORE_BEFORE || strcmp(operation, "txn") != 0)
        return STORE_FAULT_NONE;
    enum store_fault fault = scene->next_fault;
    scene->next_fault = STORE_FAULT_NONE;
    return fault;
}

static int64_t put_lock(struct store *store)
{
    struct store_op op = {STORE_PUT, MANDATE_LOCK_KEY, "run-1", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    assert_int_equal(store_txn(store, &txn, clock_deadline(STORE_MS), &result, NULL), ST_OK);
    return result.revision;
}

static void make_fleet(struct scene *scene)
{
    scene->fleet = inventory_new();
    scene->fleet->regions[0] = mem_strdup("west");
    scene->fleet->regions[1] = mem_strdup("east");
    scene->fleet->region_count = 2;
    struct inventory_shard *shard = inventory_add_shard(scene->fleet, "lab", "s0");
    assert_int_equal(inventory_add_server(shard, 0, "10.0.1.1:3306", NULL), ST_OK);
    assert_int_equal(inventory_add_server(shard, 1, "10.0.2.1:3306", NULL), ST_OK);
}

static int set_up(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    snprintf(scene->folder, sizeof(scene->folder), "/tmp/holdfast-record.XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    AUTO_FREE char *url = mem_printf("file://%s/store", scene->folder);
    struct store *store = NULL;
    assert_int_equal(store_open(url, NULL, clock_deadline(STORE_MS), &store, NULL), ST_OK);
    scene->store = store_wrap_faults(store, inject, scene);
    make_fleet(scene);
    scene->mandate.fleet = scene->fleet;
    scene->mandate.store = scene->store;
    scene->mandate.to_region = 1;
    scene->mandate.token = put_lock(scene->store);
    scene->mandate.journal = journal_open(NULL, "run-1");
    scene->mandate.shard_states = mem_zalloc(sizeof(*scene->mandate.shard_states));
    scene->mandate.run = "run-1";
    struct route route = {.state = SHARD_SERVING, .epoch = 7};
    snprintf(route.home, sizeof(route.home), "west");
    snprintf(route.primary, sizeof(route.primary), "10.0.1.1:3306");
    const struct inventory_shard *shard = &scene->fleet->shards[0];
    move_init(&scene->move, &scene->mandate, shard, &route);
    move_set_ends(&scene->move, &shard->servers[0], &shard->servers[1]);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    move_release(&scene->move);
    journal_close(scene->mandate.journal);
    free(scene->mandate.shard_states);
    inventory_free(scene->fleet);
    store_close(scene->store);
    status_ignore(folder_remove(scene->folder, NULL), "the next run uses another one");
    free(scene);
    return 0;
}

static enum status record(struct scene *scene, enum shard_state next)
{
    struct err err = ERR_INIT;
    return move_record(&scene->move, next, clock_deadline(STORE_MS), &err);
}

static struct route stored(struct scene *scene)
{
    struct route route = {0};
    assert_int_equal(route_load(scene->store, "s0", clock_deadline(STORE_MS), &route, NULL), ST_OK);
    return route;
}

static void a_move_is_recorded_from_preparing_to_serving_at_the_new_home(void **state)
{
    struct scene *scene = *state;
    static const enum shard_state path[] = {SHARD_PREPARING, SHARD_FROZEN, SHARD_PROMOTING,
                                            SHARD_REDIRECTING, SHARD_SERVING};
    for (size_t i = 0; i < ARRAY_SIZE(path); i++) {
        assert_int_equal(record(scene, path[i]), ST_OK);
        assert_int_equal(stored(scene).state, path[i]);
        assert_int_equal(stored(scene).epoch, path[i] >= SHARD_REDIRECTING || i == 4 ? 8 : 7);
    }
    struct route route = stored(scene);
    assert_string_equal(route.home, "east");
    assert_string_equal(route.primary, "10.0.2.1:3306");
    assert_string_equal(route.run, scene->move.mandate->run); /* which moved it here */
}

static void an_undone_move_keeps_home_and_epoch(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    assert_string_equal(stored(scene).new_primary, "10.0.2.1:3306");
    assert_int_equal(record(scene, SHARD_UNDOING), ST_OK);
    assert_int_equal(record(scene, SHARD_SERVING), ST_OK);
    assert_string_equal(stored(scene).home, "west");
    assert_int_equal(stored(scene).epoch, 7);
}

/* The state as it is once more, for what is written beside it. */
static enum status write_beside(struct scene *scene, enum store_fault fault, int64_t revision)
{
    AUTO(attempt_release) struct attempt attempt = {0};
    AUTO(permit_part_release) struct permit_part part = {0};
    struct move *move = &scene->move;
    struct held_route held = {&scene->mandate, move->shard, &move->route, &move->is_route_doubtful,
                              &move->view.state};
    struct err err = ERR_INIT;
    permit_part_return(&part, "10.0.1.1:3306", revision);
    attempt_init(&attempt, &held, &move->route, &part);
    scene->next_fault = fault;
    return attempt_write(&attempt, &held, CALL_WRITE_PREPARING, clock_deadline(STORE_MS), &err);
}

static int64_t put_revoked(struct scene *scene)
{
    struct store_op op = {STORE_PUT, "revoked/10.0.1.1:3306", "{}", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    assert_int_equal(store_txn(scene->store, &txn, clock_deadline(STORE_MS), &result, NULL), ST_OK);
    return result.revision;
}

static void a_state_that_stays_is_no_sign_that_it_was_written(void **state)
{
    struct scene *scene = *state;
    int64_t revision = put_revoked(scene);
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    assert_int_equal(write_beside(scene, STORE_FAULT_NONE, revision - 1), ST_CONFLICT);
    assert_int_equal(write_beside(scene, STORE_FAULT_UNKNOWN_NOT_DONE, revision), ST_BUSY);
    assert_int_equal(write_beside(scene, STORE_FAULT_UNKNOWN_DONE, revision), ST_OK);
    assert_int_equal(write_beside(scene, STORE_FAULT_NONE, revision), ST_CONFLICT); /* it is gone */
}

static void fence(struct scene *scene, const char *region)
{
    AUTO_FREE char *key = permit_fenced_key(region);
    struct store_op op = {STORE_PUT, key, "{}", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    assert_int_equal(store_txn(scene->store, &txn, clock_deadline(STORE_MS), &result, NULL), ST_OK);
}

static enum status claim(struct scene *scene, nsec *ret_span)
{
    struct move *move = &scene->move;
    struct err err = ERR_INIT;
    return move_claim(move, move->new_server, clock_deadline(STORE_MS), ret_span, &err);
}

static void nothing_is_published_in_a_region_that_is_fenced(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    assert_int_equal(record(scene, SHARD_FROZEN), ST_OK);
    assert_int_equal(record(scene, SHARD_PROMOTING), ST_OK);
    fence(scene, "east");
    assert_int_equal(record(scene, SHARD_PROMOTING), ST_NO_GO);
    assert_int_equal(record(scene, SHARD_REDIRECTING), ST_NO_GO);
    assert_string_equal(stored(scene).home, "west");
    assert_int_equal(record(scene, SHARD_UNDOING), ST_OK); /* the way back is free ... */
    fence(scene, "west");
    assert_int_equal(record(scene, SHARD_UNDOING), ST_NO_GO); /* ... until that is fenced, too */
}

static void a_claim_leaves_the_route_and_is_refused_when_the_region_is_fenced(void **state)
{
    struct scene *scene = *state;
    nsec span = 0;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    struct route before = stored(scene);
    assert_int_equal(claim(scene, &span), ST_OK);
    assert_true(span == SQL_OPEN_WITHIN_MS * NSEC_PER_MS && !scene->move.view.is_refused);
    struct route after = stored(scene);
    assert_true(after.revision > before.revision); /* who waits for it to settle waits anew */
    assert_int_equal(after.state, before.state);
    scene->next_fault = STORE_FAULT_UNKNOWN_DONE;
    assert_int_equal(claim(scene, &span), ST_OK);
    fence(scene, "east");
    assert_int_equal(claim(scene, &span), ST_NO_GO);
    assert_true(scene->move.view.is_refused);
    assert_int_equal(record(scene, SHARD_FROZEN), ST_OK); /* the route in memory is the store's */
}

static void another_token_fences_every_write(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    struct store_op gone = {STORE_DELETE, MANDATE_LOCK_KEY, NULL, 0};
    struct store_txn txn = {NULL, 0, &gone, 1};
    struct store_txn_result result;
    assert_int_equal(store_txn(scene->store, &txn, clock_deadline(STORE_MS), &result, NULL), ST_OK);
    put_lock(scene->store); /* a successor's lock: another creation revision */
    assert_int_equal(record(scene, SHARD_FROZEN), ST_FENCED);
    assert_int_equal(stored(scene).state, SHARD_PREPARING);
}

static void an_unknown_outcome_is_decided_by_reading_back(void **state)
{
    struct scene *scene = *state;
    scene->next_fault = STORE_FAULT_UNKNOWN_DONE;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    assert_int_equal(stored(scene).state, SHARD_PREPARING);
    scene->next_fault = STORE_FAULT_UNKNOWN_NOT_DONE;
    assert_int_equal(record(scene, SHARD_FROZEN), ST_OK);
    assert_int_equal(stored(scene).state, SHARD_FROZEN);
}

static void a_busy_store_is_tried_again(void **state)
{
    struct scene *scene = *state;
    scene->next_fault = STORE_FAULT_BUSY;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
}

static void a_full_store_says_so_and_nothing_is_recorded(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(record(scene, SHARD_PREPARING), ST_OK);
    scene->next_fault = STORE_FAULT_FULL;
    assert_int_equal(record(scene, SHARD_FROZEN), ST_FULL);
    assert_int_equal(stored(scene).state, SHARD_PREPARING);
    assert_int_equal(scene->move.view.state, SHARD_PREPARING);
    assert_int_equal(record(scene, SHARD_FROZEN), ST_OK);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_move_is_recorded_from_preparing_to_serving_at_the_new_home),
        TEST(an_undone_move_keeps_home_and_epoch),
        TEST(a_state_that_stays_is_no_sign_that_it_was_written),
        TEST(nothing_is_published_in_a_region_that_is_fenced),
        TEST(a_claim_leaves_the_route_and_is_refused_when_the_region_is_fenced),
        TEST(another_token_fences_every_write),
        TEST(an_unknown_outcome_is_decided_by_reading_back),
        TEST(a_busy_store_is_tried_again),
        TEST(a_full_store_says_so_and_nothing_is_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
