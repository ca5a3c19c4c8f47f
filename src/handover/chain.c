/* SPDX-License-Identifier: Apache-2.0
 *
 * See chain.h. An acknowledged write may be in the acker's relay log and nowhere else but at the
 * primary, and whoever is pointed throws its relay log away. So the acker stops to receive, applies
 * what it has, and only when the heir has that too it is pointed. Dies the process in between, it
 * has stopped or follows the heir: both are what 'fleet converge' finds its way out of. */
#include "handover/chain.h"

#include "base/mem.h"
#include "base/scope.h"
#include "move/mandate.h"
#include "move/session.h"

#include <poll.h>
#include <string.h>

enum { STEP_MS = 3000, APPLY_MS = 1500, ACKERS_MS = 2000, LOOK_MS = 5 };

static enum status take(const struct mandate *mandate, const struct server_observation *server,
                        struct session *session, struct err *err)
{
    *session =
        (struct session){.server = server->server, .flavour = server->flavour, .end = SESSION_ROLE};
    return session_take(mandate, session, clock_deadline(STEP_MS), err);
}

static void give_back(struct session *session)
{
    session_give_back(session, clock_deadline(STEP_MS));
}

static enum status point(const struct mandate *mandate, struct session *session,
                         const struct server_observation *server,
                         const struct inventory_server *source, struct err *err)
{
    const struct inventory_account *account = &mandate->fleet->replication;
    AUTO(buf_release) struct buf sql = {0}, link = {0};
    AUTO(secret_release) struct secret password = {0};
    inventory_read_password(account, &password);
    session->flavour->keep_link(&link, &server->state,
                                account->tls.is_on ? &account->tls.sql : NULL);
    struct sql_source from = {
        .host = source->host,
        .port = source->port,
        .user = account->user,
        .password = &password,
        .link = buf_text(&link),
        .acknowledges = true,
    };
    session->flavour->follow(&sql, &from);
    return session_exec(session, CALL_HAND_POINT, buf_text(&sql), clock_deadline(STEP_MS), NULL,
                        err);
}

/* From when it stands still; the caller frees the position. */
static enum status stop_receiving(struct session *acker, const struct server_observation *server,
                                  char **ret_received, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    size_t statements = acker->flavour->stop_receiving(&sql, &server->state);
    buf_add(&sql, "; ");
    acker->flavour->observe(&sql);
    enum status status =
        session_exec(acker, CALL_HAND_STOP, buf_text(&sql), clock_deadline(STEP_MS), &result, err);
    for (size_t i = 0; i < statements && !status; i++)
        sql_result_drop_first(&result);
    if (!status)
        status = acker->flavour->read_observation(&result, &state, err);
    if (!status)
        *ret_received = mem_strdup(state.received);
    return status;
}

static enum status wait_for(struct session *session, enum call call, const char *position,
                            struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    session->flavour->wait_for(&sql, position, APPLY_MS);
    enum status status =
        session_exec(session, call, buf_text(&sql), clock_deadline(STEP_MS), &result, err);
    if (!status && sql_number(session_last_value(&result), -1) != 0)
        status = err_set(err, ST_TIMEOUT, "%s did not apply %s within %d ms", session->server->name,
                         position, APPLY_MS);
    return status;
}

static enum status wait_for_acker(struct session *heir, struct err *err)
{
    nsec deadline = clock_deadline(ACKERS_MS);
    for (;;) {
        AUTO(buf_release) struct buf sql = {0};
        AUTO(sql_result_release) struct sql_result result = {0};
        AUTO(sql_server_state_release) struct sql_server_state state = {0};
        heir->flavour->observe(&sql);
        enum status status = session_exec(heir, CALL_HAND_ACKERS, buf_text(&sql),
                                          clock_deadline(STEP_MS), &result, err);
        if (!status)
            status = heir->flavour->read_observation(&result, &state, err);
        if (status || state.ackers > 0)
            return status;
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "nobody acknowledges at %s within %d ms",
                           heir->server->name, ACKERS_MS);
        poll(NULL, 0, LOOK_MS);
    }
}

/* It goes on as before. */
static void start_again(struct session *acker)
{
    AUTO(buf_release) struct buf sql = {0};
    struct err ignored = ERR_INIT;
    acker->flavour->restart_replication(&sql);
    status_ignore(session_exec(acker, CALL_HAND_START, buf_text(&sql), clock_deadline(STEP_MS),
                               NULL, &ignored),
                  "bringing roles back starts it, too");
}

static enum status hand_over(const struct mandate *mandate, const struct heirs *heirs,
                             struct session *acker, struct session *heir, struct err *err)
{
    AUTO_FREE char *received = NULL;
    enum status status = stop_receiving(acker, heirs->acker, &received, err);
    if (!status)
        status = wait_for(acker, CALL_HAND_APPLY, received, err);
    if (!status)
        status = wait_for(heir, CALL_HAND_CATCH_UP, received, err);
    if (status) {
        if (status != ST_FENCED)
            start_again(acker);
        return status;
    }
    return point(mandate, acker, heirs->acker, heirs->primary->server, err);
}

enum status chain_make(const struct mandate *mandate, const struct heirs *heirs, struct err *err)
{
    struct session acker = {0}, heir = {0};
    bool is_made =
        heirs->acker->source == heirs->primary && heirs->acker->state.is_replica_semi_sync;
    enum status status = take(mandate, heirs->primary, &heir, err);
    if (!status && !is_made)
        status = take(mandate, heirs->acker, &acker, err);
    if (!status && !is_made)
        status = hand_over(mandate, heirs, &acker, &heir, err);
    if (!status)
        status = wait_for_acker(&heir, err);
    give_back(&acker);
    give_back(&heir);
    return status && status != ST_FENCED
               ? err_wrap(err, "make %s follow %s", heirs->acker->server->name,
                          heirs->primary->server->name)
               : status;
}

enum status chain_undo(const struct mandate *mandate, const struct shard_observation *shard,
                       struct err *err)
{
    enum status status = ST_OK;
    for (size_t i = 0; shard->primary && i < shard->shard->server_count && !status; i++) {
        const struct server_observation *at = &shard->servers[i];
        struct session session = {0};
        if (at->status || !at->source || at->source == shard->primary ||
            at->server->region != shard->primary->server->region ||
            at->source->server->region != shard->primary->server->region)
            continue;
        status = take(mandate, at, &session, err);
        if (!status)
            status = point(mandate, &session, at, shard->primary->server, err);
        give_back(&session);
    }
    return status;
}
