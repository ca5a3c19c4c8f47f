/* SPDX-License-Identifier: Apache-2.0
 *
 * An HTTP server for a table of routes, over libmicrohttpd: one thread of its own speaks to all
 * connections, a few workers run the handlers that may block. It bounds everything that a stranger
 * decides: connections, sizes, and the time for each part of a request. Bearer tokens give a role;
 * a route says which one it needs. Every error is JSON, {"error": what, "hint": what to do}; only
 * what is no HTTP at all is answered by the library, in its own words.
 *
 * Tokens, certificate and key are files, read again when they change. Handlers may answer at once,
 * later from any thread, or with a stream of events that goes on.
 */
#ifndef HOLDFAST_NET_SERVER_H
#define HOLDFAST_NET_SERVER_H

#include "base/clock.h"
#include "base/err.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_request;
struct http_events; /* an answer that goes on: server-sent events */

/* X(id, word). What a route needs, and what a token gives: a viewer reads, an operator may all that
 * a viewer may, and orders; an agent reads, and does what is for agents only. */
#define HTTP_ROLE_TABLE(X)                                                                         \
    X(HTTP_OPEN, "open") /* needs no token */                                                      \
    X(HTTP_VIEWER, "viewer")                                                                       \
    X(HTTP_OPERATOR, "operator")                                                                   \
    X(HTTP_AGENT, "agent")

enum http_role { HTTP_ROLE_TABLE(TABLE_ID) HTTP_ROLES };

const char *http_role_name(enum http_role role);
bool http_role_may(enum http_role has, enum http_role needs);

struct http_route {
    const char *method;  /* "GET" (answers HEAD too), "POST", ... */
    const char *path;    /* "/v1/runs/{id}": see wire/http.h */
    const char *summary; /* for those who read the table */
    enum http_role role;
    bool is_slow; /* may block: runs on a worker */
    void (*handle)(struct http_request *request, void *context);
};

struct http_token {
    const char *name; /* of whom it is, for the audit */
    enum http_role role;
    const char *path; /* of the file with the token alone */
};

struct http_limits {      /* 0: as in the comment */
    unsigned connections; /* 512 at a time; those above are told so */
    unsigned events;      /* 128 streams of events at a time */
    size_t head_bytes;    /* 16 KiB */
    size_t body_bytes;    /* 256 KiB */
    int64_t request_ms;   /* 10 s from a request's first byte to its last */
    int64_t answer_ms;    /* 60 s until a reader has taken an answer */
    int64_t idle_ms;      /* 60 s between two requests of a connection */
    size_t backlog_bytes; /* 1 MiB that a reader of events may be behind */
    unsigned workers;     /* 4 */
};

struct http_server_config {
    const char *host;                /* to listen at */
    uint16_t port;                   /* 0: any that is free */
    const struct http_route *routes; /* ended by {0}; must outlive the server */
    void *context;                   /* of the handlers */
    const struct http_token *tokens; /* copied */
    size_t token_count;
    const char *cert, *key; /* PEM files; NULL: clear text */
    struct http_limits limits;
    /* A file was read again, or could not be: then what was read before stays. May be NULL. */
    void (*note)(void *context, const char *path, const struct err *err);
};

MUST_CHECK enum status http_server_start(const struct http_server_config *config,
                                         struct http_server **ret, struct err *err);
uint16_t http_server_port(const struct http_server *server);
/* Nothing new is accepted, who waits is told so, what is being answered gets 'grace_ms'. Handlers
 * have returned when this returns. NULL is fine. */
void http_server_stop(struct http_server *server, int64_t grace_ms);
/* After that, and after all events and held requests were dropped. NULL is fine. */
void http_server_free(struct http_server *server);

struct http_counts {
    uint64_t requests, refused; /* answered; of these with a code from 400 on */
    unsigned connections, events;
};
struct http_counts http_server_counts(struct http_server *server);

/* ---- a request: good until its handler returns, or as long as it is held ---- */
const char *http_request_path(const struct http_request *request); /* as sent, without the query */
const char *http_request_part(const struct http_request *request, size_t index); /* of {…} */
/* The value of ?name=; "" when it has none; NULL when it is not there. */
const char *http_request_query(struct http_request *request, const char *name);
const char *http_request_header(const struct http_request *request, const char *name);
const char *http_request_body(const struct http_request *request, size_t *ret_length);
const char *http_request_who(const struct http_request *request); /* its token's name; or "" */
/* Answer later: from any thread, as long as it is held. The first answer counts; that nobody waits
 * for it any more is no error. */
void http_request_hold(struct http_request *request);
void http_request_drop(struct http_request *request);

/* ---- answers ---- */
enum { HTTP_EVENTS_PACE_MS = 10000 }; /* silent ones get a comment that often */

void http_respond(struct http_request *request, int code, const char *type, const char *text);
/* The same without a copy: 'text' is of somebody who wants release(owner) when it was sent. */
struct http_text {
    const char *text;
    size_t length;
    void *owner;
    void (*release)(void *owner);
};
void http_respond_shared(struct http_request *request, const char *type,
                         const struct http_text *text);
/* {"error": ..., "hint": ...} */
void http_fail(struct http_request *request, int code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void http_fail_err(struct http_request *request, const struct err *err); /* with its status' code */

/* Begin an answer of server-sent events with this text, however long. NULL: there are too many, and
 * the request was told so. From any thread; the caller drops it at the end. */
struct http_events *http_respond_events(struct http_request *request, const char *first);
/* Queue a text. False: nobody reads any more, or too slowly, and it is over. */
bool http_events_send(struct http_events *events, const char *text);
void http_events_drop(struct http_events *events); /* ends it; NULL is fine */

#endif
