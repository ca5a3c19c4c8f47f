/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP requests to services that speak JSON: one POST with its answer, or a POST whose answer is
 * a stream without end. Both say whether the request may have reached the other side, which
 * decides whether it may be sent again: nothing here ever sends a body twice by itself.
 *
 * A line and a stream belong to one thread at a time. Redirects are not followed, proxies of the
 * environment are not used. Files of certificates are read for each new connection.
 */
#ifndef HOLDFAST_NET_HTTP_H
#define HOLDFAST_NET_HTTP_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>

struct http_line;   /* asks one request at a time, and keeps the connections for the next */
struct http_stream; /* one answer that goes on and on */

/* Who the other side must be, and who we are; files in PEM. */
struct http_tls {
    const char *ca;         /* authorities that may sign for it; NULL: it may be anybody */
    const char *cert, *key; /* our own; both or neither */
    bool verify;            /* its certificate must be for the host of the URL */
};

struct http_post {
    const char *url;
    const char *body;           /* NULL: a GET */
    const char *const *headers; /* "Name: value", the last is NULL; or NULL */
    const struct http_tls *tls; /* for https; NULL: the URL is one of http */
    bool is_secret;             /* the body holds a password: our copy of it is wiped */
    nsec deadline;              /* of the whole; a stream has none but connect_ms */
    int connect_ms;             /* until there is a connection */
    size_t answer_max;          /* bytes; of a stream: that nobody has taken yet */
    const atomic_bool *stop;    /* ends it early with ST_ABORTED, within 250 ms; or NULL */
};

struct http_answer {
    bool sent; /* a part of the body has left: the other side may act on it */
    long code;
    struct buf body;
    int64_t certificate_end_s; /* of the other side, since 1970; 0: this request met none */
    nsec connecting;           /* what that took; 0: there was a connection */
};
void http_answer_release(struct http_answer *answer);

struct http_line *http_line_new(void);
void http_line_free(struct http_line *line); /* NULL is fine */

/* ST_OK: there is an answer, of whatever code. ST_UNREACHABLE: no connection. ST_UNTRUSTED: no TLS,
 * or not with this certificate, ours or theirs; nothing was sent. ST_TIMEOUT. ST_IO: it broke, or
 * the answer is no HTTP or too long. *ret_answer is set in each case. */
MUST_CHECK enum status http_send(struct http_line *line, const struct http_post *post,
                                 struct http_answer *ret_answer, struct err *err);

struct http_stream *http_stream_new(void);
void http_stream_free(struct http_stream *stream); /* NULL is fine */
void http_stream_start(struct http_stream *stream,
                       const struct http_post *post); /* ends the last */
/* What came and was not taken yet; the caller takes from its front with http_stream_take(). */
const struct buf *http_stream_body(const struct http_stream *stream);
void http_stream_take(struct http_stream *stream, size_t bytes);
/* Do what can be done at once. ST_OK: it goes on. Else it has ended, and why. */
MUST_CHECK enum status http_stream_run(struct http_stream *stream, struct err *err);
int http_stream_fd(const struct http_stream *stream);          /* readable: run it */
void http_stream_wake_at(struct http_stream *stream, nsec at); /* readable then, too */

#endif
