/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's life: listening, its loop, the clocks of its connections, and its end. The library's
 * own timeout knows silence only; somebody who sends a byte now and then is ours to end. He is told
 * why as long as that is possible: in clear text, before an answer has begun.
 */
#include "net/internal.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum {
    TICK_MS = 100,
    FILES_MS = 1000,          /* how often files are looked at */
    SURPLUS = 32,             /* connections that are only told that there are too many */
    MEMORY_BYTES = 64 * 1024, /* of a connection: its head must fit, with room to spare */
    USER_TIMEOUT_MS = 30000,  /* what was sent and is not acknowledged for so long ends it */
    REFUSED_MS = 1000,
    CROWDED_IDLE_MS = 1000 /* who is idle for so long makes room when there are too many */
};

/* --- Connections --- */

struct connection *server__connection(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static uint64_t bytes_received(const struct connection *connection)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof(info);
    if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &length))
        return 0;
    return info.tcpi_bytes_received;
}

void server__set_phase(struct connection *connection, enum phase phase)
{
    connection->phase = phase;
    connection->since = clock_now();
    if (phase == PHASE_IDLE)
        connection->bytes_before = bytes_received(connection);
}

static void publish_count(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->seen_connections = server->connection_count;
    pthread_mutex_unlock(&server->lock);
}

static void add_connection(struct http_server *server, struct MHD_Connection *mhd, void **place)
{
    static const unsigned user_timeout_ms = USER_TIMEOUT_MS;
    struct connection *connection = mem_zalloc(sizeof(*connection));
    connection->mhd = mhd;
    connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
               sizeof(user_timeout_ms));
    server__set_phase(connection, PHASE_IDLE);
    connection->bytes_before = 0;
    connection->is_surplus = server->connection_count >= server->limits.connections;
    connection->next = server->connections;
    if (connection->next)
        connection->next->previous = connection;
    server->connections = connection;
    server->connection_count++;
    *place = connection;
}

static void remove_connection(struct http_server *server, struct connection *connection)
{
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    server->connection_count--;
    free(connection);
}

static void on_connection(void *context, struct MHD_Connection *mhd, void **place,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *server = context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        add_connection(server, mhd, place);
    else
        remove_connection(server, *place);
    publish_count(server);
}

/* --- Ending those that take too long --- */

struct refusal {
    int code;
    const char *reason, *error, *hint;
};

static const struct refusal too_slow = {
    408, "Request Timeout", "the request did not come to its end in time", "send it at once"};
static const struct refusal too_much = {
    413, "Content Too Large", "the body is far longer than it may be", "send less in one request"};

/* Without an answer under way, nobody else writes to this socket. */
static void refuse(struct http_server *server, struct connection *connection,
                   const struct refusal *refusal)
{
    if (!server->identity) {
        AUTO_FREE char *json =
            mem_printf("{\"error\":\"%s\",\"hint\":\"%s\"}", refusal->error, refusal->hint);
        AUTO_FREE char *text =
            mem_printf("HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       refusal->code, refusal->reason, strlen(json), json);
        ssize_t ignored = send(connection->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)ignored;
    }
    shutdown(connection->fd, SHUT_WR);
    server__set_phase(connection, PHASE_REFUSED);
}

static void end_connection(struct connection *connection)
{
    shutdown(connection->fd, SHUT_RDWR);
    server__set_phase(connection, PHASE_REFUSED);
}

static void tend_idle(struct http_server *server, struct connection *connection, int64_t for_ms)
{
    bool has_begun = bytes_received(connection) > connection->bytes_before;
    int64_t limit_ms = has_begun ? server->limits.request_ms : server->limits.idle_ms;
    bool is_crowded = server->connection_count > server->limits.connections;
    if (has_begun && for_ms > limit_ms)
        refuse(server, connection, &too_slow);
    else if (for_ms > (is_crowded ? CROWDED_IDLE_MS : limit_ms))
        end_connection(connection);
}

static void tend(struct http_server *server, struct connection *connection, nsec now)
{
    int64_t for_ms = (now - connection->since) / NSEC_PER_MS;
    switch (connection->phase) {
    case PHASE_IDLE:
        tend_idle(server, connection, for_ms);
        break;
    case PHASE_BODY:
        if (connection->is_flooding)
            refuse(server, connection, &too_much);
        else if (for_ms > server->limits.request_ms)
            refuse(server, connection, &too_slow);
        break;
    case PHASE_ANSWER:
        if (for_ms > server->limits.answer_ms)
            end_connection(connection);
        break;
    case PHASE_REFUSED:
        if (for_ms > REFUSED_MS)
            shutdown(connection->fd, SHUT_RDWR);
        break;
    case PHASE_WORK: /* its handler has a deadline */
    case PHASE_EVENTS:
        break;
    }
}

static void tend_all(struct http_server *server, nsec now)
{
    for (struct connection *each = server->connections; each; each = each->next)
        tend(server, each, now);
    server__tend_events(server, now);
    if (now < server->files_at)
        return;
    server->files_at = now + FILES_MS * NSEC_PER_MS;
    server__reload_tokens(server);
    server__reload_identity(server, now);
}

/* --- The loop --- */

static void run_once(struct http_server *server, int descriptor)
{
    MHD_UNSIGNED_LONG_LONG due_ms = TICK_MS;
    if (MHD_get_timeout(server->mhd, &due_ms) != MHD_YES || due_ms > TICK_MS)
        due_ms = TICK_MS;
    struct pollfd fds[] = {{descriptor, POLLIN, 0}, {server->wake, POLLIN, 0}};
    if (poll(fds, 2, (int)due_ms) > 0 && fds[1].revents) {
        eventfd_t ignored = 0;
        eventfd_read(server->wake, &ignored);
    }
    MHD_run(server->mhd);
}

static void *loop(void *context)
{
    struct http_server *server = context;
    int descriptor = MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    nsec tend_at = 0;
    server__set_current(server);
    while (!atomic_load(&server->must_end)) {
        run_once(server, descriptor);
        nsec now = clock_now();
        if (now < tend_at)
            continue;
        tend_all(server, now);
        tend_at = now + TICK_MS * NSEC_PER_MS;
    }
    return NULL;
}

/* --- Start --- */

static int open_listener(const struct addrinfo *at)
{
    static const int yes = 1;
    AUTO_CLOSE int fd =
        socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ||
        bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, SOMAXCONN))
        return -1;
    return take_fd(&fd);
}

static enum status start_listening(struct http_server *server, struct err *err)
{
    const struct http_server_config *config = &server->config;
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", config->port);
    int code = getaddrinfo(config->host, port, &wanted, &found);
    if (code)
        return err_set(err, ST_INVALID, "listen at %s: %s", config->host, gai_strerror(code));
    server->listener = open_listener(found);
    int error = errno;
    freeaddrinfo(found);
    if (server->listener < 0) {
        err_set(err, ST_UNREACHABLE, "listen at %s:%u: %s", config->host, config->port,
                strerror(error));
        return err_hint(err, "is another one running, or is the address not of this machine?");
    }
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    getsockname(server->listener, (struct sockaddr *)&address, &length);
    server->port =
        ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                            : ((struct sockaddr_in *)&address)->sin_port);
    return ST_OK;
}

/* Decoding is ours: piece by piece, after the path was taken apart. */
static size_t leave_as_it_is(void *context UNUSED, struct MHD_Connection *mhd UNUSED, char *text)
{
    return strlen(text);
}

static enum status start_library(struct http_server *server, struct err *err)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, server__identity_callback()},
        {MHD_OPTION_END, 0, NULL}};
    if (!server->config.cert)
        tls[0] = tls[2];
    else
        flags |= MHD_USE_TLS;
    server->mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, server__on_request, server, MHD_OPTION_LISTEN_SOCKET,
        server->listener, MHD_OPTION_CONNECTION_LIMIT, server->limits.connections + SURPLUS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES + server->limits.head_bytes,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(server->limits.answer_ms / 1000 + 1),
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
        server__on_completed, server, MHD_OPTION_UNESCAPE_CALLBACK, leave_as_it_is, NULL,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY,
        tls, MHD_OPTION_END);
    return server->mhd
               ? ST_OK
               : err_set(err, ST_INTERNAL, "libmicrohttpd does not start: %s", strerror(errno));
}

static enum status start_threads(struct http_server *server, struct err *err)
{
    server->workers = mem_zalloc(server->limits.workers * sizeof(*server->workers));
    int error = 0;
    while (!error && server->worker_count < server->limits.workers) {
        error = pthread_create(&server->workers[server->worker_count], NULL, server__work, server);
        server->worker_count += !error;
    }
    if (!error)
        error = pthread_create(&server->loop, NULL, loop, server);
    server->has_loop = !error;
    return error ? err_set_errno(err, error, "start", "threads") : ST_OK;
}

#define DEFAULT(field, value) limits->field = limits->field ? limits->field : (value)

static void set_limits(struct http_limits *limits)
{
    DEFAULT(connections, 512);
    DEFAULT(events, 128);
    DEFAULT(head_bytes, 16 * 1024);
    DEFAULT(body_bytes, 256 * 1024);
    DEFAULT(request_ms, 10 * 1000);
    DEFAULT(answer_ms, 60 * 1000);
    DEFAULT(idle_ms, 60 * 1000);
    DEFAULT(backlog_bytes, 1024 * 1024);
    DEFAULT(workers, 4);
}

static struct http_server *server_new(const struct http_server_config *config)
{
    struct http_server *server = mem_zalloc(sizeof(*server));
    server->config = *config;
    server->config.host = mem_strdup(config->host);
    server->config.cert = mem_strdup(config->cert);
    server->config.key = mem_strdup(config->key);
    server->cert.path = server->config.cert;
    server->key.path = server->config.key;
    server->limits = config->limits;
    set_limits(&server->limits);
    server->listener = -1;
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    INVARIANT(server->wake >= 0);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->has_job, NULL);
    return server;
}

enum status http_server_start(const struct http_server_config *config, struct http_server **ret,
                              struct err *err)
{
    struct http_server *server = server_new(config);
    enum status status = server__load_tokens(server, err);
    watched_file__has_changed(&server->cert);
    watched_file__has_changed(&server->key);
    if (!status && config->cert)
        status = server__load_identity(server, err);
    if (!status)
        status = start_listening(server, err);
    if (!status)
        status = start_library(server, err);
    if (!status)
        status = start_threads(server, err);
    if (status) {
        http_server_stop(server, 0);
        http_server_free(server);
        return status;
    }
    *ret = server;
    return ST_OK;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

struct http_counts http_server_counts(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    struct http_counts counts = {server->answered, server->refused, server->seen_connections,
                                 server->event_count};
    pthread_mutex_unlock(&server->lock);
    return counts;
}

/* --- End --- */

/* Those that wait are told so. */
static void answer_waiting(struct http_server *server)
{
    for (;;) {
        struct http_request *waiting = NULL;
        pthread_mutex_lock(&server->lock);
        for (struct http_request *each = server->requests; each && !waiting; each = each->next)
            waiting = each->is_suspended ? each : NULL;
        if (waiting)
            http_request_hold(waiting);
        pthread_mutex_unlock(&server->lock);
        if (!waiting)
            return;
        http_fail(waiting, MHD_HTTP_SERVICE_UNAVAILABLE, "ask again, here or at another conductor",
                  "it is stopping");
        http_request_drop(waiting);
    }
}

static bool is_busy(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool is_busy = server->requests || server->event_count > 0;
    pthread_mutex_unlock(&server->lock);
    return is_busy;
}

/* Until all is answered, or time is up; the loop itself goes on meanwhile. */
static void drain(struct http_server *server, int64_t grace_ms)
{
    nsec deadline = clock_deadline(grace_ms);
    do {
        answer_waiting(server);
        server__end_events(server);
        eventfd_write(server->wake, 1);
        poll(NULL, 0, 5);
    } while (is_busy(server) && clock_now() < deadline);
}

void http_server_stop(struct http_server *server, int64_t grace_ms)
{
    if (!server || !server->mhd)
        return;
    MHD_quiesce_daemon(server->mhd);
    pthread_mutex_lock(&server->lock);
    atomic_store(&server->must_stop, true);
    pthread_cond_broadcast(&server->has_job);
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < server->worker_count; i++)
        pthread_join(server->workers[i], NULL);
    drain(server, grace_ms);
    atomic_store(&server->must_end, true);
    eventfd_write(server->wake, 1);
    if (server->has_loop)
        pthread_join(server->loop, NULL);
    answer_waiting(server); /* a suspended one must not meet the end of the library */
    server__end_events(server);
    MHD_run(server->mhd);
    MHD_stop_daemon(take_pointer(server->mhd));
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    INVARIANT(!server->mhd && !server->requests && !server->events);
    server__free_tokens(server);
    server__free_identities(server);
    if (server->listener >= 0)
        close(server->listener);
    close(server->wake);
    free(server->workers);
    free((char *)server->config.host);
    free((char *)server->config.cert);
    free((char *)server->config.key);
    pthread_cond_destroy(&server->has_job);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
