/* SPDX-License-Identifier: Apache-2.0
 * What every driver must do, written against store.h alone, and asked of each: the embedded store,
 * an etcd of one member, one of three, and one under TLS that demands certificates and log-ins. */
#include "etcd_test.h"

#include <poll.h>
#include <pthread.h>

static void put_then_get_returns_value_and_revisions(void **state)
{
    struct fixture *fixture = *state;
    int64_t first = put(fixture->store, "routes/a", "one");
    int64_t second = put(fixture->store, "routes/a", "two");
    AUTO(store_entry_release) struct store_entry entry = {0};
    EXPECT_OK(store_get(fixture->store, "routes/a", soon(), &entry, &trouble));
    assert_string_equal(entry.key, "routes/a");
    assert_string_equal(entry.value, "two");
    assert_int_equal(entry.create_rev, first);
    assert_int_equal(entry.mod_rev, second);
    assert_int_equal(second, first + 1);
}

static void absent_and_deleted_keys_are_not_found(void **state)
{
    struct fixture *fixture = *state;
    expect_entry(fixture->store, "a", NULL);
    put(fixture->store, "a", "");
    expect_entry(fixture->store, "a", "");
    int64_t revision = delete_key(fixture->store, "a");
    expect_entry(fixture->store, "a", NULL);
    assert_int_equal(delete_key(fixture->store, "a"), revision); /* nothing to do, no revision */
    assert_int_equal(put(fixture->store, "a", "again"), revision + 1);
}

static void list_is_ordered_and_limited_to_the_prefix(void **state)
{
    struct fixture *fixture = *state;
    static const char *const keys[] = {"b/2", "a", "b/10", "b", "c", "b/~~"};
    int64_t revision = 0;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        revision = put(fixture->store, keys[i], keys[i]);
    AUTO(store_list_release) struct store_list list = {0};
    EXPECT_OK(store_list(fixture->store, "b/", soon(), &list, &trouble));
    assert_int_equal(list.count, 3);
    assert_string_equal(list.entries[0].key, "b/10");
    assert_string_equal(list.entries[1].key, "b/2");
    assert_string_equal(list.entries[2].key, "b/~~");
    assert_int_equal(list.revision, revision);
    AUTO(store_list_release) struct store_list all = {0};
    EXPECT_OK(store_list(fixture->store, "", soon(), &all, &trouble));
    assert_int_equal(all.count, ARRAY_SIZE(keys));
}

static void each_compare_decides(void **state)
{
    struct fixture *fixture = *state;
    int64_t first = put(fixture->store, "a", "1");
    int64_t second = put(fixture->store, "a", "2");
    struct {
        struct store_compare compare;
        enum status wanted;
    } cases[] = {
        {{STORE_EXISTS, "a", 0}, ST_OK},
        {{STORE_EXISTS, "b", 0}, ST_CONFLICT},
        {{STORE_ABSENT, "b", 0}, ST_OK},
        {{STORE_ABSENT, "a", 0}, ST_CONFLICT},
        {{STORE_MOD_REV_IS, "a", second}, ST_OK},
        {{STORE_MOD_REV_IS, "a", first}, ST_CONFLICT},
        {{STORE_MOD_REV_IS, "b", 0}, ST_OK},
        {{STORE_CREATE_REV_IS, "a", first}, ST_OK},
        {{STORE_CREATE_REV_IS, "a", second}, ST_CONFLICT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        enum status status = put_if(fixture->store, &cases[i].compare, "out", "x", 0, NULL);
        expect_status(status, cases[i].wanted, &err);
    }
}

static void failed_compare_changes_nothing_and_is_named(void **state)
{
    struct fixture *fixture = *state;
    int64_t revision = put(fixture->store, "a", "1");
    struct store_compare compares[] = {{STORE_EXISTS, "a", 0}, {STORE_MOD_REV_IS, "a", 999}};
    struct store_op ops[] = {{STORE_PUT, "b", "x", 0}, {STORE_DELETE, "a", NULL, 0}};
    struct store_txn txn = {compares, 2, ops, 2};
    struct store_txn_result result = {true, 0, 0};
    struct err err = ERR_INIT;
    expect_status(store_txn(fixture->store, &txn, soon(), &result, &err), ST_CONFLICT, &err);
    assert_false(result.succeeded);
    assert_int_equal(result.revision, revision);
    assert_int_equal(result.failed_compare, 1);
    assert_non_null(strstr(err.text, "'a' was changed"));
    expect_entry(fixture->store, "a", "1");
    expect_entry(fixture->store, "b", NULL);
}

static void repeatable_transaction_names_a_failed_compare_too(void **state)
{
    struct fixture *fixture = *state;
    int64_t revision = put(fixture->store, "a", "1");
    struct store_compare compares[] = {{STORE_ABSENT, "c", 0}, {STORE_MOD_REV_IS, "a", revision}};
    struct store_op op = {STORE_PUT, "b", "x", 0};
    struct store_txn txn = {compares, 2, &op, 1};
    struct store_repeated done = {0};
    struct err err = ERR_INIT;
    EXPECT_OK(store_txn_repeatable(fixture->store, &txn, "none", soon(), &done, &trouble));
    assert_true(done.result.succeeded && done.result.revision > revision);
    assert_true(done.list.revision >= done.result.revision && done.list.count == 0);
    store_list_release(&done.list);
    expect_entry(fixture->store, "b", "x");
    put(fixture->store, "a", "2");
    expect_status(store_txn_repeatable(fixture->store, &txn, "", soon(), &done, &err), ST_CONFLICT,
                  &err);
    assert_int_equal(done.result.failed_compare, 1);
    assert_int_equal(done.list.revision, 0);
}

static void repeatable_transaction_lists_what_is_there_after_it(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "list/a", "1");
    put(fixture->store, "list/c", "3");
    put(fixture->store, "lisu", "beyond");
    struct store_op ops[] = {{STORE_PUT, "list/b", "2", 0}, {STORE_DELETE, "list/c", NULL, 0}};
    struct store_txn txn = {NULL, 0, ops, ARRAY_SIZE(ops)}, reads = {0};
    struct store_repeated done = {0}, again = {0};
    EXPECT_OK(store_txn_repeatable(fixture->store, &txn, "list", soon(), &done, &trouble));
    assert_int_equal(done.list.revision, done.result.revision);
    assert_int_equal(done.list.count, 2);
    assert_string_equal(done.list.entries[0].key, "list/a");
    assert_string_equal(done.list.entries[1].key, "list/b");
    assert_string_equal(done.list.entries[1].value, "2");
    assert_int_equal(done.list.entries[1].mod_rev, done.result.revision);
    store_list_release(&done.list);
    EXPECT_OK(store_txn_repeatable(fixture->store, &reads, "list/a", soon(), &again, &trouble));
    assert_int_equal(again.list.count, 1);
    store_list_release(&again.list);
    expect_status(store_txn_repeatable(fixture->store, &txn, "a b", soon(), &done, &trouble),
                  ST_INVALID, &trouble);
}

static void ops_of_a_transaction_share_one_revision(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "old", "1");
    struct store_op ops[] = {
        {STORE_PUT, "x", "1", 0}, {STORE_DELETE, "old", NULL, 0}, {STORE_PUT, "y", "2", 0}};
    struct store_txn txn = {NULL, 0, ops, 3};
    struct store_txn_result result = {0};
    EXPECT_OK(store_txn(fixture->store, &txn, soon(), &result, &trouble));
    AUTO(store_list_release) struct store_list list = {0};
    EXPECT_OK(store_list(fixture->store, "", soon(), &list, &trouble));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.entries[0].mod_rev, result.revision);
    assert_int_equal(list.entries[1].mod_rev, result.revision);
}

static void bad_input_is_refused_before_anything_happens(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *long_key = mem_zalloc(STORE_KEY_MAX + 2);
    memset(long_key, 'k', STORE_KEY_MAX + 1);
    AUTO_FREE char *long_value = mem_zalloc(STORE_VALUE_MAX + 2);
    memset(long_value, 'v', STORE_VALUE_MAX + 1);
    static const char *const bad_keys[] = {"", "a b", "a\n", "\xc3\xa4"};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(bad_keys); i++)
        expect_status(put_if(fixture->store, NULL, bad_keys[i], "", 0, NULL), ST_INVALID, &trouble);
    expect_status(put_if(fixture->store, NULL, long_key, "", 0, NULL), ST_INVALID, &trouble);
    expect_status(put_if(fixture->store, NULL, "a", long_value, 0, NULL), ST_INVALID, &trouble);
    struct store_op twice[] = {{STORE_PUT, "a", "1", 0}, {STORE_DELETE, "a", NULL, 0}};
    struct store_txn_result result = {0};
    expect_status(
        store_txn(fixture->store, &(struct store_txn){NULL, 0, twice, 2}, soon(), &result, &err),
        ST_INVALID, &err);
    expect_status(
        store_txn(fixture->store, &(struct store_txn){NULL, 0, twice, 65}, soon(), &result, &err),
        ST_INVALID, &err);
    long_value[STORE_VALUE_MAX] = '\0'; /* the largest that is allowed */
    put(fixture->store, "large", long_value);
    expect_entry(fixture->store, "large", long_value);
}

static void started_transactions_finish_in_order(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 100 };
    struct store_pending *pending[COUNT] = {0};
    int64_t before = 0;
    for (int i = 0; i < COUNT; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        struct store_op op = {STORE_PUT, "a", value, 0};
        EXPECT_OK(store_txn_start(fixture->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                                  &pending[i], &trouble));
    }
    for (int i = 0; i < COUNT; i++) {
        struct store_txn_result result = {0};
        EXPECT_OK(store_txn_wait(pending[i], soon(), &result, &trouble));
        assert_true(result.revision > before);
        before = result.revision;
        store_pending_free(pending[i]);
    }
    expect_entry(fixture->store, "a", "99");
}

static void pending_may_be_forgotten_and_is_still_done(void **state)
{
    struct fixture *fixture = *state;
    struct store_op op = {STORE_PUT, "a", "done", 0};
    struct store_pending *pending = NULL;
    EXPECT_OK(store_txn_start(fixture->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                              &pending, &trouble));
    store_pending_free(pending);
    nsec deadline = soon(); /* nothing that may be waited for comes after it */
    AUTO(store_entry_release) struct store_entry entry = {0};
    while (store_get(fixture->store, "a", soon(), &entry, NULL) == ST_NOT_FOUND &&
           clock_now() < deadline)
        poll(NULL, 0, 1);
    expect_entry(fixture->store, "a", "done");
}

static void outcome_outlives_the_store(void **state)
{
    struct fixture *fixture = *state;
    struct store_op op = {STORE_PUT, "a", "1", 0};
    struct store_pending *pending = NULL;
    EXPECT_OK(store_txn_start(fixture->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                              &pending, &trouble));
    store_close(fixture->store);
    fixture->store = NULL;
    struct store_txn_result result = {0};
    struct err err = ERR_INIT;
    enum status status = store_txn_wait(pending, soon(), &result, &err);
    assert_true(status == ST_OK || status == ST_ABORTED);
    store_pending_free(pending);
    EXPECT_OK(store_open(fixture->url, fixture->access, soon(), &fixture->store, &trouble));
    expect_entry(fixture->store, "a", status ? NULL : "1");
}

static void success_leaves_the_error_alone(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    struct store *other = NULL;
    AUTO(store_entry_release) struct store_entry entry = {0};
    AUTO(store_list_release) struct store_list list = {0};
    struct store_op op = {STORE_PUT, "a", "1", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    int64_t lease = 0;
    assert_int_equal(store_open(fixture->url, fixture->access, soon(), &other, &err), ST_OK);
    store_close(other);
    assert_int_equal(store_txn(fixture->store, &txn, soon(), &result, &err), ST_OK);
    assert_int_equal(store_get(fixture->store, "a", soon(), &entry, &err), ST_OK);
    assert_int_equal(store_list(fixture->store, "a", soon(), &list, &err), ST_OK);
    assert_int_equal(store_lease_grant(fixture->store, 60000, soon(), &lease, &err), ST_OK);
    assert_int_equal(store_maintain(fixture->store, soon(), &err), ST_OK);
    assert_int_equal(err.status, ST_OK);
    assert_string_equal(err.text, "");
}

/* ---- leases ---- */

static void key_vanishes_when_its_lease_is_revoked(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0;
    EXPECT_OK(store_lease_grant(fixture->store, 60000, soon(), &lease, &trouble));
    assert_true(lease > 0);
    EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, NULL));
    expect_entry(fixture->store, "lock", "me");
    EXPECT_OK(store_lease_revoke(fixture->store, lease, soon(), &trouble));
    expect_entry(fixture->store, "lock", NULL);
    struct err err = ERR_INIT;
    expect_status(store_lease_keepalive(fixture->store, lease, soon(), &err), ST_NOT_FOUND, &err);
    expect_status(put_if(fixture->store, NULL, "lock", "me", lease, NULL), ST_NOT_FOUND, &trouble);
    expect_entry(fixture->store, "lock", NULL);
}

static void plain_put_detaches_a_key_from_its_lease(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0;
    EXPECT_OK(store_lease_grant(fixture->store, 60000, soon(), &lease, &trouble));
    EXPECT_OK(put_if(fixture->store, NULL, "a", "leased", lease, NULL));
    put(fixture->store, "a", "plain");
    EXPECT_OK(store_lease_revoke(fixture->store, lease, soon(), &trouble));
    expect_entry(fixture->store, "a", "plain");
}

/* ---- watches ---- */

static void expect_change(const struct store_change *change, enum store_op_kind kind,
                          const char *key, const char *value, int64_t revision)
{
    assert_int_equal(change->kind, kind);
    assert_string_equal(change->entry.key, key);
    if (value)
        assert_string_equal(change->entry.value, value);
    else
        assert_null(change->entry.value);
    assert_int_equal(change->entry.mod_rev, revision);
}

static void watch_gives_every_change_of_the_prefix_in_order(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = put(fixture->store, "w/a", "before");
    int64_t one = put(fixture->store, "w/a", "1");
    put(fixture->store, "other", "x");
    int64_t two = put(fixture->store, "w/b", "2");
    int64_t three = delete_key(fixture->store, "w/a");
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "w/", start, &watch, &trouble));
    AUTO(store_changes_release) struct store_changes changes = {0};
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_int_equal(changes.count, 3);
    expect_change(&changes.items[0], STORE_PUT, "w/a", "1", one);
    expect_change(&changes.items[1], STORE_PUT, "w/b", "2", two);
    expect_change(&changes.items[2], STORE_DELETE, "w/a", NULL, three);
    struct err err = ERR_INIT;
    expect_status(store_watch_next(watch, 0, &changes, &err), ST_TIMEOUT, &err);
    store_watch_close(watch);
}

static void watch_fd_becomes_readable_after_a_change(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = put(fixture->store, "a", "1");
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "", start, &watch, &trouble));
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    expect_status(store_watch_next(watch, 0, &changes, &err), ST_TIMEOUT, &err);
    put(fixture->store, "a", "2");
    struct pollfd readable = {store_watch_fd(watch), POLLIN, 0};
    assert_int_equal(poll(&readable, 1, TEST_WAIT_MS), 1);
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_string_equal(changes.items[0].entry.value, "2");
    store_watch_close(watch);
}

static void long_history_comes_in_whole_revisions(void **state)
{
    struct fixture *fixture = *state;
    struct store_op ops[STORE_TXN_MAX];
    char keys[STORE_TXN_MAX][16];
    for (int i = 0; i < STORE_TXN_MAX; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k/%02d", i);
        ops[i] = (struct store_op){STORE_PUT, keys[i], "v", 0};
    }
    int64_t start = put(fixture->store, "start", "");
    struct store_txn_result result = {0};
    for (int i = 0; i < 40; i++)
        EXPECT_OK(store_txn(fixture->store, &(struct store_txn){NULL, 0, ops, STORE_TXN_MAX},
                            soon(), &result, &trouble));
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "k/", start, &watch, &trouble));
    size_t total = 0;
    for (int64_t last = start; last < result.revision;) {
        AUTO(store_changes_release) struct store_changes changes = {0};
        EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
        assert_int_equal(changes.count % STORE_TXN_MAX, 0);
        assert_int_equal(changes.items[0].entry.mod_rev, last + 1);
        last = changes.items[changes.count - 1].entry.mod_rev;
        total += changes.count;
    }
    assert_int_equal(total, 40 * STORE_TXN_MAX);
    store_watch_close(watch);
}

/* ---- threads ---- */

enum { THREADS = 8, ADDITIONS = 25 };

static enum status add_one(struct store *store)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    struct err err = ERR_INIT;
    enum status status = store_get(store, "counter", soon(), &entry, &err);
    if (status)
        return status;
    char value[32];
    snprintf(value, sizeof(value), "%ld", strtol(entry.value, NULL, 10) + 1);
    struct store_compare unchanged = {STORE_MOD_REV_IS, "counter", entry.mod_rev};
    return put_if(store, &unchanged, "counter", value, 0, NULL);
}

static void *add_many(void *argument)
{
    for (int done = 0; done < ADDITIONS;) {
        enum status status = add_one(argument);
        if (status && status != ST_CONFLICT)
            return argument;
        done += status ? 0 : 1;
    }
    return NULL;
}

static void threads_of_one_store_lose_no_addition(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "counter", "0");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, fixture->store), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    expect_entry(fixture->store, "counter", "200");
}

/* ---- the drivers ---- */

static struct members members;

struct wanted {
    size_t count;
    bool is_secure;
};

static void start_members(const struct wanted *wanted)
{
    members_stop(&members);
    if (wanted->is_secure)
        members_start_secure(&members, wanted->count);
    else
        members_start(&members, wanted->count);
    if (wanted->is_secure)
        secure_demand_login(&members.secure);
}

/* '*state' is which members the test wants; they serve until others are wanted. */
static int set_up_etcd(void **state)
{
    static int number;
    const struct wanted *wanted = *state;
    if (wanted->count != members.count || wanted->is_secure != members.is_secure)
        start_members(wanted);
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    char prefix[16];
    snprintf(prefix, sizeof(prefix), "t%d", number++);
    members_url(&members, 0, prefix, fixture->url);
    fixture->access = members_access(&members);
    EXPECT_OK(store_open(fixture->url, fixture->access, soon(), &fixture->store, &trouble));
    *state = fixture;
    return 0;
}

static int tear_down_etcd(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    free(fixture);
    return 0;
}

static int stop_members(void **state UNUSED)
{
    members_stop(&members);
    return 0;
}

static void etcd_is_not_installed(void **state UNUSED)
{
    print_message("etcd-server is not installed\n");
    skip();
}

#define CONFORMANCE(X)                                                                             \
    X(put_then_get_returns_value_and_revisions)                                                    \
    X(absent_and_deleted_keys_are_not_found)                                                       \
    X(list_is_ordered_and_limited_to_the_prefix)                                                   \
    X(each_compare_decides)                                                                        \
    X(failed_compare_changes_nothing_and_is_named)                                                 \
    X(repeatable_transaction_names_a_failed_compare_too)                                           \
    X(repeatable_transaction_lists_what_is_there_after_it)                                         \
    X(ops_of_a_transaction_share_one_revision)                                                     \
    X(bad_input_is_refused_before_anything_happens)                                                \
    X(started_transactions_finish_in_order)                                                        \
    X(pending_may_be_forgotten_and_is_still_done)                                                  \
    X(outcome_outlives_the_store)                                                                  \
    X(success_leaves_the_error_alone)                                                              \
    X(key_vanishes_when_its_lease_is_revoked)                                                      \
    X(plain_put_detaches_a_key_from_its_lease)                                                     \
    X(watch_gives_every_change_of_the_prefix_in_order)                                             \
    X(watch_fd_becomes_readable_after_a_change)                                                    \
    X(long_history_comes_in_whole_revisions)                                                       \
    X(threads_of_one_store_lose_no_addition)

static struct wanted one = {1, false}, three = {3, false}, secure = {3, true};

/* clang-format off */
#define ON_LOCAL(name) STORE_TEST(name),
#define ON_ONE(name) {"etcd: " #name, name, set_up_etcd, tear_down_etcd, &one},
#define ON_THREE(name) {"etcd of three: " #name, name, set_up_etcd, tear_down_etcd, &three},
#define ON_SECURE(name) {"etcd under TLS with log-ins: " #name, name, set_up_etcd, tear_down_etcd, &secure},
/* clang-format on */

int main(void)
{
    const struct CMUnitTest all[] = {CONFORMANCE(ON_LOCAL) CONFORMANCE(ON_ONE) CONFORMANCE(ON_THREE)
                                         CONFORMANCE(ON_SECURE)};
    const struct CMUnitTest local[] = {CONFORMANCE(ON_LOCAL)
                                           cmocka_unit_test(etcd_is_not_installed)};
    return etcd_is_installed() ? cmocka_run_group_tests(all, NULL, stop_members)
                               : cmocka_run_group_tests(local, NULL, NULL);
}
