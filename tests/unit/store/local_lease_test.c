/* SPDX-License-Identifier: Apache-2.0
 * Leases of the embedded store: time, owners, boots. */
#include "store_test.h"

#include <poll.h>
#include <sqlite3.h>

/* Wait for 'key' to be deleted, through a watch: no polling of the clock. */
static void await_deletion(struct store *store, const char *key, int64_t after)
{
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(store, key, after, &watch, &trouble));
    AUTO(store_changes_release) struct store_changes changes = {0};
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_int_equal(changes.items[0].kind, STORE_DELETE);
    assert_string_equal(changes.items[0].entry.key, key);
    store_watch_close(watch);
}

static void key_vanishes_when_its_lease_expires(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0, revision = 0;
    nsec before = clock_now();
    EXPECT_OK(store_lease_grant(fixture->store, 150, soon(), &lease, &trouble));
    EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, &revision));
    await_deletion(fixture->store, "lock", revision);
    assert_true(clock_now() - before >= 150 * NSEC_PER_MS);
    expect_entry(fixture->store, "lock", NULL);
    struct err err = ERR_INIT;
    expect_status(store_lease_keepalive(fixture->store, lease, soon(), &err), ST_NOT_FOUND, &err);
}

static void expired_key_is_absent_before_anybody_sweeps(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0;
    enum { TTL_MS = 1000 }; /* the put must come before its end, however slow the machine is */
    EXPECT_OK(store_lease_grant(fixture->store, TTL_MS, soon(), &lease, &trouble));
    nsec end = clock_now() + TTL_MS * NSEC_PER_MS;
    EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, NULL));
    while (clock_now() <= end) /* nothing happens in the store: only time passes */
        poll(NULL, 0, clock_ms_left(end));
    expect_entry(fixture->store, "lock", NULL);
    AUTO(store_list_release) struct store_list list = {0};
    EXPECT_OK(store_list(fixture->store, "", soon(), &list, &trouble));
    assert_int_equal(list.count, 0);
    struct store_compare absent = {STORE_ABSENT, "lock", 0};
    EXPECT_OK(put_if(fixture->store, &absent, "lock", "you", 0, NULL));
    expect_entry(fixture->store, "lock", "you");
}

static void keepalive_moves_the_end(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0;
    EXPECT_OK(store_lease_grant(fixture->store, 400, soon(), &lease, &trouble));
    EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, NULL));
    nsec end = clock_now() + 1000 * NSEC_PER_MS;
    while (clock_now() < end) {
        poll(NULL, 0, 50);
        EXPECT_OK(store_lease_keepalive(fixture->store, lease, soon(), &trouble));
        expect_entry(fixture->store, "lock", "me");
    }
}

static int child_hold(const char *url, const char *argument UNUSED)
{
    struct store *store = child_open(url);
    int64_t lease = 0, revision = 0;
    if (store_lease_grant(store, 3600 * 1000, soon(), &lease, NULL) ||
        put_if(store, NULL, "lock", "child", lease, &revision))
        return 1;
    parent_tell(revision);
    poll(NULL, 0, TEST_WAIT_MS);
    return 1;
}

static void lease_ends_with_its_owner(void **state)
{
    struct fixture *fixture = *state;
    struct child child = child_start("hold", fixture->url, "");
    int64_t revision = child_read(&child);
    assert_true(revision > 0);
    expect_entry(fixture->store, "lock", "child");
    kill(child.pid, SIGKILL);
    siginfo_t ended; /* dead, but not reaped: its pid still exists */
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &ended, WEXITED | WNOWAIT), 0);
    expect_entry(fixture->store, "lock", NULL);
    child_end(&child, 0);
    expect_entry(fixture->store, "lock", NULL);
    await_deletion(fixture->store, "lock", revision);
}

static void stopped_owner_keeps_its_lease(void **state)
{
    struct fixture *fixture = *state;
    struct child child = child_start("hold", fixture->url, "");
    int64_t revision = child_read(&child);
    kill(child.pid, SIGSTOP);
    siginfo_t stopped;
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &stopped, WSTOPPED | WNOWAIT), 0);
    expect_entry(fixture->store, "lock", "child");
    child_end(&child, SIGKILL);
    await_deletion(fixture->store, "lock", revision);
}

static void edit(const struct fixture *fixture, const char *sql)
{
    AUTO_FREE char *path = mem_printf("%s/store.db", fixture->directory);
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    sqlite3_busy_timeout(handle, TEST_WAIT_MS);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

static void leases_of_another_boot_or_a_reused_pid_are_over(void **state)
{
    struct fixture *fixture = *state;
    static const char *const edits[] = {"UPDATE lease SET boot_id = 'earlier'",
                                        "UPDATE lease SET start = start - 1"};
    for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
        int64_t lease = 0;
        EXPECT_OK(store_lease_grant(fixture->store, 60000, soon(), &lease, &trouble));
        EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, NULL));
        expect_entry(fixture->store, "lock", "me");
        edit(fixture, edits[i]);
        expect_entry(fixture->store, "lock", NULL);
    }
}

static void owner_of_another_pid_namespace_is_not_judged(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0;
    EXPECT_OK(store_lease_grant(fixture->store, 60000, soon(), &lease, &trouble));
    EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, NULL));
    edit(fixture, "UPDATE lease SET start = 1, pid = 999999, space = space + 1");
    expect_entry(fixture->store, "lock", "me");
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return child_hold(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        STORE_TEST(key_vanishes_when_its_lease_expires),
        STORE_TEST(expired_key_is_absent_before_anybody_sweeps),
        STORE_TEST(keepalive_moves_the_end),
        STORE_TEST(lease_ends_with_its_owner),
        STORE_TEST(stopped_owner_keeps_its_lease),
        STORE_TEST(leases_of_another_boot_or_a_reused_pid_are_over),
        STORE_TEST(owner_of_another_pid_namespace_is_not_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
