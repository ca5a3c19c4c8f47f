/* SPDX-License-Identifier: Apache-2.0
 *
 * Back to the old home: the old primary accepts writes again. The plan comes here only when the
 * new primary was never sent a promote statement or is confirmed closed. A session whose freeze has
 * answered opens the server itself: it holds the server's lock, so nobody else acts there, and the
 * store need not be asked. A freeze without an answer is evicted first: it would close the server
 * again after it was opened; and what a new session opens is claimed in the store first, because
 * there was time to fence the server's region. */
#include "move/internal.h"
#include "move/mandate.h"

#include "base/scope.h"

enum { UNDO_MS = 3000 };

static enum status look_at_old(struct move *move, nsec deadline, struct sql_server_state *ret,
                               struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    move->flavour->observe(&sql);
    enum status status =
        session_exec(&move->old_session, CALL_LOOK_UNDO, buf_text(&sql), deadline, &result, err);
    return status ? status : move->flavour->read_observation(&result, ret, err);
}

/* Somebody may have made another server the primary meanwhile, by hand or by another tool: opening
 * this one would make two. Then it stays as it is, and whoever did that has the word. */
static enum status look_for_strangers(struct move *move, nsec deadline, double *ret_clock_s,
                                      struct err *err)
{
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    enum status status = look_at_old(move, deadline, &state, err);
    *ret_clock_s = state.clock_s;
    if (!status)
        status = move_check_alone(move, move->old_server, err);
    if (status || state.channels == 0)
        return status;
    move->view.is_moved_on = true;
    err_set(err, ST_CONFLICT, "%s is not the primary any more: it replicates from %s",
            move->old_server->name, state.source_host);
    return err_hint(err, "somebody else moved this shard; holdfast status shows where it is");
}

/* A freeze that failed half-way may hold a stage, or none: only the opening tells. */
static void end_stage(struct move *move, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    struct err ignored = ERR_INIT;
    move->flavour->end_freeze(&sql);
    status_ignore(
        session_exec(&move->old_session, CALL_END_FREEZE, buf_text(&sql), deadline, NULL, &ignored),
        "then there was no stage, or the session is gone");
}

static enum status open_old(struct move *move, double until_s, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    move->flavour->open(&sql, until_s);
    enum status status =
        session_exec(&move->old_session, CALL_OPEN_OLD, buf_text(&sql), deadline, &result, err);
    if (!status && sql_number(session_last_value(&result), 1) != 0)
        status = err_set(err, ST_SQL, "%s is still read-only", move->old_server->name);
    return status;
}

enum status step_undo(struct move *move, struct err *err)
{
    if (!move->old_server && move_was_moved_on(move, NULL, err))
        return ST_CONFLICT;
    if (!move->old_server)
        return err_set(err, ST_INVALID,
                       "the route names the old primary %s, which the fleet file "
                       "does not have",
                       move->route.old_primary);
    nsec began = clock_now(), deadline = clock_deadline(UNDO_MS);
    double clock_s = 0; /* of its own */
    nsec span = SQL_OPEN_WITHIN_MS * NSEC_PER_MS;
    bool was_held = move->old_session.is_held;
    if (was_held)
        end_stage(move, deadline);
    was_held = was_held && move->old_session.is_held;
    enum status status = session_take(move->mandate, &move->old_session, deadline, err);
    if (status && status != ST_FENCED && move_was_moved_on(move, move->old_server, err))
        status = ST_CONFLICT;
    if (!status)
        status = look_for_strangers(move, deadline, &clock_s, err);
    if (!status && !was_held)
        status = move_claim(move, move->old_server, deadline, &span, err);
    if (!status)
        status = open_old(move, clock_s + clock_ms(span) / 1e3, deadline, err);
    if (status && !was_held)
        session_drop(&move->old_session); /* the next attempt claims anew */
    story_add_phase(&move->story, PHASE_UNDO, began);
    if (status == ST_FENCED || move->view.is_moved_on)
        return status;
    if (status) {
        err_wrap(err, "open %s again", move->old_server->name);
        if (!err->hint[0])
            err_hint(err, "bring %s back, then: holdfast run %s %s", move->old_server->name,
                     mandate_next(move->mandate), move->mandate->run);
        return status;
    }
    move->view.old_primary = OLD_OPEN;
    return ST_OK;
}
