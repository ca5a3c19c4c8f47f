/* SPDX-License-Identifier: Apache-2.0
 *
 * Before the candidate opens: it gets from whoever is ahead what it lacks, forgets its source, and
 * somebody of its region follows it and acknowledges. Nothing here accepts a write. */
#include "failover/internal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"
#include "roles/ahead.h"

#include <poll.h>
#include <stdlib.h>

enum { STEP_MS = 2000, CATCH_UP_MS = 1500, ACKERS_MS = 2000, LOOK_MS = 10 };

/* 'server' follows 'source' from where it is. */
static void follow_sql(const struct failover *failover, const struct server_observation *server,
                       const struct inventory_server *source, bool acknowledges, struct buf *sql)
{
    const struct inventory_account *account = &failover->mandate->fleet->replication;
    AUTO(buf_release) struct buf link = {0};
    AUTO(secret_release) struct secret password = {0};
    AUTO_FREE char *position = server->state.channels == 0 ? roles_whole_position(server) : NULL;
    inventory_read_password(account, &password);
    server->flavour->keep_link(&link, server->state.channels ? &server->state : NULL,
                               account->tls.is_on ? &account->tls.sql : NULL);
    struct sql_source from = {
        .host = source->host,
        .port = source->port,
        .user = account->user,
        .password = &password,
        .link = buf_text(&link),
        .position = position,
        .acknowledges = acknowledges,
    };
    server->flavour->follow(sql, &from);
}

static enum status catch_up(struct failover *failover, struct err *err)
{
    const struct election *made = &failover->election;
    const struct server_observation *ahead = made->ahead, *candidate = made->candidate;
    if (!ahead)
        return ST_OK;
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO_FREE char *goal = roles_whole_position(ahead);
    struct session *session = NULL;
    nsec deadline = clock_deadline(STEP_MS);
    enum status status = failover_take(failover, candidate->server, &session, deadline, err);
    if (status)
        return status;
    follow_sql(failover, candidate, ahead->server, false, &sql);
    buf_add(&sql, "; ");
    candidate->flavour->wait_for(&sql, goal ? goal : "", CATCH_UP_MS);
    status = session_exec(session, CALL_FAIL_CATCH_UP, buf_text(&sql), deadline, &result, err);
    if (!status && sql_number(session_last_value(&result), -1) != 0)
        status = err_set(err, ST_TIMEOUT, "%s did not get to %s, where %s is, within %d ms",
                         candidate->server->name, goal, ahead->server->name, CATCH_UP_MS);
    if (!status)
        failover_note(failover, "%s was ahead of %s, which caught up from it", ahead->server->name,
                      candidate->server->name);
    return status;
}

static enum status forget_source(struct failover *failover, struct err *err)
{
    const struct server_observation *candidate = failover->election.candidate;
    AUTO(buf_release) struct buf sql = {0};
    struct session *session = NULL;
    nsec deadline = clock_deadline(STEP_MS);
    enum status status = failover_take(failover, candidate->server, &session, deadline, err);
    candidate->flavour->forget_source(&sql, candidate->state.is_gtid_strict);
    return status ? status
                  : session_exec(session, CALL_FAIL_FORGET, buf_text(&sql), deadline, NULL, err);
}

static bool is_acker(const struct failover *failover, const struct server_observation *server)
{
    return server->status == ST_OK && server->server != failover->lost &&
           server->server->region == failover->mandate->to_region &&
           server != failover->election.candidate;
}

static enum status point_ackers(struct failover *failover, struct err *err)
{
    size_t count = 0;
    enum status status = ST_OK;
    AUTO_FREE struct sql_call *calls = mem_zalloc(failover->shard->server_count * sizeof(*calls));
    AUTO_FREE struct buf *sqls = mem_zalloc(failover->shard->server_count * sizeof(*sqls));
    for (size_t i = 0; i < failover->shard->server_count && !status; i++) {
        const struct server_observation *at = &failover->seen.shards[0].servers[i];
        struct session *session = NULL;
        if (!is_acker(failover, at))
            continue;
        status = failover_take(failover, at->server, &session, clock_deadline(STEP_MS), err);
        if (status)
            break;
        follow_sql(failover, at, failover->election.candidate->server, true, &sqls[count]);
        calls[count] = (struct sql_call){.conn = session->conn, .sql = buf_text(&sqls[count])};
        count++;
    }
    if (!status)
        failover_run_calls(CALL_FAIL_ACKERS, calls, count, clock_deadline(STEP_MS));
    size_t well = 0;
    for (size_t i = 0; i < count; i++) {
        if (calls[i].status && !status)
            *err = calls[i].err;
        well += calls[i].status == ST_OK;
        sql_call_release(&calls[i]);
        buf_release(&sqls[i]);
    }
    if (status || well > 0)
        return status;
    if (count > 0)
        return err_wrap(err, "who is to acknowledge");
    err_set(err, ST_NO_GO, "no other server of the region is there to acknowledge what %s writes",
            failover->election.candidate->server->name);
    return err_hint(err, "bring a replica of the region back, then: holdfast run resume %s",
                    failover->mandate->run);
}

static enum status count_ackers(struct failover *failover, struct session *session,
                                int64_t *ret_ackers, struct err *err)
{
    const struct sql_flavour *flavour = failover->election.candidate->flavour;
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    flavour->observe(&sql);
    nsec asked = clock_now();
    enum status status = session_exec(session, CALL_FAIL_COUNT, buf_text(&sql),
                                      clock_deadline(STEP_MS), &result, err);
    if (!status)
        status = flavour->read_observation(&result, &state, err);
    if (status)
        return status;
    *ret_ackers = state.ackers;
    failover->looked_at = asked;
    failover->clock_ahead_s = state.clock_s - clock_ms(asked) / 1000;
    free(failover->position);
    failover->position = mem_strdup(state.applied);
    free(failover->whole);
    failover->whole =
        roles_whole_position(&(struct server_observation){.flavour = flavour, .state = state});
    return ST_OK;
}

/* Visible before the candidate waits for acknowledgements. */
static enum status wait_for_ackers(struct failover *failover, struct err *err)
{
    const struct inventory_server *server = failover->election.candidate->server;
    struct session *session = NULL;
    nsec deadline = clock_deadline(ACKERS_MS);
    int64_t ackers = 0;
    enum status status = failover_take(failover, server, &session, deadline, err);
    while (!status) {
        status = count_ackers(failover, session, &ackers, err);
        if (status || ackers > 0)
            return status;
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "nobody acknowledges at %s within %d ms", server->name,
                           ACKERS_MS);
        poll(NULL, 0, LOOK_MS);
    }
    return status;
}

/* Nobody wrote where a move was going before it froze the primary that it left. */
static bool bound_move(const struct failover *failover, struct failover_bound *ret)
{
    int64_t frozen_us = failover->route.frozen_us;
    nsec since = (clock_wall_us() - frozen_us) * (NSEC_PER_MS / 1000);
    *ret = (struct failover_bound){clock_now() - since, -1};
    return frozen_us != 0 && since >= 0; /* another machine's wall clock may be ahead */
}

/* Held against what the candidate has, not against what was seen before the loss to be received: a
 * relay that was restarted since has lost what it had not applied. */
static void know_bound(struct failover *failover)
{
    const struct failover_ears *ears = failover->ears;
    if (failover_find_former(failover))
        failover->has_bound = bound_move(failover, &failover->bound);
    else
        failover->has_bound = failover_leaves_region(failover) && ears && failover->whole &&
                              ears->bound(ears->context, failover->shard, failover->lost,
                                          failover->whole, &failover->bound);
}

/* While the lost primary's permission ran out, somebody else may have acted. */
enum status failover_look_at_candidate(struct failover *failover, struct err *err)
{
    int64_t ackers = 0;
    enum status status =
        count_ackers(failover, &failover->sessions[failover->chosen->index], &ackers, err);
    if (!status && ackers < 1)
        status = err_set(err, ST_NO_GO, "%s has lost its ackers: no write there would return",
                         failover->chosen->name);
    if (status)
        failover->view.is_gathered = failover->view.is_appointed = false;
    return status;
}

enum status failover_step_appoint(struct failover *failover, struct err *err)
{
    nsec began = clock_now();
    failover->chosen = failover->election.candidate->server;
    failover->is_strict =
        failover->election.candidate->state.is_gtid_strict || failover->route.is_strict;
    enum status status = catch_up(failover, err);
    if (!status)
        status = forget_source(failover, err);
    if (!status)
        status = point_ackers(failover, err);
    if (!status)
        status = wait_for_ackers(failover, err);
    if (!status)
        know_bound(failover);
    story_add_phase(&failover->story, PHASE_ELECT, began);
    failover->view.is_gathered = status == ST_OK; /* else look again who is what */
    failover->view.is_appointed = status == ST_OK;
    if (!status) { /* its session is ours alone: nothing that was sent before can open it */
        failover->view.candidate = CANDIDATE_UNTOUCHED;
        failover->view.is_inherited = false;
    }
    return status;
}
