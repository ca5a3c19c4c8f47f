/* SPDX-License-Identifier: Apache-2.0
 *
 * Cut the lost primary off from whoever could acknowledge its writes, let everybody apply what was
 * received, and see who can take over. From when this is done no write at the lost primary is
 * acknowledged, whether it lives or not; nobody has been opened yet. */
#include "failover/internal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"
#include "os/crew.h"

#include <string.h>

enum {
    STORE_MS = 1000,
    GLANCE_MS = 200,
    OBSERVE_MS = 1000,
    SESSION_MS = 1000,
    STOP_MS = 3000, /* a second when the lost primary is frozen */
    CLOSE_MS = 300,
    DRAIN_MS = 1500,
    ANSWER_MS = 300
};

static bool may_be_silent(const struct failover *failover, const struct inventory_server *server)
{
    for (size_t i = 0; i < failover->without_count; i++)
        if (strcmp(failover->without[i], server->name) == 0)
            return true;
    return server == failover->lost;
}

static bool is_of_home(const struct failover *failover, const struct inventory_server *server)
{
    return server->region == failover->lost->region && server != failover->lost;
}

/* Whoever else accepts writes was opened by somebody else, and has the word. */
static enum status refuse_strangers(const struct failover *failover, struct err *err)
{
    const struct shard_observation *shard = &failover->seen.shards[0];
    const struct inventory_server *former = failover_find_former(failover);
    for (size_t i = 0; i < failover->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (at->status || at->state.is_read_only || at->server == failover->lost ||
            at->server == former)
            continue;
        err_set(err, ST_CONFLICT, "%s accepts writes: somebody else opened it", at->server->name);
        return err_hint(err,
                        "holdfast status shows who is who; close it by hand when that was "
                        "wrong, then: holdfast run resume %s",
                        failover->mandate->run);
    }
    const struct server_observation *ignored = shard_find_ignored_source(shard);
    if (!ignored)
        return ST_OK;
    return err_set(err, ST_CONFLICT, "others replicate from %s, which the fleet file ignores",
                   ignored->server->name);
}

/* An acknowledgement may be in any replica of the region: each must be in our hand. One that is
 * lost with the region is what the order accepts. */
static enum status need_region(const struct failover *failover, struct err *err)
{
    const struct shard_observation *shard = &failover->seen.shards[0];
    if (failover_leaves_region(failover))
        return ST_OK;
    for (size_t i = 0; i < failover->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i];
        if (!at->status || !is_of_home(failover, at->server) || may_be_silent(failover, at->server))
            continue;
        err_set(err, ST_NO_GO,
                "%s does not answer, and may hold acknowledged writes that nobody "
                "else has: %s",
                at->server->name, server_problem(at));
        return err_hint(err,
                        "bring it back, and resume; if it is lost for good or was no acker: "
                        "--without %s",
                        at->server->name);
    }
    return ST_OK;
}

/* One that answers refuses writes from now on, if that goes quickly: commits that wait for an
 * acknowledgement hold it up. */
static void close_lost(struct failover *failover)
{
    struct server_observation *lost = failover_seen(failover, failover->lost);
    if (lost->status || lost->state.is_read_only)
        return;
    AUTO(buf_release) struct buf sql = {0};
    struct err err = ERR_INIT;
    struct session *session = NULL;
    enum status status =
        failover_take(failover, failover->lost, &session, clock_deadline(SESSION_MS), &err);
    sql_mariadb.refuse_writes(&sql, CLOSE_MS);
    if (!status)
        status = session_exec(session, CALL_FAIL_CLOSE, buf_text(&sql),
                              clock_deadline(CLOSE_MS + ANSWER_MS), NULL, &err);
    if (status)
        failover_note(failover,
                      "%s could not be made read-only (%s): nobody acknowledges its "
                      "writes, but close it before clients reach it again",
                      failover->lost->name, err.text);
    else
        lost->state.is_read_only = true;
}

/* Whoever moved the shard may hold the server that it left, which is open, or may be opened again:
 * not from here on. It has what was acknowledged, so nobody opens without it. */
static enum status close_former(struct failover *failover, struct err *err)
{
    struct failover_look look = {.server = failover_find_former(failover), .statements = 1};
    struct session *session = NULL;
    if (!look.server)
        return ST_OK;
    const struct server_observation *seen = failover_seen(failover, look.server);
    enum status status = seen->status ? err_set(err, seen->status, "%s", server_problem(seen))
                                      : failover_take(failover, look.server, &session,
                                                      clock_deadline(SESSION_MS), err);
    if (!status) {
        sql_mariadb.refuse_writes(&look.before, CLOSE_MS);
        buf_add(&look.before, "; ");
        failover_look_again(failover, CALL_FAIL_CLOSE, &look, 1,
                            clock_deadline(CLOSE_MS + ANSWER_MS));
        buf_release(&look.before);
        if (seen->status)
            status = err_set(err, seen->status, "%s", server_problem(seen));
    }
    if (!status || status == ST_FENCED)
        return status;
    err_wrap(err, "%s, which a move left, has what was acknowledged", look.server->name);
    return err_hint(err, "bring it back, then: holdfast run resume %s", failover->mandate->run);
}

/* Its ackers, and the relay, which would go on to receive what is never acknowledged; when its
 * region is lost, whoever might take over. */
static bool must_stop(const struct failover *failover, const struct server_observation *server)
{
    return server->status == ST_OK && server->server != failover->lost &&
           server->state.channels > 0 &&
           (is_of_home(failover, server->server) || failover_leaves_region(failover) ||
            (server->source && server->source->server == failover->lost));
}

/* What the lost one still has is caught up from it when its region is left: once it is closed. */
static bool must_look_at_lost(const struct failover *failover,
                              const struct server_observation *server)
{
    return failover_leaves_region(failover) && server->server == failover->lost &&
           server->status == ST_OK;
}

static enum status take_those_who_stop(struct failover *failover, struct err *err)
{
    const struct inventory_server *servers[SESSIONS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < failover->shard->server_count && count < SESSIONS_MAX; i++) {
        const struct server_observation *at = &failover->seen.shards[0].servers[i];
        if (must_stop(failover, at) || must_look_at_lost(failover, at))
            servers[count++] = at->server;
    }
    return failover_take_all(failover, servers, count, clock_deadline(SESSION_MS), err);
}

static enum status stop_receiving(struct failover *failover, struct err *err)
{
    size_t count = 0;
    enum status status = ST_OK;
    AUTO_FREE struct failover_look *looks =
        mem_zalloc(failover->shard->server_count * sizeof(*looks));
    for (size_t i = 0; i < failover->shard->server_count && !status; i++) {
        const struct server_observation *at = &failover->seen.shards[0].servers[i];
        struct session *session = NULL;
        bool stops = must_stop(failover, at);
        if (!stops && !must_look_at_lost(failover, at))
            continue;
        status = failover_take(failover, at->server, &session, clock_deadline(SESSION_MS), err);
        struct failover_look *look = &looks[count++];
        *look = (struct failover_look){.server = at->server};
        if (!stops)
            continue;
        look->statements = at->flavour->stop_receiving(&look->before, &at->state);
        buf_add(&look->before, "; ");
    }
    if (!status)
        failover_look_again(failover, CALL_FAIL_STOP, looks, count, clock_deadline(STOP_MS));
    for (size_t i = 0; i < count; i++)
        buf_release(&looks[i].before);
    return status ? status : need_region(failover, err);
}

static bool has_answer_of_others(const struct failover *failover)
{
    const struct shard_observation *shard = &failover->seen.shards[0];
    for (size_t i = 0; i < failover->shard->server_count; i++)
        if (shard->servers[i].status && shard->servers[i].server != failover->lost)
            return false;
    return true;
}

/* Nobody waits for a server that is frozen when its permission ends anyhow, nor for a region that
 * was silent a moment ago. Whoever else is slow gets his time. */
static void observe(struct failover *failover, bool is_looked_after)
{
    const struct inventory *fleet = failover->mandate->fleet;
    fleet_observation_release(&failover->seen);
    if (failover_leaves_region(failover)) {
        int64_t patience = failover->was_region_silent ? 0 : OBSERVE_MS;
        struct fleet_haste haste = {failover->lost->region, clock_deadline(patience)};
        failover->was_region_silent = false; /* the next time it is looked at again */
        fleet_observe_in_haste(fleet, &failover->shard, 1, &haste, clock_deadline(OBSERVE_MS),
                               &failover->seen);
        return;
    }
    if (is_looked_after) {
        fleet_observe(fleet, &failover->shard, 1, clock_deadline(GLANCE_MS), &failover->seen);
        if (has_answer_of_others(failover))
            return;
        fleet_observation_release(&failover->seen);
    }
    fleet_observe(fleet, &failover->shard, 1, clock_deadline(OBSERVE_MS), &failover->seen);
}

/* The store and the servers are asked side by side: clients wait for both. Locks are taken then,
 * and no more is done before both have answered. */
enum { ASK_STORE, ASK_SERVERS, ASKED };

struct asking {
    struct failover *failover;
    bool is_looked_after; /* as far as was known before */
    enum status statuses[ASKED];
    struct err errs[ASKED];
};

static void ask(void *context, size_t which)
{
    struct asking *asking = context;
    struct failover *failover = asking->failover;
    struct err *err = &asking->errs[which];
    *err = (struct err)ERR_INIT;
    if (which == ASK_STORE) {
        asking->statuses[which] =
            failover_know_revocations(failover, clock_deadline(STORE_MS), err);
    } else {
        observe(failover, asking->is_looked_after);
        asking->statuses[which] = take_those_who_stop(failover, err);
    }
}

static enum status answer_of(const struct asking *asking, size_t which, struct err *err)
{
    if (asking->statuses[which])
        *err = asking->errs[which];
    return asking->statuses[which];
}

/* Bounded: a long backlog is waited for in the next attempt. */
static void drain(struct failover *failover)
{
    size_t count = 0;
    AUTO_FREE struct failover_look *looks =
        mem_zalloc(failover->shard->server_count * sizeof(*looks));
    for (size_t i = 0; i < failover->shard->server_count; i++) {
        const struct server_observation *at = &failover->seen.shards[0].servers[i];
        if (!must_stop(failover, at) || !at->state.received[0] || !at->state.is_sql_running)
            continue;
        struct failover_look *look = &looks[count++];
        *look = (struct failover_look){.server = at->server, .statements = 1};
        at->flavour->wait_for(&look->before, at->state.received, DRAIN_MS);
        buf_add(&look->before, "; ");
    }
    failover_look_again(failover, CALL_FAIL_DRAIN, looks, count,
                        clock_deadline(DRAIN_MS + SESSION_MS));
    for (size_t i = 0; i < count; i++)
        buf_release(&looks[i].before);
}

static void weigh(struct failover *failover)
{
    struct proof *proof = &failover->proof;
    const struct inventory_server *former = failover_find_former(failover);
    proof_weigh(proof, failover->seen.shards, failover->lost, &failover->election);
    if (!former)
        return;
    proof->is_proven = false; /* clients that follow routes were not sent there */
    buf_clear(&proof->words);
    buf_printf(&proof->words,
               "all that %s acknowledged is there; a move to %s, which was lost, may have opened "
               "%s, and what was written there before its permission was over is not",
               former->name, failover->mandate->fleet->regions[failover->lost->region],
               failover->lost->name);
}

enum status failover_step_gather(struct failover *failover, struct err *err)
{
    nsec began = clock_now();
    const struct failover_ears *ears = failover->ears;
    struct vacancy vacancy = failover_vacancy(failover);
    struct unwanted unwanted = {&failover->revoked, failover->mandate->drained,
                                ears ? ears->may_open : NULL, ears ? ears->context : NULL};
    struct asking asking = {.failover = failover, .is_looked_after = failover->is_looked_after};
    failover->view.is_appointed = false;
    crew_run(ASKED, ASKED, ask, &asking);
    enum status status = answer_of(&asking, ASK_STORE, err);
    if (!status)
        status = refuse_strangers(failover, err);
    if (!status)
        status = need_region(failover, err);
    if (!status) {
        if (!failover->was_begun && !failover->proof.was_first_seen)
            proof_see_first(&failover->proof, failover->seen.shards, failover->lost);
        close_lost(failover); /* while its commits are still acknowledged: else they hold it up */
        status = close_former(failover, err);
    }
    if (!status)
        status = answer_of(&asking, ASK_SERVERS, err);
    if (!status)
        status = stop_receiving(failover, err);
    story_add_phase(&failover->story, PHASE_FENCE, began);
    began = clock_now();
    if (!status)
        drain(failover);
    story_add_phase(&failover->story, PHASE_DRAIN, began);
    if (!status)
        status = need_region(failover, err);
    if (!status)
        status = elect(&failover->seen.shards[0], &vacancy, &unwanted, &failover->election, err);
    if (!status)
        status = failover_permit(failover, failover->election.candidate->server,
                                 clock_deadline(STORE_MS), err);
    if (!status)
        weigh(failover);
    failover->view.is_gathered = status == ST_OK;
    return status;
}

enum status failover_check_alone(struct failover *failover, struct err *err)
{
    fleet_observation_release(&failover->seen);
    fleet_observe(failover->mandate->fleet, &failover->shard, 1, clock_deadline(OBSERVE_MS),
                  &failover->seen);
    return refuse_strangers(failover, err);
}

enum status failover_step_release(struct failover *failover, struct err *err)
{
    size_t count = 0;
    AUTO_FREE struct sql_call *calls = mem_zalloc(failover->shard->server_count * sizeof(*calls));
    AUTO(buf_release) struct buf sql = {0};
    sql_mariadb.start_receiving(&sql);
    for (size_t i = 0; i < failover->shard->server_count; i++) {
        struct session *session = &failover->sessions[i];
        if (session->is_held && session->server != failover->lost)
            calls[count++] = (struct sql_call){.conn = session->conn, .sql = buf_text(&sql)};
    }
    sql_run(calls, count, clock_deadline(SESSION_MS));
    for (size_t i = 0; i < count; i++)
        sql_call_release(&calls[i]);
    failover_note(failover,
                  "the replicas were cut off from %s for a while: when it is back, "
                  "holdfast fleet converge makes sure that they follow it",
                  failover->lost->name);
    failover->view.is_released = true;
    (void)err;
    return ST_OK;
}
