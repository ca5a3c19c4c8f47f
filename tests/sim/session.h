/* SPDX-License-Identifier: Apache-2.0
 *
 * One client's connection: log-in, packets of statements, answers that may be late. Its memory is
 * never given back, only used again: 'serial' says which life a timer meant.
 *
 * A handler of statements tries to do its work now. When it cannot, it returns session_wait(), and
 * is called again, with the same statement, when the server's state changed or the time is over.
 */
#ifndef HOLDFAST_SIM_SESSION_H
#define HOLDFAST_SIM_SESSION_H

#include "base/buf.h"
#include "base/clock.h"
#include "sim/model.h"

enum outcome { RUN_DONE, RUN_WAIT, RUN_FAILED };
enum session_phase { SESSION_LOGIN, SESSION_READY, SESSION_RUNNING, SESSION_ANSWERING };

struct session {
    struct watch watch;
    struct sim_server *server;
    struct session *next, *previous; /* of the server */
    uint64_t serial;
    uint32_t id; /* what the client calls its connection id */
    enum session_phase phase;
    int account;     /* index in sim->accounts */
    bool is_orphan;  /* its client is gone, its statement goes on */
    bool is_leaving; /* closes after the answer */
    uint8_t scramble[WIRE_SCRAMBLE];
    struct buf in, out, packet;
    size_t sent;
    bool is_blocked; /* the socket takes no more for now */
    struct wire_reply reply;

    char *statement, *rest; /* in 'packet' */
    nsec began;             /* this statement */
    nsec bound;             /* its max_statement_time; NSEC_NEVER: none */
    bool is_waiting;
    nsec wake_at, timer_at;
    const char *state; /* what SHOW PROCESSLIST says while it waits */
};

extern const char session_waits_for_ack[], session_waits_for_backup[];

void session_accept(struct watch *listener);
void session_end(struct session *session);
/* The hook of the loop: statements whose server changed try again. */
void session_wake_all(void *sim);

/* ---- between session.c and run.c ---- */
void session_run(struct session *session, const void *text, size_t length);
void session_reply(struct session *session); /* send what is in 'out', when it is time */
void session_stop_waiting(struct session *session);
void session_shrink(struct buf *buf); /* empty; a big one gives its memory back */

/* ---- for handlers ---- */
bool session_is_privileged(const struct session *session);
enum outcome session_wait(struct session *session, nsec until, const char *state);
enum outcome session_ok(struct session *session, uint64_t rows);
enum outcome session_fail(struct session *session, unsigned code, const char *state,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A statement that is not in the tables: error 1064, a line on stderr, counted. */
enum outcome session_unknown(struct session *session, const char *what);
void session_columns(struct session *session, const char *const *names, size_t count);
void session_row(struct session *session, const char *const *values, size_t count);
enum outcome session_rows_end(struct session *session);

#endif
