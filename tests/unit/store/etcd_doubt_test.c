/* SPDX-License-Identifier: Apache-2.0
 * Unknown outcomes over etcd: requests that arrive late, answers that are lost, and answers that
 * no etcd would give. */
#include "etcd_proxy.h"

#include "net/http.h"
#include "wire/etcd.h"

static struct members members;

/* A store whose first member is behind a proxy, and whose second is not. */
struct doubt {
    struct proxy *proxy;
    struct store *store, *witness; /* the witness asks etcd directly */
};

static int set_up_doubt(void **state)
{
    static int number;
    struct doubt *doubt = mem_zalloc(sizeof(*doubt));
    char url[128], direct[128], prefix[16];
    snprintf(prefix, sizeof(prefix), "d%d", number++);
    doubt->proxy = proxy_start(members.client[0]);
    snprintf(url, sizeof(url), "etcd://127.0.0.1:%d,127.0.0.1:%d/%s", doubt->proxy->port,
             members.client[0], prefix);
    members_url(&members, 0, prefix, direct);
    EXPECT_OK(store_open(url, NULL, soon(), &doubt->store, &trouble));
    EXPECT_OK(store_open(direct, NULL, soon(), &doubt->witness, &trouble));
    put(doubt->store, "warm", "1"); /* there is a guard now */
    *state = doubt;
    return 0;
}

static int tear_down_doubt(void **state)
{
    struct doubt *doubt = *state;
    store_close(doubt->store);
    store_close(doubt->witness);
    proxy_stop(doubt->proxy);
    free(doubt);
    return 0;
}

static enum status put_within(struct store *store, const char *key, int ms)
{
    struct store_op op = {STORE_PUT, key, "x", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    return store_txn(store, &txn, clock_deadline(ms), &result, &trouble);
}

static int64_t revision_of(struct store *store, const char *key)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    EXPECT_OK(store_get(store, key, soon(), &entry, &trouble));
    return entry.mod_rev;
}

static void request_that_arrives_after_a_read_back_does_nothing(void **state)
{
    struct doubt *doubt = *state;
    atomic_store(&doubt->proxy->mode, PROXY_HOLD);
    expect_status(put_within(doubt->store, "late", 300), ST_UNKNOWN, &trouble);
    expect_entry(doubt->store, "late", NULL);
    assert_int_equal(atomic_load(&doubt->proxy->late_answers), 0);
    atomic_store(&doubt->proxy->mode, PROXY_PASS);
    proxy_wait(&doubt->proxy->late_answers, 1); /* etcd has done it, or refused */
    expect_entry(doubt->witness, "late", NULL);
    put(doubt->store, "after", "1");
}

/* The caller gave up early, the request is still on its way, and the read comes first. */
static void request_given_up_is_not_done_after_a_read_back(void **state)
{
    struct doubt *doubt = *state;
    struct store_op op = {STORE_PUT, "late", "x", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    struct store_pending *pending = NULL;
    atomic_store(&doubt->proxy->mode, PROXY_HOLD);
    EXPECT_OK(store_txn_start(doubt->store, &txn, soon(), &pending, &trouble));
    proxy_wait(&doubt->proxy->held_requests, 1);
    expect_status(store_txn_wait(pending, 0, &result, &trouble), ST_UNKNOWN, &trouble);
    atomic_store(&doubt->proxy->mode, PROXY_KEEP);
    AUTO(store_list_release) struct store_list list = {0};
    EXPECT_OK(store_list(doubt->store, "late", soon(), &list, &trouble));
    atomic_store(&doubt->proxy->mode, PROXY_PASS);
    proxy_wait(&doubt->proxy->late_answers, 1);
    enum status status = store_txn_wait(pending, soon(), &result, &trouble);
    store_pending_free(pending);
    if (list.count) /* its worker was faster, and had it done before the read */
        EXPECT_OK(status);
    else
        expect_status(status, ST_TIMEOUT, &trouble);
    expect_entry(doubt->witness, "late", list.count ? "x" : NULL);
}

static void request_held_back_is_sent_again_through_another_member(void **state)
{
    struct doubt *doubt = *state;
    atomic_store(&doubt->proxy->mode, PROXY_HOLD);
    int64_t revision = put(doubt->store, "late", "x");
    assert_true(atomic_load(&doubt->proxy->held_requests) >= 1);
    atomic_store(&doubt->proxy->mode, PROXY_PASS);
    proxy_wait(&doubt->proxy->late_answers, 1);
    assert_int_equal(revision_of(doubt->witness, "late"), revision);
}

static int64_t repeat(struct store *store, const char *value)
{
    struct store_op op = {STORE_PUT, "told", value, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_repeated done = {0};
    EXPECT_OK(store_txn_repeatable(store, &txn, "told", soon(), &done, &trouble));
    assert_int_equal(done.list.count, 1);
    assert_string_equal(done.list.entries[0].value, value);
    store_list_release(&done.list);
    return done.result.revision;
}

/* As many others as travel at once, and more, wait for a member that is silent, for two seconds. */
static void repeatable_request_waits_for_no_other(void **state)
{
    enum { OTHERS = 20, AT_ONCE_MS = 1250 /* five times what it gives a member */ };
    struct doubt *doubt = *state;
    struct store_pending *pending[OTHERS] = {0};
    put(doubt->store, "warm", "x");
    atomic_store(&doubt->proxy->mode, PROXY_HOLD);
    for (int i = 0; i < OTHERS; i++) {
        AUTO_FREE char *key = mem_printf("other/%d", i);
        struct store_op op = {STORE_PUT, key, "x", 0};
        EXPECT_OK(store_txn_start(doubt->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                                  &pending[i], &trouble));
    }
    proxy_wait(&doubt->proxy->held_requests, 1);
    nsec began = clock_now();
    repeat(doubt->store, "1");
    assert_true(clock_now() - began < AT_ONCE_MS * NSEC_PER_MS);
    atomic_store(&doubt->proxy->mode, PROXY_PASS);
    for (int i = 0; i < OTHERS; i++) {
        struct store_txn_result result = {0};
        EXPECT_OK(store_txn_wait(pending[i], soon(), &result, &trouble));
        store_pending_free(pending[i]);
    }
}

/* It has no guard: the one that was held is done once more when it comes. */
static void repeatable_request_held_back_is_done_twice(void **state)
{
    struct doubt *doubt = *state;
    atomic_store(&doubt->proxy->mode, PROXY_HOLD);
    repeat(doubt->store, "1");
    assert_int_equal(atomic_load(&doubt->proxy->held_requests), 1);
    int64_t second = repeat(doubt->store, "2"); /* at the other member by now */
    assert_int_equal(revision_of(doubt->witness, "told"), second);
    atomic_store(&doubt->proxy->mode, PROXY_PASS);
    proxy_wait(&doubt->proxy->late_answers, 1);
    assert_true(revision_of(doubt->witness, "told") > second);
    expect_entry(doubt->witness, "told", "1");
}

static void lost_answer_is_found_out(void **state)
{
    struct doubt *doubt = *state;
    atomic_store(&doubt->proxy->mode, PROXY_DEAF);
    int64_t revision = put(doubt->store, "done", "x");
    assert_int_equal(revision_of(doubt->witness, "done"), revision);
}

static void lost_answer_to_a_compare_is_no_conflict_with_itself(void **state)
{
    struct doubt *doubt = *state;
    struct store_compare absent = {STORE_ABSENT, "mine", 0};
    atomic_store(&doubt->proxy->mode, PROXY_DEAF);
    EXPECT_OK(put_if(doubt->store, &absent, "mine", "x", 0, NULL));
    expect_status(put_if(doubt->store, &absent, "mine", "y", 0, NULL), ST_CONFLICT, &trouble);
}

static void lost_answer_to_a_deletion_is_unknown_and_read_back(void **state)
{
    struct doubt *doubt = *state;
    put(doubt->store, "gone", "x");
    struct store_op op = {STORE_DELETE, "gone", NULL, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    atomic_store(&doubt->proxy->mode, PROXY_DEAF);
    expect_status(store_txn(doubt->store, &txn, soon(), &result, &trouble), ST_UNKNOWN, &trouble);
    expect_entry(doubt->store, "gone", NULL);
}

static void guard_that_has_ended_is_replaced(void **state)
{
    struct doubt *doubt = *state;
    struct http_line *line = http_line_new();
    AUTO(buf_release) struct buf body = {0}, address = {0};
    AUTO(http_answer_release) struct http_answer answer = {0};
    buf_printf(&address, "http://127.0.0.1:%d/v3/kv/deleterange", members.client[0]);
    buf_add(&body, "{");
    etcd_add_bytes(&body, "key", "d");
    buf_add(&body, ",");
    etcd_add_bytes(&body, "range_end", "e"); /* every guard, and every key */
    buf_add(&body, "}");
    struct http_post post = {.url = buf_text(&address),
                             .body = buf_text(&body),
                             .deadline = soon(),
                             .connect_ms = 1000,
                             .answer_max = 65536};
    EXPECT_OK(http_send(line, &post, &answer, &trouble));
    http_line_free(line);
    expect_entry(doubt->store, "warm", NULL);
    put(doubt->store, "again", "1");
    expect_entry(doubt->store, "again", "1");
}

static void transactions_on_other_keys_do_not_wait_for_a_held_one(void **state)
{
    struct doubt *doubt = *state;
    struct store_op op = {STORE_PUT, "held", "x", 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_pending *pending = NULL;
    atomic_store(&doubt->proxy->mode, PROXY_HOLD);
    EXPECT_OK(
        store_txn_start(doubt->store, &txn, clock_deadline(TEST_WAIT_MS), &pending, &trouble));
    proxy_wait(&doubt->proxy->held_requests, 1);
    atomic_store(&doubt->proxy->mode, PROXY_CLOSE); /* the held one arrives; no new connection */
    put(doubt->store, "other", "1");
    struct store_txn_result result = {0};
    EXPECT_OK(store_txn_wait(pending, soon(), &result, &trouble));
    store_pending_free(pending);
}

/* ---- what is not etcd ---- */

struct script {
    int listener, port;
    const char *answer;
    int answers; /* so many requests get it, the others none; 0: all */
    pthread_t thread;
};

static void *play(void *argument)
{
    struct script *script = argument;
    int asked = 0;
    for (int fd = 0; (fd = accept4(script->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0; close(fd)) {
        char request[65536];
        if (recv(fd, request, sizeof(request), 0) <= 0)
            continue;
        if (!script->answers || asked++ < script->answers) {
            send(fd, script->answer, strlen(script->answer), MSG_NOSIGNAL);
            shutdown(fd, SHUT_WR);
        }
        while (recv(fd, request, sizeof(request), 0) > 0)
            continue;
    }
    return NULL;
}

/* What comes of opening the store where only this is said. 'answers': see above. */
static enum status open_played(const char *answer, int answers, int ms, struct err *err)
{
    struct script script = {.answer = answer, .answers = answers};
    script.listener = listen_any(&script.port);
    assert_int_equal(pthread_create(&script.thread, NULL, play, &script), 0);
    char url[64];
    snprintf(url, sizeof(url), "etcd://127.0.0.1:%d", script.port);
    struct store *store = NULL;
    enum status status = store_open(url, NULL, clock_deadline(ms), &store, err);
    assert_null(store);
    shutdown(script.listener, SHUT_RDWR);
    pthread_join(script.thread, NULL);
    close(script.listener);
    return status;
}

#define HTTP_OK "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

static void answers_that_no_etcd_gives_are_errors(void **state UNUSED)
{
    static const char *const answers[] = {
        "",
        "rubbish\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n{\"header\":{\"revision\":\"5\"}}",
        HTTP_OK,
        HTTP_OK "null",
        HTTP_OK "[]",
        HTTP_OK "{}",
        HTTP_OK "{\"header\":{}}",
        HTTP_OK "{\"header\":{\"revision\":\"99999999999999999999\"}}",
        HTTP_OK "{\"header\":{\"revision\":\"5x\"}}",
        HTTP_OK "{\"header\":{\"revision\":\"5\"},\"kvs\":[{\"key\":\"?\"}]}",
        HTTP_OK "{\"header\":{\"revision\":\"5\"},\"kvs\":[{\"key\":\"YQ==\"}]}", /* not ours */
        HTTP_OK "{\"header\":{\"revision\":\"5\"},\"kvs\":[{\"key\":\"AAAA\"}]}", /* NUL */
        HTTP_OK "{\"error\":5}",
        HTTP_OK "{\"error\":\"x\",\"message\":\"x\",\"code\":99}",
        HTTP_OK "{\"header\":{\"revision\":\"5\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct err err = ERR_INIT;
        enum status status = open_played(answers[i], 0, 100, &err);
        if (status != ST_IO && status != ST_TIMEOUT)
            fail_msg("answer %zu: %s: %s", i, status_name(status), err.text);
    }
}

static void errors_of_etcd_have_their_classes(void **state UNUSED)
{
    static const struct {
        const char *error;
        enum status wanted;
    } cases[] = {
        {"{\"error\":\"e\",\"message\":\"etcdserver: permission denied\",\"code\":7}", ST_DENIED},
        {"{\"error\":\"e\",\"message\":\"etcdserver: invalid auth token\",\"code\":16}", ST_DENIED},
        {"{\"error\":\"e\",\"message\":\"etcdserver: no leader\",\"code\":14}", ST_UNREACHABLE},
        {"{\"error\":\"e\",\"message\":\"etcdserver: too many requests\",\"code\":8}", ST_BUSY},
        {"{\"error\":\"e\",\"message\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}",
         ST_FULL},
        {"{\"error\":\"e\",\"message\":\"etcdserver: request timed out\",\"code\":14}", ST_TIMEOUT},
        {"{\"error\":\"e\",\"message\":\"etcdserver: corrupt cluster\",\"code\":15}", ST_IO},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *answer =
            mem_printf("HTTP/1.1 400 No\r\nConnection: close\r\n\r\n%s", cases[i].error);
        struct err err = ERR_INIT;
        expect_status(open_played(answer, 0, 1000, &err), cases[i].wanted, &err);
    }
}

/* Else who reads the error looks for a network that is cut. */
static void an_answer_says_more_than_the_silence_after_it(void **state UNUSED)
{
    const char *busy = "HTTP/1.1 400 No\r\nConnection: close\r\n\r\n{\"error\":\"e\","
                       "\"message\":\"etcdserver: too many requests\",\"code\":8}";
    struct err err = ERR_INIT;
    expect_status(open_played(busy, 1, 1000, &err), ST_BUSY, &err);
    assert_non_null(strstr(err.text, "too many requests"));
}

static void addresses_that_are_none_are_refused(void **state UNUSED)
{
    static const char *const urls[] = {
        "etcd://",          "etcd://a",      "etcd://a:",       "etcd://a:0",
        "etcd://a:65536",   "etcd://a:1,",   "etcd://a:1,,b:1", "etcd://a:1/",
        "etcd://a:1/b/c",   "etcd://a:1/b!", "etcd://u@a:1",    "etcd://[::1]",
        "etcd://[::1:2379", "etcd://a b:1",  "etcd://a:1?x",    "etcd://[::1]2379",
    };
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        struct store *store = NULL;
        struct err err = ERR_INIT;
        if (store_open(urls[i], NULL, soon(), &store, &err) != ST_INVALID)
            fail_msg("%s: %s", urls[i], err.text);
    }
}

static int start_one(void **state UNUSED)
{
    members_start(&members, 1);
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

#define DOUBT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_doubt, tear_down_doubt)
#define OTHER_TESTS                                                                                \
    cmocka_unit_test(answers_that_no_etcd_gives_are_errors),                                       \
        cmocka_unit_test(errors_of_etcd_have_their_classes),                                       \
        cmocka_unit_test(an_answer_says_more_than_the_silence_after_it),                           \
        cmocka_unit_test(addresses_that_are_none_are_refused)

int main(void)
{
    const struct CMUnitTest all[] = {
        OTHER_TESTS,
        DOUBT_TEST(request_that_arrives_after_a_read_back_does_nothing),
        DOUBT_TEST(request_given_up_is_not_done_after_a_read_back),
        DOUBT_TEST(request_held_back_is_sent_again_through_another_member),
        DOUBT_TEST(repeatable_request_held_back_is_done_twice),
        DOUBT_TEST(repeatable_request_waits_for_no_other),
        DOUBT_TEST(lost_answer_is_found_out),
        DOUBT_TEST(lost_answer_to_a_compare_is_no_conflict_with_itself),
        DOUBT_TEST(lost_answer_to_a_deletion_is_unknown_and_read_back),
        DOUBT_TEST(guard_that_has_ended_is_replaced),
        DOUBT_TEST(transactions_on_other_keys_do_not_wait_for_a_held_one),
    };
    const struct CMUnitTest few[] = {OTHER_TESTS, cmocka_unit_test(etcd_is_not_installed)};
    return etcd_is_installed() ? cmocka_run_group_tests(all, start_one, stop_members)
                               : cmocka_run_group_tests(few, NULL, NULL);
}
