/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine of one shard's failover: plan, record, act, until the plan says stop. */
#include "failover/failover.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "failover/internal.h"
#include "move/fault.h"
#include "move/journal.h"
#include "move/mandate.h"
#include "permit/opening.h"

#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_MS = 2000, PACE_MS = 50, WAIT_MS = 10 };

void failover_note(struct failover *failover, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    story_note(&failover->story, failover->mandate, failover->shard, format, args);
    va_end(args);
}

static struct session *session_of(struct failover *failover, const struct inventory_server *server)
{
    struct session *session = &failover->sessions[server->index];
    session->server = server;
    session->flavour = &sql_mariadb;
    session->end = SESSION_ROLE;
    return session;
}

enum status failover_take(struct failover *failover, const struct inventory_server *server,
                          struct session **ret_session, nsec deadline, struct err *err)
{
    *ret_session = session_of(failover, server);
    return session_take(failover->mandate, *ret_session, deadline, err);
}

enum status failover_take_all(struct failover *failover,
                              const struct inventory_server *const *servers, size_t count,
                              nsec deadline, struct err *err)
{
    struct session *sessions[SESSIONS_MAX];
    INVARIANT(count <= SESSIONS_MAX);
    for (size_t i = 0; i < count; i++)
        sessions[i] = session_of(failover, servers[i]);
    return session_take_all(failover->mandate, sessions, count, deadline, err);
}

struct server_observation *failover_seen(struct failover *failover,
                                         const struct inventory_server *server)
{
    return &failover->seen.shards[0].servers[server->index];
}

void failover_run_calls(enum call call, struct sql_call *calls, size_t count, nsec deadline)
{
    fault_point(call, FAULT_BEFORE);
    sql_run(calls, count, deadline);
    fault_point(call, FAULT_AFTER);
}

/* What the packet's last part said; what came before that is of no interest. */
static void see_again(struct failover *failover, const struct failover_look *look,
                      struct sql_call *call)
{
    struct server_observation *seen = failover_seen(failover, look->server);
    struct sql_server_state state = {0};
    struct err err = call->err;
    enum status status = call->status;
    for (size_t i = 0; i < look->statements && !status; i++)
        sql_result_drop_first(&call->result);
    if (!status)
        status = seen->flavour->read_observation(&call->result, &state, &err);
    if (status) {
        server_observation_fail(seen, &err);
    } else {
        seen->status = ST_OK;
        sql_server_state_release(&seen->state);
        seen->state = state;
    }
    sql_call_release(call);
}

void failover_look_again(struct failover *failover, enum call call, struct failover_look *looks,
                         size_t count, nsec deadline)
{
    AUTO_FREE struct sql_call *calls = mem_zalloc((count + 1) * sizeof(*calls));
    for (size_t i = 0; i < count; i++) {
        failover_seen(failover, looks[i].server)->flavour->observe(&looks[i].before);
        calls[i] = (struct sql_call){.conn = failover->sessions[looks[i].server->index].conn,
                                     .sql = buf_text(&looks[i].before)};
    }
    failover_run_calls(call, calls, count, deadline);
    for (size_t i = 0; i < count; i++)
        see_again(failover, &looks[i], &calls[i]);
}

/* ---- the lost primary's permission ---- */

static enum permit_end find_end_of(const struct failover *failover, const char *server, nsec now)
{
    const struct failover_ears *ears = failover->ears;
    const struct permit_wait *wait = &failover->wait;
    struct permit_rumour rumour = {0};
    struct permit_heard heard;
    if (ears && ears->hear(ears->context, server, &heard))
        rumour.heard = &heard;
    if (ears && wait->revision)
        rumour.is_last_grant_known = ears->last_grant(ears->context, &failover->granters, server,
                                                      wait->revision, &rumour.last_grant);
    return permit_end_of(wait, &rumour, now);
}

/* Of a lost region any server of the shard may have been opened: each must be over. */
static enum permit_end find_end(const struct failover *failover, nsec now)
{
    const struct inventory_server *servers = failover->shard->servers;
    enum permit_end end = find_end_of(failover, failover->lost->name, now);
    for (size_t i = 0; end && i < failover->shard->server_count; i++)
        if (failover_leaves_region(failover) && servers[i].region == failover->lost->region &&
            !find_end_of(failover, servers[i].name, now))
            end = PERMIT_LASTS;
    return end;
}

/* Once it is over it stays so. */
static void note_end(struct failover *failover, nsec now)
{
    if (!failover->is_looked_after || failover->end)
        return;
    failover->end = find_end(failover, now);
    if (failover->end)
        journal_add(failover->mandate->journal, failover->shard->name, "permission", "%s: %s",
                    failover->lost->name, permit_end_text(failover->end));
}

static bool is_over(const struct failover *failover)
{
    return !failover->is_looked_after || failover->end;
}

/* ---- a shard that another run had in hand ---- */

static const struct inventory_server *find_in(const struct inventory_shard *shard, const char *name,
                                              size_t region)
{
    const struct inventory_server *server = name[0] ? inventory_find_server(shard, name) : NULL;
    return server && server->region == region ? server : NULL;
}

static bool is_failing_over(const struct route *route)
{
    return route->state == SHARD_FENCING || route->state == SHARD_OPENING;
}

const struct inventory_server *failover_find_end(const struct inventory_shard *shard,
                                                 const struct route *route, size_t region)
{
    const struct inventory_server *primary = find_in(shard, route->primary, region),
                                  *next = find_in(shard, route->new_primary, region),
                                  *lost = find_in(shard, route->old_primary, region);
    if (route->state == SHARD_PROMOTING)
        return primary ? primary : next;
    if (is_failing_over(route))
        return next ? next : primary ? primary : lost;
    return primary;
}

bool failover_is_concerned(const struct inventory *fleet, const struct inventory_shard *shard,
                           const struct route *route, size_t region)
{
    return strcmp(route->home, fleet->regions[region]) == 0 ||
           failover_find_end(shard, route, region);
}

const struct inventory_server *failover_find_former(const struct failover *failover)
{
    const struct route *route = &failover->route;
    bool was_taken = is_failing_over(route) && strcmp(route->primary, route->old_primary) != 0;
    return (route->state == SHARD_PROMOTING || was_taken) && failover_leaves_region(failover)
               ? find_in(failover->shard, route->primary, failover->mandate->to_region)
               : NULL;
}

/* The longest of a statement that may be on its way there. */
static nsec find_guard(const struct failover *failover)
{
    nsec open = SQL_OPEN_WITHIN_MS * NSEC_PER_MS;
    nsec promote = move_promote_span(failover->mandate->fleet);
    return promote > open ? promote : open;
}

/* Another run was in the middle when a region was lost where the shard may be served, and goes no
 * further: it is begun anew. A candidate of that region may have been open, so its writes count;
 * one of the other region may be open now, or open yet. */
void failover_take_from_another_run(struct failover *failover)
{
    const struct route *route = &failover->route;
    size_t to = failover->mandate->to_region;
    const struct inventory_server *lost = failover_find_end(failover->shard, route, 1 - to);
    if (!failover->is_region_lost || route->state == SHARD_SERVING ||
        strcmp(route->run, failover->mandate->run) == 0 || !lost)
        return;
    bool may_open = route->state == SHARD_PROMOTING || route->state == SHARD_OPENING;
    if (find_in(failover->shard, route->new_primary, to) && may_open) {
        failover->view.state = SHARD_OPENING;
        return;
    }
    failover->lost = lost;
    failover->wait.guard = find_guard(failover);
    failover->view.state = SHARD_SERVING;
    failover->view.is_inherited = false;
}

/* ---- the engine ---- */

static enum status step_wait(struct failover *failover, struct err *err)
{
    nsec began = clock_now();
    poll(NULL, 0, WAIT_MS);
    story_add_phase(&failover->story, PHASE_WAIT, began);
    note_end(failover, clock_now());
    return is_over(failover) ? failover_look_at_candidate(failover, err) : ST_OK;
}

static enum status (*const steps[FAILOVER_ACTIONS])(struct failover *failover, struct err *err) = {
    [FAILOVER_GATHER] = failover_step_gather,
    [FAILOVER_APPOINT] = failover_step_appoint,
    [FAILOVER_WAIT] = step_wait,
    [FAILOVER_OPEN] = failover_step_open,
    [FAILOVER_CONFIRM] = failover_step_confirm,
    [FAILOVER_FOLLOW] = failover_step_follow,
    [FAILOVER_RELEASE] = failover_step_release,
};

static void fail(struct failover *failover, const struct err *err)
{
    journal_add(failover->mandate->journal, failover->shard->name, "failure", "%s", err->text);
    failover->failure = *err;
    if (err->status == ST_FENCED) /* this process has no say any more */
        failover->result = MOVE_FENCED;
}

/* Clients wait while it is written: that belongs to what it is written for. */
static void add_record(struct failover *failover, enum shard_state next, nsec began)
{
    if (next == SHARD_FENCING)
        story_add_phase(&failover->story, PHASE_FENCE, began);
    else if (next == SHARD_OPENING)
        story_add_phase(&failover->story, PHASE_OPEN, began);
    else if (next == SHARD_REPOINTING)
        story_add_phase(&failover->story, PHASE_PUBLISH, began);
}

/* True when the step may go on. */
static bool record(struct failover *failover, const struct failover_rule *rule)
{
    struct err err = ERR_INIT;
    if (rule->next == failover->view.state)
        return true;
    nsec began = clock_now();
    enum status status = failover_record(failover, rule->next, clock_deadline(RECORD_MS), &err);
    failover->view.has_record_failed = status != ST_OK;
    add_record(failover, rule->next, began);
    if (rule->next == SHARD_REPOINTING && !status)
        failover->published_at = clock_now();
    if (status && rule->next == SHARD_OPENING) /* who may open may have changed: elect again */
        failover->view.is_gathered = failover->view.is_appointed = false;
    if (status)
        fail(failover, &err);
    return status == ST_OK;
}

static void act(struct failover *failover, const struct failover_rule *rule)
{
    struct err err = ERR_INIT;
    log_event(EV_STEP, "shard", failover->shard->name, "step", failover_action_name(rule->action),
              NULL);
    if (steps[rule->action](failover, &err) == ST_OK)
        return;
    fail(failover, &err);
    poll(NULL, 0, PACE_MS); /* let the servers and the store breathe */
}

static void finish(struct failover *failover, const struct failover_rule *rule)
{
    struct err err = ERR_INIT;
    err_set(&err, ST_TIMEOUT, "%s", rule->why);
    if (rule->action == FAILOVER_GIVE_UP && !failover->failure.status)
        fail(failover, &err);
    bool is_untouched = failover->view.state == SHARD_SERVING && !failover->is_route_doubtful;
    failover->result = rule->action == FAILOVER_GIVE_UP && is_untouched       ? MOVE_UNDONE
                       : rule->action == FAILOVER_GIVE_UP                     ? MOVE_STUCK
                       : failover->view.is_done || failover->view.is_followed ? MOVE_MOVED
                                                                              : MOVE_ABORTED;
    if (failover->result == MOVE_MOVED)
        failover->failure = (struct err)ERR_INIT;
    journal_add(failover->mandate->journal, failover->shard->name, "result", "%s: %s",
                move_result_name(failover->result), rule->why);
}

static void refresh_view(struct failover *failover)
{
    struct failover_view *view = &failover->view;
    failover_take_from_another_run(failover); /* also when it was read anew */
    view->now = clock_now();
    note_end(failover, view->now);
    view->is_over = is_over(failover);
    view->must_stop = mandate_must_stop(failover->mandate);
    view->was_opening =
        failover->route.new_primary[0] != '\0' || failover_find_former(failover) != NULL;
}

void failover_know_route(struct failover *failover)
{
    const struct failover_ears *ears = failover->ears;
    nsec *settled = &failover->wait.settled;
    if (!ears ||
        !ears->route_since(ears->context, failover->shard, failover->route.revision, settled))
        *settled = clock_now();
}

/* A successor does not know: the loss is not what it came for. */
static void know_loss(struct failover *failover)
{
    const struct failover_ears *ears = failover->ears;
    nsec *lost_at = &failover->lost_at;
    if (failover->was_begun || !ears ||
        !ears->lost_since(ears->context, failover->shard, lost_at) || *lost_at > failover->began_at)
        *lost_at = 0;
    if (*lost_at)
        failover->story.phase_ns[PHASE_DETECT] = failover->began_at - *lost_at;
}

void failover_run(struct failover *failover)
{
    failover->began_at = clock_now();
    know_loss(failover);
    failover_know_route(failover);
    if (failover_find_former(failover)) /* also when the process before this one took it */
        failover->wait.guard = find_guard(failover);
    failover->view.deadline = clock_deadline(failover->mandate->fleet->policy.move_timeout_ms +
                                             2 * failover->mandate->fleet->permission_ttl_ms);
    while (failover->result == MOVE_PENDING) {
        refresh_view(failover);
        const struct failover_rule *rule = failover_plan(&failover->view);
        if (!record(failover, rule))
            poll(NULL, 0, PACE_MS);
        else if (steps[rule->action])
            act(failover, rule);
        else
            finish(failover, rule);
    }
}

/* ---- making ---- */

/* The one silent server that others follow, of their own region or of the other; NULL: there are
 * several, or none. */
static const struct inventory_server *find_silent_source(const struct shard_observation *shard,
                                                         bool is_near)
{
    const struct server_observation *lost = NULL;
    for (size_t i = 0; i < shard->shard->server_count; i++) {
        const struct server_observation *at = &shard->servers[i], *source = at->source;
        if (at->status || !source || !source->status ||
            (source->server->region == at->server->region) != is_near)
            continue;
        if (lost && lost != source)
            return NULL;
        lost = source;
    }
    return lost ? lost->server : NULL;
}

const struct inventory_server *failover_find_lost(const struct shard_observation *shard)
{
    const struct inventory_server *near = find_silent_source(shard, true);
    return near ? near : find_silent_source(shard, false);
}

void failover_init(struct failover *failover, const struct mandate *mandate,
                   const struct inventory_shard *shard, const struct route *route)
{
    const char *lost = route->old_primary[0] ? route->old_primary : route->primary;
    *failover = (struct failover){.mandate = mandate, .shard = shard, .route = *route};
    failover->lost = inventory_find_server(shard, lost);
    failover->chosen = route->new_primary[0] ? inventory_find_server(shard, route->new_primary)
                       : route->state == SHARD_REPOINTING
                           ? inventory_find_server(shard, route->primary)
                           : NULL;
    failover->sessions = mem_zalloc((inventory_shard_size(shard) + 1) * sizeof(struct session));
    failover->view.state = route->state;
    failover->view.is_inherited = route->state != SHARD_SERVING;
    failover->was_begun = failover->view.is_inherited;
    failover->view.is_done = route->state == SHARD_SERVING && strcmp(route->run, mandate->run) == 0;
}

void failover_release(struct failover *failover)
{
    for (size_t i = 0; i < failover->shard->server_count; i++)
        session_release(&failover->sessions[i]);
    free(failover->sessions);
    fleet_observation_release(&failover->seen);
    permit_granters_release(&failover->granters);
    permit_list_release(&failover->revoked);
    proof_release(&failover->proof);
    story_release(&failover->story);
    free(failover->position);
    free(failover->whole);
}
