/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to SQL servers, and calls on many of them at once, every one under a deadline.
 * Built on libmariadb's non-blocking API: one thread drives any number of servers, so a dead or
 * hanging one costs its deadline once, beside the others, and so does a name that does not resolve
 * (resolve.h). A connection belongs to one thread.
 *
 * A call that passes its deadline breaks its connection: what the server does with the packet
 * from then on is unknown (ST_UNKNOWN when it was sent, ST_TIMEOUT when it was not). There is no
 * silent reconnect: session state (locks, backup stages) would be lost unnoticed.
 */
#ifndef HOLDFAST_SQL_CONN_H
#define HOLDFAST_SQL_CONN_H

#include "base/clock.h"
#include "base/err.h"
#include "sql/result.h"

struct sql_conn;
struct secret;

/* Files in PEM. The server's certificate must be signed by 'ca', and name the endpoint's host when
 * 'verify' is set. There is no way back to clear text. */
struct sql_tls {
    const char *ca;         /* NULL: the connection is encrypted, but to whom is not known */
    const char *cert, *key; /* our own, for accounts that require one; both or none are NULL */
    bool verify;
};

/* Where and as whom; the pointers are borrowed and must outlive the connection. */
struct sql_endpoint {
    const char *host; /* a name or a numeric address */
    int port;
    const char *user;
    const struct secret *password;
    const char *password_file; /* NULL, or read again when the server refuses 'password' */
    const char *database;      /* NULL for none */
    const struct sql_tls *tls; /* NULL: clear text */
};

/* One packet for one connection. Filled by the caller up to 'sql'; the rest is the outcome. */
struct sql_call {
    struct sql_conn *conn;
    const char *sql;                        /* one or more statements; NULL only connects */
    nsec deadline;                          /* 0 takes that of sql_run() */
    void (*on_sent)(void *context);         /* the packet left, nothing was read yet; may be NULL */
    void (*on_done)(struct sql_call *call); /* sql_run(): it ended; may be NULL, may close 'conn' */
    void *context;

    enum status status;
    struct err err;
    unsigned sql_errno; /* the server's or client library's error number; 0 when OK */
    struct sql_result result;
    nsec started, finished;
};

struct sql_conn *sql_conn_new(const struct sql_endpoint *endpoint);
void sql_conn_free(struct sql_conn *conn); /* never blocks; NULL is fine */
bool sql_conn_is_open(const struct sql_conn *conn);
void sql_conn_break(struct sql_conn *conn); /* close without asking the server; reusable */
unsigned long sql_conn_id(const struct sql_conn *conn); /* the server's thread id */
const char *sql_conn_server_version(const struct sql_conn *conn);

/* Run all calls side by side until each is done or its deadline passed. Connections that are not
 * open are opened first. Outcomes are in the calls.
 *
 * Of very many not all begin at once: the answers of thousands would come in one heap, and those at
 * its bottom be late through our own fault. A call that has to wait for its turn gets as much time
 * from then on as the others had. It never waits for one that hangs: that gives its place to the
 * next after 200 ms (or later, when all are slow at present), so n servers that hang cost the
 * deadline once, and 200 ms for every 256. */
void sql_run(struct sql_call *calls, size_t count, nsec deadline);
void sql_call_release(struct sql_call *call);

/* One call. The error says which statement of the packet failed. ret may be NULL. */
MUST_CHECK enum status sql_exec(struct sql_conn *conn, const char *sql, nsec deadline,
                                struct sql_result *ret, struct err *err);

/* For event loops that keep calls in flight (the probe): begin a call, then step it whenever its
 * descriptor is ready for sql_call_events() or its deadline passed. True when done. Neither blocks,
 * a name being looked up or not. The descriptor may be another one after every step. */
bool sql_call_begin(struct sql_call *call);
bool sql_call_step(struct sql_call *call, int ready_events);
int sql_call_fd(const struct sql_call *call);
int sql_call_events(const struct sql_call *call); /* POLLIN, POLLOUT, POLLPRI */

/* Append 'text' as a quoted string, or as a quoted identifier. Safe for every text, under any
 * sql_mode: strings are written in hexadecimal when they hold more than plain characters. */
struct buf;
void sql_quote(struct buf *sql, const char *text);
void sql_quote_name(struct buf *sql, const char *name);

#endif
