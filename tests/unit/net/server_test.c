/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server on real sockets: what strangers send, how slowly they send it, and how many. */
#include "base/mem.h"
#include "base/scope.h"
#include "net/server.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define VIEWER "viewer-0123456789abcdef"
#define OPERATOR "operator-0123456789abcdef"
#define AGENT "agent-0123456789abcdef"
#define AS(token) "Authorization: Bearer " token "\r\n"
#define END "Host: x\r\n\r\n"

enum {
    PATIENCE_MS = 5000,
    CONNECTIONS = 8,
    EVENTS = 2,
    WORKERS = 2,
    REQUEST_MS = 300,
    ANSWER_MS = 700,
    IDLE_MS = 600,
    HEAD_BYTES = 2048,
    BODY_BYTES = 1024,
    BACKLOG_BYTES = 64 * 1024,
    WHOLE_BYTES = 2 * 1024 * 1024,
    BIG_BYTES = 32 * 1024 * 1024,
    SOCKET_BYTES = 16 * 1024 * 1024 /* more than the kernel keeps of a connection */
};

static char folder[256];
static struct http_server *server;
static sem_t may_go_on, is_waiting;
static struct http_request *held;
static struct http_events *events;
static char *big;
static atomic_int bodies; /* that reached their handler */

/* ---- what it serves ---- */

static void handle_part(struct http_request *request, void *context UNUSED)
{
    const char *name = http_request_query(request, "name");
    AUTO_FREE char *text = mem_printf("%s|%s|%s", http_request_part(request, 0), name ? name : "-",
                                      http_request_who(request));
    http_respond(request, 200, "text/plain", text);
}

static void handle_body(struct http_request *request, void *context UNUSED)
{
    size_t length = 0;
    const char *body = http_request_body(request, &length);
    atomic_fetch_add(&bodies, 1);
    http_respond(request, 200, "text/plain", body);
}

static void handle_slow(struct http_request *request, void *context UNUSED)
{
    sem_post(&is_waiting);
    sem_wait(&may_go_on);
    http_respond(request, 200, "text/plain", "slow");
}

static void handle_held(struct http_request *request, void *context UNUSED)
{
    http_request_hold(request);
    held = request;
    sem_post(&is_waiting);
}

static void handle_events(struct http_request *request, void *context UNUSED)
{
    http_events_drop(events);
    events = http_respond_events(request, "data: first\n\n");
    sem_post(&is_waiting);
}

static void release_nothing(void *owner UNUSED)
{
}

static void handle_whole(struct http_request *request, void *context UNUSED)
{
    struct http_text text = {big, WHOLE_BYTES, NULL, release_nothing};
    http_respond_shared(request, "text/plain", &text);
}

static void handle_big(struct http_request *request, void *context UNUSED)
{
    struct http_text text = {big, BIG_BYTES, NULL, release_nothing};
    http_respond_shared(request, "text/plain", &text);
}

/* clang-format off */
static const struct http_route routes[] = {
    {"GET",  "/open/{part}",   "", HTTP_OPEN,     false, handle_part},
    {"GET",  "/viewer/{part}", "", HTTP_VIEWER,   false, handle_part},
    {"POST", "/body",          "", HTTP_OPERATOR, false, handle_body},
    {"POST", "/agent",         "", HTTP_AGENT,    false, handle_body},
    {"GET",  "/slow",          "", HTTP_OPEN,     true,  handle_slow},
    {"GET",  "/held",          "", HTTP_OPEN,     false, handle_held},
    {"GET",  "/events",        "", HTTP_OPEN,     false, handle_events},
    {"GET",  "/whole",         "", HTTP_OPEN,     false, handle_whole},
    {"GET",  "/big",           "", HTTP_OPEN,     false, handle_big},
    {0}};
/* clang-format on */

static void write_token(const char *path, const char *token)
{
    assert_int_equal(file_write(path, token, strlen(token), 0600, NULL), ST_OK);
}

static int start(void **state UNUSED)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/holdfast-test-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *viewer = mem_printf("%s/viewer", folder);
    AUTO_FREE char *operator= mem_printf("%s/operator", folder);
    AUTO_FREE char *agent = mem_printf("%s/agent", folder);
    write_token(viewer, VIEWER "\n");
    write_token(operator, OPERATOR "\n");
    write_token(agent, AGENT);
    struct http_token tokens[] = {{"eyes", HTTP_VIEWER, viewer},
                                  {"oncall", HTTP_OPERATOR, operator}, {"host", HTTP_AGENT, agent}};
    struct http_server_config config = {.host = "127.0.0.1",
                                        .routes = routes,
                                        .tokens = tokens,
                                        .token_count = ARRAY_SIZE(tokens),
                                        .limits = {.connections = CONNECTIONS,
                                                   .events = EVENTS,
                                                   .head_bytes = HEAD_BYTES,
                                                   .body_bytes = BODY_BYTES,
                                                   .request_ms = REQUEST_MS,
                                                   .answer_ms = ANSWER_MS,
                                                   .idle_ms = IDLE_MS,
                                                   .backlog_bytes = BACKLOG_BYTES,
                                                   .workers = WORKERS}};
    big = mem_zalloc(BIG_BYTES);
    memset(big, 'x', BIG_BYTES);
    sem_init(&may_go_on, 0, 0);
    sem_init(&is_waiting, 0, 0);
    held = NULL;
    events = NULL;
    atomic_store(&bodies, 0);
    struct err err = ERR_INIT;
    if (http_server_start(&config, &server, &err))
        fail_msg("%s", err.text);
    return 0;
}

static int stop(void **state UNUSED)
{
    http_server_stop(server, 1000);
    http_events_drop(events);
    if (held)
        http_request_drop(held);
    http_server_free(server);
    free(big);
    return folder_remove(folder, NULL) ? -1 : 0;
}

/* ---- a client that may do anything ---- */

static int dial(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static void say_bytes(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the other side has had enough: what it said tells */
        text += sent;
        length -= (size_t)sent;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* One more piece; false: the other side ended it. */
static bool hear_more(int fd, struct buf *into)
{
    char piece[65536];
    struct pollfd wait = {fd, POLLIN, 0};
    if (poll(&wait, 1, PATIENCE_MS) != 1)
        fail_msg("nothing comes, and it is not ended; so far: %s", buf_text(into));
    ssize_t length = recv(fd, piece, sizeof(piece), 0);
    if (length > 0)
        buf_add_bytes(into, piece, (size_t)length);
    return length > 0;
}

static void hear_until(int fd, struct buf *into, const char *mark)
{
    while (!strstr(buf_text(into), mark))
        if (!hear_more(fd, into))
            fail_msg("ended before '%s': %s", mark, buf_text(into));
}

static void hear_end(int fd, struct buf *into)
{
    while (hear_more(fd, into))
        continue;
}

/* All that is answered until the other side ends it. */
static void ask(const char *request, struct buf *ret)
{
    AUTO_CLOSE int fd = dial();
    say(fd, request);
    hear_end(fd, ret);
}

static void assert_has(const struct buf *text, const char *part)
{
    if (!strstr(buf_text(text), part))
        fail_msg("'%s' is not in: %s", part, buf_text(text));
}

static void wait_for(sem_t *semaphore)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    assert_int_equal(sem_timedwait(semaphore, &until), 0);
}

/* ---- tests ---- */

static void a_request_is_answered_by_its_route(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    ask("GET /viewer/10.0.0.1%3A3306?name=a%20b+c HTTP/1.1\r\n" AS(
            VIEWER) "Connection: close\r\n" END,
        &text);
    assert_has(&text, "HTTP/1.1 200 ");
    assert_has(&text, "10.0.0.1:3306|a b c|eyes");
}

static void every_refusal_says_what_and_what_to_do(void **state UNUSED)
{
    static const struct {
        const char *request, *code, *what;
    } cases[] = {
        {"GET /viewer/x HTTP/1.1\r\n" END, "401", "a token is needed"},
        {"GET /viewer/x HTTP/1.1\r\n" AS("wrong-0123456789abcdef") END, "401",
         "none that is known"},
        {"GET /viewer/x HTTP/1.1\r\nAuthorization: Basic YTpi\r\n" END, "401",
         "none that is known"},
        {"GET /viewer/x HTTP/1.1\r\nAuthorization: Bearer\r\n" END, "401", "none that is known"},
        {"GET /viewer/x HTTP/1.1\r\n" AS(VIEWER " " VIEWER) END, "401", "none that is known"},
        {"POST /body HTTP/1.1\r\n" AS(VIEWER) END, "403", "'eyes' is of a viewer"},
        {"POST /body HTTP/1.1\r\n" AS(AGENT) END, "403", "'host' is of a agent"},
        {"POST /agent HTTP/1.1\r\n" AS(OPERATOR) END, "403", "needs an agent"},
        {"GET /nowhere HTTP/1.1\r\n" END, "404", "there is no '/nowhere'"},
        {"GET /open/%zz HTTP/1.1\r\n" END, "404", "there is no"},
        {"GET /open/%00 HTTP/1.1\r\n" END, "404", "there is no"},
        {"GET /open/a/b HTTP/1.1\r\n" END, "404", "there is no"},
        {"DELETE /open/x HTTP/1.1\r\n" END, "405", "Allow: GET"},
        {"POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Length: 2\r\n" END "{}", "415", "JSON"},
        {"POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Type: application/json\r\n"
                                                "Content-Length: 99999999999\r\n" END "{}",
         "413", "longer than 1024 bytes"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(buf_release) struct buf text = {0};
        AUTO_CLOSE int fd = dial();
        AUTO_FREE char *status = mem_printf("HTTP/1.1 %s ", cases[i].code);
        say(fd, cases[i].request);
        hear_until(fd, &text, "}");
        assert_has(&text, status);
        assert_has(&text, cases[i].what);
        assert_has(&text, "{\"error\":\"");
        assert_has(&text, "\"hint\":\"");
    }
}

static void what_is_no_request_is_refused(void **state UNUSED)
{
    static const char *const requests[] = {
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls?\r\n\r\n",
        "GET\r\n\r\n",
        "GET /open/x HTTP/1.1\r\n\r\n", /* no Host */
        "POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Length: -1\r\n" END,
        "POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Length: 1\r\nContent-Length: 2\r\n" END,
        "POST /body HTTP/1.1\r\n" AS(
            OPERATOR) "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n" END
                      "zz\r\n{}\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        AUTO(buf_release) struct buf text = {0};
        AUTO_CLOSE int fd = dial();
        say(fd, requests[i]);
        hear_end(fd, &text);
        if (text.length > 0)
            assert_has(&text, "HTTP/1.1 4");
        assert_null(strstr(buf_text(&text), " 200 "));
    }
}

static void a_body_reaches_its_handler_whole(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    ask("POST /body HTTP/1.1\r\n" AS(
            OPERATOR) "Content-Type: application/json; charset=utf-8\r\n"
                      "Connection: close\r\nTransfer-Encoding: chunked\r\n" END
                      "4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n",
        &text);
    assert_has(&text, "HTTP/1.1 200 ");
    assert_has(&text, "{\"a\":1}");
}

static void a_head_that_is_too_long_is_refused(void **state UNUSED)
{
    AUTO(buf_release) struct buf request = {0};
    AUTO(buf_release) struct buf text = {0};
    buf_add(&request, "GET /open/x HTTP/1.1\r\nX-Long: ");
    for (int i = 0; i < HEAD_BYTES; i++)
        buf_add(&request, "y");
    buf_add(&request, "\r\nConnection: close\r\n" END);
    ask(buf_text(&request), &text);
    assert_has(&text, "HTTP/1.1 431 ");
    assert_has(&text, "\"error\":\"the head of the request is longer than 2048 bytes\"");
}

static void a_head_without_end_is_refused(void **state UNUSED)
{
    AUTO(buf_release) struct buf request = {0};
    AUTO(buf_release) struct buf text = {0};
    buf_add(&request, "GET /open/x HTTP/1.1\r\n");
    for (int i = 0; i < 20000; i++)
        buf_add(&request, "X-Long: y\r\n");
    ask(buf_text(&request), &text);
    if (text.length > 0) /* it may have been told so while it still sent */
        assert_has(&text, "HTTP/1.1 431 ");
}

static void a_chunked_body_that_is_too_long_is_refused(void **state UNUSED)
{
    AUTO(buf_release) struct buf request = {0};
    AUTO(buf_release) struct buf text = {0};
    buf_add(&request, "POST /body HTTP/1.1\r\n" AS(
                          OPERATOR) "Content-Type: application/json\r\n"
                                    "Connection: close\r\nTransfer-Encoding: chunked\r\n" END);
    for (int i = 0; i < 20; i++)
        buf_printf(&request, "64\r\n%0100d\r\n", i);
    buf_add(&request, "0\r\n\r\n");
    ask(buf_text(&request), &text);
    assert_has(&text, "HTTP/1.1 413 ");
    assert_has(&text, "longer than 1024 bytes");
}

static void a_flood_is_ended(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_CLOSE int fd = dial();
    say(fd, "POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Type: application/json\r\n"
                                                   "Transfer-Encoding: chunked\r\n" END);
    nsec began = clock_now();
    AUTO_FREE char *piece = mem_printf("2000\r\n%08192d\r\n", 0);
    struct pollfd wait = {fd, POLLIN, 0};
    while (poll(&wait, 1, 0) == 0 && clock_now() - began < PATIENCE_MS * NSEC_PER_MS)
        say(fd, piece);
    hear_end(fd, &text);
    assert_true(clock_now() - began < REQUEST_MS * 5 * NSEC_PER_MS);
    assert_has(&text, "HTTP/1.1 413 ");
}

static void who_sends_too_slowly_is_told_so(void **state UNUSED)
{
    static const char *const heads[] = {
        "GET /open/x HT", "GET /open/x HTTP/1.1\r\nX-Slow: y",
        "POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Type: application/json\r\n"
                                               "Content-Length: 1000\r\n" END "{"};
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
        AUTO(buf_release) struct buf text = {0};
        AUTO_CLOSE int fd = dial();
        say(fd, heads[i]);
        struct pollfd wait = {fd, POLLIN, 0};
        while (poll(&wait, 1, 50) == 0) /* never silent for long */
            say(fd, "z");
        hear_end(fd, &text);
        assert_has(&text, "HTTP/1.1 408 ");
        assert_has(&text, "\"error\":\"the request did not come to its end in time\"");
    }
}

static void who_was_told_that_it_is_too_late_changes_nothing_any_more(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_CLOSE int fd = dial();
    say(fd, "POST /body HTTP/1.1\r\n" AS(OPERATOR) "Content-Type: application/json\r\n"
                                                   "Content-Length: 2\r\n" END "{");
    hear_until(fd, &text, "HTTP/1.1 408 ");
    say(fd, "}");
    hear_end(fd, &text);
    nsec deadline = clock_deadline(PATIENCE_MS);
    while (http_server_counts(server).connections > 0)
        assert_true(clock_now() < deadline);
    assert_int_equal(atomic_load(&bodies), 0);
}

static void who_says_nothing_is_ended(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_CLOSE int fd = dial();
    nsec began = clock_now();
    hear_end(fd, &text);
    assert_int_equal(text.length, 0);
    assert_true(clock_now() - began < 3 * IDLE_MS * NSEC_PER_MS);
}

/* A piece now and then does not help: all of it is to be taken in time. */
static void who_reads_too_slowly_is_ended(void **state UNUSED)
{
    AUTO_CLOSE int fd = dial();
    say(fd, "GET /big HTTP/1.1\r\n" END);
    nsec deadline = clock_deadline(PATIENCE_MS);
    size_t taken = 0;
    char piece[16384];
    for (ssize_t length = 1; length > 0; taken += (size_t)length) {
        struct pollfd wait = {fd, POLLIN, 0};
        assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
        assert_true(clock_now() < deadline);
        poll(NULL, 0, 10);
        length = recv(fd, piece, sizeof(piece), 0);
        length = length < 0 ? 0 : length; /* cut off in the middle */
    }
    assert_true(taken < BIG_BYTES);
}

static void a_large_answer_arrives_whole(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    ask("GET /whole HTTP/1.1\r\nConnection: close\r\n" END, &text);
    assert_true(text.length > WHOLE_BYTES && text.length < WHOLE_BYTES + 1000);
}

static void requests_in_a_row_are_answered_in_their_order(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    ask("GET /open/one HTTP/1.1\r\n" END "GET /nowhere HTTP/1.1\r\n" END
        "POST /body HTTP/1.1\r\n" AS(
            OPERATOR) "Content-Type: application/json\r\n"
                      "Content-Length: 7\r\n" END "{\"b\":2}"
                      "GET /open/three HTTP/1.1\r\nConnection: close\r\n" END,
        &text);
    const char *one = strstr(buf_text(&text), "one|-|"), *none = strstr(buf_text(&text), "404");
    const char *two = strstr(buf_text(&text), "{\"b\":2}"),
               *three = strstr(buf_text(&text), "three|-|");
    if (!one || !none || !two || !three)
        fail_msg("%s", buf_text(&text));
    assert_true(one < none && none < two && two < three);
}

static void too_many_connections_are_told_so_and_idle_ones_make_room(void **state UNUSED)
{
    int idle[CONNECTIONS];
    for (size_t i = 0; i < CONNECTIONS; i++)
        idle[i] = dial();
    AUTO(buf_release) struct buf text = {0};
    ask("GET /open/x HTTP/1.1\r\n" END, &text);
    assert_has(&text, "HTTP/1.1 503 ");
    assert_has(&text, "there are too many connections");
    for (size_t i = 0; i < CONNECTIONS; i++) {
        AUTO(buf_release) struct buf rest = {0};
        hear_end(idle[i], &rest);
        close(idle[i]);
    }
    nsec deadline = clock_deadline(PATIENCE_MS);
    while (http_server_counts(server).connections > 0)
        assert_true(clock_now() < deadline);
    buf_clear(&text);
    ask("GET /open/x HTTP/1.1\r\nConnection: close\r\n" END, &text);
    assert_has(&text, "HTTP/1.1 200 ");
}

static void a_slow_handler_holds_nobody_else_up(void **state UNUSED)
{
    AUTO_CLOSE int slow = dial();
    say(slow, "GET /slow HTTP/1.1\r\nConnection: close\r\n" END);
    wait_for(&is_waiting);
    AUTO(buf_release) struct buf text = {0};
    ask("GET /open/x HTTP/1.1\r\nConnection: close\r\n" END, &text);
    assert_has(&text, "HTTP/1.1 200 ");
    sem_post(&may_go_on);
    buf_clear(&text);
    hear_end(slow, &text);
    assert_has(&text, "slow");
}

static void a_client_that_leaves_takes_nothing_with_it(void **state UNUSED)
{
    int slow = dial();
    say(slow, "GET /slow HTTP/1.1\r\n" END);
    wait_for(&is_waiting);
    struct linger at_once = {1, 0};
    setsockopt(slow, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(slow);
    sem_post(&may_go_on);
    AUTO(buf_release) struct buf text = {0};
    ask("GET /open/x HTTP/1.1\r\nConnection: close\r\n" END, &text);
    assert_has(&text, "HTTP/1.1 200 ");
}

static void an_answer_may_come_later_from_another_thread(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_CLOSE int fd = dial();
    say(fd, "GET /held HTTP/1.1\r\nConnection: close\r\n" END);
    wait_for(&is_waiting);
    http_respond(held, 200, "text/plain", "later");
    http_respond(held, 500, "text/plain", "too late");
    hear_end(fd, &text);
    assert_has(&text, "HTTP/1.1 200 ");
    assert_has(&text, "later");
}

static void the_end_of_the_server_answers_who_waits(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_CLOSE int fd = dial();
    say(fd, "GET /held HTTP/1.1\r\n" END);
    wait_for(&is_waiting);
    http_server_stop(server, 1000);
    hear_end(fd, &text);
    assert_has(&text, "HTTP/1.1 503 ");
    assert_has(&text, "it is stopping");
}

static void events_arrive_as_they_are_sent(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_CLOSE int fd = dial();
    say(fd, "GET /events HTTP/1.1\r\n" END);
    wait_for(&is_waiting);
    hear_until(fd, &text, "data: first\n\n");
    assert_true(http_events_send(events, "data: second\n\n"));
    hear_until(fd, &text, "data: second\n\n");
    http_server_stop(server, 1000);
    hear_end(fd, &text);
    assert_false(http_events_send(events, "data: third\n\n"));
}

static void who_does_not_keep_up_with_events_is_cut_off(void **state UNUSED)
{
    AUTO_CLOSE int fd = dial();
    say(fd, "GET /events HTTP/1.1\r\n" END);
    wait_for(&is_waiting);
    nsec deadline = clock_deadline(PATIENCE_MS);
    AUTO_FREE char *event = mem_printf("data: %04000d\n\n", 0);
    size_t sent = 0;
    for (; http_events_send(events, event); sent += strlen(event))
        assert_true(clock_now() < deadline);
    assert_true(sent < BACKLOG_BYTES + SOCKET_BYTES);
    AUTO(buf_release) struct buf text = {0};
    hear_end(fd, &text);
}

static void there_are_only_so_many_streams_of_events(void **state UNUSED)
{
    int fds[EVENTS];
    struct http_events *open[EVENTS];
    for (size_t i = 0; i < EVENTS; i++) {
        fds[i] = dial();
        say(fds[i], "GET /events HTTP/1.1\r\n" END);
        wait_for(&is_waiting);
        open[i] = take_pointer(events);
    }
    AUTO(buf_release) struct buf text = {0};
    ask("GET /events HTTP/1.1\r\nConnection: close\r\n" END, &text);
    assert_has(&text, "HTTP/1.1 503 ");
    assert_has(&text, "there are 2 streams of events already");
    for (size_t i = 0; i < EVENTS; i++) {
        http_events_drop(open[i]);
        close(fds[i]);
    }
}

static bool is_let_in(const char *token)
{
    AUTO_FREE char *request = mem_printf(
        "GET /viewer/x HTTP/1.1\r\nAuthorization: Bearer %s\r\nConnection: close\r\n" END, token);
    AUTO(buf_release) struct buf text = {0};
    ask(request, &text);
    return strstr(buf_text(&text), " 200 ");
}

static void a_changed_token_counts_without_a_restart(void **state UNUSED)
{
    AUTO_FREE char *path = mem_printf("%s/viewer", folder);
    assert_true(is_let_in(VIEWER));
    write_token(path, "another-0123456789abcdef");
    nsec deadline = clock_deadline(PATIENCE_MS);
    while (!is_let_in("another-0123456789abcdef"))
        assert_true(clock_now() < deadline);
    assert_false(is_let_in(VIEWER));
    write_token(path, "short"); /* refused: the one before stays */
    poll(NULL, 0, 1500);
    assert_true(is_let_in("another-0123456789abcdef"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_answered_by_its_route),
        CASE(every_refusal_says_what_and_what_to_do),
        CASE(what_is_no_request_is_refused),
        CASE(a_body_reaches_its_handler_whole),
        CASE(a_head_that_is_too_long_is_refused),
        CASE(a_head_without_end_is_refused),
        CASE(a_chunked_body_that_is_too_long_is_refused),
        CASE(a_flood_is_ended),
        CASE(who_sends_too_slowly_is_told_so),
        CASE(who_was_told_that_it_is_too_late_changes_nothing_any_more),
        CASE(who_says_nothing_is_ended),
        CASE(who_reads_too_slowly_is_ended),
        CASE(a_large_answer_arrives_whole),
        CASE(requests_in_a_row_are_answered_in_their_order),
        CASE(too_many_connections_are_told_so_and_idle_ones_make_room),
        CASE(a_slow_handler_holds_nobody_else_up),
        CASE(a_client_that_leaves_takes_nothing_with_it),
        CASE(an_answer_may_come_later_from_another_thread),
        CASE(the_end_of_the_server_answers_who_waits),
        CASE(events_arrive_as_they_are_sent),
        CASE(who_does_not_keep_up_with_events_is_cut_off),
        CASE(there_are_only_so_many_streams_of_events),
        CASE(a_changed_token_counts_without_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
