/* SPDX-License-Identifier: Apache-2.0
 * Watches of the embedded store across processes, their latency, and trimmed history. */
#include "store_test.h"

#include "base/stats.h"
#include "store/local.h"

enum { WRITES = 300 };

/* Writes WRITES changes; each value is the boot-clock time just before its commit was asked for. */
static int child_write(const char *url, const char *prefix)
{
    struct store *store = child_open(url);
    for (int i = 0; i < WRITES; i++) {
        char key[64], value[32];
        snprintf(key, sizeof(key), "%s%04d", prefix, i);
        snprintf(value, sizeof(value), "%lld", (long long)clock_now());
        if (put_if(store, NULL, key, value, 0, NULL))
            return 1;
        parent_tell(clock_now());
    }
    store_close(store);
    return 0;
}

static void writer_in_another_process_is_seen_completely_and_soon(void **state)
{
    struct fixture *fixture = *state;
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "w/", 1, &watch, &trouble));
    struct child child = child_start("write", fixture->url, "w/");
    AUTO(stats_release) struct stats delays = {0};
    for (int seen = 0; seen < WRITES;) {
        AUTO(store_changes_release) struct store_changes changes = {0};
        EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
        nsec now = clock_now();
        for (size_t i = 0; i < changes.count; i++, seen++) {
            assert_int_equal(strtol(changes.items[i].entry.key + 2, NULL, 10), seen);
            nsec acknowledged = child_read(&child);
            stats_add(&delays, acknowledged > now ? 0 : clock_ms(now - acknowledged));
        }
    }
    assert_int_equal(child_end(&child, 0), 0);
    store_watch_close(watch);
    print_message("commit acknowledged -> seen: p50 %.3f ms, p99 %.3f ms\n",
                  stats_percentile(&delays, 50), stats_percentile(&delays, 99));
    assert_true(stats_percentile(&delays, 50) < 50); /* not the re-check; loose for slow builds */
}

static void two_processes_writing_leave_one_order(void **state)
{
    struct fixture *fixture = *state;
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "", 1, &watch, &trouble));
    struct child one = child_start("write", fixture->url, "a/");
    struct child two = child_start("write", fixture->url, "b/");
    int64_t last = 1;
    int seen[2] = {0};
    while (seen[0] + seen[1] < 2 * WRITES) {
        AUTO(store_changes_release) struct store_changes changes = {0};
        EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
        for (size_t i = 0; i < changes.count; i++) {
            const struct store_entry *entry = &changes.items[i].entry;
            assert_int_equal(entry->mod_rev, ++last); /* no gap, no repetition */
            assert_int_equal(strtol(entry->key + 2, NULL, 10), seen[entry->key[0] - 'a']++);
        }
    }
    assert_int_equal(child_end(&one, 0), 0);
    assert_int_equal(child_end(&two, 0), 0);
    store_watch_close(watch);
}

static void trimmed_history_is_said_and_listing_goes_on(void **state)
{
    struct fixture *fixture = *state;
    local__limit_history(fixture->store, 20);
    int64_t revision = 0;
    for (int i = 0; i < 50; i++)
        revision = put(fixture->store, "a", "x");
    EXPECT_OK(store_maintain(fixture->store, soon(), &trouble));
    struct store_watch *watch = NULL;
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    EXPECT_OK(store_watch_open(fixture->store, "", revision - 21, &watch, &trouble));
    expect_status(store_watch_next(watch, soon(), &changes, &err), ST_COMPACTED, &err);
    assert_non_null(strstr(err.hint, "list the keys again"));
    store_watch_close(watch);
    EXPECT_OK(store_watch_open(fixture->store, "", revision - 20, &watch, &trouble));
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_int_equal(changes.count, 20);
    store_watch_close(watch);
    expect_entry(fixture->store, "a", "x");
}

static void history_is_trimmed_without_maintenance_too(void **state)
{
    struct fixture *fixture = *state;
    local__limit_history(fixture->store, 100);
    for (int i = 0; i < 30; i++) {
        struct store_pending *pending[32];
        struct store_op op = {STORE_PUT, "a", "x", 0};
        for (int k = 0; k < 32; k++)
            EXPECT_OK(store_txn_start(fixture->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                                      &pending[k], &trouble));
        struct store_txn_result result = {0};
        for (int k = 0; k < 32; k++) {
            EXPECT_OK(store_txn_wait(pending[k], soon(), &result, &trouble));
            store_pending_free(pending[k]);
        }
    }
    struct store_watch *watch = NULL;
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    EXPECT_OK(store_watch_open(fixture->store, "", 1, &watch, &trouble));
    expect_status(store_watch_next(watch, soon(), &changes, &err), ST_COMPACTED, &err);
    store_watch_close(watch);
}

static void watch_from_the_future_is_told_that_the_store_was_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct store_watch *watch = NULL;
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    EXPECT_OK(store_watch_open(fixture->store, "", 1000, &watch, &trouble));
    expect_status(store_watch_next(watch, soon(), &changes, &err), ST_COMPACTED, &err);
    store_watch_close(watch);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return child_write(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        STORE_TEST(writer_in_another_process_is_seen_completely_and_soon),
        STORE_TEST(two_processes_writing_leave_one_order),
        STORE_TEST(trimmed_history_is_said_and_listing_goes_on),
        STORE_TEST(history_is_trimmed_without_maintenance_too),
        STORE_TEST(watch_from_the_future_is_told_that_the_store_was_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
