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

enum { VERIFY_MS = 2500, WAIT_MS = 2000, ANSWER_MS = 500, OTHERS_MS = 1000, LATE_MAX = 100 };

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

/* One server: has it got the row, and what is it now? */
struct check {
    struct sql_conn *conn;
    const struct inventory_server *server;
    enum status status;
    struct err err;
    bool has_row;
    struct sql_server_state state;
};

static struct sql_conn *connect_to(const struct move *move, const struct inventory_server *server)
{
    const struct inventory *fleet = move->mandate->fleet;
    struct sql_endpoint endpoint = inventory_endpoint(fleet, &fleet->credentials, server);
    return sql_conn_new(&endpoint);
}

/* Ask them all, with the whole time for the wait, however long the row took: who never gets it must
 * still be heard, because it may accept writes. The new primary applies nothing: its own position
 * is no wait. */
static void look_at_all(struct move *move, struct check *checks, const char *position)
{
    size_t count = move->shard->server_count;
    AUTO(buf_release) struct buf look = {0}, wait = {0};
    AUTO_FREE struct sql_call *calls = mem_zalloc(count * sizeof(*calls));
    buf_add(&look, "SELECT 0; ");
    move->flavour->observe(&look);
    move->flavour->wait_for(&wait, position, WAIT_MS);
    buf_add(&wait, "; ");
    move->flavour->observe(&wait);
    for (size_t i = 0; i < count; i++) {
        checks[i].server = &move->shard->servers[i];
        checks[i].conn = connect_to(move, checks[i].server);
        const struct buf *sql = checks[i].server == move->new_server ? &look : &wait;
        calls[i] = (struct sql_call){.conn = checks[i].conn, .sql = buf_text(sql)};
    }
    fault_point(CALL_VERIFY, FAULT_BEFORE);
    sql_run(calls, count, clock_deadline(WAIT_MS + ANSWER_MS));
    fault_point(CALL_VERIFY, FAULT_AFTER);
    for (size_t i = 0; i < count; i++) {
        checks[i].status = calls[i].status;
        checks[i].err = calls[i].err;
        checks[i].has_row = sql_number(sql_value(&calls[i].result, 0, 0, 0), -1) == 0;
        sql_result_drop_first(&calls[i].result);
        if (!checks[i].status)
            checks[i].status =
                move->flavour->read_observation(&calls[i].result, &checks[i].state, &checks[i].err);
        sql_call_release(&calls[i]);
    }
}

static void checks_free(struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sql_server_state_release(&checks[i].state);
        sql_conn_free(checks[i].conn);
    }
    free(checks);
}

static bool is_replicating(const struct check *check)
{
    return check->state.channels > 0 && check->state.is_io_running && check->state.is_sql_running;
}

/* Why did the row not come? */
static enum status tell_missing_row(const struct move *move, const struct check *check,
                                    struct err *err)
{
    const struct sql_server_state *state = &check->state;
    const char *why = state->channels == 0     ? "it replicates from nobody"
                      : state->sql_error[0]    ? state->sql_error
                      : state->io_error[0]     ? state->io_error
                      : !state->is_sql_running ? "it does not apply"
                      : !state->is_io_running  ? "it is not connected to its source"
                                               : "it replicates, but is behind";
    err_set(err, ST_TIMEOUT, "%s did not get the row written at %s within %d ms: %.200s",
            check->server->name, move->new_server->name, WAIT_MS, why);
    if (is_replicating(check))
        err_hint(err, "it applied %.60s of %.60s received", state->applied, state->received);
    return ST_TIMEOUT;
}

static enum status judge(const struct move *move, const struct check *check, struct err *err)
{
    if (check->status) {
        *err = check->err;
        return check->status;
    }
    bool is_new = check->server == move->new_server;
    if (!is_new && !check->state.is_read_only) /* also one that follows nobody: it has no row */
        return err_set(err, ST_CONFLICT, "%s accepts writes besides %s", check->server->name,
                       move->new_server->name);
    if (is_new && check->state.is_read_only)
        return err_set(err, ST_CONFLICT, "%s became read-only", check->server->name);
    if (is_new && !check->state.is_source_semi_sync)
        return err_set(err, ST_CONFLICT, "writes at %s wait for no acknowledgement",
                       check->server->name);
    return check->has_row ? ST_OK : tell_missing_row(move, check, err);
}

static enum status judge_all(struct move *move, const struct check *checks, struct err *err)
{
    enum status worst = ST_OK;
    for (size_t i = 0; i < move->shard->server_count; i++) {
        const struct inventory_server *server = checks[i].server;
        struct err one = ERR_INIT;
        enum status status = judge(move, &checks[i], &one);
        bool is_end = server == move->old_server || server == move->new_server;
        if (status == ST_CONFLICT || (status && is_end && worst != ST_CONFLICT)) {
            worst = status;
            *err = one;
        } else if (status) {
            move_note(move, "%s", one.text);
        }
    }
    return worst;
}

/* What the others of the shard are than the server that is to accept writes. */
struct others {
    const struct inventory_server *writable; /* NULL: none that answers */
    const struct inventory_server *heir;     /* the only writable one, and it follows nobody */
    const struct inventory_server *silent;   /* does not answer, and why; NULL: all do */
    struct err silence;
    size_t writable_count;
    bool is_end_silent, is_end_open; /* of the one that is to accept writes */
};

static void add_one(struct others *others, const struct inventory_server *server, bool is_end,
                    const struct sql_server_state *state)
{
    if (is_end) {
        others->is_end_silent = false;
        others->is_end_open = !state->is_read_only;
    } else if (!state->is_read_only) {
        others->writable = server;
        others->heir = others->writable_count++ == 0 && state->channels == 0 ? server : NULL;
    }
}

static void add_silent(struct others *others, const struct inventory_server *server,
                       const struct err *err)
{
    others->silent = server;
    others->silence = *err;
}

static void ask_others(struct move *move, const struct inventory_server *end, struct others *ret)
{
    size_t count = move->shard->server_count;
    AUTO(buf_release) struct buf look = {0};
    AUTO_FREE struct sql_call *calls = mem_zalloc(count * sizeof(*calls));
    move->flavour->observe(&look);
    *ret = (struct others){.is_end_silent = true};
    for (size_t i = 0; i < count; i++)
        calls[i] = (struct sql_call){.conn = connect_to(move, &move->shard->servers[i]),
                                     .sql = buf_text(&look)};
    fault_point(CALL_RIVALS, FAULT_BEFORE);
    sql_run(calls, count, clock_deadline(OTHERS_MS));
    fault_point(CALL_RIVALS, FAULT_AFTER);
    for (size_t i = 0; i < count; i++) {
        AUTO(sql_server_state_release) struct sql_server_state state = {0};
        if (!calls[i].status)
            calls[i].status =
                move->flavour->read_observation(&calls[i].result, &state, &calls[i].err);
        const struct inventory_server *server = &move->shard->servers[i];
        if (!calls[i].status)
            add_one(ret, server, server == end, &state);
        else if (server != end)
            add_silent(ret, server, &calls[i].err);
        sql_call_release(&calls[i]);
        sql_conn_free(calls[i].conn);
    }
}

/* Whether the new primary opened is not known while it is silent: that the old one accepts writes
 * may only mean that it was not frozen. */
static bool replaces_silent_end(const struct move *move, const struct others *others)
{
    return others->heir && others->is_end_silent &&
           (move->view.state != SHARD_PROMOTING || others->heir != move->old_server);
}

static enum status set_moved_on(struct move *move, const char *end,
                                const struct inventory_server *heir, struct err *err)
{
    move->view.is_moved_on = true;
    move->heir = heir;
    err_set(err, ST_CONFLICT,
            "%s is not the primary any more: moved on by hand, it is not opened beside %s", end,
            heir->name);
    return err_hint(err, "somebody else moved this shard; holdfast status shows where it is");
}

static enum status explain_silence(const struct others *others, const struct inventory_server *end,
                                   struct err *err)
{
    err_set(err, ST_UNREACHABLE,
            "%s is not opened while %s may be: somebody may have made it the primary, and it does "
            "not answer: %.200s",
            end->name, others->silent->name, others->silence.text);
    return err_hint(err, "bring %s back, or take it out of the fleet file when it is gone for good",
                    others->silent->name);
}

enum status move_check_alone(struct move *move, const struct inventory_server *end, struct err *err)
{
    struct others others;
    ask_others(move, end, &others);
    if (others.heir && !others.is_end_open)
        return set_moved_on(move, end->name, others.heir, err);
    /* A run was left behind since, so there was time for anything. Who went on without a pause must
     * not wait for the dead, and has seen all of them a moment ago. */
    bool may_be_hidden = others.silent && move->view.is_inherited && !others.is_end_open;
    if (!others.writable && may_be_hidden)
        return explain_silence(&others, end, err);
    if (!others.writable)
        return ST_OK;
    err_set(err, ST_CONFLICT,
            others.is_end_open ? "%s accepts writes besides %s"
                               : "%s accepts writes: %s is not opened beside it",
            others.writable->name, end->name);
    return err_hint(err, "holdfast status shows them; SET GLOBAL read_only=1 on the wrong ones");
}

bool move_was_moved_on(struct move *move, const struct inventory_server *end, struct err *err)
{
    struct others others;
    ask_others(move, end, &others);
    if (!replaces_silent_end(move, &others))
        return false;
    const char *name =
        move->view.state == SHARD_UNDOING ? move->route.old_primary : move->route.new_primary;
    status_ignore(set_moved_on(move, name, others.heir, err), "the caller returns the words");
    return true;
}

bool move_accepts_writes(struct move *move, const struct inventory_server *server, nsec deadline)
{
    if (!server)
        return false;
    struct sql_call call = {.conn = connect_to(move, server), .sql = "SELECT @@global.read_only"};
    sql_run(&call, 1, deadline);
    bool is_writable = !call.status && !sql_true(sql_value(&call.result, 0, 0, 0));
    sql_call_release(&call);
    sql_conn_free(call.conn);
    return is_writable;
}

/* Gets what is late at the old primary: it, and whoever is not in the new one's region. */
static bool is_behind_old(const struct move *move, const struct inventory_server *server)
{
    return server == move->old_server || server->region != move->new_server->region;
}

void move_tell_region(struct move *move, const char *sql, nsec deadline)
{
    size_t count = 0;
    AUTO_FREE struct sql_call *calls = mem_zalloc(move->shard->server_count * sizeof(*calls));
    for (size_t i = 0; i < move->shard->server_count; i++) {
        const struct inventory_server *server = &move->shard->servers[i];
        if (is_behind_old(move, server))
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
static void restore_order(struct move *move, const struct check *checks, nsec deadline)
{
    bool is_lifted = false;
    for (size_t i = 0; i < move->shard->server_count; i++)
        is_lifted = is_lifted || (is_behind_old(move, checks[i].server) && !checks[i].status &&
                                  !checks[i].state.is_gtid_strict);
    if (!is_lifted || !move->route.is_strict || !(move->late_position || move->view.is_inherited))
        return;
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->set_strict(&sql, true);
    move_tell_region(move, buf_text(&sql), deadline);
}

static const struct check *check_of(const struct move *move, const struct check *checks,
                                    const struct inventory_server *server)
{
    for (size_t i = 0; i < move->shard->server_count; i++)
        if (checks[i].server == server)
            return &checks[i];
    return NULL;
}

/* Who redirects again opens a new primary that came back read-only, or has its writes acknowledged
 * again, and begins a replication that failed to start. One that runs is only waited for: to point
 * it again would make it begin from the start of what it is reading. */
static bool needs_redirect(const struct move *move, const struct check *checks, enum status status)
{
    const struct check *opened = check_of(move, checks, move->new_server);
    const struct check *old = check_of(move, checks, move->old_server);
    if (!opened->status && (opened->state.is_read_only || !opened->state.is_source_semi_sync))
        return true;
    return status == ST_TIMEOUT && old && (old->status || !is_replicating(old));
}

enum status step_verify(struct move *move, struct err *err)
{
    nsec began = clock_now(), deadline = clock_deadline(VERIFY_MS);
    AUTO_FREE char *position = NULL;
    enum status status = session_take(move->mandate, &move->new_session, deadline, err);
    move->view.is_redirected = !status; /* it may come back closed, or be replaced by hand */
    if (!status)
        status = write_row(move, deadline, &position, err);
    move->is_write_lost = status == ST_UNKNOWN;
    if (status == ST_UNKNOWN)
        err_hint(err,
                 "a write at %s did not return: are the replicas alive that acknowledge there?",
                 move->new_server->name);
    if (status)
        return status == ST_FENCED ? status : err_wrap(err, "verify");
    struct check *checks = mem_zalloc(move->shard->server_count * sizeof(*checks));
    look_at_all(move, checks, position);
    status = judge_all(move, checks, err);
    if (!status)
        restore_order(move, checks, clock_deadline(OTHERS_MS));
    move->view.is_redirected = !needs_redirect(move, checks, status);
    checks_free(checks, move->shard->server_count);
    story_add_phase(&move->story, PHASE_VERIFY, began);
    move->view.is_verified = status == ST_OK;
    return status ? err_wrap(err, "verify") : ST_OK;
}
