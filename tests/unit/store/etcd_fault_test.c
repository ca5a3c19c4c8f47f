/* SPDX-License-Identifier: Apache-2.0
 * Three real etcd members that are killed, frozen and compacted under a store. */
#include "etcd_test.h"

#include "net/http.h"
#include "wire/etcd.h"

#include <poll.h>

static struct members members;
static int prefix_number;

enum {
    LATE_MS = 3000
}; /* how much later than its deadline a call may return on a loaded machine */

static int set_up_three(void **state)
{
    for (size_t i = 0; i < members.count; i++)
        if (!members.pids[i])
            member_start(&members, i);
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    char prefix[16];
    snprintf(prefix, sizeof(prefix), "f%d", prefix_number++);
    members_url(&members, 0, prefix, fixture->url);
    EXPECT_OK(store_open(fixture->url, NULL, soon(), &fixture->store, &trouble));
    *state = fixture;
    return 0;
}

static int tear_down_three(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    free(fixture);
    return 0;
}

/* Add one by compare-and-set. Counts what was surely done, and what nobody knows. */
static void add_one(struct store *store, int *done, int *unknown)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    EXPECT_OK(store_get(store, "counter", soon(), &entry, &trouble));
    char value[32];
    snprintf(value, sizeof(value), "%ld", strtol(entry.value, NULL, 10) + 1);
    struct store_compare unchanged = {STORE_MOD_REV_IS, "counter", entry.mod_rev};
    enum status status = put_if(store, &unchanged, "counter", value, 0, NULL);
    *done += status == ST_OK;
    *unknown += status == ST_UNKNOWN;
    if (status && status != ST_UNKNOWN)
        fail_msg("%s: %s", status_name(status), trouble.text);
}

static void expect_counter(struct store *store, int done, int unknown)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    EXPECT_OK(store_get(store, "counter", soon(), &entry, &trouble));
    assert_in_range(strtol(entry.value, NULL, 10), done, done + unknown);
}

/* Each in turn, so that one of them leads. */
static void no_addition_is_lost_or_done_twice_when_members_are_killed(void **state)
{
    struct fixture *fixture = *state;
    int done = 0, unknown = 0;
    put(fixture->store, "counter", "0");
    for (size_t victim = 0; victim < members.count; victim++) {
        for (int i = 0; i < 10; i++)
            add_one(fixture->store, &done, &unknown);
        member_end(&members, victim);
        for (int i = 0; i < 10; i++)
            add_one(fixture->store, &done, &unknown);
        member_start(&members, victim);
    }
    expect_counter(fixture->store, done, unknown);
}

static void frozen_member_costs_an_attempt_and_not_the_deadline(void **state)
{
    struct fixture *fixture = *state;
    int done = 0, unknown = 0;
    put(fixture->store, "counter", "0");
    for (size_t victim = 0; victim < members.count; victim++) {
        kill(members.pids[victim], SIGSTOP);
        for (int i = 0; i < 5; i++)
            add_one(fixture->store, &done, &unknown);
        kill(members.pids[victim], SIGCONT);
    }
    assert_int_equal(unknown, 0);
    expect_counter(fixture->store, done, 0);
}

static void without_a_majority_nothing_is_read_or_promised(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "before");
    member_end(&members, 1);
    member_end(&members, 2);
    nsec deadline = clock_deadline(1500);
    struct store_op op = {STORE_PUT, "a", "meanwhile", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    enum status status = store_txn(fixture->store, &txn, deadline, &result, &trouble);
    assert_true(status == ST_UNKNOWN || status == ST_TIMEOUT || status == ST_UNREACHABLE);
    assert_true(clock_now() < deadline + LATE_MS * NSEC_PER_MS);
    AUTO(store_entry_release) struct store_entry entry = {0};
    deadline = clock_deadline(1500);
    enum status read = store_get(fixture->store, "a", deadline, &entry, &trouble);
    assert_true(read == ST_TIMEOUT || read == ST_UNREACHABLE || read == ST_IO);
    assert_true(clock_now() < deadline + LATE_MS * NSEC_PER_MS);
    member_start(&members, 1);
    member_start(&members, 2);
    AUTO(store_entry_release) struct store_entry after = {0}, again = {0};
    EXPECT_OK(store_get(fixture->store, "a", soon(), &after, &trouble));
    if (status != ST_UNKNOWN)
        assert_string_equal(after.value, "before");
    put(fixture->store, "b", "1");
    EXPECT_OK(store_get(fixture->store, "a", soon(), &again, &trouble));
    assert_int_equal(after.mod_rev, again.mod_rev); /* it was conclusive */
}

static void store_with_frozen_members_closes_soon(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    for (size_t i = 0; i < members.count; i++)
        kill(members.pids[i], SIGSTOP);
    struct store_op op = {STORE_PUT, "a", "2", 0};
    struct store_pending *pending = NULL;
    EXPECT_OK(store_txn_start(fixture->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                              &pending, &trouble));
    nsec began = clock_now();
    store_close(fixture->store);
    assert_true(clock_now() - began < (4000 + LATE_MS) * NSEC_PER_MS);
    struct store_txn_result result = {0};
    enum status status = store_txn_wait(pending, soon(), &result, &trouble);
    assert_true(status == ST_UNKNOWN || status == ST_ABORTED);
    store_pending_free(pending);
    for (size_t i = 0; i < members.count; i++)
        kill(members.pids[i], SIGCONT);
    EXPECT_OK(store_open(fixture->url, NULL, soon(), &fixture->store, &trouble));
}

/* ---- watches ---- */

static void watch_misses_nothing_when_its_member_is_killed_or_frozen(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = put(fixture->store, "w/start", "");
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "w/", start, &watch, &trouble));
    for (size_t round = 0; round < 2 * members.count; round++) {
        size_t victim = round / 2;
        bool freeze = round % 2;
        if (freeze)
            kill(members.pids[victim], SIGSTOP);
        else
            member_end(&members, victim);
        int64_t revision = put(fixture->store, "w/key", freeze ? "frozen" : "killed");
        AUTO(store_changes_release) struct store_changes changes = {0};
        EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
        assert_int_equal(changes.count, 1);
        assert_int_equal(changes.items[0].entry.mod_rev, revision);
        assert_string_equal(changes.items[0].entry.value, freeze ? "frozen" : "killed");
        if (freeze)
            kill(members.pids[victim], SIGCONT);
        else
            member_start(&members, victim);
    }
    store_watch_close(watch);
}

/* Straight to a member, past the store. */
static void ask_gateway(const char *path, const char *body, struct etcd_answer *ret_answer)
{
    struct http_line *line = http_line_new();
    AUTO_FREE char *url = mem_printf("http://127.0.0.1:%d%s", members.client[0], path);
    AUTO(http_answer_release) struct http_answer answer = {0};
    struct http_post post = {
        .url = url, .body = body, .deadline = soon(), .connect_ms = 1000, .answer_max = 65536};
    EXPECT_OK(http_send(line, &post, &answer, &trouble));
    assert_int_equal(answer.code, 200);
    EXPECT_OK(etcd_answer_parse(buf_text(&answer.body), answer.body.length, ret_answer, &trouble));
    http_line_free(line);
}

/* Index of the member that says of itself that it leads; 'count' for none. */
static size_t ask_for_leader(void)
{
    for (size_t i = 0; i < members.count; i++) {
        struct http_line *line = http_line_new();
        AUTO_FREE char *url =
            mem_printf("http://127.0.0.1:%d/v3/maintenance/status", members.client[i]);
        AUTO(http_answer_release) struct http_answer answer = {0};
        struct http_post post = {.url = url,
                                 .body = "{}",
                                 .deadline = clock_deadline(1000),
                                 .connect_ms = 1000,
                                 .answer_max = 65536};
        enum status status = http_send(line, &post, &answer, &trouble);
        const char *self = strstr(buf_text(&answer.body), "\"member_id\":\"");
        const char *leader = strstr(buf_text(&answer.body), "\"leader\":\"");
        http_line_free(line);
        if (!status && self && leader &&
            strtoull(self + 13, NULL, 10) == strtoull(leader + 10, NULL, 10))
            return i;
    }
    return members.count;
}

static size_t find_leader(void)
{
    size_t leader = ask_for_leader();
    for (nsec deadline = soon(); leader == members.count && clock_now() < deadline;)
        leader = ask_for_leader();
    assert_true(leader < members.count);
    return leader;
}

/* Until the one that led before has heard of another. */
static void wait_for_other_leader(size_t before)
{
    nsec deadline = soon();
    while (ask_for_leader() == before && clock_now() < deadline)
        poll(NULL, 0, 10);
    assert_true(find_leader() != before);
}

static void compacted_history_ends_a_watch_that_needs_it(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = put(fixture->store, "a", "1");
    put(fixture->store, "a", "2");
    int64_t revision = put(fixture->store, "a", "3");
    struct store_watch *late = NULL, *present = NULL;
    AUTO_FREE char *body =
        mem_printf("{\"revision\":\"%lld\",\"physical\":true}", (long long)revision);
    EXPECT_OK(store_watch_open(fixture->store, "", revision, &present, &trouble));
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    ask_gateway("/v3/kv/compaction", body, &answer);
    EXPECT_OK(store_watch_open(fixture->store, "", start, &late, &trouble));
    AUTO(store_changes_release) struct store_changes changes = {0};
    for (int i = 0; i < 2; i++) /* it stays so */
        expect_status(store_watch_next(late, soon(), &changes, &trouble), ST_COMPACTED, &trouble);
    put(fixture->store, "a", "4");
    EXPECT_OK(store_watch_next(present, soon(), &changes, &trouble));
    assert_string_equal(changes.items[0].entry.value, "4");
    store_watch_close(late);
    store_watch_close(present);
}

enum { CALM_MS = 6000 }; /* longer than a watch trusts a silent member */

static void quiet_watch_survives_compactions(void **state)
{
    struct fixture *fixture = *state;
    int64_t start = put(fixture->store, "quiet/a", "1");
    struct store_watch *watch = NULL;
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    EXPECT_OK(store_watch_open(fixture->store, "quiet/", start, &watch, &trouble));
    expect_status(store_watch_next(watch, clock_deadline(200), &changes, &err), ST_TIMEOUT, &err);
    for (int i = 0; i < 3; i++) {
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        put(fixture->store, "loud", "1");
        AUTO_FREE char *body = mem_printf("{\"revision\":\"%lld\",\"physical\":true}",
                                          (long long)put(fixture->store, "loud", "2"));
        ask_gateway("/v3/kv/compaction", body, &answer);
        expect_status(store_watch_next(watch, clock_deadline(CALM_MS / 3), &changes, &err),
                      ST_TIMEOUT, &err);
    }
    put(fixture->store, "quiet/a", "2");
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_string_equal(changes.items[0].entry.value, "2");
    store_watch_close(watch);
}

/* The one that leads is stopped, so that the others must elect; whichever the watch is at. */
static void watch_goes_on_under_another_leader(void **state)
{
    struct fixture *fixture = *state;
    int64_t last = put(fixture->store, "w/key", "0");
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "w/", last, &watch, &trouble));
    for (int round = 1; round <= 3; round++) {
        size_t leader = find_leader();
        char value[8];
        snprintf(value, sizeof(value), "%d", round);
        kill(members.pids[leader], SIGSTOP);
        last = put(fixture->store, "w/key", value);
        AUTO(store_changes_release) struct store_changes changes = {0};
        EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
        assert_int_equal(changes.items[0].entry.mod_rev, last);
        assert_string_equal(changes.items[0].entry.value, value);
        kill(members.pids[leader], SIGCONT);
        wait_for_other_leader(leader);
    }
    store_watch_close(watch);
}

/* ---- leases ---- */

static void key_goes_when_its_lease_is_not_kept_alive(void **state)
{
    struct fixture *fixture = *state;
    int64_t lease = 0, revision = 0;
    EXPECT_OK(store_lease_grant(fixture->store, 1000, soon(), &lease, &trouble));
    EXPECT_OK(put_if(fixture->store, NULL, "lock", "me", lease, &revision));
    EXPECT_OK(store_lease_keepalive(fixture->store, lease, soon(), &trouble));
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(fixture->store, "lock", revision, &watch, &trouble));
    AUTO(store_changes_release) struct store_changes changes = {0};
    EXPECT_OK(store_watch_next(watch, soon(), &changes, &trouble));
    assert_int_equal(changes.items[0].kind, STORE_DELETE);
    store_watch_close(watch);
    expect_entry(fixture->store, "lock", NULL);
    struct err err = ERR_INIT;
    expect_status(store_lease_keepalive(fixture->store, lease, soon(), &err), ST_NOT_FOUND, &err);
}

static void nothing_is_left_behind_by_a_closed_store(void **state)
{
    struct fixture *fixture = *state;
    put(fixture->store, "a", "1");
    store_close(fixture->store);
    fixture->store = NULL;
    char prefix[32];
    snprintf(prefix, sizeof(prefix), "f%d!guard/", prefix_number - 1);
    AUTO_FREE char *end = mem_printf("%s~", prefix);
    AUTO(buf_release) struct buf body = {0};
    buf_add(&body, "{");
    etcd_add_bytes(&body, "key", prefix);
    buf_add(&body, ",");
    etcd_add_bytes(&body, "range_end", end);
    buf_add(&body, "}");
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    ask_gateway("/v3/kv/range", buf_text(&body), &answer);
    assert_int_equal(answer.count, 0);
}

static int start_three(void **state UNUSED)
{
    members_start(&members, 3);
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

#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_three, tear_down_three)

int main(void)
{
    const struct CMUnitTest all[] = {
        FAULT_TEST(no_addition_is_lost_or_done_twice_when_members_are_killed),
        FAULT_TEST(frozen_member_costs_an_attempt_and_not_the_deadline),
        FAULT_TEST(without_a_majority_nothing_is_read_or_promised),
        FAULT_TEST(store_with_frozen_members_closes_soon),
        FAULT_TEST(watch_misses_nothing_when_its_member_is_killed_or_frozen),
        FAULT_TEST(compacted_history_ends_a_watch_that_needs_it),
        FAULT_TEST(quiet_watch_survives_compactions),
        FAULT_TEST(watch_goes_on_under_another_leader),
        FAULT_TEST(key_goes_when_its_lease_is_not_kept_alive),
        FAULT_TEST(nothing_is_left_behind_by_a_closed_store),
    };
    const struct CMUnitTest none[] = {cmocka_unit_test(etcd_is_not_installed)};
    return etcd_is_installed() ? cmocka_run_group_tests(all, start_three, stop_members)
                               : cmocka_run_group_tests(none, NULL, NULL);
}
