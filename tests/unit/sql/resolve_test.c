/* SPDX-License-Identifier: Apache-2.0
 * Names that resolve, fail, hang and come back. What libc says is replaced where a test needs DNS
 * to misbehave; a name server that never answers is met by hand, see src/sql/README.md. */
#include "base/mem.h"
#include "base/scope.h"
#include "sql/conn.h"
#include "sql/resolve.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

enum {
    HANGING_NAMES = 60,
    PATIENCE_MS = 50,
    DEADLINE_MS = 300,
    GENEROUS_MS = 5 * DEADLINE_MS,
    LONG_MS = 30000
};

/* DNS as a test wants it. A name that begins with "hang" is not answered while it is down. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_down, knows_nothing;
    int asked;
} dns = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void fake_look_up(const char *host, struct resolve_answer *ret)
{
    pthread_mutex_lock(&dns.lock);
    dns.asked++;
    while (dns.is_down && strncmp(host, "hang", 4) == 0)
        pthread_cond_wait(&dns.changed, &dns.lock);
    if (dns.knows_nothing) {
        snprintf(ret->why, sizeof(ret->why), "nobody knows");
    } else {
        ret->count = 2;
        snprintf(ret->addresses[0], RESOLVE_ADDRESS_SIZE, "127.0.0.1");
        snprintf(ret->addresses[1], RESOLVE_ADDRESS_SIZE, "127.0.0.2");
    }
    pthread_mutex_unlock(&dns.lock);
}

static void dns_set(bool is_down, bool knows_nothing)
{
    pthread_mutex_lock(&dns.lock);
    dns.is_down = is_down;
    dns.knows_nothing = knows_nothing;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
}

static int dns_asked(void)
{
    pthread_mutex_lock(&dns.lock);
    int asked = dns.asked;
    dns.asked = 0;
    pthread_mutex_unlock(&dns.lock);
    return asked;
}

#define RULES(fresh_s, pause_s)                                                                    \
    {                                                                                              \
        .look_up = fake_look_up, .fresh = (fresh_s)*NSEC_PER_SEC, .pause = (pause_s)*NSEC_PER_SEC, \
        .patience = PATIENCE_MS * NSEC_PER_MS                                                      \
    }
static const struct resolve_rules nothing_stands = RULES(0, 0);
static const struct resolve_rules answers_stand = RULES(600, 0);
static const struct resolve_rules failures_stand = RULES(0, 600);

static int use_fake_dns(void **state UNUSED)
{
    resolve__set_rules(&nothing_stands);
    dns_set(false, false);
    dns_asked();
    return 0;
}

static int use_real_dns(void **state UNUSED)
{
    dns_set(false, false);
    resolve__set_rules(NULL);
    return 0;
}

/* The answer, and whether the name had to be waited for. */
static bool resolve(const char *host, int64_t ms, struct resolve_answer *ret)
{
    struct resolve wait;
    bool is_known = resolve_begin(&wait, host, clock_deadline(ms));
    if (!is_known) {
        struct pollfd polled = {.fd = wait.fd, .events = POLLIN};
        poll(&polled, 1, (int)ms);
        resolve_finish(&wait);
    }
    *ret = wait.answer;
    return !is_known;
}

static enum status connect_to(const char *host, int port, int64_t ms, struct err *err)
{
    struct sql_endpoint endpoint = {.host = host, .port = port, .user = "nobody"};
    struct sql_conn *conn = sql_conn_new(&endpoint);
    enum status status = sql_exec(conn, NULL, clock_deadline(ms), NULL, err);
    sql_conn_free(conn);
    return status;
}

/* Nobody listens there; with 'ret_fd', somebody who says nothing. */
static int port_at(const char *address, int *ret_fd)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address)};
    socklen_t length = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    if (ret_fd) {
        assert_int_equal(listen(fd, 4), 0);
        *ret_fd = fd;
    } else {
        close(fd);
    }
    return ntohs(at.sin_port);
}

static void a_numeric_host_is_its_own_answer_and_not_looked_up(void **state UNUSED)
{
    static const char *const hosts[] = {"127.0.0.1", "10.255.255.255", "::1", "2001:db8::17"};
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct resolve_answer answer;
        assert_false(resolve(hosts[i], 0, &answer));
        assert_int_equal(answer.count, 1);
        assert_string_equal(answer.addresses[0], hosts[i]);
    }
    assert_int_equal(dns_asked(), 0);
}

static void localhost_resolves(void **state UNUSED)
{
    struct resolve_answer answer;
    assert_true(resolve("localhost", LONG_MS, &answer));
    assert_true(answer.count >= 1);
    for (size_t i = 0; i < answer.count; i++)
        assert_true(strcmp(answer.addresses[i], "127.0.0.1") == 0 ||
                    strcmp(answer.addresses[i], "::1") == 0);
}

/* A name server says so, or there is none: then it takes the deadline. */
static void a_name_of_the_invalid_domain_is_unreachable_within_the_deadline(void **state UNUSED)
{
    struct err err = ERR_INIT;
    nsec began = clock_now();
    assert_int_equal(connect_to("db1.invalid", 3306, DEADLINE_MS, &err), ST_UNREACHABLE);
    assert_true(clock_now() - began < GENEROUS_MS * NSEC_PER_MS);
    assert_ptr_equal(strstr(err.text, "db1.invalid:3306: the name does not resolve: "), err.text);
}

static void
a_name_that_nobody_knows_says_why_and_is_not_asked_for_again_at_once(void **state UNUSED)
{
    struct err err = ERR_INIT;
    resolve__set_rules(&failures_stand);
    dns_set(false, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(connect_to("unknown.example", 3306, LONG_MS, &err), ST_UNREACHABLE);
        assert_string_equal(err.text,
                            "unknown.example:3306: the name does not resolve: nobody knows");
    }
    assert_int_equal(dns_asked(), 1);
}

static void a_fresh_answer_is_used_again(void **state UNUSED)
{
    struct resolve_answer answer;
    resolve__set_rules(&answers_stand);
    assert_true(resolve("fresh.example", LONG_MS, &answer));
    assert_false(resolve("fresh.example", LONG_MS, &answer));
    assert_int_equal(answer.count, 2);
    assert_int_equal(dns_asked(), 1);
}

static void an_answer_that_is_not_fresh_is_asked_for_again(void **state UNUSED)
{
    struct resolve_answer answer;
    assert_true(resolve("old.example", LONG_MS, &answer));
    assert_true(resolve("old.example", LONG_MS, &answer));
    assert_int_equal(dns_asked(), 2);
}

static void a_name_that_fails_later_keeps_its_last_good_addresses(void **state UNUSED)
{
    struct resolve_answer answer;
    assert_true(resolve("fails-later.example", LONG_MS, &answer));
    dns_set(false, true);
    assert_true(resolve("fails-later.example", LONG_MS, &answer));
    assert_int_equal(answer.count, 2);
    assert_string_equal(answer.addresses[0], "127.0.0.1");
    assert_int_equal(dns_asked(), 2);
}

static void a_name_that_hangs_later_costs_some_patience_once(void **state UNUSED)
{
    struct resolve_answer answer;
    resolve__set_rules(&failures_stand);
    assert_true(resolve("hangs-later.example", LONG_MS, &answer));
    dns_set(true, false);
    nsec began = clock_now();
    assert_true(resolve("hangs-later.example", LONG_MS, &answer));
    assert_int_equal(answer.count, 2);
    assert_true(clock_now() - began >= PATIENCE_MS * NSEC_PER_MS);
    assert_true(clock_now() - began < LONG_MS / 3 * NSEC_PER_MS);
    assert_false(resolve("hangs-later.example", LONG_MS, &answer));
    assert_int_equal(answer.count, 2);
}

/* More than the 20 that getaddrinfo_a() would look up beside each other. */
static void names_that_hang_cost_the_deadline_once_beside_the_others(void **state UNUSED)
{
    struct sql_call calls[HANGING_NAMES + 1] = {0};
    char names[HANGING_NAMES + 1][32];
    dns_set(true, false);
    resolve__set_rules(&failures_stand);
    int port = port_at("127.0.0.1", NULL);
    for (int i = 0; i <= HANGING_NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), i < HANGING_NAMES ? "hang-%d.example" : "fine-%d", i);
        struct sql_endpoint endpoint = {.host = names[i], .port = port, .user = "nobody"};
        calls[i].conn = sql_conn_new(&endpoint);
    }
    nsec began = clock_now();
    sql_run(calls, HANGING_NAMES + 1, clock_deadline(DEADLINE_MS));
    assert_true(clock_now() - began < GENEROUS_MS * NSEC_PER_MS);
    for (int i = 0; i < HANGING_NAMES; i++) {
        assert_int_equal(calls[i].status, ST_UNREACHABLE);
        assert_non_null(strstr(calls[i].err.text, ".example:"));
        assert_non_null(strstr(calls[i].err.text, ": the name does not resolve: not within "));
    }
    const struct sql_call *fine = &calls[HANGING_NAMES];
    assert_non_null(strstr(fine->err.text, ": connect: "));
    assert_true(fine->finished - fine->started < DEADLINE_MS * NSEC_PER_MS);

    began = clock_now();
    sql_run(calls, HANGING_NAMES, clock_deadline(LONG_MS));
    assert_true(clock_now() - began < DEADLINE_MS * NSEC_PER_MS);
    for (int i = 0; i <= HANGING_NAMES; i++)
        sql_conn_free(calls[i].conn);
}

static void a_caller_in_a_hurry_does_not_spoil_the_name_for_others(void **state UNUSED)
{
    struct resolve_answer answer;
    dns_set(true, false);
    resolve__set_rules(&failures_stand);
    assert_true(resolve("hang-hurry.example", 1, &answer));
    assert_int_equal(answer.count, 0);
    dns_set(false, false);
    resolve("hang-hurry.example", LONG_MS, &answer);
    assert_int_equal(answer.count, 2);
}

static void what_a_lookup_finds_late_is_used(void **state UNUSED)
{
    struct resolve_answer answer;
    dns_set(true, false);
    assert_true(resolve("hang-late.example", DEADLINE_MS, &answer));
    assert_int_equal(answer.count, 0);
    struct resolve wait;
    assert_false(resolve_begin(&wait, "hang-late.example", clock_deadline(LONG_MS)));
    dns_set(false, false);
    struct pollfd polled = {.fd = wait.fd, .events = POLLIN};
    assert_int_equal(poll(&polled, 1, LONG_MS), 1);
    resolve_finish(&wait);
    assert_int_equal(wait.answer.count, 2);
    assert_int_equal(dns_asked(), 1);
}

static void a_call_can_be_dropped_while_its_name_hangs(void **state UNUSED)
{
    dns_set(true, false);
    struct sql_endpoint endpoint = {.host = "hang-dropped.example", .port = 3306, .user = "nobody"};
    struct sql_call call = {.conn = sql_conn_new(&endpoint), .deadline = clock_deadline(LONG_MS)};
    assert_false(sql_call_begin(&call));
    assert_int_equal(sql_call_events(&call), POLLIN);
    sql_conn_break(call.conn);
    assert_false(sql_call_begin(&call));
    sql_conn_free(call.conn);
    dns_set(false, false);
}

static void the_next_address_is_tried_when_one_refuses(void **state UNUSED)
{
    struct err err = ERR_INIT;
    AUTO_CLOSE int silent = -1;
    int port = port_at("127.0.0.2", &silent);
    assert_int_equal(connect_to("two.example", port, DEADLINE_MS, &err), ST_TIMEOUT);
    assert_non_null(strstr(err.text, "two.example:"));
    assert_non_null(strstr(err.text, "no answer to connect within"));
    assert_int_equal(connect_to("two.example", port_at("127.0.0.2", NULL), LONG_MS, &err),
                     ST_UNREACHABLE);
    assert_non_null(strstr(err.text, "two.example:"));
}

int main(void)
{
#define WITH_FAKE_DNS(test) cmocka_unit_test_setup_teardown(test, use_fake_dns, use_real_dns)
    const struct CMUnitTest tests[] = {
        WITH_FAKE_DNS(a_numeric_host_is_its_own_answer_and_not_looked_up),
        cmocka_unit_test(localhost_resolves),
        cmocka_unit_test(a_name_of_the_invalid_domain_is_unreachable_within_the_deadline),
        WITH_FAKE_DNS(a_name_that_nobody_knows_says_why_and_is_not_asked_for_again_at_once),
        WITH_FAKE_DNS(a_fresh_answer_is_used_again),
        WITH_FAKE_DNS(an_answer_that_is_not_fresh_is_asked_for_again),
        WITH_FAKE_DNS(a_name_that_fails_later_keeps_its_last_good_addresses),
        WITH_FAKE_DNS(a_name_that_hangs_later_costs_some_patience_once),
        WITH_FAKE_DNS(names_that_hang_cost_the_deadline_once_beside_the_others),
        WITH_FAKE_DNS(a_caller_in_a_hurry_does_not_spoil_the_name_for_others),
        WITH_FAKE_DNS(what_a_lookup_finds_late_is_used),
        WITH_FAKE_DNS(a_call_can_be_dropped_while_its_name_hangs),
        WITH_FAKE_DNS(the_next_address_is_tried_when_one_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
