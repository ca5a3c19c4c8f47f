/* SPDX-License-Identifier: Apache-2.0
 * Durability and outcomes of the embedded store: kill -9, several processes, a lock that another
 * process holds, a disk that fails or hangs. The disk is a SQLite VFS whose WAL flushes obey a
 * knob. */
#include "store_test.h"

#include "base/stats.h"

#include <poll.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

/* ---- a disk with a knob ---- */

enum disk { DISK_WORKS, DISK_FAILS, DISK_HANGS };

static _Atomic enum disk disk;
static atomic_int flushes;
static sqlite3_io_methods wal_methods;
static int (*real_sync)(sqlite3_file *file, int flags);
static sqlite3_vfs knob_vfs;
static sqlite3_vfs *unix_vfs;

static int knob_sync(sqlite3_file *file, int flags)
{
    atomic_fetch_add(&flushes, 1);
    while (atomic_load(&disk) == DISK_HANGS)
        poll(NULL, 0, 1);
    return atomic_load(&disk) == DISK_FAILS ? SQLITE_IOERR_FSYNC : real_sync(file, flags);
}

static int knob_open(sqlite3_vfs *vfs UNUSED, sqlite3_filename name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int rc = unix_vfs->xOpen(unix_vfs, name, file, flags, ret_flags);
    if (rc || !(flags & SQLITE_OPEN_WAL))
        return rc;
    pthread_mutex_lock(&lock);
    if (!real_sync) {
        wal_methods = *file->pMethods;
        real_sync = wal_methods.xSync;
        wal_methods.xSync = knob_sync;
    }
    pthread_mutex_unlock(&lock);
    file->pMethods = &wal_methods;
    return SQLITE_OK;
}

static void install_knob(void)
{
    unix_vfs = sqlite3_vfs_find(NULL);
    knob_vfs = *unix_vfs;
    knob_vfs.zName = "knob";
    knob_vfs.xOpen = knob_open;
    sqlite3_vfs_register(&knob_vfs, 1);
}

/* ---- outcomes ---- */

static void failed_flush_is_unknown_and_the_read_back_is_conclusive(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "before");
    atomic_store(&disk, DISK_FAILS);
    struct err err = ERR_INIT;
    expect_status(put_if(fixture->store, NULL, "a", "doubtful", 0, NULL), ST_UNKNOWN, &trouble);
    struct store_entry entry = {0};
    expect_status(store_get(fixture->store, "a", soon(), &entry, &err), ST_IO,
                  &err); /* no answer while nothing can be settled */
    atomic_store(&disk, DISK_WORKS);
    expect_entry(fixture->store, "a", "before");
    /* What was answered stays true through the recovery of a new process. */
    store_close(fixture->store);
    EXPECT_OK(store_open(fixture->url, NULL, soon(), &fixture->store, &trouble));
    expect_entry(fixture->store, "a", "before");
    put(fixture->store, "a", "after");
}

static void hanging_disk_is_unknown_at_the_deadline_and_decided_later(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "before");
    atomic_store(&disk, DISK_HANGS);
    int before = atomic_load(&flushes);
    struct store_op op = {STORE_PUT, "a", "after", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_pending *begun = NULL, *queued = NULL;
    EXPECT_OK(store_txn_start(fixture->store, &txn, soon(), &begun, &trouble));
    while (atomic_load(&flushes) == before)
        poll(NULL, 0, 1);
    op.value = "never";
    EXPECT_OK(store_txn_start(fixture->store, &txn, soon(), &queued, &trouble));
    struct store_txn_result result = {0};
    struct err err = ERR_INIT;
    expect_status(store_txn_wait(begun, clock_deadline(20), &result, &err), ST_UNKNOWN, &err);
    expect_status(store_txn_wait(queued, clock_deadline(20), &result, &err), ST_TIMEOUT, &err);
    struct store_entry entry = {0};
    expect_status(store_get(fixture->store, "a", clock_deadline(20), &entry, &err), ST_TIMEOUT,
                  &err); /* a read must not overtake it */
    atomic_store(&disk, DISK_WORKS);
    expect_entry(fixture->store, "a", "after");
    EXPECT_OK(store_txn_wait(begun, soon(), &result, &trouble));
    assert_true(result.succeeded);
    expect_status(store_txn_wait(queued, soon(), &result, &err), ST_TIMEOUT, &err);
    store_pending_free(begun);
    store_pending_free(queued);
    expect_entry(fixture->store, "a", "after");
}

static void lock_held_by_another_process_is_busy_and_nothing_happens(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "before");
    struct child child = child_start("lock", fixture->directory, "");
    assert_int_equal(child_read(&child), 1);
    struct store_op op = {STORE_PUT, "a", "after", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    struct err err = ERR_INIT;
    nsec start = clock_now();
    expect_status(store_txn(fixture->store, &txn, clock_deadline(50), &result, &err), ST_BUSY,
                  &err);
    assert_true(clock_now() - start < 5 * NSEC_PER_SEC);
    assert_non_null(strstr(err.text, "another process is writing"));
    expect_entry(fixture->store, "a", "before"); /* reads do not wait for writers */
    child_end(&child, SIGKILL);
    expect_entry(fixture->store, "a", "before");
    put(fixture->store, "a", "later");
}

static int child_lock(const char *directory)
{
    AUTO_FREE char *path = mem_printf("%s/store.db", directory);
    sqlite3 *handle = NULL;
    sqlite3_open(path, &handle);
    sqlite3_busy_timeout(handle, TEST_WAIT_MS);
    if (sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL))
        return 1;
    parent_tell(1);
    poll(NULL, 0, TEST_WAIT_MS);
    return 1;
}

static void transactions_that_queue_up_share_a_flush(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 50 };
    struct store_pending *pending[COUNT];
    int before = atomic_load(&flushes);
    for (int i = 0; i < COUNT; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        struct store_op op = {STORE_PUT, key, "v", 0};
        EXPECT_OK(store_txn_start(fixture->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                                  &pending[i], &trouble));
    }
    for (int i = 0; i < COUNT; i++) {
        struct store_txn_result result = {0};
        EXPECT_OK(store_txn_wait(pending[i], soon(), &result, &trouble));
        store_pending_free(pending[i]);
    }
    assert_true(atomic_load(&flushes) - before < COUNT);
}

static void one_compare_and_set_costs_one_flush(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 500 };
    EXPECT_OK(store_maintain(fixture->store, soon(), &trouble));
    int64_t revision = put(fixture->store, "route", "0");
    AUTO(stats_release) struct stats times = {0};
    int before = atomic_load(&flushes);
    for (int i = 0; i < COUNT; i++) {
        struct store_compare same = {STORE_MOD_REV_IS, "route", revision};
        nsec start = clock_now();
        EXPECT_OK(put_if(fixture->store, &same, "route", "{\"state\":\"frozen\"}", 0, &revision));
        stats_add(&times, clock_ms(clock_now() - start));
    }
    assert_int_equal(atomic_load(&flushes) - before, COUNT);
    print_message("compare-and-set: p50 %.3f ms, p90 %.3f ms, p99 %.3f ms\n",
                  stats_percentile(&times, 50), stats_percentile(&times, 90),
                  stats_percentile(&times, 99));
}

/* ---- processes ---- */

enum { PROCESSES = 4, ADDITIONS = 50 };

static int child_count(const char *url)
{
    struct store *store = child_open(url);
    for (int done = 0; done < ADDITIONS;) {
        AUTO(store_entry_release) struct store_entry entry = {0};
        if (store_get(store, "counter", soon(), &entry, NULL))
            return 1;
        char value[32];
        snprintf(value, sizeof(value), "%ld", strtol(entry.value, NULL, 10) + 1);
        struct store_compare same = {STORE_MOD_REV_IS, "counter", entry.mod_rev};
        enum status status = put_if(store, &same, "counter", value, 0, NULL);
        if (status && status != ST_CONFLICT)
            return 1;
        done += status ? 0 : 1;
    }
    store_close(store);
    return 0;
}

static void processes_lose_no_addition(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "counter", "0");
    struct child children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++)
        children[i] = child_start("count", fixture->url, "");
    for (int i = 0; i < PROCESSES; i++)
        assert_int_equal(child_end(&children[i], 0), 0);
    expect_entry(fixture->store, "counter", "200");
}

/* Acknowledged writes, told one by one, until killed. */
static int child_acknowledge(const char *url, const char *first)
{
    struct store *store = child_open(url);
    int64_t number = strtol(first, NULL, 10);
    for (int64_t end = number + 1000000; number < end; number++) {
        char key[32];
        snprintf(key, sizeof(key), "n/%lld", (long long)number);
        if (put_if(store, NULL, key, "x", 0, NULL) == ST_OK)
            parent_tell(number);
    }
    return 1;
}

static void killed_writer_loses_nothing_it_acknowledged(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store); /* so that each open has a dead process's WAL to recover */
    fixture->store = NULL;
    int64_t next = 0, acknowledged = 0;
    for (int round = 0; round < 25; round++) {
        char first[32];
        snprintf(first, sizeof(first), "%lld", (long long)next);
        struct child child = child_start("acknowledge", fixture->url, first);
        int64_t last = -1;
        for (int i = 0; i < 1 + round * 3 % 17; i++)
            last = child_read(&child);
        kill(child.pid, SIGKILL);
        for (int64_t more = child_read(&child); more >= 0; more = child_read(&child))
            last = more;
        child_end(&child, 0);
        assert_true(last >= next);
        AUTO(store_list_release) struct store_list list = {0};
        EXPECT_OK(store_open(fixture->url, NULL, soon(), &fixture->store, &trouble));
        EXPECT_OK(store_list(fixture->store, "n/", soon(), &list, &trouble));
        for (int64_t number = next; number <= last; number++) {
            char key[32];
            snprintf(key, sizeof(key), "n/%lld", (long long)number);
            expect_entry(fixture->store, key, "x");
        }
        acknowledged += last + 1 - next; /* and at most one was in flight at each kill */
        assert_in_range(list.count, acknowledged, acknowledged + round + 1);
        store_close(fixture->store);
        fixture->store = NULL;
        next = last + 2;
    }
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "lock") == 0)
        return child_lock(argv[2]);
    if (argc == 4 && strcmp(argv[1], "count") == 0)
        return child_count(argv[2]);
    if (argc == 4)
        return child_acknowledge(argv[2], argv[3]);
    install_knob();
    const struct CMUnitTest tests[] = {
        STORE_TEST(failed_flush_is_unknown_and_the_read_back_is_conclusive),
        STORE_TEST(hanging_disk_is_unknown_at_the_deadline_and_decided_later),
        STORE_TEST(lock_held_by_another_process_is_busy_and_nothing_happens),
        STORE_TEST(transactions_that_queue_up_share_a_flush),
        STORE_TEST(one_compare_and_set_costs_one_flush),
        STORE_TEST(processes_lose_no_addition),
        STORE_TEST(killed_writer_loses_nothing_it_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
