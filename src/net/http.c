/* SPDX-License-Identifier: Apache-2.0
 *
 * POST over libcurl. libcurl repeats a request by itself when a kept connection turns out dead;
 * here it cannot once body bytes have left, because the body comes from a function that does not
 * rewind: such a request fails instead, and its sender decides.
 */
#include "net/http.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/http_tls.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { STOP_SLICE_MS = 250, EVENTS_MAX = 8, KEPT_CONNECTIONS = 8 };

/* One request, of either kind. */
struct transfer {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    size_t length, given, answer_max;
    struct buf answer;
    bool is_active, is_secret, is_tls;
    char reason[CURL_ERROR_SIZE];
};

struct http_line {
    struct transfer transfer;
};

struct http_stream {
    struct transfer transfer;
    int epoll, timer;
    nsec curl_at, wake_at; /* when the timer is due for libcurl, and for the caller */
};

static void begin_library(void)
{
    INVARIANT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static void transfer_init(struct transfer *transfer)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_library);
    transfer->multi = curl_multi_init();
    transfer->easy = curl_easy_init();
    INVARIANT(transfer->multi && transfer->easy); /* only without memory */
    curl_multi_setopt(transfer->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
}

static void transfer_stop(struct transfer *transfer)
{
    if (transfer->is_active)
        curl_multi_remove_handle(transfer->multi, transfer->easy);
    transfer->is_active = false;
}

static void forget_body(struct transfer *transfer)
{
    if (transfer->is_secret && transfer->body)
        explicit_bzero(transfer->body, transfer->length);
    free(take_pointer(transfer->body));
    transfer->length = transfer->given = 0;
}

static void transfer_release(struct transfer *transfer)
{
    transfer_stop(transfer);
    curl_easy_cleanup(transfer->easy);
    curl_multi_cleanup(transfer->multi);
    curl_slist_free_all(transfer->headers);
    forget_body(transfer);
    buf_release(&transfer->answer);
}

static size_t give_body(char *into, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t room = size * count, left = transfer->length - transfer->given;
    size_t bytes = left < room ? left : room;
    memcpy(into, transfer->body + transfer->given, bytes);
    transfer->given += bytes;
    return bytes;
}

static size_t take_answer(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    if (transfer->answer.length + length > transfer->answer_max)
        return 0; /* CURLE_WRITE_ERROR */
    buf_add_bytes(&transfer->answer, bytes, length);
    return length;
}

static void set_headers(struct transfer *transfer, const char *const *headers)
{
    curl_slist_free_all(transfer->headers);
    transfer->headers = curl_slist_append(NULL, "Content-Type: application/json");
    transfer->headers = curl_slist_append(transfer->headers, "Expect:"); /* no 100-continue */
    for (; headers && *headers; headers++)
        transfer->headers = curl_slist_append(transfer->headers, *headers);
}

/* The path to the other side may break without a sign; on a stream nobody would notice. */
static int watch_path(void *context UNUSED, curl_socket_t fd, curlsocktype type UNUSED)
{
    static const int yes = 1, idle_s = 5, between_s = 2, silent_ms = 10000;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof(between_s));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof(silent_ms));
    return CURL_SOCKOPT_OK;
}

static void transfer_start(struct transfer *transfer, const struct http_post *post)
{
    transfer_stop(transfer);
    forget_body(transfer);
    transfer->body = mem_strdup(post->body);
    transfer->length = post->body ? strlen(post->body) : 0;
    transfer->is_secret = post->is_secret;
    transfer->is_tls = post->tls;
    transfer->answer_max = post->answer_max;
    transfer->reason[0] = '\0';
    buf_clear(&transfer->answer);
    set_headers(transfer, post->headers);
    CURL *easy = transfer->easy;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, post->url);
    http_tls__set(easy, post->tls);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)post->connect_ms);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, watch_path);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, post->body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L);
    if (post->body)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->length);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    INVARIANT(curl_multi_add_handle(transfer->multi, easy) == CURLM_OK);
    transfer->is_active = true;
}

static bool is_finished(struct transfer *transfer, CURLcode *ret_code)
{
    int left = 0;
    CURLMsg *message = curl_multi_info_read(transfer->multi, &left);
    if (!message || message->msg != CURLMSG_DONE)
        return false;
    *ret_code = message->data.result;
    return true;
}

/* Under TLS 1.3 this is also how it looks when our certificate is refused and the words that say so
 * were lost on the way. */
static bool was_closed_at_once(const struct transfer *transfer, CURLcode code)
{
    long connects = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
    return transfer->is_tls && connects > 0 && !transfer->answer.length &&
           (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING);
}

static enum status judge(struct transfer *transfer, CURLcode code, struct err *err)
{
    const char *why = transfer->reason[0] ? transfer->reason : curl_easy_strerror(code);
    enum status status = ST_IO;
    bool is_unsent = false;
    if (http_tls__judge(code, why, &is_unsent, err)) {
        transfer->given = is_unsent ? 0 : transfer->given;
        return ST_UNTRUSTED;
    }
    if (was_closed_at_once(transfer, code)) {
        err_set(err, ST_IO, "it closed the connection after the TLS handshake (%s)", why);
        return err_hint(err, "it may not accept our certificate, or want one");
    }
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        status = ST_UNREACHABLE;
    else if (code == CURLE_OPERATION_TIMEDOUT)
        status = transfer->given ? ST_TIMEOUT : ST_UNREACHABLE;
    else if (code == CURLE_WRITE_ERROR)
        return err_set(err, ST_IO, "the answer is longer than %zu bytes", transfer->answer_max);
    return err_set(err, status, "%s", why);
}

/* ---- a line ---- */

void http_answer_release(struct http_answer *answer)
{
    buf_release(&answer->body);
}

struct http_line *http_line_new(void)
{
    struct http_line *line = mem_zalloc(sizeof(*line));
    transfer_init(&line->transfer);
    return line;
}

void http_line_free(struct http_line *line)
{
    if (!line)
        return;
    transfer_release(&line->transfer);
    free(line);
}

/* From when the address was known: a round trip. */
static nsec connecting_took(CURL *easy)
{
    long connects = 0;
    curl_off_t known_us = 0, there_us = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &known_us);
    curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &there_us);
    return connects > 0 && there_us > known_us ? (there_us - known_us) * 1000 : 0;
}

static enum status drive(struct transfer *transfer, const struct http_post *post, struct err *err)
{
    for (;;) {
        int running = 0;
        CURLcode code = CURLE_OK;
        curl_multi_perform(transfer->multi, &running);
        if (is_finished(transfer, &code))
            return code ? judge(transfer, code, err) : ST_OK;
        int ms = clock_ms_left(post->deadline);
        if (!ms)
            return err_set(err, ST_TIMEOUT, "no answer in time");
        if (post->stop && atomic_load(post->stop))
            return err_set(err, ST_ABORTED, "given up");
        curl_multi_poll(transfer->multi, NULL, 0, ms < STOP_SLICE_MS ? ms : STOP_SLICE_MS, NULL);
    }
}

enum status http_send(struct http_line *line, const struct http_post *post,
                      struct http_answer *ret_answer, struct err *err)
{
    struct transfer *transfer = &line->transfer;
    transfer_start(transfer, post);
    enum status status = drive(transfer, post, err);
    *ret_answer = (struct http_answer){.sent = transfer->given > 0,
                                       .certificate_end_s = http_tls__end(transfer->easy),
                                       .connecting = connecting_took(transfer->easy)};
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &ret_answer->code);
    transfer_stop(transfer); /* an unfinished one closes its connection */
    forget_body(transfer);
    ret_answer->body = transfer->answer;
    transfer->answer = (struct buf){0};
    return status;
}

/* ---- a stream ---- */

static void arm(struct http_stream *stream)
{
    nsec at = stream->curl_at < stream->wake_at ? stream->curl_at : stream->wake_at;
    struct itimerspec when = {0};
    if (at != NSEC_NEVER)
        when.it_value = (struct timespec){at / NSEC_PER_SEC, at % NSEC_PER_SEC};
    INVARIANT(timerfd_settime(stream->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

static int on_timer(CURLM *multi UNUSED, long ms, void *context)
{
    struct http_stream *stream = context;
    stream->curl_at = ms < 0 ? NSEC_NEVER : clock_deadline(ms);
    arm(stream);
    return 0;
}

static int on_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *context,
                     void *socket_context UNUSED)
{
    struct http_stream *stream = context;
    struct epoll_event event = {.data.fd = fd};
    event.events |= what == CURL_POLL_IN || what == CURL_POLL_INOUT ? EPOLLIN : 0;
    event.events |= what == CURL_POLL_OUT || what == CURL_POLL_INOUT ? EPOLLOUT : 0;
    if (what == CURL_POLL_REMOVE)
        epoll_ctl(stream->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(stream->epoll, EPOLL_CTL_MOD, fd, &event))
        epoll_ctl(stream->epoll, EPOLL_CTL_ADD, fd, &event);
    return 0;
}

struct http_stream *http_stream_new(void)
{
    struct http_stream *stream = mem_zalloc(sizeof(*stream));
    stream->epoll = epoll_create1(EPOLL_CLOEXEC);
    stream->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    stream->curl_at = stream->wake_at = NSEC_NEVER;
    struct epoll_event readable = {.events = EPOLLIN, .data.fd = stream->timer};
    transfer_init(&stream->transfer);
    if (stream->epoll < 0 || stream->timer < 0 ||
        epoll_ctl(stream->epoll, EPOLL_CTL_ADD, stream->timer, &readable)) {
        http_stream_free(stream);
        return NULL;
    }
    curl_multi_setopt(stream->transfer.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(stream->transfer.multi, CURLMOPT_SOCKETDATA, stream);
    curl_multi_setopt(stream->transfer.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(stream->transfer.multi, CURLMOPT_TIMERDATA, stream);
    return stream;
}

void http_stream_free(struct http_stream *stream)
{
    if (!stream)
        return;
    transfer_release(&stream->transfer);
    if (stream->epoll >= 0)
        close(stream->epoll);
    if (stream->timer >= 0)
        close(stream->timer);
    free(stream);
}

void http_stream_start(struct http_stream *stream, const struct http_post *post)
{
    transfer_start(&stream->transfer, post);
}

const struct buf *http_stream_body(const struct http_stream *stream)
{
    return &stream->transfer.answer;
}

void http_stream_take(struct http_stream *stream, size_t bytes)
{
    struct buf *answer = &stream->transfer.answer;
    memmove(answer->data, answer->data + bytes, answer->length - bytes + 1);
    answer->length -= bytes;
}

static void run_timer(struct http_stream *stream, int *running)
{
    uint64_t expired = 0;
    status_ignore(read(stream->timer, &expired, sizeof(expired)) < 0 ? ST_IO : ST_OK, "not due");
    nsec now = clock_now();
    if (stream->wake_at <= now)
        stream->wake_at = NSEC_NEVER;
    if (stream->curl_at <= now) {
        stream->curl_at = NSEC_NEVER;
        curl_multi_socket_action(stream->transfer.multi, CURL_SOCKET_TIMEOUT, 0, running);
    }
    arm(stream);
}

enum status http_stream_run(struct http_stream *stream, struct err *err)
{
    struct transfer *transfer = &stream->transfer;
    struct epoll_event events[EVENTS_MAX];
    int running = 0, count = epoll_wait(stream->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        if (fd == stream->timer)
            run_timer(stream, &running);
        else
            curl_multi_socket_action(transfer->multi, fd, what, &running);
    }
    CURLcode code = CURLE_OK;
    if (!transfer->is_active)
        return err_set(err, ST_IO, "it has ended");
    if (!is_finished(transfer, &code))
        return ST_OK;
    transfer_stop(transfer);
    return code ? judge(transfer, code, err) : err_set(err, ST_IO, "the other side ended it");
}

int http_stream_fd(const struct http_stream *stream)
{
    return stream->epoll;
}

void http_stream_wake_at(struct http_stream *stream, nsec at)
{
    stream->wake_at = at;
    arm(stream);
}
