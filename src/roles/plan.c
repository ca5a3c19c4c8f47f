/* SPDX-License-Identifier: Apache-2.0
 * What each server should be, and what it lacks for that; see plan.h. */
#include "roles/plan.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "drain/mark.h"
#include "permit/permit.h"
#include "roles/ahead.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { RANK = 1000000 /* more than what else speaks for a relay */ };

static const char *const action_names[] = {ROLE_ACTION_TABLE(TABLE_TEXT)};

const char *role_action_name(enum role_action action)
{
    INVARIANT((unsigned)action < ROLE_ACTIONS);
    return action_names[action];
}

/* What is made up while a plan is made. */
struct draft {
    const struct shard_observation *shard;
    const struct route *route;
    const struct permit_list *revoked;
    const struct drain_list *drained;
    const struct server_observation *primary;
    const struct server_observation *relay; /* of the other region; NULL: none can be */
    /* Acknowledges across regions the writes of 'lone', which is alone in its region. */
    const struct server_observation *lone, *far_acker;
    struct role_plan *plan;
};

static struct role_step *add_step(struct draft *draft, const struct server_observation *server,
                                  enum role_action action, const char *why)
{
    struct role_plan *plan = draft->plan;
    struct role_step step = {.server = server, .action = action, .why = mem_strdup(why)};
    VEC_PUSH(plan->steps, plan->step_count, plan->step_capacity, step);
    return &plan->steps[plan->step_count - 1];
}

static void __attribute__((format(printf, 4, 5)))
add_obstacle(struct draft *draft, const struct server_observation *server, const char *advice,
             const char *format, ...)
{
    AUTO(buf_release) struct buf what = {0};
    struct role_plan *plan = draft->plan;
    va_list args;
    va_start(args, format);
    buf_vprintf(&what, format, args);
    va_end(args);
    struct role_obstacle obstacle = {server ? server->server : NULL, buf_take(&what),
                                     mem_strdup(advice)};
    VEC_PUSH(plan->obstacles, plan->obstacle_count, plan->obstacle_capacity, obstacle);
}

/* ---- who is who ---- */

/* A failover gave its place to another one, when it was closed or its permission was over, and
 * nobody may open it since: so it is closed, silent or not, and what it wrote beyond its heir
 * nobody acknowledged. */
static bool is_replaced(const struct draft *draft, const struct server_observation *server)
{
    return draft->route && draft->route->state == SHARD_SERVING &&
           strcmp(draft->route->primary, server->server->name) != 0 &&
           permit_list_find(draft->revoked, server->server->name) != 0;
}

static const struct server_observation *answering(const struct shard_observation *shard,
                                                  const char *name)
{
    for (size_t i = 0; i < shard->shard->server_count; i++)
        if (strcmp(shard->servers[i].server->name, name) == 0 && shard->servers[i].status == ST_OK)
            return &shard->servers[i];
    return NULL;
}

/* Somebody who does not answer, and may be open, or have what the closed primary lost. Where there
 * are agents, nobody may be open but who the route says, and whoever was before him was closed, or
 * is revoked: there a silent one counts only when the primary may have lost something. */
static const struct server_observation *find_silent(const struct draft *draft)
{
    const struct server_observation *primary =
        draft->route ? answering(draft->shard, draft->route->primary) : NULL;
    /* It has all that it ever acknowledged: the setting does not outlive a restart. */
    bool is_whole = primary && primary->state.is_source_semi_sync;
    for (size_t i = 0; i < draft->shard->shard->server_count; i++) {
        const struct server_observation *at = &draft->shard->servers[i];
        if (at->status && !(is_whole && at->server->has_agent))
            return at;
    }
    return NULL;
}

/* Nobody accepts writes: the store's primary may be opened again, if it surely has everything and
 * nobody else can be the primary. */
static bool find_closed_primary(struct draft *draft)
{
    const struct route *route = draft->route;
    const struct server_observation *silent = find_silent(draft);
    if (silent) {
        add_obstacle(draft, silent,
                     "bring it back, or take it out of the fleet file when it is gone for good; do "
                     "not open another one beside it",
                     "no server that answers accepts writes, and this one may: it does not answer: "
                     "%s",
                     server_problem(silent));
        return false;
    }
    const struct server_observation *ignored = shard_find_ignored_source(draft->shard);
    if (ignored) {
        add_obstacle(draft, ignored, "if that is the primary, take it out of 'ignore'",
                     "the fleet file says to ignore it, but others replicate from it");
        return false;
    }
    if (!route) {
        add_obstacle(draft, NULL,
                     "open the right one by hand once; from the first move on the store knows it",
                     "no server accepts writes, and the store does not know who the primary is");
        return false;
    }
    draft->primary = answering(draft->shard, route->primary);
    if (draft->primary && draft->primary->state.channels == 0)
        return true;
    add_obstacle(draft, draft->primary, "find out who did that, and why",
                 "the store says that %s is the primary, but it %s", route->primary,
                 draft->primary ? "replicates from another server" : "is not in the fleet file");
    draft->primary = NULL;
    return false;
}

/* A failover opened it and made sure that nobody else's writes are acknowledged: it is the primary,
 * whoever else accepts writes. */
static bool find_opened_primary(struct draft *draft)
{
    const struct shard_observation *shard = draft->shard;
    draft->primary = answering(shard, draft->route->primary);
    if (!draft->primary || draft->primary->state.is_read_only) {
        add_obstacle(draft, draft->primary, "holdfast run show", "a failover is opening it");
        return false;
    }
    for (size_t i = 0; i < shard->shard->server_count; i++)
        if (&shard->servers[i] != draft->primary && !shard->servers[i].status &&
            !shard->servers[i].state.is_read_only)
            add_obstacle(
                draft, &shard->servers[i],
                "SET GLOBAL read_only=1 there; if that does not return, end the server",
                "it still accepts writes, which nobody acknowledges: %s is the primary now",
                draft->route->primary);
    return true;
}

static bool find_primary(struct draft *draft)
{
    const struct shard_observation *shard = draft->shard;
    const struct route *route = draft->route;
    if (route && route->state == SHARD_REPOINTING)
        return find_opened_primary(draft);
    if (route && route->state != SHARD_SERVING) {
        AUTO_FREE char *advice = mem_printf("holdfast run show %s; when nothing goes on with it: "
                                            "holdfast run abort %s brings it to one side",
                                            route->run, route->run);
        add_obstacle(draft, NULL, advice, "a run is in the middle of moving it (%s)", route->run);
        return false;
    }
    if (shard->writable_count > 1) {
        add_obstacle(draft, NULL, "holdfast readiness names them; one must be closed by hand",
                     "%zu servers accept writes", shard->writable_count);
        return false;
    }
    if (shard->writable_count == 0)
        return find_closed_primary(draft);
    draft->primary = shard->primary;
    if (draft->primary->role != ROLE_PRIMARY) {
        add_obstacle(draft, draft->primary, "find out who did that, and why",
                     "it accepts writes although it replicates");
        return false;
    }
    if (!route || strcmp(route->primary, draft->primary->server->name) == 0)
        return true;
    add_obstacle(draft, draft->primary,
                 "when somebody moved it on purpose: holdfast switchover to the region where it is "
                 "makes the store say so",
                 "it accepts writes, but the store says that %s is the primary", route->primary);
    return false;
}

static bool is_running(const struct server_observation *server)
{
    return server->state.channels == 1 && server->state.is_io_running &&
           server->state.is_sql_running;
}

static size_t count_followers(const struct shard_observation *shard,
                              const struct server_observation *source)
{
    size_t count = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++)
        count += shard->servers[i].status == ST_OK && shard->servers[i].source == source;
    return count;
}

/* Before all else: a host that is drained shall have no role, one that returns the one it had. */
static size_t rank_of(const struct draft *draft, const struct server_observation *server)
{
    const char *name = server->server->name;
    return drain_wants_relay(draft->drained, name) && is_running(server) ? 2
           : drain_keeps_off(draft->drained, name)                       ? 0
                                                                         : 1;
}

/* The one that is; else the one that most follow, or that follows the primary, or the first. */
static const struct server_observation *find_relay(const struct draft *draft)
{
    const struct server_observation *best = NULL;
    size_t best_score = 0;
    for (size_t i = 0; i < draft->shard->shard->server_count; i++) {
        const struct server_observation *at = &draft->shard->servers[i];
        if (at->status || at->server->region == draft->primary->server->region)
            continue;
        bool is_relay = at->source == draft->primary;
        size_t score = 1 + RANK * rank_of(draft, at) + 4 * count_followers(draft->shard, at) +
                       2 * is_relay + is_running(at);
        if (score > best_score) {
            best = at;
            best_score = score;
        }
    }
    return best;
}

/* Servers of the region in the fleet file, or only those that answer. */
static size_t count_region(const struct shard_observation *shard, size_t region, bool is_answering)
{
    size_t count = 0;
    for (size_t i = 0; i < shard->shard->server_count; i++)
        count += shard->servers[i].server->region == region &&
                 !(is_answering && shard->servers[i].status);
    return count;
}

/* The primary or the relay, when nobody beside it could acknowledge its writes. A relay has an
 * acker of the home region only as long as the primary has another. */
static const struct server_observation *find_lone(const struct draft *draft)
{
    const struct shard_observation *shard = draft->shard;
    const struct server_observation *relay = draft->relay;
    size_t home = draft->primary->server->region;
    if (count_region(shard, home, false) == 1)
        return draft->primary;
    bool is_lone = relay && count_region(shard, relay->server->region, false) == 1;
    return is_lone && count_region(shard, home, true) > 2 ? relay : NULL;
}

/* Whoever follows the lone server from the other region, best if it acknowledges already. For a
 * primary that nobody else follows the relay does it. */
static const struct server_observation *find_far_acker(const struct draft *draft)
{
    const struct server_observation *lone = draft->lone, *best = NULL;
    int best_score = 0;
    for (size_t i = 0; lone && i < draft->shard->shard->server_count; i++) {
        const struct server_observation *at = &draft->shard->servers[i];
        if (at->status || at->source != lone || at->server->region == lone->server->region)
            continue;
        int score = at == draft->relay ? 1 : at->state.is_replica_semi_sync ? 3 : 2;
        score += drain_keeps_off(draft->drained, at->server->name) ? 0 : 3;
        if (score > best_score) {
            best = at;
            best_score = score;
        }
    }
    return best ? best : lone == draft->primary ? draft->relay : NULL;
}

/* ---- steps ---- */

static const struct server_observation *right_source(const struct draft *draft,
                                                     const struct server_observation *server)
{
    if (server == draft->far_acker)
        return draft->lone;
    bool is_home = server->server->region == draft->primary->server->region;
    return is_home || server == draft->relay ? draft->primary : draft->relay;
}

/* Somebody whose connection to its source shows how they are made here (TLS). */
static const struct server_observation *find_example(const struct draft *draft)
{
    for (size_t i = 0; i < draft->shard->shard->server_count; i++)
        if (draft->shard->servers[i].status == ST_OK &&
            draft->shard->servers[i].state.channels == 1)
            return &draft->shard->servers[i];
    return NULL;
}

static bool is_acker(const struct draft *draft, const struct server_observation *server,
                     const struct server_observation *source)
{
    return source->server->region == server->server->region || server == draft->far_acker;
}

static void add_ahead(struct draft *draft, const struct server_observation *server,
                      const struct server_observation *source, const char *words)
{
    AUTO(buf_release) struct buf tail = {0};
    if (is_replaced(draft, server) && roles_find_tail(draft->primary, server, &tail)) {
        add_obstacle(draft, server,
                     "nobody acknowledged them, if no replica was missing then; look at them there "
                     "(mariadb-binlog), then rebuild it from a backup",
                     "it was the primary, and has what the failover found nowhere else: %s",
                     buf_text(&tail));
        return;
    }
    add_obstacle(draft, server, "look at them there, then rebuild it from a backup",
                 "it should replicate from %s, but %s lacks what it has: %s", source->server->name,
                 draft->primary->server->name, words);
}

/* False: it must not be. */
static bool plan_point(struct draft *draft, const struct server_observation *server,
                       const struct server_observation *source)
{
    AUTO(buf_release) struct buf words = {0};
    AUTO_FREE char *position = roles_whole_position(server);
    if (server->state.channels > 1) {
        add_obstacle(draft, server, "RESET SLAVE 'NAME' ALL for those that it should not have",
                     "it replicates from %zu servers", server->state.channels);
        return false;
    }
    if (!position || roles_is_ahead(draft->shard, draft->primary, server, &words)) {
        add_ahead(draft, server, source, buf_text(&words));
        return false;
    }
    AUTO_FREE char *why =
        server->state.channels == 0
            ? mem_strdup("it replicates from nobody")
            : mem_printf("it replicates from %s:%lld%s", server->state.source_host,
                         (long long)server->state.source_port,
                         server->state.uses_gtid ? "" : " without GTIDs");
    struct role_step *step = add_step(draft, server, ROLE_POINT, why);
    step->source = source->server;
    step->acknowledges = is_acker(draft, server, source);
    step->like = server->state.channels == 1 ? server : find_example(draft);
    if (server->state.channels == 0) /* one that replicates goes on meanwhile, and knows where */
        step->position = take_pointer(position);
    return true;
}

/* It follows the right server: does it run? An error that is not the network's stays one. */
static void plan_start(struct draft *draft, const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (state->is_io_running && state->is_sql_running)
        return;
    if (state->sql_error[0]) {
        add_obstacle(draft, server, "mend that there, or rebuild it from a backup",
                     "it does not apply: %s", state->sql_error);
        return;
    }
    add_step(draft, server, ROLE_START,
             state->io_error[0]      ? state->io_error
             : state->is_sql_running ? "it is not connected to its source"
             : !state->is_io_running ? "it is stopped"
                                     : "it does not apply");
}

/* Said of a server that is pointed as well: so that all is done when it acknowledged before. */
static void plan_acknowledging(struct draft *draft, const struct server_observation *server,
                               const struct server_observation *source, bool is_pointed)
{
    bool is_wanted = is_acker(draft, server, source);
    bool is_on = server->state.is_replica_semi_sync && !is_pointed;
    bool is_near = source->server->region == server->server->region;
    if (is_wanted && !is_on)
        add_step(draft, server, ROLE_ACKNOWLEDGE,
                 is_near ? "it is a replica in its source's region"
                         : "its source is alone in its region");
    if (!is_wanted && source != draft->lone && is_on)
        add_step(draft, server, ROLE_DO_NOT_ACKNOWLEDGE, "it is the relay");
}

static void plan_replica(struct draft *draft, const struct server_observation *server)
{
    if (server->status) {
        add_obstacle(draft, server, "bring it back, then converge again", "it does not answer: %s",
                     server_problem(server));
        return;
    }
    if (server->state.is_source_semi_sync && !server->state.is_read_only)
        return; /* it is named; nothing may tell its clients, who wait, that their writes are kept
                 */
    const struct server_observation *source = right_source(draft, server);
    bool is_right =
        server->state.channels == 1 && server->source == source && server->state.uses_gtid;
    AUTO(buf_release) struct buf words = {0};
    bool is_stopped = is_right && !server->state.is_io_running;
    if (is_stopped && roles_is_ahead(draft->shard, draft->primary, server, &words)) {
        if (draft->shard->writable_count > 0 ||
            is_replaced(draft, server)) /* else it keeps the primary closed, and is named */
            add_ahead(draft, server, source, buf_text(&words));
        return;
    }
    if (server->state.is_source_semi_sync)
        add_step(draft, server, ROLE_RELEASE, "it is not the primary");
    if (!is_right && !plan_point(draft, server, source))
        return;
    plan_acknowledging(draft, server, source, !is_right);
    if (is_right)
        plan_start(draft, server);
}

/* Whoever has more than the server that is to open must be looked at first. Silent are only those
 * who need not be asked: find_silent(). */
static void plan_open(struct draft *draft)
{
    for (size_t i = 0; i < draft->shard->shard->server_count; i++) {
        const struct server_observation *at = &draft->shard->servers[i];
        AUTO(buf_release) struct buf words = {0};
        bool is_left_behind = is_replaced(draft, at) && roles_has_only_tail(draft->primary, at);
        if (at == draft->primary || at->status || is_left_behind ||
            !roles_is_ahead(draft->shard, draft->primary, at, &words))
            continue;
        add_obstacle(draft, at, "find out which of the two is right before anything is opened",
                     "it has what the primary %s lacks, which is closed: %s",
                     draft->primary->server->name, buf_text(&words));
        return;
    }
    add_step(draft, draft->primary, ROLE_OPEN,
             "the store says that it is the primary, and it is read-only");
}

/* A replica got a write before it acknowledged: that write waits for ever, and every other one
 * behind it. Whichever acknowledges now, for else it would have got the write only now. */
static void plan_held_up(struct draft *draft)
{
    const struct sql_server_state *primary = &draft->primary->state;
    for (size_t i = 0; i < draft->shard->shard->server_count; i++) {
        const struct server_observation *at = &draft->shard->servers[i];
        if (primary->held_up_ms < SQL_HELD_UP_MS || at->status || at->source != draft->primary ||
            !at->state.is_replica_semi_sync || !at->state.is_io_running || !at->state.uses_gtid)
            continue;
        add_step(draft, at, ROLE_ACKNOWLEDGE_RECEIVED,
                 "writes wait for that, and it got them before it acknowledged");
        return;
    }
}

static int by_action(const void *a, const void *b)
{
    const struct role_step *left = a, *right = b;
    if (left->action != right->action)
        return left->action < right->action ? -1 : 1;
    return left->server < right->server ? -1 : left->server > right->server;
}

static void plan_semi_sync_of_primary(struct draft *draft)
{
    const struct sql_server_state *state = &draft->primary->state;
    if (!state->is_source_semi_sync)
        add_step(draft, draft->primary, ROLE_AWAIT, "its writes wait for no acknowledgement");
}

void role_plan_make(const struct shard_observation *shard, const struct route *route,
                    const struct permit_list *revoked, const struct drain_list *drained,
                    struct role_plan *ret)
{
    *ret = (struct role_plan){0};
    struct draft draft = {
        .shard = shard, .route = route, .revoked = revoked, .drained = drained, .plan = ret};
    if (!find_primary(&draft))
        return;
    draft.relay = find_relay(&draft);
    draft.lone = find_lone(&draft);
    draft.far_acker = find_far_acker(&draft);
    for (size_t i = 0; i < shard->shard->server_count; i++)
        if (&shard->servers[i] != draft.primary)
            plan_replica(&draft, &shard->servers[i]);
    if (shard->writable_count == 0)
        plan_open(&draft);
    else
        plan_semi_sync_of_primary(&draft);
    plan_held_up(&draft);
    if (ret->step_count > 1)
        qsort(ret->steps, ret->step_count, sizeof(*ret->steps), by_action);
}

void role_plan_release(struct role_plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++) {
        free(plan->steps[i].position);
        free(plan->steps[i].why);
    }
    for (size_t i = 0; i < plan->obstacle_count; i++) {
        free(plan->obstacles[i].what);
        free(plan->obstacles[i].advice);
    }
    free(plan->steps);
    free(plan->obstacles);
    *plan = (struct role_plan){0};
}
