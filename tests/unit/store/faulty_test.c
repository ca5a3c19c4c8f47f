/* SPDX-License-Identifier: Apache-2.0
 * The fault wrapper: what is reported, and what really happened. */
#include "store_test.h"

struct script {
    enum store_fault_point point;
    const char *operation;
    enum store_fault fault; /* for that operation at that point */
    int before, after;      /* calls of that operation */
};

static enum store_fault play(void *context, enum store_fault_point point, const char *operation)
{
    struct script *script = context;
    if (strcmp(operation, script->operation) != 0)
        return STORE_FAULT_NONE;
    script->before += point == STORE_BEFORE;
    script->after += point == STORE_AFTER;
    return point == script->point ? script->fault : STORE_FAULT_NONE;
}

static void each_fault_reports_its_class_and_does_what_it_says(void **state)
{
    struct fixture *fixture = *state;
    struct {
        enum store_fault_point point;
        enum store_fault fault;
        enum status wanted;
        bool done;
    } cases[] = {
        {STORE_BEFORE, STORE_FAULT_NONE, ST_OK, true},
        {STORE_BEFORE, STORE_FAULT_BUSY, ST_BUSY, false},
        {STORE_BEFORE, STORE_FAULT_FULL, ST_FULL, false},
        {STORE_BEFORE, STORE_FAULT_IO, ST_IO, false},
        {STORE_BEFORE, STORE_FAULT_UNKNOWN_DONE, ST_UNKNOWN, true},
        {STORE_BEFORE, STORE_FAULT_UNKNOWN_NOT_DONE, ST_UNKNOWN, false},
        {STORE_AFTER, STORE_FAULT_UNKNOWN_DONE, ST_UNKNOWN, true},
    };
    struct script script = {STORE_BEFORE, "txn", STORE_FAULT_NONE, 0, 0};
    fixture->store = store_wrap_faults(fixture->store, play, &script);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%zu", i);
        script = (struct script){cases[i].point, "txn", cases[i].fault, 0, 0};
        expect_status(put_if(fixture->store, NULL, key, "v", 0, NULL), cases[i].wanted, &trouble);
        assert_int_equal(script.before, 1);
        assert_int_equal(script.after, cases[i].done);
        expect_entry(fixture->store, key, cases[i].done ? "v" : NULL);
    }
    store_close(fixture->store);
    fixture->store = NULL;
}

static void reads_and_leases_can_fail_and_watches_pass(void **state)
{
    struct fixture *fixture = *state;
    struct script script = {STORE_AFTER, "get", STORE_FAULT_UNKNOWN_DONE, 0, 0};
    fixture->store = store_wrap_faults(fixture->store, play, &script);
    int64_t revision = put(fixture->store, "a", "1");
    struct store_entry entry = {0};
    struct err err = ERR_INIT;
    expect_status(store_get(fixture->store, "a", soon(), &entry, &err), ST_TIMEOUT, &err);
    int64_t lease = 0;
    script = (struct script){STORE_BEFORE, "lease_grant", STORE_FAULT_FULL, 0, 0};
    expect_status(store_lease_grant(fixture->store, 1000, soon(), &lease, &err), ST_FULL, &err);
    put(fixture->store, "a", "2");
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "", revision, &watch, &trouble));
    AUTO(store_changes_release) struct store_changes changes = {0};
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_int_equal(changes.count, 1);
    store_watch_close(watch);
    EXPECT_OK(store_maintain(fixture->store, soon(), &trouble));
    store_close(fixture->store);
    fixture->store = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(each_fault_reports_its_class_and_does_what_it_says),
        STORE_TEST(reads_and_leases_can_fail_and_watches_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
