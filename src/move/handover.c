/* SPDX-License-Identifier: Apache-2.0
 *
 * The critical section: freeze, promote; and how to know afterwards whether the new primary is
 * open. Count round trips before changing anything here: freeze (one packet), promote (one packet),
 * publish (one store write, in move.c). The point of no return is recorded before the freeze, while
 * clients still write: far from the store's leader a write takes two round trips. */
#include "move/internal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

/* How much longer than the server's own bound we wait for its answer. */
enum { ANSWER_MS = 150, LOG_MS = 1000 };

static void count_statements(struct move *move, size_t statements)
{
    move->critical_statements += statements;
}

static enum status freeze_old(struct move *move, struct err *err)
{
    int timeout_ms = (int)move->mandate->fleet->policy.freeze_timeout_ms;
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    move->flavour->freeze(&sql, timeout_ms);
    move->view.old_primary = OLD_UNKNOWN;
    move->guarded_from = clock_now();
    enum status status = session_exec(&move->old_session, CALL_FREEZE, buf_text(&sql),
                                      clock_deadline(timeout_ms + ANSWER_MS), &result, err);
    if (status) { /* when the session broke, the undo evicts it, whatever it still does */
        err_wrap(err, "freeze");
        if (status == ST_TIMEOUT) /* the server says so; one that is gone tells nothing of others */
            err_hint(err,
                     "commits did not finish within %d ms: are the ackers of %s alive? is a "
                     "long statement running there?",
                     timeout_ms, move->old_server->name);
        return status;
    }
    const char *position = session_last_value(&result);
    if (!position) /* an empty one would let the new primary open at once */
        return err_set(err, ST_SQL, "freeze: %s gave no position", move->old_server->name);
    count_statements(move, result.count);
    free(move->position);
    move->position = mem_strdup(position);
    return ST_OK;
}

enum status step_freeze(struct move *move, struct err *err)
{
    move->frozen_at = clock_now();
    enum status status = freeze_old(move, err);
    story_add_phase(&move->story, PHASE_FREEZE, move->frozen_at);
    if (!status)
        move->view.old_primary = OLD_FROZEN;
    return status;
}

static nsec window_of(const struct inventory *fleet)
{
    return 2 * (fleet->policy.freeze_timeout_ms + ANSWER_MS) * NSEC_PER_MS;
}

nsec move_promote_span(const struct inventory *fleet)
{
    return MOVE_RECORD_MS * NSEC_PER_MS + window_of(fleet);
}

/* Both statements have their time from the begin of the freeze. Not the promote alone from its
 * sending: a process that stood still in between knows no more whether the shard was moved on. Nor
 * the freeze after a record that a long time ago was in the store: whoever took the shard over
 * waits from then (docs/permission.md, the guard). */
static double promote_until_s(const struct move *move)
{
    const struct inventory *fleet = move->mandate->fleet;
    nsec until = move->guarded_from + window_of(fleet);
    nsec most = move->recorded_from + move_promote_span(fleet);
    return move->clock_ahead_s + clock_ms(until < most ? until : most) / 1000;
}

enum status step_promote(struct move *move, struct err *err)
{
    nsec began = clock_now();
    int wait_ms = (int)move->mandate->fleet->policy.freeze_timeout_ms;
    struct sql_promotion promotion = {
        .position = move->position,
        .wait_ms = wait_ms,
        .until_clock_s = promote_until_s(move),
    };
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    move->flavour->promote(&sql, &promotion);
    bool was_sent = move->is_promote_sent;
    move->view.new_primary = NEW_UNKNOWN;
    move->is_promote_sent = true;
    enum status status = session_exec(&move->new_session, CALL_PROMOTE, buf_text(&sql),
                                      clock_deadline(wait_ms + ANSWER_MS), &result, err);
    story_add_phase(&move->story, PHASE_PROMOTE, began);
    if (status == ST_UNREACHABLE &&
        !was_sent) { /* the connection was closed already: not now either */
        move->view.new_primary = NEW_UNTOUCHED;
        move->is_promote_sent = false;
    }
    if (status)
        return err_wrap(err, "promote");
    count_statements(move, 1);
    int64_t opened = sql_number(session_last_value(&result), 0);
    if (opened != 1 && !was_sent && !move->view.is_inherited) { /* nothing else could open it */
        move->view.new_primary = NEW_CLOSED;
        move->is_promote_sent = false;
    }
    if (opened < 0)
        return err_set(err, ST_NO_GO,
                       "promote: %s has lost its ackers: no write there would return",
                       move->new_server->name);
    if (opened != 1)
        return err_set(err, ST_TIMEOUT, "promote: %s did not reach the final position %s in time",
                       move->new_server->name, move->position);
    move->view.new_primary = NEW_OPEN;
    move->opened_by = sql_conn_id(move->new_session.conn);
    move->opened_at = clock_now();
    return ST_OK;
}

static enum status close_new(struct move *move, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->close(&sql, move->route.is_strict);
    return session_exec(&move->new_session, CALL_CLOSE_NEW, buf_text(&sql),
                        clock_deadline(ANSWER_MS * 10), NULL, err);
}

/* Did the server log a transaction of its own that changes something, since it was prepared? Only a
 * log that can be read up to its newest one says no: that may be in a later file. */
static bool has_own_changes(struct move *move, const struct gtid_entry *newest)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result log = {0};
    struct err ignored = ERR_INIT;
    move->flavour->list_log(&sql, move->route.new_log_end);
    if (!move->route.new_log_end[0] ||
        session_exec(&move->new_session, CALL_NEW_LOG, buf_text(&sql), clock_deadline(LOG_MS), &log,
                     &ignored))
        return true;
    bool is_own = false, has_newest = false;
    for (size_t row = 0; row < sql_rows(&log, 0); row++) {
        struct sql_log_row entry;
        move->flavour->read_log_row(&log, row, &entry);
        AUTO(gtid_set_release) struct gtid_set one = {0};
        if (entry.begins && gtid_set_parse(move->flavour->gtid, entry.begins,
                                           strcspn(entry.begins, " "), &one, &ignored))
            return true;
        if (entry.begins) {
            is_own = one.count > 0 && one.items[0].server == newest->server;
            has_newest = has_newest || (is_own && one.items[0].domain == newest->domain &&
                                        one.items[0].last == newest->last);
        } else if (is_own && entry.is_change) {
            return true;
        }
    }
    return !has_newest || sql_rows(&log, 0) >= SQL_LOG_ROWS_MAX;
}

/* A new primary that opened and then crashed comes back read-only, but with transactions of its
 * own, and clients may have been told that they are kept. Then there is no way back. What a
 * privileged session did there without changing data (FLUSH TABLES) is no such transaction. */
static bool has_been_open(struct move *move, const struct sql_server_state *state)
{
    if (!move->view.is_inherited && !move->is_promote_sent)
        return false;
    AUTO(gtid_set_release) struct gtid_set logged = {0}, applied = {0};
    struct err ignored = ERR_INIT;
    enum gtid_flavour gtid = move->flavour->gtid;
    if (gtid_set_parse_text(gtid, state->position, &logged, &ignored) ||
        gtid_set_parse_text(gtid, state->applied, &applied, &ignored))
        return true; /* what it says does not read: rather wait for an operator than lose writes */
    for (size_t i = 0; i < logged.count; i++) {
        const struct gtid_entry *last = gtid_set_find_domain(&applied, logged.items[i].domain);
        if (logged.items[i].server == state->server_id &&
            (!last || last->last < logged.items[i].last) && has_own_changes(move, &logged.items[i]))
            return true;
    }
    return false;
}

/* A freeze lasts as long as its session, which cannot freeze a second time. The promote statement
 * counts from before the right to it is claimed. */
static enum status freeze_again(struct move *move, struct err *err)
{
    bool is_frozen = move->view.old_primary == OLD_FROZEN && move->old_session.is_held;
    enum status status = session_take(move->mandate, &move->old_session, clock_deadline(1000), err);
    move->guarded_from = move->recorded_from = clock_now();
    nsec unused = 0; /* whoever waits for a promote statement knows how long */
    if (!status)
        status = move_claim(move, move->new_server, clock_deadline(MOVE_RECORD_MS), &unused, err);
    if (!status && !is_frozen)
        status = freeze_old(move, err);
    if (!status)
        move->view.old_primary = OLD_FROZEN;
    return status;
}

/* Freeze and promote once more: whatever happened before, nothing is lost by that; unless somebody
 * made another server the primary, because nobody was writable. */
static enum status open_again(struct move *move, struct err *err)
{
    enum status status = move_check_alone(move, move->new_server, err);
    if (status)
        return status;
    if (!move->old_server)
        return err_set(
            err, ST_INVALID,
            "%s was open and crashed; to open it again the old primary %s must be in the "
            "fleet file",
            move->new_server->name, move->route.old_primary);
    status = freeze_again(move, err);
    if (!status)
        status = step_promote(move, err);
    if (!status)
        move_note(move, "%s was open and crashed: its writes are kept, it is opened again",
                  move->new_server->name);
    return status;
}

/* A session of its own, taken now: the older one is dead and what it sent has taken effect or
 * never will. What the server says after that is final. */
enum status step_confirm(struct move *move, struct err *err)
{
    if (!move->new_server && move_was_moved_on(move, NULL, err))
        return ST_CONFLICT;
    if (!move->new_server)
        return err_set(err, ST_INVALID,
                       "the route names the new primary %s, which the fleet file "
                       "does not have",
                       move->route.new_primary);
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    nsec deadline = clock_deadline(1000);
    session_drop(&move->new_session);
    enum status status = session_take(move->mandate, &move->new_session, deadline, err);
    if (status && status != ST_FENCED && move_was_moved_on(move, move->new_server, err))
        return ST_CONFLICT;
    move->flavour->observe(&sql);
    if (!status)
        status =
            session_exec(&move->new_session, CALL_CONFIRM, buf_text(&sql), deadline, &result, err);
    if (!status)
        status = move->flavour->read_observation(&result, &state, err);
    if (!status && move->route.new_id && state.server_id != move->route.new_id)
        status = err_set(err, ST_CONFLICT,
                         "%s is another server (id %lld) than the one that was prepared (id %lld)",
                         move->new_server->name, (long long)state.server_id,
                         (long long)move->route.new_id);
    if (!status)
        move->clock_ahead_s = state.clock_s - clock_ms(clock_now()) / 1000;
    bool was_open = !status && state.is_read_only && has_been_open(move, &state);
    if (!status && state.is_read_only)
        status = was_open ? open_again(move, err) : close_new(move, err);
    if (status == ST_FENCED || move->view.is_moved_on)
        return status;
    if (status)
        return err_wrap(err, "look whether %s is open", move->new_server->name);
    move->view.new_primary = state.is_read_only && !was_open ? NEW_CLOSED : NEW_OPEN;
    return ST_OK;
}
