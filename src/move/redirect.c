/* SPDX-License-Identifier: Apache-2.0
 *
 * After publish, off the critical path: clients already write at the new home. The new primary
 * forgets its source, the old one lets go of the freeze and follows, events move. Every part finds
 * out what is already done, so that a successor may simply do it again. */
#include "move/internal.h"
#include "move/journal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>

enum { REDIRECT_MS = 3000, SURE_MS = 2000, FRESH_TRIES = 5 };

static enum status run_simple(struct session *session, enum call call, const struct buf *sql,
                              nsec deadline, struct err *err)
{
    return session_exec(session, call, buf_text(sql), deadline, NULL, err);
}

/* Promote answered on this very session that it opened the server, a moment ago: a server that
 * restarted ends its sessions. What somebody did there by hand since is theirs to say. */
static bool is_surely_open(const struct move *move)
{
    const struct session *session = &move->new_session;
    return session->is_held && sql_conn_is_open(session->conn) &&
           sql_conn_id(session->conn) == move->opened_by &&
           clock_now() - move->opened_at < SURE_MS * NSEC_PER_MS;
}

static enum status look_at_new(struct move *move, nsec deadline, struct sql_server_state *ret,
                               struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    move->flavour->observe(&sql);
    enum status status =
        session_exec(&move->new_session, CALL_LOOK_OPEN, buf_text(&sql), deadline, &result, err);
    return status ? status : move->flavour->read_observation(&result, ret, err);
}

/* A new primary that crashed after it was opened came back read-only. One that is read-only because
 * somebody moved the shard on by hand stays so. */
static enum status make_sure_it_is_open(struct move *move, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    nsec span = 0;
    enum status status = look_at_new(move, deadline, &state, err);
    if (status)
        return status;
    status = move_check_alone(move, move->new_server, err);
    if (status || !state.is_read_only)
        return status;
    status = move_claim(move, move->new_server, deadline, &span, err);
    if (status)
        return status;
    move->flavour->open(&sql, state.clock_s + clock_ms(span) / 1e3);
    status =
        session_exec(&move->new_session, CALL_OPEN_NEW, buf_text(&sql), deadline, &result, err);
    if (!status && sql_number(session_last_value(&result), 1) != 0)
        status = err_set(err, ST_SQL, "%s is still read-only", move->new_server->name);
    if (!status)
        move_note(move, "%s had become read-only after it was published: it is opened again",
                  move->new_server->name);
    return status;
}

static enum status forget_source(struct move *move, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    enum status status = session_take(move->mandate, &move->new_session, deadline, err);
    if (status && status != ST_FENCED && move_was_moved_on(move, move->new_server, err))
        return ST_CONFLICT;
    if (!status && !is_surely_open(move))
        status = make_sure_it_is_open(move, deadline, err);
    move->flavour->start_source(&sql);
    buf_add(&sql, "; ");
    move->flavour->forget_source(&sql, move->route.is_strict);
    if (!status)
        status =
            session_exec(&move->new_session, CALL_FORGET, buf_text(&sql), deadline, &result, err);
    const char *applied = status ? NULL : session_last_value(&result);
    if (!status && !(applied && applied[0]))
        status = err_set(err, ST_SQL, "%s gave no position", move->new_server->name);
    if (status)
        return status;
    free(move->position);
    move->position = mem_strdup(applied);
    return ST_OK;
}

static bool is_own(const struct session *session, const char *id)
{
    return sql_number(id, 0) == (int64_t)sql_conn_id(session->conn);
}

/* Never only their statements: a client whose write waits for an acknowledgement would be told that
 * it succeeded. Here none does. */
static size_t end_sessions(struct move *move, enum call call, const struct sql_result *ids,
                           size_t set, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    size_t ended = 0;
    for (size_t row = 0; row < sql_rows(ids, set); row++) {
        const char *id = sql_value(ids, set, row, 0);
        if (is_own(&move->old_session, id))
            continue;
        buf_clear(&sql);
        move->flavour->kill(&sql, sql_number(id, 0));
        struct err ignored = ERR_INIT;
        status_ignore(run_simple(&move->old_session, call, &sql, deadline, &ignored),
                      "it may have ended by itself");
        ended++;
    }
    return ended;
}

/* Sessions of privileged accounts whose writes the freeze holds up: they would go into the old
 * primary's binlog the moment it ends. None of them was acknowledged, none waits for an ack. */
static enum status end_held(struct move *move, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result held = {0};
    move->flavour->list_held(&sql);
    enum status status =
        session_exec(&move->old_session, CALL_LIST_HELD, buf_text(&sql), deadline, &held, err);
    if (status)
        return status;
    size_t ended = end_sessions(move, CALL_END_HELD, &held, 0, deadline);
    if (ended)
        move_note(move, "%s: ended %zu privileged sessions whose statements the freeze held up",
                  move->old_server->name, ended);
    return ST_OK;
}

static enum status list_open(struct move *move, int after_ms, nsec deadline, struct sql_result *ret,
                             bool *ret_is_fresh, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    const struct session *session = &move->old_session;
    sql_result_release(ret);
    move->flavour->list_lockers(&sql, after_ms);
    enum status status =
        session_exec(&move->old_session, CALL_LIST_OPEN, buf_text(&sql), deadline, ret, err);
    for (size_t row = 0; !status && row < sql_rows(ret, SQL_LOCKERS); row++)
        *ret_is_fresh |= is_own(session, sql_value(ret, SQL_LOCKERS, row, 0));
    return status;
}

/* What is open at the old primary cannot be committed there any more, since it is read-only; but
 * its locks would stop the applier there as soon as the new primary changes the same row, until the
 * client goes. Of a prepared XA transaction only the owner goes: it can then be committed at the
 * new primary, which has it too, and from there at all others. */
static enum status end_transactions(struct move *move, nsec deadline, struct err *err)
{
    AUTO(sql_result_release) struct sql_result open = {0};
    enum status status = session_take(move->mandate, &move->old_session, deadline, err);
    bool is_fresh = false;
    for (int tries = 0; !status && !is_fresh && tries < FRESH_TRIES; tries++)
        status = list_open(move, tries ? SQL_LOCKERS_MS : 0, deadline, &open, &is_fresh, err);
    if (status)
        return status;
    if (!is_fresh)
        move_note(
            move,
            "%s: somebody asks for INNODB_TRX more than ten times a second, which keeps it from"
            " showing what is open: a transaction may have been left there",
            move->old_server->name);
    size_t ended = end_sessions(move, CALL_END_OPEN, &open, SQL_LOCKERS, deadline);
    if (ended)
        move_note(move, "%s: ended %zu sessions with an open transaction, which could not commit",
                  move->old_server->name, ended);
    return ST_OK;
}

/* Events of a privileged definer would write on the old primary when the freeze ends. */
static void stop_scheduler(struct move *move, nsec deadline)
{
    if (!move->route.runs_events)
        return;
    AUTO(buf_release) struct buf sql = {0};
    struct err err = ERR_INIT;
    move->flavour->switch_scheduler(&sql, false);
    if (run_simple(&move->old_session, CALL_SCHEDULER_OFF, &sql, deadline, &err))
        move_note(move, "the event scheduler of %s was not stopped: %s", move->old_server->name,
                  err.text);
}

static enum status end_freeze(struct move *move, nsec deadline, struct err *err)
{
    if (move->view.old_primary != OLD_FROZEN || !move->old_session.is_held)
        return ST_OK;
    AUTO(buf_release) struct buf sql = {0};
    stop_scheduler(move, deadline);
    enum status status = end_held(move, deadline, err);
    move->flavour->end_freeze(&sql);
    if (!status)
        status = run_simple(&move->old_session, CALL_END_FREEZE, &sql, deadline, err);
    if (!status)
        move->view.old_primary = OLD_UNKNOWN;
    return status;
}

static enum status move_event(struct move *move, const struct sql_event *event, nsec deadline,
                              struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->switch_event(&sql, event, true);
    enum status status = run_simple(&move->new_session, CALL_EVENTS_NEW, &sql, deadline, err);
    if (status) /* it was left with its binary log switched off */
        session_drop(&move->new_session);
    if (status == ST_NOT_FOUND) {
        move_note(move, "event %s.%s is not on %s: it does not run there", event->database,
                  event->name, move->new_server->name);
        status = session_take(move->mandate, &move->new_session, deadline, err);
    }
    buf_clear(&sql);
    move->flavour->switch_event(&sql, event, false);
    if (!status)
        status = run_simple(&move->old_session, CALL_EVENTS_OLD, &sql, deadline, err);
    if (status)
        session_drop(&move->old_session);
    if (status == ST_NOT_FOUND) /* dropped at the new primary meanwhile */
        status = session_take(move->mandate, &move->old_session, deadline, err);
    return status;
}

/* Needs SUPER. Without it the events stand ready at the new primary; the note says what to do. */
static enum status start_schedulers(struct move *move, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->switch_scheduler(&sql, true);
    enum status status = run_simple(&move->new_session, CALL_SCHEDULER_NEW, &sql, deadline, err);
    if (!status)
        status = run_simple(&move->old_session, CALL_SCHEDULER_OLD, &sql, deadline, err);
    if (!status || !move->new_session.is_held || !move->old_session.is_held)
        return status; /* who does not answer did not refuse: it is asked again */
    move_note(move, "SET GLOBAL event_scheduler=ON yourself: %s", err->text);
    return ST_OK;
}

/* First on at the new side, then off at the old: whoever finds one on at the old is not done. The
 * old scheduler is stopped, so nothing runs twice. */
static enum status move_events(struct move *move, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result events = {0};
    move->flavour->list_events(&sql);
    enum status status =
        session_exec(&move->old_session, CALL_EVENTS_LIST, buf_text(&sql), deadline, &events, err);
    for (size_t row = 0; !status && row < sql_rows(&events, 0); row++) {
        struct sql_event event = {sql_value(&events, 0, row, 0), sql_value(&events, 0, row, 1),
                                  sql_value(&events, 0, row, 2)};
        status = move_event(move, &event, deadline, err);
    }
    if (!status && move->route.runs_events)
        status = start_schedulers(move, deadline, err);
    return status;
}

/* The old primary's side; a server that was lost for good and taken out of the fleet file has none.
 */
static enum status redirect_old(struct move *move, nsec deadline, struct err *err)
{
    if (!move->old_server) {
        if (!move->was_redirected)
            move_note(move, "%s is not in the fleet file any more: it was not made to follow %s",
                      move->route.old_primary, move->new_server->name);
        return ST_OK;
    }
    if (!move->old_session.is_held) /* the freeze ended with its session */
        move->view.old_primary = OLD_UNKNOWN;
    enum status status = end_transactions(move, deadline, err);
    if (!status)
        status = end_freeze(move, deadline, err);
    if (!status)
        status = move_follow(move, deadline, err);
    if (!status)
        status = move_events(move, deadline, err);
    return status;
}

/* Whose part it was that failed. */
static void say_who_is_missing(struct move *move, enum status status,
                               const struct inventory_server *missing, struct err *err)
{
    session_drop(&move->old_session);
    if (missing == move->new_server)
        err_wrap(err, "open %s", missing->name);
    else
        err_wrap(err, "make %s follow %s", missing->name, move->new_server->name);
    if (status == ST_CONFLICT || err->hint[0])
        return;
    /* The new one has, or may have, what nobody else has. */
    const char *or_else = missing == move->new_server
                              ? ""
                              : ", or take it out of the fleet file when it is gone for good";
    err_hint(err, "bring %s back%s", missing->name, or_else);
}

enum status step_redirect(struct move *move, struct err *err)
{
    if (!move->new_server && move_was_moved_on(move, NULL, err))
        return ST_CONFLICT;
    if (!move->new_server) {
        err_set(err, ST_INVALID, "the new primary %s is not in the fleet file",
                move->route.new_primary);
        return err_hint(err, "put it back, then: holdfast run %s %s", mandate_next(move->mandate),
                        move->mandate->run);
    }
    nsec began = clock_now(), deadline = clock_deadline(REDIRECT_MS);
    enum status status = forget_source(move, deadline, err);
    bool is_new_ready = status == ST_OK;
    if (!status)
        status = redirect_old(move, deadline, err);
    move->was_redirected = true;
    story_add_phase(&move->story, PHASE_REDIRECT, began);
    if (status && status != ST_FENCED && !move->view.is_moved_on)
        say_who_is_missing(move, status, is_new_ready ? move->old_server : move->new_server, err);
    move->view.is_redirected = status == ST_OK;
    return status;
}
