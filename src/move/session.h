/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: connections that may change a server. Each holds the server's user lock "holdfast";
 * what that and the fencing token guarantee together is at the head of session.c. A session belongs
 * to one thread.
 */
#ifndef HOLDFAST_MOVE_SESSION_H
#define HOLDFAST_MOVE_SESSION_H

#include "base/clock.h"
#include "base/err.h"
#include "fleet/inventory.h"
#include "move/calls.h"
#include "sql/conn.h"
#include "sql/flavour.h"

struct mandate;

#define SESSION_LOCK "holdfast" /* the server's user lock */
enum { SESSIONS_MAX = 64 };     /* taken at once */

/* Whose server it is: names the calls. */
enum session_end { SESSION_OLD, SESSION_NEW, SESSION_ROLE, SESSION_ENDS };

struct session {
    struct sql_conn *conn;
    const struct inventory_server *server;
    const struct sql_flavour *flavour;
    enum session_end end;
    bool is_held;          /* has the lock */
    unsigned long last_id; /* connection id of this process's previous session there */
};

/* Make sure the session is open and holds the server's lock; evicts an older session of ours (or
 * of the process whose run was resumed), and checks the fencing token after it has the lock. */
MUST_CHECK enum status session_take(const struct mandate *mandate, struct session *session,
                                    nsec deadline, struct err *err);
/* All of them, with one look at the token after the last lock was taken. */
MUST_CHECK enum status session_take_all(const struct mandate *mandate,
                                        struct session *const *sessions, size_t count,
                                        nsec deadline, struct err *err);
/* Give the session up, so that the next session_take() evicts it and starts afresh. */
void session_drop(struct session *session);
void session_release(struct session *session);
/* Let go of the server's lock before the connection is closed, which the server may be slow to see:
 * somebody else, or another session of ours, shall find it free. */
void session_give_back(struct session *session, nsec deadline);
/* One packet under its name: passes the crash points. 'ret' may be NULL. */
MUST_CHECK enum status session_exec(struct session *session, enum call call, const char *sql,
                                    nsec deadline, struct sql_result *ret, struct err *err);
/* The value in the first column of the last row that the packet gave; NULL when none. */
const char *session_last_value(const struct sql_result *result);

/* ST_FENCED, with the words: the lock is gone, or is another process's. */
MUST_CHECK enum status mandate_check_token(const struct mandate *mandate, nsec deadline,
                                           struct err *err);

#endif
