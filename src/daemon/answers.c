/* SPDX-License-Identifier: Apache-2.0
 * What the conductor answers: its table of routes, and a handler each. All but reports come from
 * memory. docs/api/openapi.yaml describes the same, and is held against the table. */
#include "api/body.h"
#include "base/buf.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "conductor/keeper.h"
#include "conductor/report_store.h"
#include "conductor/run.h"
#include "daemon/election.h"
#include "daemon/internal.h"
#include "daemon/steward.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "mirror/mirror.h"
#include "orders/desk.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS_MAX = 60000, WAIT_MS = 25000, REASON_MAX = 500, MISDIRECTED = 421, TOO_MANY = 429 };

static const char content_type[] = "application/json";

static void respond_json(struct http_request *request, int code, json_t *take)
{
    AUTO_FREE char *text = json_dumps(take, JSON_COMPACT);
    json_decref(take);
    INVARIANT(text);
    http_respond(request, code, content_type, text);
}

/* Whose answer it is, and how old: in front of a document without its first brace. */
static void respond_aged(struct http_request *request, const struct daemon *daemon, nsec began,
                         const char *rest)
{
    AUTO_FREE char *text = mem_printf("{\"conductor\":\"%s\",\"age_ms\":%.0f,%s",
                                      daemon->self->name, daemon_age_ms(began), rest);
    http_respond(request, 200, content_type, text);
}

static void release_picture(struct picture **picture)
{
    picture_unref(*picture);
}

/* --- The fleet --- */

static void get_status(struct http_request *request, void *context)
{
    AUTO(release_picture) struct picture *picture = daemon_picture(context);
    if (picture)
        respond_aged(request, context, picture->began, picture->status_json);
    else
        http_fail(request, 503, "ask again in a moment", "the fleet was not looked at yet");
}

static void get_readiness(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    AUTO(judgement_release) struct judgement judgement = judge_get(daemon->judge);
    struct err problem = ERR_INIT;
    bool is_blind = mirror_has_problem(daemon->mirror, &problem);
    json_t *told = is_blind ? json_string(problem.text) : json_null();
    AUTO_FREE char *store_error = json_dumps(told, JSON_ENCODE_ANY);
    json_decref(told);
    AUTO_FREE char *rest =
        mem_printf("\"store_error\":%s,%s", store_error, judgement.json ? judgement.json : "");
    if (judgement.began)
        respond_aged(request, daemon, judgement.began, rest);
    else
        http_fail(request, 503, "ask again in some seconds", "readiness was not looked at yet");
}

static bool read_number(struct http_request *request, const char *name, int64_t *ret)
{
    const char *text = http_request_query(request, name);
    char *end = NULL;
    if (!text)
        return true;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || value < 0) {
        http_fail(request, 400, "write it as a number", "'%s' is no number", name);
        return false;
    }
    *ret = value;
    return true;
}

static bool read_span(struct http_request *request, const char *name, int64_t *ret_ms)
{
    const char *text = http_request_query(request, name);
    if (!text || clock_parse_span(text, ret_ms))
        return true;
    http_fail(request, 400, "write it as 100ms, 5s, 1m", "'%s' is no duration", name);
    return false;
}

static bool wants_events(const struct http_request *request)
{
    const char *accept = http_request_header(request, "Accept");
    return accept && strstr(accept, "text/event-stream");
}

static void watch_routes(struct http_request *request, struct daemon *daemon)
{
    int64_t after = 0, wait_ms = WAIT_MS;
    if (wants_events(request)) {
        mirror_stream_routes(daemon->mirror, request);
        return;
    }
    if (!read_number(request, "after", &after) || !read_span(request, "wait", &wait_ms))
        return;
    wait_ms = wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX;
    mirror_answer_routes_after(daemon->mirror, request, after, clock_deadline(wait_ms));
}

static void get_routes(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    if (http_request_query(request, "watch")) {
        watch_routes(request, daemon);
        return;
    }
    json_t *json = mirror_routes(daemon->mirror);
    if (json)
        respond_json(request, 200, json);
    else
        http_fail(request, 503, "ask again in a moment; /v1/health says why",
                  "the store was not read yet");
}

/* --- Runs --- */

static void get_runs(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    json_t *json = mirror_runs(daemon->mirror);
    if (json)
        respond_json(request, 200, json);
    else
        http_fail(request, 503, "ask again in a moment; /v1/health says why",
                  "the store was not read yet");
}

/* Whoever leads takes orders. False: it was answered. */
static bool check_leads(struct http_request *request, const struct daemon *daemon)
{
    struct election_state election = election_get(daemon->election, clock_now());
    const struct inventory_conductor *leader =
        inventory_find_conductor(daemon->fleet, election.leader);
    if (!election.is_leader && leader && leader != daemon->self)
        http_fail(request, MISDIRECTED, "send it there; nothing was changed",
                  "conductor %s leads, at %s", leader->name, leader->listen);
    else if (!election.is_leader)
        http_fail(request, 503, "ask again in a moment; /v1/health says who leads",
                  "conductor %s does not lead, and knows of nobody who does", daemon->self->name);
    return election.is_leader;
}

static void take_order(struct http_request *request, struct daemon *daemon, struct store *store)
{
    AUTO_FREE char *paused = mirror_pause_text(daemon->mirror);
    struct desk desk = {.fleet = daemon->fleet,
                        .store = store,
                        .runner = daemon->runner,
                        .paused = paused,
                        .who = http_request_who(request),
                        .conductor = daemon->self->name};
    char id[RUN_ID_MAX] = "";
    size_t length = 0;
    const char *text = http_request_body(request, &length);
    struct err err = ERR_INIT;
    if (desk_take(&desk, text, length, id, &err))
        http_fail_err(request, &err);
    else
        respond_json(request, 202, json_pack("{s:s}", "run", id));
}

/* One after the other: each asks every server. */
static void post_run(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    struct store *store = daemon_store_get(daemon->store);
    struct err err = ERR_INIT;
    if (!check_leads(request, daemon))
        return;
    if (!store) {
        daemon_store_problem(daemon->store, &err);
        http_fail_err(request, &err);
    } else if (atomic_exchange(&daemon->is_ordering, true)) {
        http_fail(request, TOO_MANY, "ask again in a moment", "another order is being checked");
    } else {
        take_order(request, daemon, store);
        atomic_store(&daemon->is_ordering, false);
    }
}

static void get_run(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    const char *id = http_request_part(request, 0);
    if (http_request_query(request, "watch") || wants_events(request)) {
        mirror_stream_run(daemon->mirror, request, id);
        return;
    }
    json_t *json = mirror_run(daemon->mirror, id);
    if (json)
        respond_json(request, 200, json);
    else
        http_fail(request, 404, "GET /v1/runs lists them", "there is no run '%s'", id);
}

static void get_run_events(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    mirror_stream_run(daemon->mirror, request, http_request_part(request, 0));
}

static void get_report(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    struct store *store = daemon_store_get(daemon->store);
    struct err err = ERR_INIT;
    AUTO_FREE char *json = NULL;
    if (!store)
        daemon_store_problem(daemon->store, &err);
    else if (!report_load(store, http_request_part(request, 0), &json, &err))
        http_respond(request, 200, content_type, json);
    if (err.status)
        http_fail_err(request, &err);
}

/* "TIME oncall (by the API of conductor west-a) asked the run to abort: reason" */
static char *abort_order(const struct http_request *request, const struct daemon *daemon,
                         const char *reason)
{
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    AUTO_FREE char *clean = text_clean_line(reason ? reason : "no reason given");
    return mem_printf("%s %s (by the API of conductor %s) asked the run to abort: %s", now,
                      http_request_who(request), daemon->self->name, clean);
}

static enum status order_abort(struct http_request *request, struct daemon *daemon,
                               const json_t *body, struct err *err)
{
    static const char *const keys[] = {"reason", NULL};
    const char *id = http_request_part(request, 0), *reason = NULL;
    char holder[RUN_ID_MAX] = "";
    struct store *store = daemon_store_get(daemon->store);
    enum status status = body_check_keys(body, keys, err);
    if (!status)
        status = body_text(body, "reason", REASON_MAX, &reason, err);
    if (status)
        return status;
    if (!store) {
        daemon_store_problem(daemon->store, err);
        return err->status;
    }
    status = run_lock_holder(store, holder, err);
    if (status == ST_NOT_FOUND || (!status && strcmp(holder, id) != 0)) {
        err_set(err, ST_CONFLICT, "no process carries run '%s' out", id);
        return err_hint(err, "one that was left half-way: holdfast run abort %s", id);
    }
    AUTO_FREE char *order = abort_order(request, daemon, reason);
    if (!status)
        status = keeper_request_abort_for(store, id, order, err);
    if (!status)
        log_event(EV_RUN_ORDER, "run", id, "order", order, NULL);
    return status;
}

static void post_abort(struct http_request *request, void *context)
{
    size_t length = 0;
    const char *text = http_request_body(request, &length);
    struct err err = ERR_INIT;
    json_t *body = NULL;
    if (body_parse(text, length, &body, &err) || order_abort(request, context, body, &err))
        http_fail_err(request, &err);
    else
        respond_json(request, 202, json_pack("{s:s}", "asked", http_request_part(request, 0)));
    json_decref(body);
}

/* --- One server, for load balancers --- */

/* The server in a picture that is fresh enough; else it was answered. */
static const struct pictured_server *find_server(struct http_request *request,
                                                 const struct picture *picture)
{
    const char *name = http_request_part(request, 0);
    if (!picture || daemon_age_ms(picture->began) > STALE_MS) {
        http_fail(request, 503, "GET /v1/health says how old it is",
                  "there is no recent look at the fleet");
        return NULL;
    }
    const struct pictured_server *found = picture_find(picture, name);
    if (!found)
        http_fail(request, 404, "name it as the fleet file does: HOST:PORT",
                  "there is no server '%s'", name);
    return found;
}

static void say_yes(struct http_request *request, const struct pictured_server *at,
                    const struct picture *picture)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:I}", "server", at->server->server->name, "shard",
                             at->shard->shard->name, "role", server_role_name(at->server->role),
                             "age_ms", (json_int_t)daemon_age_ms(picture->began));
    respond_json(request, 200, json);
}

/* Whom the store calls primary, unless it is this one. In the middle of a move that is nobody. */
static bool is_other_by_route(struct mirror *mirror, const struct pictured_server *at,
                              struct route *ret)
{
    if (mirror_get_route(mirror, at->shard->shard->name, ret, NULL))
        return false;
    return !shard_state_is_writable(ret->state) ||
           strcmp(ret->primary, at->server->server->name) != 0;
}

static void get_primary(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    AUTO(release_picture) struct picture *picture = daemon_picture(daemon);
    const struct pictured_server *at = find_server(request, picture);
    struct route route = {0};
    struct err err = ERR_INIT;
    if (!at)
        return;
    const char *name = at->server->server->name;
    if (at->server->status)
        http_fail(request, 503, "GET /v1/status says more", "%s", server_problem(at->server));
    else if (at->shard->primary != at->server)
        http_fail(request, 503, "GET /v1/status says who is", "%s is not the primary of %s: %s",
                  name, at->shard->shard->name, server_role_name(at->server->role));
    else if (is_other_by_route(daemon->mirror, at, &route))
        http_fail(request, 503, "GET /v1/routes says more",
                  "the route of %s is %s, with primary %s", at->shard->shard->name,
                  shard_state_name(route.state), route.primary);
    else if (steward_check(daemon->steward, at->server->server, &err))
        http_fail(request, 503, "the conductor's log says since when", "%s", err.text);
    else
        say_yes(request, at, picture);
}

/* Why it is no replica to read from; false: it is one. */
static bool is_no_replica(const struct server_observation *server, double lag_ms, struct err *err)
{
    const struct sql_server_state *state = &server->state;
    const char *name = server->server->name;
    if (server->status)
        err_set(err, server->status, "%s", server_problem(server));
    else if (server->role != ROLE_REPLICA && server->role != ROLE_RELAY)
        err_set(err, ST_NOT_FOUND, "%s is no replica: %s", name, server_role_name(server->role));
    else if (!state->is_io_running || !state->is_sql_running)
        err_set(err, ST_BUSY, "%s does not %s", name, state->is_io_running ? "apply" : "receive");
    else if (server->lag_ms < 0)
        err_set(err, ST_TIMEOUT, "how far %s is behind is not known", name);
    else if (server->lag_ms > lag_ms)
        err_set(err, ST_TIMEOUT, "%s is %.0f ms behind, more than %.0f ms", name, server->lag_ms,
                lag_ms);
    return err->status != ST_OK;
}

static void get_replica(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    AUTO(release_picture) struct picture *picture = daemon_picture(daemon);
    int64_t lag_ms = daemon->fleet->policy.max_lag_ms;
    struct err err = ERR_INIT;
    if (!read_span(request, "lag", &lag_ms))
        return;
    const struct pictured_server *at = find_server(request, picture);
    if (!at)
        return;
    if (is_no_replica(at->server, (double)lag_ms, &err))
        http_fail(request, 503, "GET /v1/status says more", "%s", err.text);
    else
        say_yes(request, at, picture);
}

/* --- Itself --- */

static json_t *age_json(nsec began)
{
    return began ? json_integer((json_int_t)daemon_age_ms(began)) : json_null();
}

static void get_health(struct http_request *request, void *context)
{
    struct daemon *daemon = context;
    AUTO(release_picture) struct picture *picture = daemon_picture(daemon);
    AUTO(judgement_release) struct judgement judgement = judge_get(daemon->judge);
    struct election_state election = election_get(daemon->election, clock_now());
    struct err problem = ERR_INIT;
    bool has_problem = mirror_has_problem(daemon->mirror, &problem);
    bool is_fresh = picture && daemon_age_ms(picture->began) <= STALE_MS;
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:b, s:s?, s:I, s:s?, s:o, s:o, s:I}", "conductor", daemon->self->name,
        "region", daemon->fleet->regions[daemon->self->region], "version", HOLDFAST_VERSION,
        "leads", (int)election.is_leader, "leader", election.leader[0] ? election.leader : NULL,
        "token", (json_int_t)election.token, "store_error", has_problem ? problem.text : NULL,
        "observation_age_ms", age_json(picture ? picture->began : 0), "readiness_age_ms",
        age_json(judgement.began), "uptime_ms", (json_int_t)daemon_age_ms(daemon->began));
    respond_json(request, is_fresh && !has_problem ? 200 : 503, json);
}

static void get_metrics(struct http_request *request, void *context)
{
    AUTO(buf_release) struct buf text = {0};
    daemon_metrics(context, &text);
    http_respond(request, 200, "text/plain; version=0.0.4", buf_text(&text));
}

/* --- Permission to serve --- */

static void post_permit(struct http_request *request, void *context)
{
    steward_answer(((struct daemon *)context)->steward, request);
}

static void get_hosts(struct http_request *request, void *context)
{
    respond_json(request, 200, steward_words(((struct daemon *)context)->steward));
}

/* clang-format off */
const struct http_route daemon_routes[] = {
    {"GET", "/v1/status",               "the fleet, shard by shard",              HTTP_VIEWER, false, get_status},
    {"GET", "/v1/readiness",            "would a move work now",                  HTTP_VIEWER, false, get_readiness},
    {"GET", "/v1/routes",               "where the writes of each shard go",      HTTP_VIEWER, false, get_routes},
    {"GET", "/v1/runs",                 "all runs",                               HTTP_VIEWER, false, get_runs},
    {"POST", "/v1/runs",                "order a run",                            HTTP_OPERATOR, true, post_run},
    {"GET", "/v1/runs/{id}",            "one run, and where its shards are",      HTTP_VIEWER, false, get_run},
    {"GET", "/v1/runs/{id}/events",     "one run as it goes on",                  HTTP_VIEWER, false, get_run_events},
    {"GET", "/v1/runs/{id}/report",     "what came of it",                        HTTP_VIEWER, true,  get_report},
    {"POST", "/v1/runs/{id}/abort",     "ask a run that is under way to stop",    HTTP_OPERATOR, true, post_abort},
    {"GET", "/v1/health",               "how this conductor is",                  HTTP_OPEN,   false, get_health},
    {"GET", "/servers/{server}/primary", "200 while it is its shard's primary",   HTTP_OPEN,   false, get_primary},
    {"GET", "/servers/{server}/replica", "200 while it is a replica close behind", HTTP_OPEN,  false, get_replica},
    {"POST", "/v1/permit",              "may the servers of this host serve",     HTTP_AGENT,  false, post_permit},
    {"GET", "/v1/hosts",                "what the region's agents told",          HTTP_VIEWER, false, get_hosts},
    {"GET", "/metrics",                 "for Prometheus",                         HTTP_VIEWER, true,  get_metrics},
    {0}};
/* clang-format on */
