/* SPDX-License-Identifier: Apache-2.0
 * Calls under deadlines, against sockets that behave badly. Real servers are in the system tests.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/certificate.h"
#include "sql/conn.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { SILENT_SERVERS = 20, DEADLINE_MS = 200, GENEROUS_MS = 5 * DEADLINE_MS };
enum { HANDSHAKE_MS = 1000 };

/* A socket that accepts connections into its backlog and never says a word. */
static int silent_server(int *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, length), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static struct sql_conn *connection_to(int port)
{
    struct sql_endpoint endpoint = {.host = "127.0.0.1", .port = port, .user = "nobody"};
    return sql_conn_new(&endpoint);
}

static void a_silent_server_costs_its_deadline_and_says_what_it_did_not_answer(void **state UNUSED)
{
    int port = 0;
    AUTO_CLOSE int fd = silent_server(&port);
    struct sql_conn *conn = connection_to(port);
    struct err err = ERR_INIT;
    nsec began = clock_now();
    assert_int_equal(sql_exec(conn, "SELECT 1", clock_deadline(DEADLINE_MS), NULL, &err),
                     ST_TIMEOUT);
    assert_true(clock_now() - began >= DEADLINE_MS * NSEC_PER_MS);
    assert_true(clock_now() - began < GENEROUS_MS * NSEC_PER_MS);
    assert_non_null(strstr(err.text, "no answer to connect within"));
    assert_false(sql_conn_is_open(conn));
    sql_conn_free(conn);
}

static void many_silent_servers_cost_the_deadline_once(void **state UNUSED)
{
    int fds[SILENT_SERVERS];
    struct sql_call calls[SILENT_SERVERS] = {0};
    for (int i = 0; i < SILENT_SERVERS; i++) {
        int port = 0;
        fds[i] = silent_server(&port);
        calls[i].conn = connection_to(port);
    }
    nsec began = clock_now();
    sql_run(calls, SILENT_SERVERS, clock_deadline(DEADLINE_MS));
    assert_true(clock_now() - began < GENEROUS_MS * NSEC_PER_MS);
    for (int i = 0; i < SILENT_SERVERS; i++) {
        assert_int_equal(calls[i].status, ST_TIMEOUT);
        sql_call_release(&calls[i]);
        sql_conn_free(calls[i].conn);
        close(fds[i]);
    }
}

/* More than may be in flight: they give their places away, so nobody waits for all the others, and
 * whoever had to wait for a place has all the time from then on. */
static void thousands_of_silent_servers_do_not_wait_for_each_other(void **state UNUSED)
{
    enum { COUNT = 1000, LONG_MS = 3000 };
    int port = 0;
    AUTO_CLOSE int fd = silent_server(&port);
    AUTO_FREE struct sql_call *calls = mem_zalloc(COUNT * sizeof(*calls));
    for (int i = 0; i < COUNT; i++)
        calls[i].conn = connection_to(port);
    nsec began = clock_now(), last = 0;
    sql_run(calls, COUNT, clock_deadline(LONG_MS));
    assert_true(clock_now() - began < 3 * LONG_MS * NSEC_PER_MS);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(calls[i].status, ST_TIMEOUT);
        assert_true(calls[i].finished - calls[i].started >= LONG_MS * NSEC_PER_MS * 99 / 100);
        last = calls[i].started > last ? calls[i].started : last;
        sql_conn_free(calls[i].conn);
    }
    assert_true(last - began > LONG_MS / 10 * NSEC_PER_MS);
}

static void count_end(struct sql_call *call)
{
    *(int *)call->context += call->status == ST_UNREACHABLE;
    sql_conn_free(call->conn);
}

static void each_end_of_very_many_calls_is_told_once(void **state UNUSED)
{
    enum { COUNT = 2000 };
    int port = 0, ends = 0;
    close(silent_server(&port));
    AUTO_FREE struct sql_call *calls = mem_zalloc(COUNT * sizeof(*calls));
    for (int i = 0; i < COUNT; i++)
        calls[i] =
            (struct sql_call){.conn = connection_to(port), .on_done = count_end, .context = &ends};
    sql_run(calls, COUNT, clock_deadline(10 * GENEROUS_MS));
    assert_int_equal(ends, COUNT);
}

/* --- TLS: servers that greet like MariaDB, and then do nothing any more --- */

enum { CAPABILITY_SSL = 0x0800, CAPABILITIES = 0xa200 /* protocol 4.1, transactions, passwords */ };

struct greeter {
    int fd, port, capabilities;
    int clients[SILENT_SERVERS];
    size_t count;
    pthread_t thread;
};

static void greet(int fd, int capabilities)
{
    unsigned char packet[128] = {0, 0, 0, 0, 10};
    size_t at = 5;
    at += (size_t)snprintf((char *)packet + at, 32, "10.11.6-MariaDB") + 1;
    packet[at] = 7; /* thread id */
    at += 4;
    memcpy(packet + at, "12345678", 9);
    at += 9;
    packet[at++] = (unsigned char)(capabilities & 0xff);
    packet[at++] = (unsigned char)(capabilities >> 8);
    packet[at++] = 45; /* utf8mb4 */
    at += 2;
    packet[at] = 0x08; /* plugins */
    at += 2;
    packet[at] = 21;
    at += 11;
    memcpy(packet + at, "123456789012", 13);
    at += 13;
    memcpy(packet + at, "mysql_native_password", 22);
    at += 22;
    packet[0] = (unsigned char)(at - 4);
    assert_int_equal(write(fd, packet, at), (ssize_t)at);
}

static void *greet_all(void *context)
{
    struct greeter *greeter = context;
    while (greeter->count < SILENT_SERVERS) {
        int fd = accept(greeter->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        greet(fd, greeter->capabilities);
        greeter->clients[greeter->count++] = fd;
    }
    return NULL;
}

static void greeter_start(struct greeter *greeter, int capabilities)
{
    *greeter = (struct greeter){.capabilities = capabilities};
    greeter->fd = silent_server(&greeter->port);
    assert_int_equal(listen(greeter->fd, SILENT_SERVERS), 0);
    assert_int_equal(pthread_create(&greeter->thread, NULL, greet_all, greeter), 0);
}

static void greeter_stop(struct greeter *greeter)
{
    shutdown(greeter->fd, SHUT_RDWR); /* wakes accept() */
    pthread_join(greeter->thread, NULL);
    for (size_t i = 0; i < greeter->count; i++)
        close(greeter->clients[i]);
    close(greeter->fd);
}

static char authority_path[] = "/tmp/holdfast-test-XXXXXX";
static const struct sql_tls tls = {.ca = authority_path};

/* Without a 'ca', OpenSSL would read all those of the system for each connection: 18 ms. */
static int make_authority(void **state UNUSED)
{
    AUTO(certificate_authority_freep) struct certificate_authority *authority = NULL;
    AUTO(buf_release) struct buf pem = {0};
    AUTO_CLOSE int fd = mkstemp(authority_path);
    return certificate_authority_new("test", 1, &authority, NULL) ||
           certificate_authority_write(authority, &pem, NULL, NULL) ||
           write(fd, pem.data, pem.length) != (ssize_t)pem.length;
}

static int remove_authority(void **state UNUSED)
{
    return unlink(authority_path);
}

static struct sql_conn *tls_connection_to(int port)
{
    struct sql_endpoint endpoint = {
        .host = "127.0.0.1", .port = port, .user = "nobody", .tls = &tls};
    return sql_conn_new(&endpoint);
}

static void servers_that_hang_in_the_handshake_cost_the_deadline_once(void **state UNUSED)
{
    struct greeter greeter;
    struct sql_call calls[SILENT_SERVERS] = {0};
    greeter_start(&greeter, CAPABILITIES | CAPABILITY_SSL);
    for (int i = 0; i < SILENT_SERVERS; i++)
        calls[i].conn = tls_connection_to(greeter.port);
    nsec began = clock_now();
    sql_run(calls, SILENT_SERVERS, clock_deadline(HANDSHAKE_MS));
    nsec took = clock_now() - began;
    for (int i = 0; i < SILENT_SERVERS; i++) {
        assert_int_equal(calls[i].status, ST_TIMEOUT);
        assert_false(sql_conn_is_open(calls[i].conn));
        sql_call_release(&calls[i]);
        sql_conn_free(calls[i].conn);
    }
    assert_true(took < 5 * HANDSHAKE_MS * NSEC_PER_MS);
    greeter_stop(&greeter);
    assert_int_equal(greeter.count, SILENT_SERVERS);
}

static void a_server_without_tls_gets_nothing_in_clear_text(void **state UNUSED)
{
    struct greeter greeter;
    struct err err = ERR_INIT;
    greeter_start(&greeter, CAPABILITIES);
    struct sql_conn *conn = tls_connection_to(greeter.port);
    assert_int_equal(sql_exec(conn, "SELECT 1", clock_deadline(HANDSHAKE_MS), NULL, &err),
                     ST_UNTRUSTED);
    assert_non_null(strstr(err.text, "the server offers no TLS"));
    sql_conn_free(conn);
    greeter_stop(&greeter);
}

static void a_refused_port_is_unreachable_at_once(void **state UNUSED)
{
    int port = 0;
    close(silent_server(&port));
    struct sql_conn *conn = connection_to(port);
    struct err err = ERR_INIT;
    nsec began = clock_now();
    assert_int_equal(sql_exec(conn, "SELECT 1", clock_deadline(60000), NULL, &err), ST_UNREACHABLE);
    assert_true(clock_now() - began < 5000 * NSEC_PER_MS);
    sql_conn_free(conn);
}

static void a_deadline_that_passed_already_is_a_timeout(void **state UNUSED)
{
    int port = 0;
    AUTO_CLOSE int fd = silent_server(&port);
    struct sql_conn *conn = connection_to(port);
    assert_int_equal(sql_exec(conn, "SELECT 1", clock_now() - 1, NULL, NULL), ST_TIMEOUT);
    sql_conn_free(conn);
}

static void a_broken_connection_can_be_used_again(void **state UNUSED)
{
    int port = 0;
    AUTO_CLOSE int fd = silent_server(&port);
    struct sql_conn *conn = connection_to(port);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sql_exec(conn, NULL, clock_deadline(20), NULL, NULL), ST_TIMEOUT);
    sql_conn_free(conn);
}

static void quoted_text_cannot_leave_its_quotes(void **state UNUSED)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"plain", "'plain'"},
        {"0-1-5,1-2-7", "'0-1-5,1-2-7'"},
        {"", "''"},
        {"a'b", "CONVERT(0x612762 USING utf8mb4)"},
        {"a\\", "CONVERT(0x615c USING utf8mb4)"},
        {"\xc3\xa9", "CONVERT(0xc3a9 USING utf8mb4)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(buf_release) struct buf sql = {0};
        sql_quote(&sql, cases[i].text);
        assert_string_equal(buf_text(&sql), cases[i].wanted);
    }
}

static void quoted_names_double_their_back_quotes(void **state UNUSED)
{
    AUTO(buf_release) struct buf sql = {0};
    sql_quote_name(&sql, "a`b");
    assert_string_equal(buf_text(&sql), "`a``b`");
}

static void numbers_that_are_none_take_the_other_value(void **state UNUSED)
{
    assert_int_equal(sql_number("42", -1), 42);
    assert_int_equal(sql_number("-7", -1), -7);
    assert_int_equal(sql_number("2.0", -1), 2);
    assert_int_equal(sql_number("99999999999999999999", -1), -1);
    assert_int_equal(sql_number("4x", -1), -1);
    assert_int_equal(sql_number("", -1), -1);
    assert_int_equal(sql_number(NULL, -1), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_server_costs_its_deadline_and_says_what_it_did_not_answer),
        cmocka_unit_test(many_silent_servers_cost_the_deadline_once),
        cmocka_unit_test(thousands_of_silent_servers_do_not_wait_for_each_other),
        cmocka_unit_test(each_end_of_very_many_calls_is_told_once),
        cmocka_unit_test(servers_that_hang_in_the_handshake_cost_the_deadline_once),
        cmocka_unit_test(a_server_without_tls_gets_nothing_in_clear_text),
        cmocka_unit_test(a_refused_port_is_unreachable_at_once),
        cmocka_unit_test(a_deadline_that_passed_already_is_a_timeout),
        cmocka_unit_test(a_broken_connection_can_be_used_again),
        cmocka_unit_test(quoted_text_cannot_leave_its_quotes),
        cmocka_unit_test(quoted_names_double_their_back_quotes),
        cmocka_unit_test(numbers_that_are_none_take_the_other_value),
    };
    return cmocka_run_group_tests(tests, make_authority, remove_authority);
}
