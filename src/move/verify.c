/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a move, seen from outside: a row written at the new primary arrives at every server,
 * exactly one server is writable, and its writes are acknowledged. A server that was already gone
 * is noted; only the two ends of the move must answer. */
#include "move/fault.h"
#include "move/internal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>

enum { VERIFY_MS = 2500, WAIT_MS = 2000, LATE_MAX = 100 };

static void replace_text(char **text, const char *by)
{
    free(*text);
    *text = mem_strdup(by);
}

/* The row, and the position at which it stands. */
static enum status write_once(struct move *move, nsec deadline, char **ret_position,
                              struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    buf_add(&sql, "INSERT INTO holdfast.heartbeat (shard, run, n) VALUES (");
    sql_quote(&sql, move->shard->name);
    buf_add(&sql, ", ");
    sql_quote(&sql, move->mandate->run);
    buf_add(&sql, ", 1) ON DUPLICATE KEY UPDATE run = VALUES(run), n = n + 1; ");
    move->flavour->read_position(&sql);
    enum status status =
        session_exec(&move->new_session, CALL_HEARTBEAT, buf_text(&sql), deadline, &result, err);
    const char *position = status ? NULL : session_last_value(&result);
    if (!status)
        replace_text(ret_position, position ? position : "");
    return status;
}

/* Is the position past everything that was written late at the old primary? Only sequence numbers
 * count when a replica waits, whoever gave them. */
static bool is_past_late(const struct move *move, const char *position)
{
    AUTO(gtid_set_release) struct gtid_set late = {0}, now = {0};
    struct err ignored = ERR_INIT;
    enum gtid_flavour gtid = move->flavour->gtid;
    if (!move->late_position || gtid_set_parse_text(gtid, move->late_position, &late, &ignored) ||
        gtid_set_parse_text(gtid, position, &now, &ignored))
        return true;
    return gtid_set_contains(&now, &late);
}

static enum status write_row(struct move *move, nsec deadline, char **ret_position, struct err *err)
{
    enum status status = write_once(move, deadline, ret_position, err);
    for (int i = 0; i < LATE_MAX && !status && !is_past_late(move, *ret_position); i++)
        status = write_once(move, deadline, ret_position, err);
    return !status && move->late_position ? write_once(move, deadline, ret_position, err) : status;
}

struct check {
    struct sql_conn *conn;
    const struct inventory_server *server;
};

/* The new primary applies nothing: its own position is no wait, but its role is looked at too. */
#define LOOK_AT_ROLE "SELECT @@global.read_only AS read_only, @@gtid_strict_mode AS is_strict"

static struct sql_conn *connect_to(const struct move *move, const struct inventory_server *server)
{
    const struct inventory_account *account = &move->mandate->fleet->credentials;
    struct sql_endpoint endpoint = {
        .host = server->host,
        .port = server->port,
        .user = account->user,
        .password = &account->password,
    };
    return sql_conn_new(&endpoint);
}

static void checks_open(struct move *move, struct check *checks, struct sql_call *calls,
                        const char *wait_and_look)
{
    for (size_t i = 0; i < move->shard->server_count; i++) {
        checks[i].server = &move->shard->servers[i];
        checks[i].conn = connect_to(move, checks[i].server);
        bool is_new = checks[i].server == move->new_server;
        const char *sql = is_new ? "SELECT 0; " LOOK_AT_ROLE : wait_and_look;
        calls[i] = (struct sql_call){.conn = checks[i].conn, .sql = sql};
    }
}

/* What one server answered: reached the position, and its role. */
static enum status judge(const struct move *move, const struct inventory_server *server,
                         struct sql_call *call, struct err *err)
{
    if (call->status) {
        *err = call->err;
        return call->status;
    }
    if (sql_number(sql_value(&call->result, 0, 0, 0), -1) != 0)
        return err_set(err, ST_TIMEOUT, "%s did not get the row written at %s within %d ms",
                       server->name, move->new_server->name, WAIT_MS);
    bool is_read_only = sql_true(sql_named(&call->result, 1, 0, "read_only"));
    if (server == move->new_server && is_read_only)
        return err_set(err, ST_CONFLICT, "%s became read-only", server->name);
    if (server != move->new_server && !is_read_only)
        return err_set(err, ST_CONFLICT, "%s accepts writes besides %s", server->name,
                       move->new_server->name);
    return ST_OK;
}

static enum status judge_all(struct move *move, struct check *checks, struct sql_call *calls,
                             struct err *err)
{
    enum status worst = ST_OK;
    for (size_t i = 0; i < move->shard->server_count; i++) {
        const struct inventory_server *server = checks[i].server;
        struct err one = ERR_INIT;
        enum status status = judge(move, server, &calls[i], &one);
        bool is_end = server == move->old_server || server == move->new_server;
        if (status && (is_end || status == ST_CONFLICT)) {
            worst = status;
            *err = one;
        } else if (status) {
            move_note(move, "%s", one.text);
        }
    }
    return worst;
}

const struct inventory_server *move_find_rival(struct move *move,
                                               const struct inventory_server *server, nsec deadline)
{
    size_t count = move->shard->server_count;
    const struct inventory_server *rival = NULL;
    AUTO_FREE struct sql_call *calls = mem_zalloc(count * sizeof(*calls));
    for (size_t i = 0; i < count; i++)
        calls[i] = (struct sql_call){.conn = connect_to(move, &move->shard->servers[i]),
                                     .sql = "SELECT @@global.read_only"};
    fault_point(CALL_RIVALS, FAULT_BEFORE);
    sql_run(calls, count, deadline);
    fault_point(CALL_RIVALS, FAULT_AFTER);
    for (size_t i = 0; i < count; i++) {
        bool is_writable = !calls[i].status && !sql_true(sql_value(&calls[i].result, 0, 0, 0));
        if (is_writable && &move->shard->servers[i] != server)
            rival = &move->shard->servers[i];
        sql_call_release(&calls[i]);
        sql_conn_free(calls[i].conn);
    }
    return rival;
}

void move_tell_region(struct move *move, const char *sql, nsec deadline)
{
    size_t count = 0;
    AUTO_FREE struct sql_call *calls = mem_zalloc(move->shard->server_count * sizeof(*calls));
    for (size_t i = 0; i < move->shard->server_count; i++) {
        const struct inventory_server *server = &move->shard->servers[i];
        if (server->region == move->old_server->region)
            calls[count++] = (struct sql_call){.conn = connect_to(move, server), .sql = sql};
    }
    fault_point(CALL_STRICT, FAULT_BEFORE);
    sql_run(calls, count, deadline);
    fault_point(CALL_STRICT, FAULT_AFTER);
    for (size_t i = 0; i < count; i++) {
        if (calls[i].status)
            move_note(move, "%s", calls[i].err.text);
        sql_conn_free(calls[i].conn);
        sql_call_release(&calls[i]);
    }
}

/* Late writes at the old primary had the strict order of GTIDs lifted in its region: by us, or by
 * the process before us. */
static void restore_order(struct move *move, const struct check *checks,
                          const struct sql_call *calls, nsec deadline)
{
    bool is_lifted = false;
    for (size_t i = 0; i < move->shard->server_count; i++)
        is_lifted = is_lifted ||
                    (checks[i].server->region == move->old_server->region && !calls[i].status &&
                     !sql_true(sql_named(&calls[i].result, 1, 0, "is_strict")));
    if (!is_lifted || !move->route.is_strict || !(move->late_position || move->view.is_inherited))
        return;
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->set_strict(&sql, true);
    move_tell_region(move, buf_text(&sql), deadline);
}

enum status step_verify(struct move *move, struct err *err)
{
    nsec began = clock_now(), deadline = clock_deadline(VERIFY_MS);
    size_t count = move->shard->server_count;
    AUTO_FREE char *position = NULL;
    AUTO_FREE struct check *checks = mem_zalloc(count * sizeof(*checks));
    AUTO_FREE struct sql_call *calls = mem_zalloc(count * sizeof(*calls));
    AUTO(buf_release) struct buf sql = {0};
    enum status status = session_take(move, &move->new_session, deadline, err);
    if (!status)
        status = write_row(move, deadline, &position, err);
    if (status == ST_UNKNOWN)
        err_hint(err,
                 "a write at %s did not return: are the replicas alive that acknowledge there?",
                 move->new_server->name);
    if (status)
        return status == ST_FENCED ? status : err_wrap(err, "verify");
    move->flavour->wait_for(&sql, position, WAIT_MS);
    buf_add(&sql, "; " LOOK_AT_ROLE);
    checks_open(move, checks, calls, buf_text(&sql));
    fault_point(CALL_VERIFY, FAULT_BEFORE);
    sql_run(calls, count, deadline);
    fault_point(CALL_VERIFY, FAULT_AFTER);
    status = judge_all(move, checks, calls, err);
    if (!status)
        restore_order(move, checks, calls, deadline);
    for (size_t i = 0; i < count; i++) {
        sql_call_release(&calls[i]);
        sql_conn_free(checks[i].conn);
    }
    move_phase_add(move, PHASE_VERIFY, began);
    move->view.is_verified = status == ST_OK;
    if (status == ST_TIMEOUT)
        move->view.is_redirected = false; /* point it again: replication may have failed to start */
    return status ? err_wrap(err, "verify") : ST_OK;
}
