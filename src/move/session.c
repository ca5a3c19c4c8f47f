/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions: connections that may change a server. Each holds the server's user lock
 * "holdfast", and the protocol makes sure that at most one process at a time can act:
 *   a successor first gets the fencing token (the run lock in the store), then evicts the lock's
 *   holder on each server (KILL, and wait until the lock is free: after that nothing the old
 *   session sent can still take effect), then acts;
 *   whoever takes a server's lock reads the token *after* it has the lock, before it acts.
 * So a process that slept through its replacement either finds its session dead, or the token
 * gone. The argument is in docs/switchover.md. */
#include "move/session.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "move/fault.h"
#include "move/mandate.h"
#include "store/store.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { LOCK_WAIT_MS = 2000, AGAIN_MS = 20 };

/* The same for every store and every fleet file: two operators who name a shard differently exclude
 * each other all the same. */

const char *session_last_value(const struct sql_result *result)
{
    for (size_t set = result->count; set-- > 0;)
        if (sql_rows(result, set) > 0)
            return sql_value(result, set, sql_rows(result, set) - 1, 0);
    return NULL;
}

/* A server's part of the table of calls. */
struct session_calls {
    enum call connect, holder, evict, lock;
};

static const struct session_calls *calls_of(const struct session *session)
{
    static const struct session_calls calls[SESSION_ENDS] = {
        [SESSION_OLD] = {CALL_TAKE_OLD, CALL_HOLDER_OLD, CALL_EVICT_OLD, CALL_LOCK_OLD},
        [SESSION_NEW] = {CALL_TAKE_NEW, CALL_HOLDER_NEW, CALL_EVICT_NEW, CALL_LOCK_NEW},
        [SESSION_ROLE] = {CALL_TAKE_ROLE, CALL_HOLDER_ROLE, CALL_EVICT_ROLE, CALL_LOCK_ROLE},
    };
    return &calls[session->end];
}

struct sent_point {
    enum call call;
};

static void on_sent(void *context)
{
    const struct sent_point *point = context;
    fault_point(point->call, FAULT_SENT);
}

static enum status exec_on(struct sql_conn *conn, enum call call, const char *sql, nsec deadline,
                           struct sql_result *ret, struct err *err)
{
    fault_point(call, FAULT_BEFORE);
    struct sent_point point = {call};
    struct sql_call packet = {
        .conn = conn, .sql = sql, .on_sent = sql ? on_sent : NULL, .context = &point};
    sql_run(&packet, 1, deadline);
    if (packet.status && err)
        *err = packet.err;
    if (!packet.status && ret)
        *ret = packet.result;
    else
        sql_call_release(&packet);
    fault_point(call, FAULT_AFTER);
    return packet.status;
}

enum status session_exec(struct session *session, enum call call, const char *sql, nsec deadline,
                         struct sql_result *ret, struct err *err)
{
    if (!session->is_held || !sql_conn_is_open(session->conn))
        return err_set(err, ST_UNREACHABLE, "%s: no session", session->server->name);
    enum status status = exec_on(session->conn, call, sql, deadline, ret, err);
    if (!sql_conn_is_open(session->conn))
        session->is_held = false;
    return status;
}

static enum status fenced(const struct mandate *mandate, bool is_lock_gone, struct err *err)
{
    if (!is_lock_gone)
        return err_set(err, ST_FENCED, "another process took over run %s", mandate->run);
    err_set(err, ST_FENCED, "this process stood still for so long that its right to act ran out");
    err_hint(
        err,
        "holdfast run show %s says whether another one went on; if not: holdfast run resume %s",
        mandate->run, mandate->run);
    return ST_FENCED;
}

enum status mandate_check_token(const struct mandate *mandate, nsec deadline, struct err *err)
{
    AUTO(store_entry_release) struct store_entry lock = {0};
    enum fault_effect effect = fault_point(CALL_TOKEN, FAULT_BEFORE);
    enum status status = store_get(mandate->store, MANDATE_LOCK_KEY, deadline, &lock, err);
    if (effect != FAULT_NONE)
        status = fault_status(effect, err);
    fault_point(CALL_TOKEN, FAULT_AFTER);
    if (status == ST_NOT_FOUND || (!status && lock.create_rev != mandate->token))
        return fenced(mandate, status == ST_NOT_FOUND, err);
    return status;
}

static enum status connect_session(const struct mandate *mandate, struct session *session,
                                   nsec deadline, struct err *err)
{
    if (!session->conn) {
        const struct inventory *fleet = mandate->fleet;
        struct sql_endpoint endpoint =
            inventory_endpoint(fleet, &fleet->credentials, session->server);
        session->conn = sql_conn_new(&endpoint);
    }
    return exec_on(session->conn, calls_of(session)->connect, NULL, deadline, NULL, err);
}

/* Held beside it: says whose session it is to whoever takes the run over. */
static char *run_lock_name(const char *run)
{
    return mem_printf(SESSION_LOCK "/%s", run);
}

struct holder {
    int64_t id;      /* connection; 0: nobody */
    int64_t run_id;  /* who holds the run's own lock */
    int64_t hold_id; /* who brings roles back */
};

static enum status look_for_holder(const struct mandate *mandate, struct session *session,
                                   nsec deadline, struct holder *ret, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO_FREE char *of_run = run_lock_name(mandate->run);
    session->flavour->lock_holder(&sql, SESSION_LOCK);
    buf_add(&sql, "; ");
    session->flavour->lock_holder(&sql, of_run);
    buf_add(&sql, "; ");
    session->flavour->lock_holder(&sql, SESSION_LOCK "/" MANDATE_HOLD);
    enum call call = calls_of(session)->holder;
    enum status status = exec_on(session->conn, call, buf_text(&sql), deadline, &result, err);
    if (!status)
        *ret = (struct holder){sql_number(sql_value(&result, 0, 0, 0), 0),
                               sql_number(sql_value(&result, 1, 0, 0), 0),
                               sql_number(sql_value(&result, 2, 0, 0), 0)};
    return status;
}

/* A session that just ends lets go of one lock after the other. */
static enum status find_holder(const struct mandate *mandate, struct session *session,
                               nsec deadline, struct holder *ret, struct err *err)
{
    enum status status = look_for_holder(mandate, session, deadline, ret, err);
    if (status || !mandate->is_resumed || ret->id == 0 || ret->run_id != 0)
        return status;
    poll(NULL, 0, AGAIN_MS);
    return look_for_holder(mandate, session, deadline, ret, err);
}

/* One of another run that this store knows: it had the run lock before us, and was set aside, or a
 * fence took its lock away. Its process may stand still with its region. */
static enum status find_former_run(const struct mandate *mandate, struct session *session,
                                   int64_t holder, nsec deadline, bool *ret_is_found,
                                   struct err *err)
{
    AUTO(store_list_release) struct store_list runs = {0};
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    enum status status = store_list(mandate->store, MANDATE_RUNS, deadline, &runs, err);
    for (size_t i = 0; i < runs.count && !status; i++) {
        const char *run = runs.entries[i].key + strlen(MANDATE_RUNS);
        AUTO_FREE char *name = run_lock_name(run);
        if (strcmp(run, mandate->run) == 0)
            continue;
        buf_add(&sql, sql.length ? "; " : "");
        session->flavour->lock_holder(&sql, name);
    }
    if (!status && sql.length)
        status = exec_on(session->conn, calls_of(session)->holder, buf_text(&sql), deadline,
                         &result, err);
    for (size_t set = 0; set < result.count && !status; set++)
        *ret_is_found |= sql_number(sql_value(&result, set, 0, 0), 0) == holder;
    return status;
}

/* End the session that holds the lock, if it is one that we may end: this process's own, one of the
 * run that it has taken over or of an earlier one, or of somebody who brought roles back: he had
 * the run lock before us, and each of his steps may be cut short. Another store may have a run of
 * its own there, and that is in its critical section. */
static enum status evict(const struct mandate *mandate, struct session *session, nsec deadline,
                         struct err *err)
{
    struct holder holder = {0};
    enum status status = find_holder(mandate, session, deadline, &holder, err);
    if (status || holder.id == 0)
        return status;
    bool is_ours = (mandate->is_resumed && holder.id == holder.run_id) ||
                   holder.id == holder.hold_id || (unsigned long)holder.id == session->last_id;
    if (!is_ours)
        status = find_former_run(mandate, session, holder.id, deadline, &is_ours, err);
    if (status)
        return status;
    if (!is_ours) {
        err_set(err, ST_BUSY, "%s is held by another Holdfast (connection %lld)",
                session->server->name, (long long)holder.id);
        err_hint(err, "look at 'SHOW PROCESSLIST' there; another store may be moving this shard");
        return ST_BUSY;
    }
    status = mandate_check_token(mandate, deadline, err); /* it may be the one that replaced us */
    if (status)
        return status;
    AUTO(buf_release) struct buf sql = {0};
    session->flavour->kill(&sql, holder.id);
    enum call call = calls_of(session)->evict;
    status_ignore(exec_on(session->conn, call, buf_text(&sql), deadline, NULL, err),
                  "it may have ended by itself; the lock decides");
    return sql_conn_is_open(session->conn) ? ST_OK : err->status;
}

/* Both locks in one packet. */
static enum status lock_server(const struct mandate *mandate, struct session *session,
                               nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO_FREE char *of_run = run_lock_name(mandate->run);
    session->flavour->lock(&sql, SESSION_LOCK, LOCK_WAIT_MS);
    buf_add(&sql, "; ");
    session->flavour->lock(&sql, of_run, LOCK_WAIT_MS);
    enum call call = calls_of(session)->lock;
    enum status status = exec_on(session->conn, call, buf_text(&sql), deadline, &result, err);
    bool is_held = !status;
    for (size_t set = 0; set < result.count; set++)
        is_held = is_held && (sql_rows(&result, set) == 0 ||
                              sql_number(sql_value(&result, set, 0, 0), 0) == 1);
    if (!status && !is_held)
        status = err_set(err, ST_BUSY, "%s: the Holdfast lock did not become free within %d ms",
                         session->server->name, LOCK_WAIT_MS);
    return status;
}

static bool is_taken(const struct session *session)
{
    return session->is_held && sql_conn_is_open(session->conn);
}

static void settle(struct session *session, enum status status)
{
    if (status && session->conn)
        sql_conn_break(session->conn);
    if (status)
        return;
    session->is_held = true;
    session->last_id = sql_conn_id(session->conn);
}

enum status session_take_all(const struct mandate *mandate, struct session *const *sessions,
                             size_t count, nsec deadline, struct err *err)
{
    enum status status = ST_OK;
    bool is_new[SESSIONS_MAX] = {false};
    INVARIANT(count <= SESSIONS_MAX);
    size_t taken = 0;
    for (size_t i = 0; i < count && !status; i++) {
        is_new[i] = !is_taken(sessions[i]);
        if (is_new[i])
            status = connect_session(mandate, sessions[i], deadline, err);
        if (is_new[i] && !status)
            status = evict(mandate, sessions[i], deadline, err);
        if (is_new[i] && !status)
            status = lock_server(mandate, sessions[i], deadline, err);
        taken += is_new[i];
    }
    if (!status && taken > 0) /* after the locks were taken, never before: see above */
        status = mandate_check_token(mandate, deadline, err);
    for (size_t i = 0; i < count; i++)
        if (is_new[i])
            settle(sessions[i], status);
    return status;
}

enum status session_take(const struct mandate *mandate, struct session *session, nsec deadline,
                         struct err *err)
{
    return session_take_all(mandate, &session, 1, deadline, err);
}

void session_drop(struct session *session)
{
    session->is_held = false;
    if (session->conn)
        sql_conn_break(session->conn);
}

void session_give_back(struct session *session, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    struct err ignored = ERR_INIT;
    if (session->is_held) {
        session->flavour->unlock(&sql);
        status_ignore(
            session_exec(session, CALL_GIVE_BACK, buf_text(&sql), deadline, NULL, &ignored),
            "it is free when the connection is closed");
    }
    session_release(session);
}

void session_release(struct session *session)
{
    sql_conn_free(session->conn);
    session->conn = NULL;
    session->is_held = false;
}
