/* SPDX-License-Identifier: Apache-2.0
 * The records of runs in a store. */
#include "conductor/run_record.h"

#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* after the above */
#include <cmocka.h>

enum { STORE_MS = 5000 };

static void keep(struct store *store, const char *id, int64_t started_us)
{
    AUTO(run_record_release) struct run_record record = {.started_us = started_us};
    snprintf(record.id, sizeof(record.id), "%s", id);
    snprintf(record.target, sizeof(record.target), "east");
    record.by = mem_strdup("somebody");
    AUTO_FREE char *key = run_record_key(id);
    AUTO_FREE char *value = run_record_encode(&record);
    struct store_op op = {STORE_PUT, key, value, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    struct err err = ERR_INIT;
    assert_int_equal(store_txn(store, &txn, clock_deadline(STORE_MS), &result, &err), ST_OK);
}

static void runs_of_the_same_second_are_listed_as_they_began(void **state UNUSED)
{
    char folder[] = "/tmp/holdfast-run-record-XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *url = mem_printf("file://%s/store", folder);
    struct store *store = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(store_open(url, clock_deadline(STORE_MS), &store, &err), ST_OK);
    keep(store, "20260101-000000-bbbb", 1000);
    keep(store, "20260101-000000-cccc", 3000);
    keep(store, "20260101-000000-aaaa", 2000);
    struct run_record *records = NULL;
    size_t count = 0;
    assert_int_equal(run_record_list(store, &records, &count, &err), ST_OK);
    assert_int_equal(count, 3);
    assert_string_equal(records[0].id, "20260101-000000-bbbb");
    assert_string_equal(records[1].id, "20260101-000000-aaaa");
    assert_string_equal(records[2].id, "20260101-000000-cccc");
    run_record_list_free(records, count);
    store_close(store);
    assert_int_equal(folder_remove(folder, &err), ST_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_the_same_second_are_listed_as_they_began),
    };
    return cmocka_run_group_tests_name("conductor/run_record", tests, NULL, NULL);
}
