/* SPDX-License-Identifier: Apache-2.0
 *
 * The only statement that opens anything, and how to know afterwards whether it did. 'opening' is
 * durable in the route before it is sent. */
#include "failover/internal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"

#include <string.h>

/* The server's own bound, on its own clock; how much longer we wait for its answer. */
enum { OPEN_MS = 500, ANSWER_MS = 150, CONFIRM_MS = 1000 };

enum status failover_step_open(struct failover *failover, struct err *err)
{
    nsec began = clock_now();
    struct sql_promotion promotion = {
        .position = failover->position,
        .wait_ms = OPEN_MS,
        /* From the look, not from now: who stood still in between opens nothing. */
        .until_clock_s = failover->clock_ahead_s + clock_ms(failover->looked_at) / 1000 +
                         SQL_OPEN_WITHIN_MS / 1e3,
    };
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    sql_mariadb.promote(&sql, &promotion);
    failover->view.candidate = CANDIDATE_UNKNOWN;
    failover->view.is_appointed = false;
    enum status status =
        session_exec(&failover->sessions[failover->chosen->index], CALL_FAIL_PROMOTE,
                     buf_text(&sql), clock_deadline(OPEN_MS + ANSWER_MS), &result, err);
    story_add_phase(&failover->story, PHASE_OPEN, began);
    if (status == ST_UNREACHABLE) /* the connection was closed already: nothing was sent */
        failover->view.candidate = CANDIDATE_CLOSED;
    if (status)
        return err_wrap(err, "open");
    int64_t opened = sql_number(session_last_value(&result), 0);
    failover->view.candidate = opened == 1 ? CANDIDATE_OPEN : CANDIDATE_CLOSED;
    if (opened == 1)
        return ST_OK;
    return err_set(err, opened < 0 ? ST_NO_GO : ST_TIMEOUT, "open: %s %s", failover->chosen->name,
                   opened < 0 ? "has lost its ackers: no write there would return"
                              : "did not open in time");
}

/* A session of its own, taken now: the older one is dead and what it sent has taken effect or never
 * will. What the server says after that is final. */
enum status failover_step_confirm(struct failover *failover, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    const char *name = failover->route.new_primary;
    const struct inventory_server *candidate = inventory_find_server(failover->shard, name);
    nsec deadline = clock_deadline(CONFIRM_MS);
    if (!candidate)
        return err_set(err, ST_INVALID, "the candidate %s is not in the fleet file", name);
    struct session *session = &failover->sessions[candidate->index];
    session_drop(session);
    enum status status = failover_take(failover, candidate, &session, deadline, err);
    sql_mariadb.observe(&sql);
    if (!status)
        status = session_exec(session, CALL_FAIL_CONFIRM, buf_text(&sql), deadline, &result, err);
    if (!status)
        status = sql_mariadb.read_observation(&result, &state, err);
    if (status == ST_FENCED)
        return status;
    if (status) {
        err_wrap(err, "look whether %s is open", name);
        return err_hint(err, "bring %s back, then: holdfast run resume %s", name,
                        failover->mandate->run);
    }
    failover->chosen = candidate;
    failover->view.candidate = state.is_read_only ? CANDIDATE_CLOSED : CANDIDATE_OPEN;
    return ST_OK;
}
