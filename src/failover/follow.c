/* SPDX-License-Identifier: Apache-2.0
 *
 * After the new primary was published: clients write there already. Its settings become those of a
 * primary, its events run, and every other server of the shard that answers follows it. */
#include "failover/internal.h"
#include "move/mandate.h"
#include "roles/converge.h"

#include "base/scope.h"

#include <string.h>

enum { FOLLOW_MS = 3000, CONVERGE_MS = 10000 };

/* One that crashed after it was opened came back read-only; or somebody closed it, on his way to
 * open another one. */
static enum status make_sure_it_is_open(struct failover *failover, struct session *session,
                                        nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0}, opened = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    sql_mariadb.observe(&sql);
    enum status status =
        session_exec(session, CALL_FAIL_LOOK_OPEN, buf_text(&sql), deadline, &result, err);
    if (!status)
        status = sql_mariadb.read_observation(&result, &state, err);
    if (status || !state.is_read_only)
        return status;
    status = failover_check_alone(failover, err);
    if (status)
        return status;
    buf_clear(&sql);
    sql_mariadb.open(&sql, state.clock_s + SQL_OPEN_WITHIN_MS / 1e3);
    status = session_exec(session, CALL_FAIL_OPEN_AGAIN, buf_text(&sql), deadline, &opened, err);
    if (!status && sql_number(session_last_value(&opened), 1) != 0)
        status = err_set(err, ST_SQL, "%s is still read-only", session->server->name);
    return status;
}

static enum status settle(struct failover *failover, struct session *session, nsec deadline,
                          struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    sql_mariadb.start_source(&sql);
    buf_add(&sql, "; ");
    sql_mariadb.forget_source(&sql, failover->route.is_strict);
    return session_exec(session, CALL_FAIL_SETTLE, buf_text(&sql), deadline, NULL, err);
}

static enum status start_event(struct failover *failover, struct session *session,
                               const struct sql_event *event, nsec deadline, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    sql_mariadb.switch_event(&sql, event, true);
    enum status status =
        session_exec(session, CALL_FAIL_EVENTS, buf_text(&sql), deadline, NULL, err);
    if (status) /* it was left with its binary log switched off */
        session_drop(session);
    if (status == ST_NOT_FOUND)
        return failover_take(failover, session->server, &session, deadline, err);
    return status;
}

/* Whether the lost one ran its events is not known any more: they stand ready, and the note says
 * what is to be done. */
static enum status start_events(struct failover *failover, struct session *session, nsec deadline,
                                struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result events = {0};
    sql_mariadb.list_silent_events(&sql);
    enum status status =
        session_exec(session, CALL_FAIL_EVENTS_LIST, buf_text(&sql), deadline, &events, err);
    for (size_t row = 0; !status && row < sql_rows(&events, 0); row++) {
        struct sql_event event = {sql_value(&events, 0, row, 0), sql_value(&events, 0, row, 1),
                                  sql_value(&events, 0, row, 2)};
        status = start_event(failover, session, &event, deadline, err);
    }
    if (!status && sql_rows(&events, 0) > 0)
        failover_note(failover,
                      "%zu events are enabled at %s; they run when its event scheduler does: SET "
                      "GLOBAL event_scheduler=ON if that of %s was on",
                      sql_rows(&events, 0), failover->route.primary, failover->route.old_primary);
    return status;
}

/* What is left is no part of the failover: who is dead follows when he is back. */
static enum status bring_roles_back(struct failover *failover, struct err *err)
{
    struct roles_outcome outcome = {0};
    for (size_t i = 0; i < failover->shard->server_count; i++)
        session_give_back(&failover->sessions[i], clock_deadline(FOLLOW_MS));
    /* A conductor comes again soon by itself, and other shards may need the run lock. */
    nsec deadline = failover->ears ? ROLES_ONCE : clock_deadline(CONVERGE_MS);
    roles_converge(failover->mandate, &failover->shard, 1, deadline, &outcome);
    for (const char *at = outcome.left; *at;) {
        size_t length = strcspn(at, "\n");
        failover_note(failover, "%.*s", (int)length, at);
        at += length + (at[length] == '\n');
    }
    *err = outcome.err;
    roles_outcome_release(&outcome);
    return err->status == ST_FENCED ? ST_FENCED : ST_OK;
}

enum status failover_step_follow(struct failover *failover, struct err *err)
{
    nsec began = clock_now(), deadline = clock_deadline(FOLLOW_MS);
    struct session *session = NULL;
    const struct inventory_server *primary = failover->chosen;
    if (!primary)
        return err_set(err, ST_INVALID, "the new primary %s is not in the fleet file",
                       failover->route.primary);
    enum status status = failover_take(failover, primary, &session, deadline, err);
    if (!status)
        status = make_sure_it_is_open(failover, session, deadline, err);
    if (!status)
        status = settle(failover, session, deadline, err);
    if (!status)
        status = start_events(failover, session, deadline, err);
    if (!status)
        status = bring_roles_back(failover, err);
    story_add_phase(&failover->story, PHASE_FOLLOW, began);
    if (status && status != ST_FENCED)
        err_hint(err, "bring %s back, then: holdfast run resume %s", primary->name,
                 failover->mandate->run);
    failover->view.is_followed = status == ST_OK;
    return status;
}
