/* SPDX-License-Identifier: Apache-2.0
 * See steward.h. */
#include "daemon/steward.h"

#include "api/permit.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "exposure/surveyor.h"
#include "fleet/inventory.h"
#include "permit/fence.h"
#include "permit/granters.h"
#include "store/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TERM_TRIES = 2 /* another conductor may have changed it since it was read */ };

struct steward {
    const struct inventory *fleet;
    const struct inventory_conductor *self;
    const char *region;
    char granter[PERMIT_GRANTER_MAX];
    struct daemon_store *store;
    struct surveyor *surveyor;
    struct daemon_bell bell;
    pthread_t thread;
    struct permit_term term; /* its thread's, like the next two */
    nsec term_since;
    bool is_term_known;
    bool has_beaten;                 /* as was said last */
    struct permit_granters granters; /* as they were read ... */
    nsec granters_at;                /* ... then */
    pthread_mutex_t lock;
    struct permit_basis basis; /* under the lock, like: */
    struct permit_ears ears;
    nsec alone_until; /* until then no other region may serve in our place */
};

/* ---- beating ---- */

static void say(struct steward *steward, bool has_beaten, const char *why)
{
    if (has_beaten == steward->has_beaten)
        return;
    steward->has_beaten = has_beaten;
    log_event(EV_PERMISSION, "region", steward->region, "given", has_beaten ? "yes" : "no", "why",
              why, NULL);
}

static enum status load_term(struct steward *steward, struct store *store, nsec deadline,
                             struct err *err)
{
    struct permit_term now = {0};
    enum status status = permit_term_load(store, deadline, &now, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    if (now.revision != steward->term.revision)
        steward->term_since = clock_now();
    steward->term = now;
    steward->is_term_known = true;
    return ST_OK;
}

/* The TTL that is in force, which all conductors and openers share. It is not read for every beat,
 * as a beat with another one's revision is refused. */
static enum status know_term(struct steward *steward, struct store *store, nsec deadline,
                             struct err *err)
{
    struct permit_term next;
    enum status status = steward->is_term_known ? ST_OK : load_term(steward, store, deadline, err);
    nsec ttl = steward->fleet->permission_ttl_ms * NSEC_PER_MS;
    if (status || !permit_term_plan(&steward->term, ttl, steward->term_since, clock_now(), &next))
        return status;
    status = permit_term_write(store, &next, deadline, err);
    return status && status != ST_CONFLICT ? status : load_term(steward, store, deadline, err);
}

static enum status beat(struct steward *steward, struct store *store, nsec deadline,
                        struct permit_beat *ret_made, struct err *err)
{
    struct permit_beat made = {0};
    struct permit_list list = {0};
    struct permit_beater beater = {
        .region = steward->region,
        .who = steward->self->name,
        .granter = steward->granter,
        .term = steward->term,
    };
    enum status status = permit_beat(store, &beater, deadline, &made, &list, err);
    pthread_mutex_lock(&steward->lock);
    if (!status) {
        permit_basis_on_beat(&steward->basis, &made);
        permit_basis_on_list(&steward->basis, &list);
    } else if (status == ST_DENIED) {
        permit_basis_on_fence(&steward->basis);
    }
    pthread_mutex_unlock(&steward->lock);
    *ret_made = made;
    return status;
}

/* While the other region is fenced nobody opens anything there, so there is nothing to guard. It
 * counts like a list of revoked servers: as of a revision not older than the beat's, and as long.
 */
static void know_whether_alone(struct steward *steward, struct store *store, nsec deadline,
                               const struct permit_beat *made)
{
    const struct inventory *fleet = steward->fleet;
    const char *other = fleet->regions[INVENTORY_REGIONS - 1 - steward->self->region];
    AUTO(permit_fences_release) struct permit_fences fences = {0};
    struct err err = ERR_INIT;
    if (!fleet->is_rpo_guarded || permit_fences_load(store, deadline, &fences, &err) ||
        !permit_fences_find(&fences, other) || fences.revision < made->revision)
        return;
    pthread_mutex_lock(&steward->lock);
    steward->alone_until = made->sent + made->ttl - permit_margin(made->ttl);
    pthread_mutex_unlock(&steward->lock);
}

static enum status read_list(struct steward *steward, struct store *store, nsec deadline,
                             struct err *err)
{
    struct permit_list list = {0};
    enum status status = permit_list_load(store, deadline, &list, err);
    if (status)
        return status;
    pthread_mutex_lock(&steward->lock);
    permit_basis_on_list(&steward->basis, &list);
    pthread_mutex_unlock(&steward->lock);
    return ST_OK;
}

/* Once a wait: openers do not wait long for the word of a process that is gone. */
static void prune_granters(struct steward *steward, struct store *store, nsec deadline)
{
    struct permit_granters now = {0};
    struct err err = ERR_INIT;
    if (clock_now() - steward->granters_at < steward->term.wait ||
        permit_granters_load(store, deadline, &now, &err))
        return;
    permit_granters_prune(store, &steward->granters, &now, deadline);
    permit_granters_release(&steward->granters);
    steward->granters = now;
    steward->granters_at = clock_now();
}

/* The next beat is due then; who may be forgotten can wait longer than that. */
static void go_round(struct steward *steward, struct store *store, nsec deadline, nsec due)
{
    struct err err = ERR_INIT;
    struct permit_beat made = {0};
    enum status status = ST_CONFLICT;
    for (int tries = 0; status == ST_CONFLICT && tries < TERM_TRIES; tries++) {
        status = know_term(steward, store, deadline, &err);
        if (!status)
            status = beat(steward, store, deadline, &made, &err);
        steward->is_term_known = steward->is_term_known && status != ST_CONFLICT;
    }
    say(steward, status == ST_OK, status ? err.text : "the store takes the region's beats");
    if (status)
        return;
    know_whether_alone(steward, store, deadline, &made);
    prune_granters(steward, store, due);
}

/* Between two beats: what is revoked has changed. False: the next beat is due. */
static bool learn(struct steward *steward, struct store *store, nsec due)
{
    struct err err = ERR_INIT;
    if (clock_now() >= due || daemon_bell_has_rung(&steward->bell))
        return false;
    if (store)
        status_ignore(read_list(steward, store, due, &err), "it is read after the next beat");
    return true;
}

static void *attend(void *context)
{
    struct steward *steward = context;
    nsec pace = permit_interval(steward->fleet->permission_ttl_ms * NSEC_PER_MS);
    while (!daemon_bell_has_rung(&steward->bell)) {
        nsec began = clock_now();
        struct store *store = daemon_store_get(steward->store);
        if (store)
            go_round(steward, store, began + 2 * pace, began + pace);
        do {
            daemon_bell_wait(&steward->bell, began + pace);
        } while (learn(steward, store, began + pace));
    }
    return NULL;
}

void steward_hurry(struct steward *steward)
{
    daemon_bell_stir(&steward->bell);
}

struct steward *steward_start(const struct inventory *fleet, const struct inventory_conductor *self,
                              struct daemon_store *store, struct surveyor *surveyor)
{
    if (fleet->host_count == 0)
        return NULL;
    struct steward *steward = mem_zalloc(sizeof(*steward));
    *steward = (struct steward){.fleet = fleet,
                                .self = self,
                                .store = store,
                                .surveyor = surveyor,
                                .alone_until = INT64_MIN};
    steward->region = fleet->regions[self->region];
    permit_granter_name(self->name, steward->granter);
    permit_basis_init(&steward->basis);
    pthread_mutex_init(&steward->lock, NULL);
    daemon_bell_init(&steward->bell);
    INVARIANT(pthread_create(&steward->thread, NULL, attend, steward) == 0);
    return steward;
}

void steward_stop(struct steward *steward)
{
    if (!steward)
        return;
    daemon_bell_ring(&steward->bell);
    pthread_join(steward->thread, NULL);
}

void steward_free(struct steward *steward)
{
    if (!steward)
        return;
    daemon_bell_release(&steward->bell);
    permit_basis_release(&steward->basis);
    permit_ears_release(&steward->ears);
    permit_granters_release(&steward->granters);
    pthread_mutex_destroy(&steward->lock);
    free(steward);
}

/* ---- answering ---- */

static bool is_closed(enum closure closure)
{
    return closure == CLOSURE_CLOSED || closure == CLOSURE_DEAD;
}

static bool is_revoked(const struct steward *steward, const char *server)
{
    return permit_list_find(&steward->basis.list, server) != 0;
}

/* Of this region's. */
static nsec span_of(const struct steward *steward, const struct inventory_shard *shard,
                    size_t server, nsec now)
{
    nsec span = permit_basis_span(&steward->basis, now);
    if (!steward->fleet->is_rpo_guarded || now < steward->alone_until)
        return span;
    nsec end = permit_guard_end(surveyor_since(steward->surveyor, shard, server),
                                steward->fleet->promise_rpo_ms * NSEC_PER_MS);
    nsec most = end > now ? end - now : 0;
    return span < most ? span : most;
}

/* As an agent calls it; 0 for one that is not known to be of its host. */
static nsec span_by_name(const struct steward *steward, const char *host, const char *name,
                         nsec now)
{
    const struct inventory *fleet = steward->fleet;
    const struct inventory_host *at = inventory_find_host(fleet, host);
    for (size_t i = 0; at && i < at->place_count; i++) {
        const struct inventory_shard *shard = &fleet->shards[at->places[i].shard];
        if (strcmp(shard->servers[at->places[i].server].name, name) == 0)
            return span_of(steward, shard, at->places[i].server, now);
    }
    return fleet->is_rpo_guarded ? 0 : permit_basis_span(&steward->basis, now);
}

static void hear(struct steward *steward, const struct permit_question *question, nsec now,
                 const nsec *spans)
{
    for (size_t i = 0; i < question->count; i++) {
        const struct permit_report *report = &question->reports[i];
        permit_ears_on_told(
            &steward->ears,
            &(struct permit_told){.server = report->name,
                                  .host = question->host,
                                  .is_closed = is_closed(report->closure),
                                  .is_granted = spans[i] > 0 && !is_revoked(steward, report->name),
                                  .version = report->since_revision},
            now);
    }
}

/* The least for all, and more for those that may have more. */
static void fill_spans(const struct permit_question *question, const nsec *spans,
                       struct permit_answer *ret)
{
    nsec least = spans[0];
    for (size_t i = 1; i < question->count; i++)
        least = spans[i] < least ? spans[i] : least;
    ret->serve_ms = least / NSEC_PER_MS;
    for (size_t i = 0; i < question->count; i++)
        if (spans[i] / NSEC_PER_MS > ret->serve_ms)
            permit_answer_add_longer(ret, question->reports[i].name, spans[i] / NSEC_PER_MS);
}

static void fill_answer(struct steward *steward, const struct permit_question *question,
                        struct permit_answer *ret)
{
    pthread_mutex_lock(&steward->lock);
    nsec now = clock_now(); /* later than the beat that counts: see permit_ears_on_told() */
    AUTO_FREE nsec *spans = mem_zalloc((question->count + 1) * sizeof(*spans));
    spans[0] = permit_basis_span(&steward->basis, now); /* of a host without servers */
    for (size_t i = 0; i < question->count; i++)
        spans[i] = span_by_name(steward, question->host, question->reports[i].name, now);
    hear(steward, question, now, spans);
    fill_spans(question, spans, ret);
    ret->revision = steward->basis.list.version;
    for (size_t i = 0; i < question->count; i++)
        if (is_revoked(steward, question->reports[i].name))
            permit_answer_add(ret, question->reports[i].name);
    pthread_mutex_unlock(&steward->lock);
}

/* A host of another region would be granted by the wrong beat. */
static bool is_ours(struct steward *steward, const char *name, struct http_request *request)
{
    const struct inventory *fleet = steward->fleet;
    for (size_t i = 0; i < fleet->host_count; i++) {
        if (strcmp(fleet->hosts[i].name, name) != 0)
            continue;
        if (fleet->hosts[i].region == steward->self->region)
            return true;
        http_fail(request, 409, "an agent asks the conductors of its own region",
                  "host '%s' is not of region %s", name, steward->region);
        return false;
    }
    http_fail(request, 404, "is the agent's fleet file the conductor's?",
              "the fleet file has no host '%s'", name);
    return false;
}

void steward_answer(struct steward *steward, struct http_request *request)
{
    size_t length = 0;
    const char *body = http_request_body(request, &length);
    AUTO(permit_question_release) struct permit_question question = {0};
    struct err err = ERR_INIT;
    if (!steward) {
        http_fail(request, 404, "name its machines under 'hosts'", "the fleet file has no hosts");
        return;
    }
    json_t *json = json_loadb(body ? body : "", length, 0, NULL);
    enum status status = permit_question_decode(json, &question, &err);
    json_decref(json);
    if (status) {
        http_fail_err(request, &err);
        return;
    }
    if (!is_ours(steward, question.host, request))
        return;
    AUTO(permit_answer_release) struct permit_answer answer = {0};
    fill_answer(steward, &question, &answer);
    json_t *made = permit_answer_encode(&answer);
    AUTO_FREE char *text = json_dumps(made, JSON_COMPACT);
    json_decref(made);
    http_respond(request, 200, "application/json", text);
}

/* ---- health ---- */

static bool has_agent(const struct inventory *fleet, const struct inventory_server *server)
{
    for (size_t i = 0; i < fleet->host_count; i++)
        for (size_t j = 0; j < fleet->hosts[i].place_count; j++)
            if (inventory_host_server(fleet, &fleet->hosts[i], j) == server)
                return true;
    return false;
}

static nsec span_by_server(const struct steward *steward, const struct inventory_server *server,
                           nsec now)
{
    const struct inventory *fleet = steward->fleet;
    for (size_t i = 0; i < fleet->shard_count; i++)
        if (server >= fleet->shards[i].servers &&
            server < fleet->shards[i].servers + fleet->shards[i].server_count)
            return span_of(steward, &fleet->shards[i], server->index, now);
    return 0;
}

enum status steward_check(struct steward *steward, const struct inventory_server *server,
                          struct err *err)
{
    if (!steward || !has_agent(steward->fleet, server))
        return ST_OK;
    pthread_mutex_lock(&steward->lock);
    bool was_revoked = is_revoked(steward, server->name);
    nsec now = clock_now();
    bool is_ours = server->region == steward->self->region;
    bool is_permitted = !is_ours || permit_basis_span(&steward->basis, now) > 0;
    bool is_held_back = is_ours && is_permitted && span_by_server(steward, server, now) == 0;
    pthread_mutex_unlock(&steward->lock);
    if (was_revoked)
        return err_set(err, ST_DENIED, "the permission of %s to serve is withdrawn", server->name);
    if (!is_permitted)
        return err_set(err, ST_DENIED, "this conductor has no permission to give in %s",
                       steward->region);
    if (is_held_back)
        return err_set(err, ST_DENIED,
                       "promise.rpo_guard: the other region has not received what %s "
                       "acknowledged",
                       server->name);
    return ST_OK;
}

/* ---- what agents told ---- */

struct steward_word steward_word(struct steward *steward, const char *server)
{
    struct steward_word word = {0};
    if (!steward)
        return word;
    pthread_mutex_lock(&steward->lock);
    const struct permit_heard *heard = permit_ears_find(&steward->ears, server);
    if (heard)
        word =
            (struct steward_word){true, heard->is_closed, heard->closed, heard->at, heard->granted};
    pthread_mutex_unlock(&steward->lock);
    return word;
}

const char *steward_granter(const struct steward *steward)
{
    return steward->granter;
}

bool steward_last_grant(struct steward *steward, const char *server, int64_t revocation, nsec *ret)
{
    pthread_mutex_lock(&steward->lock);
    const struct permit_heard *heard = permit_ears_find(&steward->ears, server);
    *ret = heard ? heard->granted : INT64_MIN;
    bool knows = steward->basis.list.revision >= revocation;
    pthread_mutex_unlock(&steward->lock);
    return knows;
}

static json_t *word_json(const struct permit_heard *heard, nsec now)
{
    json_t *json = json_pack("{s:s, s:s, s:b, s:I, s:f}", "server", heard->server, "host",
                             heard->host, "closed", heard->is_closed, "version",
                             (json_int_t)heard->closed, "heard_ms", clock_ms(now - heard->at));
    if (heard->granted != INT64_MIN)
        json_object_set_new(json, "granted_ms", json_real(clock_ms(now - heard->granted)));
    return json;
}

json_t *steward_words(struct steward *steward)
{
    json_t *servers = json_array();
    json_t *json = json_pack("{s:i, s:o}", "age_ms", 0, "servers", servers);
    if (!steward)
        return json;
    pthread_mutex_lock(&steward->lock);
    nsec now = clock_now();
    for (size_t i = 0; i < steward->ears.count; i++)
        json_array_append_new(servers, word_json(&steward->ears.items[i], now));
    json_object_set_new(json, "granter", json_string(steward->granter));
    json_object_set_new(json, "revision", json_integer(steward->basis.list.revision));
    pthread_mutex_unlock(&steward->lock);
    return json;
}
