/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of the HTTP server only. The loop thread owns connections and speaks to
 * libmicrohttpd; what other threads touch of requests and events is under the server's lock.
 */
#ifndef HOLDFAST_NET_INTERNAL_H
#define HOLDFAST_NET_INTERNAL_H

#include "base/buf.h"
#include "net/server.h"
#include "wire/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* What a connection is about; each has its own time. */
enum phase {
    PHASE_IDLE,   /* waits for a request, or for the rest of its head */
    PHASE_BODY,   /* receives a body */
    PHASE_WORK,   /* we are to answer */
    PHASE_ANSWER, /* sends the answer */
    PHASE_EVENTS, /* sends events */
    PHASE_REFUSED /* was told why, and is about to be closed */
};

struct connection {
    struct connection *next, *previous;
    struct MHD_Connection *mhd;
    int fd;
    enum phase phase;
    nsec since;
    uint64_t bytes_before; /* received when it became idle */
    bool is_surplus;       /* one more than there may be */
    bool is_flooding;      /* sends far more than it may */
};

struct answer {
    int code; /* 0: none yet */
    struct MHD_Response *response;
    bool goes_on; /* it is one of events */
};

struct http_request {
    struct http_server *server;
    struct connection *connection;        /* loop thread only */
    struct http_request *next, *previous; /* of all; under the lock */
    struct http_request *next_job;        /* in the workers' queue */
    atomic_uint references;
    const struct http_route *route;
    struct http_parts parts;
    char *path;
    char who[64];
    struct buf body;
    size_t dropped_bytes; /* of a body that is too long */
    char query[HTTP_PART_MAX + 1];
    bool is_handled; /* loop thread only */
    /* under the lock */
    struct MHD_Connection *mhd; /* NULL: the client is gone */
    bool is_suspended;
    struct answer answer;
};

struct http_events {
    struct http_server *server;
    unsigned references; /* from here on under the lock */
    struct MHD_Connection *mhd;
    struct buf backlog;
    size_t sent; /* of the backlog */
    size_t backlog_max;
    bool is_suspended, has_ended, is_gone;
    nsec silent_since;
    struct http_events *next, *previous;
};

/* A file that is read again when it changes. */
struct watched_file {
    const char *path;
    struct stat seen;
};

struct token {
    char *name, *path;
    enum http_role role;
    struct watched_file file;
    unsigned char digest[32];
};

struct identity; /* certificate and key: server_tls.c */

struct http_server {
    struct http_server_config config; /* texts are copies */
    struct http_limits limits;
    struct MHD_Daemon *mhd;
    int listener, wake;
    uint16_t port;
    pthread_t loop;
    bool has_loop;
    pthread_t *workers;
    size_t worker_count;
    atomic_bool must_stop; /* accept nothing more */
    atomic_bool must_end;  /* leave the loop */
    /* loop thread only */
    struct connection *connections;
    unsigned connection_count;
    struct token *tokens;
    struct identity *identity; /* the newest, and before it those still in use */
    struct watched_file cert, key;
    nsec files_at;
    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t has_job;
    struct http_request *requests, *first_job, *last_job;
    size_t job_count;
    struct http_events *events;
    unsigned event_count, seen_connections;
    uint64_t answered, refused;
};

/* server_request.c */
enum MHD_Result server__on_request(void *context, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *size, void **request);
void server__on_completed(void *context, struct MHD_Connection *mhd, void **request,
                          enum MHD_RequestTerminationCode why);
void server__answer(struct http_request *request, const struct answer *answer); /* takes it */
void *server__work(void *server);
struct connection *server__connection(struct MHD_Connection *mhd);
void server__set_phase(struct connection *connection, enum phase phase);

/* server_events.c */
void server__tend_events(struct http_server *server, nsec now);
void server__end_events(struct http_server *server);

/* server_tokens.c */
MUST_CHECK enum status server__load_tokens(struct http_server *server, struct err *err);
void server__reload_tokens(struct http_server *server);
void server__free_tokens(struct http_server *server);
/* HTTP_OPEN: it is none of them. Takes as long for each. */
enum http_role server__find_role(const struct http_server *server, const char *token, size_t length,
                                 const char **ret_name);
bool watched_file__has_changed(struct watched_file *file);

/* server_tls.c */
MUST_CHECK enum status server__load_identity(struct http_server *server, struct err *err);
void server__reload_identity(struct http_server *server, nsec now);
void server__free_identities(struct http_server *server);
void server__set_current(struct http_server *server); /* of this thread, for the callback */
void *server__identity_callback(void);

#endif
