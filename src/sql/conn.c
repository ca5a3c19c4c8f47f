/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a connection and of one call on it: resolve the host's name, connect, send, read
 * every result set. Each phase after the first starts or continues one libmariadb operation;
 * 'waiting' says what it waits for.
 * Running many calls at once is run.c. */
#include "sql/conn.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/secret.h"
#include "os/file.h"
#include "sql/internal.h"
#include "sql/resolve.h"
#include "sql/tls.h"

#include <errmsg.h>
#include <errno.h>
#include <fcntl.h>
#include <mysqld_error.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum phase { PHASE_IDLE, PHASE_RESOLVE, PHASE_CONNECT, PHASE_QUERY, PHASE_STORE, PHASE_NEXT };

struct sql_conn {
    struct sql_endpoint endpoint;
    struct resolve resolve;
    size_t address;            /* which one of the host's is tried */
    MYSQL *mysql;              /* NULL while closed */
    struct tls_dial *dial;     /* while it connects under TLS */
    struct secret rotated;     /* what password_file said when the password was refused */
    bool is_open, was_rotated; /* ... in this call */
    const char *refusal;       /* of the server that was dialled last; static */
    enum phase phase;
    int waiting; /* MYSQL_WAIT_* of the suspended operation; 0 when none is */
    bool was_sent;
};

struct sql_conn *sql_conn_new(const struct sql_endpoint *endpoint)
{
    struct sql_conn *conn = mem_zalloc(sizeof(*conn));
    conn->endpoint = *endpoint;
    return conn;
}

/* mysql_close() sends a farewell and would wait for a stopped server; after shutdown() of the
 * socket it cannot. */
void sql_conn_break(struct sql_conn *conn)
{
    tls_dial_free(conn->dial);
    conn->dial = NULL;
    if (conn->mysql) {
        int fd = mysql_get_socket(conn->mysql);
        if (fd >= 0)
            shutdown(fd, SHUT_RDWR);
        mysql_close(conn->mysql);
    }
    resolve_release(&conn->resolve);
    conn->mysql = NULL;
    conn->is_open = false;
    conn->phase = PHASE_IDLE;
    conn->waiting = 0;
}

/* The farewell that libmariadb sends when it closes goes to a socket that nobody reads. */
int sql__conn_give_socket(struct sql_conn *conn)
{
    int nobody[2];
    if (!conn->is_open || conn->endpoint.tls || conn->phase != PHASE_IDLE ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, nobody))
        return -1;
    int fd = mysql_get_socket(conn->mysql);
    int given = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (given >= 0 && dup2(nobody[0], fd) < 0) {
        close(given);
        given = -1;
    }
    close(nobody[0]);
    close(nobody[1]);
    if (given >= 0)
        sql_conn_break(conn);
    return given;
}

void sql_conn_free(struct sql_conn *conn)
{
    if (!conn)
        return;
    sql_conn_break(conn);
    secret_release(&conn->rotated);
    free(conn);
}

bool sql_conn_is_open(const struct sql_conn *conn)
{
    return conn->is_open;
}

unsigned long sql_conn_id(const struct sql_conn *conn)
{
    return conn->is_open ? mysql_thread_id(conn->mysql) : 0;
}

const char *sql_conn_server_version(const struct sql_conn *conn)
{
    return conn->is_open ? mysql_get_server_info(conn->mysql) : "";
}

static enum status status_of_sql(unsigned number, bool was_sent)
{
    switch (number) {
    case ER_STATEMENT_TIMEOUT:
    case ER_LOCK_WAIT_TIMEOUT:
        return ST_TIMEOUT;
    case ER_QUERY_INTERRUPTED:
        return ST_ABORTED;
    case ER_EVENT_DOES_NOT_EXIST:
        return ST_NOT_FOUND;
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
    case ER_TABLEACCESS_DENIED_ERROR:
    case ER_SPECIFIC_ACCESS_DENIED_ERROR:
    case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
        return ST_DENIED;
    case CR_SERVER_LOST:
    case CR_SERVER_GONE_ERROR:
    case ER_CONNECTION_KILLED:
        return was_sent ? ST_UNKNOWN : ST_UNREACHABLE;
    case CR_CONNECTION_ERROR:
    case CR_CONN_HOST_ERROR:
    case CR_UNKNOWN_HOST:
    case CR_IPSOCK_ERROR:
        return ST_UNREACHABLE;
    case CR_SSL_CONNECTION_ERROR:
        return was_sent ? ST_UNKNOWN : ST_UNTRUSTED;
    default:
        return ST_SQL;
    }
}

/* What a server that is going down, or cut off, makes of a handshake. */
static bool was_cut_off(const char *error)
{
    static const char *const words[] = {"Connection reset", "Broken pipe", "eof", "timed out"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strstr(error, words[i]))
            return true;
    return false;
}

static bool finish(struct sql_call *call, enum status status)
{
    struct sql_conn *conn = call->conn;
    conn->phase = PHASE_IDLE;
    conn->waiting = 0;
    call->status = status;
    call->finished = clock_now();
    return true;
}

/* A server quotes what it does not understand: not to be repeated when the packet holds a secret.
 */
static const char *server_words(const struct sql_call *call)
{
    return strstr(call->sql, "PASSWORD=") ? "refused" : mysql_error(call->conn->mysql);
}

/* Why it is not connected, in words of ours where the library's would mislead. */
static enum status fail_to_connect(struct sql_call *call)
{
    const struct sql_conn *conn = call->conn;
    const char *why = mysql_error(conn->mysql);
    enum status status = status_of_sql(call->sql_errno, false);
    if (conn->refusal) {
        status = ST_UNTRUSTED;
        why = conn->refusal;
    } else if (status == ST_UNTRUSTED && was_cut_off(why)) {
        status = ST_UNREACHABLE;
    }
    return err_set(&call->err, status, "%s:%d: connect: %s (error %u)", conn->endpoint.host,
                   conn->endpoint.port, why, call->sql_errno);
}

static bool fail(struct sql_call *call)
{
    struct sql_conn *conn = call->conn;
    call->sql_errno = mysql_errno(conn->mysql);
    enum status status = status_of_sql(call->sql_errno, conn->was_sent);
    if (!conn->was_sent)
        status = fail_to_connect(call);
    else
        err_set(&call->err, status, "%s:%d: statement %zu: %s (error %u)", conn->endpoint.host,
                conn->endpoint.port, call->result.count + 1, server_words(call), call->sql_errno);
    bool is_lost = !conn->is_open ||
                   (call->sql_errno >= CR_MIN_ERROR && call->sql_errno <= CR_MAX_ERROR) ||
                   call->sql_errno == ER_CONNECTION_KILLED;
    if (is_lost)
        sql_conn_break(conn);
    return finish(call, status);
}

static bool fail_to_resolve(struct sql_call *call)
{
    const struct sql_endpoint *at = &call->conn->endpoint;
    call->sql_errno = CR_UNKNOWN_HOST;
    err_set(&call->err, ST_UNREACHABLE, "%s:%d: the name does not resolve: %s", at->host, at->port,
            call->conn->resolve.answer.why);
    return finish(call, ST_UNREACHABLE);
}

static bool expire(struct sql_call *call)
{
    struct sql_conn *conn = call->conn;
    if (conn->phase == PHASE_RESOLVE) {
        resolve_finish(&conn->resolve);
        if (conn->resolve.answer.count == 0)
            return fail_to_resolve(call);
    }
    nsec waited = clock_now() - call->started;
    enum status status = conn->was_sent ? ST_UNKNOWN : ST_TIMEOUT;
    err_set(&call->err, status, "%s:%d: no answer %s within %.0f ms", conn->endpoint.host,
            conn->endpoint.port, conn->was_sent ? "to a statement" : "to connect",
            clock_ms(waited));
    sql_conn_break(conn);
    return finish(call, status);
}

static void resolve_start(struct sql_call *call)
{
    struct sql_conn *conn = call->conn;
    conn->phase = PHASE_RESOLVE;
    conn->address = 0;
    bool is_answered = resolve_begin(&conn->resolve, conn->endpoint.host, call->deadline);
    conn->waiting = is_answered ? 0 : MYSQL_WAIT_READ;
}

/* What the account's password is as far as we know. */
static const char *password_of(const struct sql_conn *conn)
{
    if (secret_is_set(&conn->rotated))
        return secret_reveal(&conn->rotated);
    return conn->endpoint.password ? secret_reveal(conn->endpoint.password) : NULL;
}

static void connect_start(struct sql_conn *conn, const char *address, unsigned long flags)
{
    const struct sql_endpoint *at = &conn->endpoint;
    MYSQL *connected = NULL;
    conn->waiting =
        mysql_real_connect_start(&connected, conn->mysql, address, at->user, password_of(conn),
                                 at->database, (unsigned)at->port, NULL, flags);
    conn->is_open = !conn->waiting && connected;
}

static void dial_ended(struct sql_conn *conn)
{
    conn->is_open = tls_dial_succeeded(conn->dial);
    conn->refusal = tls_dial_refusal(conn->dial);
    tls_dial_free(conn->dial);
    conn->dial = NULL;
}

static void dial_start(struct sql_conn *conn, const char *address, unsigned long flags)
{
    struct tls_dial_spec spec = {conn->mysql, &conn->endpoint, address, password_of(conn), flags};
    conn->dial = tls_dial_new(&spec);
    conn->waiting = tls_dial_step(conn->dial, 0);
    if (!conn->waiting)
        dial_ended(conn);
}

/* libmariadb gets an address, because it would block on a name. */
static void open_start(struct sql_conn *conn)
{
    static const unsigned long flags = CLIENT_MULTI_STATEMENTS | CLIENT_MULTI_RESULTS;
    const char *address = conn->resolve.answer.addresses[conn->address];
    conn->mysql = mysql_init(NULL);
    INVARIANT(conn->mysql);
    mysql_options(conn->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    unsigned protocol = MYSQL_PROTOCOL_TCP;
    mysql_options(conn->mysql, MYSQL_OPT_PROTOCOL, &protocol);
    conn->phase = PHASE_CONNECT;
    conn->refusal = NULL;
    if (conn->endpoint.tls) {
        tls_set_options(conn->mysql, conn->endpoint.tls);
        dial_start(conn, address, flags);
    } else {
        mysql_options(conn->mysql, MYSQL_OPT_NONBLOCK, 0);
        connect_start(conn, address, flags);
    }
}

/* A name may have several addresses: when nobody listens at one, the next one is tried. */
static bool open_next(struct sql_conn *conn)
{
    unsigned error = mysql_errno(conn->mysql);
    if (conn->phase != PHASE_CONNECT || conn->address + 1 >= conn->resolve.answer.count ||
        (error != CR_CONNECTION_ERROR && error != CR_CONN_HOST_ERROR))
        return false;
    sql_conn_break(conn);
    conn->address++;
    open_start(conn);
    return true;
}

/* The password was changed while we run: what its file says now is tried, once a call. */
static bool open_again(struct sql_conn *conn)
{
    const char *path = conn->endpoint.password_file;
    AUTO_FREE char *text = NULL;
    bool is_exposed = false;
    if (conn->phase != PHASE_CONNECT || !path || conn->was_rotated ||
        mysql_errno(conn->mysql) != ER_ACCESS_DENIED_ERROR ||
        file_read_secret(path, &text, &is_exposed, NULL) != ST_OK)
        return false;
    conn->was_rotated = true;
    const char *old = password_of(conn);
    bool is_new = !old || strcmp(text, old) != 0;
    if (is_new) {
        secret_set(&conn->rotated, text, strlen(text));
        sql_conn_break(conn);
        open_start(conn);
    }
    explicit_bzero(text, strlen(text));
    return is_new;
}

/* A server says nothing unasked but its farewell. Whatever is sent after that reaches nobody, which
 * is known only before it is sent: afterwards the outcome is unknown. */
static bool was_closed_while_idle(const struct sql_conn *conn)
{
    char farewell;
    ssize_t got = recv(mysql_get_socket(conn->mysql), &farewell, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static bool fail_unsent(struct sql_call *call)
{
    const struct sql_endpoint *at = &call->conn->endpoint;
    call->sql_errno = CR_SERVER_GONE_ERROR;
    err_set(&call->err, ST_UNREACHABLE, "%s:%d: the server closed the connection", at->host,
            at->port);
    sql_conn_break(call->conn);
    return finish(call, ST_UNREACHABLE);
}

static void query_start(struct sql_call *call)
{
    int failed = 0;
    struct sql_conn *conn = call->conn;
    conn->phase = PHASE_QUERY;
    conn->was_sent = true;
    conn->waiting = mysql_real_query_start(&failed, conn->mysql, call->sql, strlen(call->sql));
    if (call->on_sent)
        call->on_sent(call->context);
}

/* Continue what is suspended; true when the operation of this phase ended. */
static bool advance_operation(struct sql_call *call, int ready)
{
    struct sql_conn *conn = call->conn;
    int failed = 0;
    MYSQL *connected = NULL;
    MYSQL_RES *rows = NULL;
    switch (conn->phase) {
    case PHASE_RESOLVE:
        resolve_finish(&conn->resolve);
        conn->waiting = 0;
        break;
    case PHASE_CONNECT:
        if (conn->dial) {
            conn->waiting = tls_dial_step(conn->dial, ready);
            if (!conn->waiting)
                dial_ended(conn);
            break;
        }
        conn->waiting = mysql_real_connect_cont(&connected, conn->mysql, ready);
        conn->is_open = !conn->waiting && connected;
        break;
    case PHASE_QUERY:
        conn->waiting = mysql_real_query_cont(&failed, conn->mysql, ready);
        break;
    case PHASE_STORE:
        conn->waiting = mysql_store_result_cont(&rows, conn->mysql, ready);
        if (!conn->waiting && rows)
            VEC_PUSH(call->result.sets, call->result.count, call->result.capacity,
                     sql__set_of(rows));
        break;
    case PHASE_NEXT:
        conn->waiting = mysql_next_result_cont(&failed, conn->mysql, ready);
        break;
    case PHASE_IDLE:
        break;
    }
    return conn->waiting == 0;
}

/* Read the set at hand; a statement without rows gives none. */
static void store_start(struct sql_call *call)
{
    struct sql_conn *conn = call->conn;
    MYSQL_RES *rows = NULL;
    conn->phase = PHASE_STORE;
    conn->waiting = 0;
    if (mysql_field_count(conn->mysql) > 0)
        conn->waiting = mysql_store_result_start(&rows, conn->mysql);
    if (!conn->waiting && (rows || mysql_errno(conn->mysql) == 0))
        VEC_PUSH(call->result.sets, call->result.count, call->result.capacity, sql__set_of(rows));
}

static void next_start(struct sql_conn *conn)
{
    int failed = 0;
    conn->phase = PHASE_NEXT;
    conn->waiting = mysql_next_result_start(&failed, conn->mysql);
}

/* From phase to phase as long as nothing has to be waited for. True when the call is done. */
static bool advance_phases(struct sql_call *call)
{
    struct sql_conn *conn = call->conn;
    while (conn->waiting == 0) {
        bool has_failed = conn->mysql && conn->phase != PHASE_IDLE && mysql_errno(conn->mysql) != 0;
        if (has_failed && (open_next(conn) || open_again(conn)))
            continue;
        if (has_failed)
            return fail(call);
        switch (conn->phase) {
        case PHASE_RESOLVE:
            if (conn->resolve.answer.count == 0)
                return fail_to_resolve(call);
            open_start(conn);
            break;
        case PHASE_IDLE:
            if (!conn->is_open) {
                resolve_start(call);
                break;
            }
            if (call->sql && was_closed_while_idle(conn))
                return fail_unsent(call);
            /* fall through */
        case PHASE_CONNECT:
            if (!call->sql)
                return finish(call, ST_OK);
            query_start(call);
            break;
        case PHASE_QUERY:
        case PHASE_NEXT:
            store_start(call);
            break;
        case PHASE_STORE:
            if (!mysql_more_results(conn->mysql))
                return finish(call, ST_OK);
            next_start(conn);
            break;
        }
    }
    return false;
}

bool sql_call_begin(struct sql_call *call)
{
    struct sql_conn *conn = call->conn;
    INVARIANT(conn->phase == PHASE_IDLE);
    call->started = clock_now();
    call->err = (struct err)ERR_INIT;
    call->status = ST_OK;
    call->sql_errno = 0;
    conn->was_sent = conn->was_rotated = false;
    return advance_phases(call);
}

static int ready_flags(int events)
{
    return (events & (POLLIN | POLLHUP | POLLERR) ? MYSQL_WAIT_READ : 0) |
           (events & (POLLOUT | POLLHUP | POLLERR) ? MYSQL_WAIT_WRITE : 0) |
           (events & POLLPRI ? MYSQL_WAIT_EXCEPT : 0);
}

bool sql_call_step(struct sql_call *call, int ready_events)
{
    int ready = ready_flags(ready_events) & call->conn->waiting;
    if (!ready)
        return clock_now() >= call->deadline ? expire(call) : false;
    if (!advance_operation(call, ready))
        return false;
    return advance_phases(call);
}

int sql_call_fd(const struct sql_call *call)
{
    const struct sql_conn *conn = call->conn;
    return conn->phase == PHASE_RESOLVE ? conn->resolve.fd : mysql_get_socket(conn->mysql);
}

int sql_call_events(const struct sql_call *call)
{
    int waiting = call->conn->waiting;
    return (waiting & MYSQL_WAIT_READ ? POLLIN : 0) | (waiting & MYSQL_WAIT_WRITE ? POLLOUT : 0) |
           (waiting & MYSQL_WAIT_EXCEPT ? POLLPRI : 0);
}

void sql_call_release(struct sql_call *call)
{
    sql_result_release(&call->result);
}
