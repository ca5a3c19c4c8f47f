/* SPDX-License-Identifier: Apache-2.0
 * See healer.h. */
#include "daemon/healer.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/pause.h"
#include "conductor/switchover.h"
#include "daemon/election.h"
#include "daemon/internal.h"
#include "daemon/steward.h"
#include "daemon/words.h"
#include "failover/watch.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "heal/upkeep.h"
#include "mirror/mirror.h"
#include "monitor/monitor.h"
#include "move/journal.h"
#include "permit/permit.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_S = 3600,
    SILENT_INTERVALS = 2, /* an agent that has not asked for so many of them is silent */
    LOOKS_PER_INTERVAL = 4,
    PING_MS = 200,
    CLOSED_TTLS = 2,
    UPKEEP_MS = 500,
    AGAIN_S = 10, /* after the last attempt in vain, for any shard: roles are brought back then */
};

struct healer {
    struct daemon *daemon;
    struct daemon_bell bell;
    pthread_t thread, upkeep_thread; /* bringing roles back may take long */
    struct monitor *monitor;         /* its own connections: a slow look must not hide a loss */
    struct words *words;             /* of the agents of all regions */
    struct loss_watch *watches;
    struct loss_rules rules;
    enum loss_verdict *said;
    bool was_leading;
    atomic_bool is_urgent;  /* somebody may be lost: bringing roles back must not have the lock */
    atomic_bool is_held_up; /* bringing roles back waits for a run ... */
    atomic_bool is_opening_held_up; /* ... and so does a primary that is to be opened again */
    nsec kept_up; /* when it ended looking after the roles; older looks say nothing */
    char said_busy[ERR_TEXT_MAX]; /* why a loss was not healed */
    nsec took_up;                 /* a run that was left; others have their turn before the next */
    struct failover_ears ears;
    struct sighting { /* of a route's revision, for the first time; by shard */
        uint64_t revision;
        nsec at;
    } * sightings;
    pthread_mutex_t sightings_lock; /* runs of the runner listen, too */
};

/* ---- what is lost ---- */

/* A shard that serves, by its route, and its primary. */
struct suspect {
    const struct inventory_shard *shard;
    struct monitor_ping ping;
    enum loss_verdict verdict;
    size_t region;
};

static const struct inventory_server *server_named(const struct inventory_shard *shard,
                                                   const char *name)
{
    for (size_t i = 0; i < shard->server_count; i++)
        if (strcmp(shard->servers[i].name, name) == 0)
            return &shard->servers[i];
    return NULL;
}

static void sight(struct healer *healer, const struct inventory_shard *shard,
                  const struct route *route)
{
    struct sighting *sighting = &healer->sightings[shard->index];
    pthread_mutex_lock(&healer->sightings_lock);
    if (sighting->revision != route->revision)
        *sighting = (struct sighting){route->revision, clock_now()};
    pthread_mutex_unlock(&healer->sightings_lock);
}

/* The ones that serve; a shard that is moved or failed over has somebody who looks after it. */
static size_t list_suspects(struct healer *healer, struct suspect *ret)
{
    const struct inventory *fleet = healer->daemon->fleet;
    size_t count = 0;
    for (size_t i = 0; i < fleet->shard_count; i++) {
        const struct inventory_shard *shard = &fleet->shards[i];
        struct route route = {0};
        struct err ignored = ERR_INIT;
        if (mirror_get_route(healer->daemon->mirror, shard->name, &route, &ignored))
            continue;
        sight(healer, shard, &route);
        if (route.state != SHARD_SERVING)
            continue;
        const struct inventory_server *primary = server_named(shard, route.primary);
        if (primary)
            ret[count++] = (struct suspect){.shard = shard,
                                            .ping = {.shard = shard, .server = primary},
                                            .region = primary->region};
    }
    return count;
}

static nsec patience_with(const struct healer *healer)
{
    return SILENT_INTERVALS *
           permit_interval(healer->daemon->fleet->permission_ttl_ms * NSEC_PER_MS);
}

static enum witness witness_of(struct healer *healer, const char *server, nsec now)
{
    struct steward_word word = words_find(healer->words, server);
    if (!word.is_known)
        return WITNESS_NONE;
    if (now - word.at > patience_with(healer))
        return WITNESS_SILENT;
    return word.is_closed ? WITNESS_DEAD : WITNESS_ALIVE;
}

static void say(struct healer *healer, const struct suspect *suspect)
{
    enum loss_verdict *said = &healer->said[suspect->shard->index];
    if (*said == suspect->verdict)
        return;
    *said = suspect->verdict;
    log_event(EV_LOSS, "shard", suspect->shard->name, "primary", suspect->ping.server->name, "is",
              loss_verdict_text(suspect->verdict), NULL);
}

/* So much later is a loss certain, at most, than it could be; there is time for a WAN. */
static nsec ping_span(nsec interval)
{
    nsec least = PING_MS * NSEC_PER_MS;
    if (interval <= least)
        return interval;
    return interval / 2 > least ? interval / 2 : least;
}

static bool may_open(void *context, const struct inventory_server *server)
{
    struct healer *healer = context;
    struct steward_word word = words_find(healer->words, server->name);
    return !server->has_agent ||
           (word.is_known && word.granted >= clock_now() - patience_with(healer));
}

/* It answers, but nobody would ever open it: its agent is gone, and left it closed. */
static bool is_closed_for_good(struct healer *healer, const struct suspect *suspect, nsec now)
{
    const struct inventory_server *primary = suspect->ping.server;
    struct steward_word word = words_find(healer->words, primary->name);
    nsec ttl = healer->daemon->fleet->permission_ttl_ms * NSEC_PER_MS;
    if (!word.is_known || now - word.at < CLOSED_TTLS * ttl)
        return false;
    struct picture *picture = daemon_picture(healer->daemon);
    const struct pictured_server *seen = picture ? picture_find(picture, primary->name) : NULL;
    bool is_closed = seen && seen->server->status == ST_OK && seen->server->state.is_read_only &&
                     picture->began > word.at;
    picture_unref(picture);
    for (size_t i = 0; is_closed && i < suspect->shard->server_count; i++) {
        const struct inventory_server *other = &suspect->shard->servers[i];
        if (other != primary && other->region == primary->region && may_open(healer, other))
            return true;
    }
    return false;
}

static void judge_all(struct healer *healer, struct suspect *suspects, size_t count)
{
    nsec interval = permit_interval(healer->daemon->fleet->permission_ttl_ms * NSEC_PER_MS);
    AUTO_FREE struct monitor_ping *pings = mem_zalloc((count + 1) * sizeof(*pings));
    for (size_t i = 0; i < count; i++)
        pings[i] = suspects[i].ping;
    nsec asked = clock_now();
    monitor_ping(healer->monitor, pings, count, asked + ping_span(interval));
    nsec now = clock_now();
    for (size_t i = 0; i < count; i++) {
        struct suspect *suspect = &suspects[i];
        bool answers = pings[i].status == ST_OK && !is_closed_for_good(healer, suspect, now);
        enum witness witness =
            answers ? WITNESS_NONE : witness_of(healer, suspect->ping.server->name, now);
        struct loss_watch *watch = &healer->watches[suspect->shard->index];
        if (!answers && !watch->silent_since)
            watch->silent_since = asked; /* not since we stopped to wait for it */
        suspect->verdict = loss_watch_see(watch, &healer->rules, answers, witness, now);
        say(healer, suspect);
    }
}

/* ---- the run ---- */

static bool hear(void *context, const char *server, struct permit_heard *ret)
{
    struct healer *healer = context;
    struct steward_word word = words_find(healer->words, server);
    *ret = (struct permit_heard){.is_closed = word.is_closed, .closed = word.closed, .at = word.at};
    return word.is_known;
}

static bool last_grant(void *context, const struct permit_granters *granters, const char *server,
                       int64_t revocation, nsec *ret)
{
    return words_last_grant(((struct healer *)context)->words, granters, server, revocation, ret);
}

static bool route_since(void *context, const struct inventory_shard *shard, uint64_t revision,
                        nsec *ret)
{
    struct healer *healer = context;
    pthread_mutex_lock(&healer->sightings_lock);
    struct sighting sighting = healer->sightings[shard->index];
    pthread_mutex_unlock(&healer->sightings_lock);
    *ret = sighting.at;
    return revision != 0 && sighting.revision == revision;
}

void healer_lend_ears(struct healer *healer, struct run *run)
{
    run->ears = healer ? &healer->ears : NULL;
}

bool healer_is_urgent(const struct healer *healer)
{
    return healer && atomic_load(&healer->is_urgent);
}

/* One that we took over to call it off is no attempt; one that an operator called off is his word.
 */
static void remember(struct healer *healer, const struct run *run,
                     const struct shard_report *report)
{
    struct loss_watch *watch = &healer->watches[report->shard->index];
    bool is_counted = watch->done[0] && !watch->silent_since; /* the run did it before */
    bool is_refused = report->result == MOVE_ABORTED && !run->mandate.is_abort_only;
    if (is_refused || (report->result == MOVE_MOVED && !is_counted))
        loss_watch_done(watch, clock_now());
    else if (report->result == MOVE_STUCK || report->result == MOVE_UNDONE)
        loss_watch_failed(healer->watches, healer->daemon->fleet->shard_count, report->shard->index,
                          clock_now());
}

static void carry_out(struct healer *healer, struct run *run)
{
    const struct inventory *fleet = healer->daemon->fleet;
    AUTO(switchover_report_release) struct switchover_report report = {0};
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((run->record.shard_count + 1) * sizeof(*shards));
    size_t count = 0;
    for (size_t i = 0; i < run->record.shard_count; i++) {
        shards[count] = inventory_find_shard(fleet, run->record.shards[i]);
        count += shards[count] != NULL;
    }
    AUTO_FREE char *folder = inventory_journal(fleet);
    struct err err = ERR_INIT;
    run->mandate.journal = journal_open(folder, run->record.id);
    healer_lend_ears(healer, run);
    fleet_observe(fleet, shards, count,
                  clock_now() + permit_interval(fleet->permission_ttl_ms * NSEC_PER_MS) / 2, &seen);
    status_ignore(switchover_run(run, &seen, NULL, NULL, &report, &err),
                  "its report, or the next leader, tells");
    log_event(EV_RUN_STATE, "run", report.run, "state", run_state_name(report.state), NULL);
    for (size_t i = 0; i < report.count; i++)
        remember(healer, run, &report.shards[i]);
    run_free(run);
}

/* The mirror may be a moment behind; whoever acts by himself looks at the order itself. */
static bool is_paused(struct store *store)
{
    AUTO(pause_release) struct pause pause = {0};
    struct err ignored = ERR_INIT;
    return pause_load(store, &pause, &ignored) != ST_OK || pause.is_active;
}

static void order(struct healer *healer, const struct suspect *suspects, size_t count,
                  size_t region)
{
    struct daemon *daemon = healer->daemon;
    struct store *store = daemon_store_get(daemon->store);
    AUTO(run_record_release) struct run_record record = {0};
    struct run *run = NULL;
    struct err err = ERR_INIT;
    run_record_init(&record, daemon->fleet->regions[region]);
    record.kind = RUN_FAILOVER;
    record.reason = mem_printf("conductor %s: the primary is lost", daemon->self->name);
    for (size_t i = 0; i < count; i++)
        if (suspects[i].verdict == LOSS_CERTAIN && suspects[i].region == region)
            run_record_add_shard(&record, suspects[i].shard->name);
    if (record.shard_count == 0 || !store || is_paused(store))
        return;
    if (!run_begin(store, daemon->fleet, &record, &run, &err))
        carry_out(healer, run);
    else if (strcmp(healer->said_busy, err.text) != 0) /* it is tried again at once */
        log_event(EV_LOSS, "region", daemon->fleet->regions[region], "not healed", err.text, NULL);
    snprintf(healer->said_busy, sizeof(healer->said_busy), "%s", err.text);
}

/* ---- runs that were left in the middle ---- */

/* A failover whose candidate may have been open: it can only be gone on with, once that one
 * answers. */
static bool is_past_return(const struct route *route)
{
    return (route->state == SHARD_FENCING || route->state == SHARD_OPENING ||
            route->state == SHARD_REPOINTING) &&
           route->new_primary[0];
}

/* Is that so of all that it left? */
static bool can_only_wait(struct healer *healer, const char *run)
{
    const struct inventory *fleet = healer->daemon->fleet;
    size_t waiting = 0;
    for (size_t i = 0; i < fleet->shard_count; i++) {
        struct route route = {0};
        struct err ignored = ERR_INIT;
        if (mirror_get_route(healer->daemon->mirror, fleet->shards[i].name, &route, &ignored) ||
            route.state == SHARD_SERVING || strcmp(route.run, run) != 0)
            continue;
        if (!is_past_return(&route))
            return false;
        waiting++;
    }
    return waiting > 0;
}

static bool answers(struct healer *healer, const char *server)
{
    struct picture *picture = daemon_picture(healer->daemon);
    const struct pictured_server *found = picture ? picture_find(picture, server) : NULL;
    bool does = found && found->server->status == ST_OK;
    picture_unref(picture);
    return does;
}

static bool is_time_again(const struct healer *healer)
{
    return clock_now() - healer->took_up >= healer->rules.again;
}

/* One that was set aside, when its candidate is back. */
static void take_up(struct healer *healer, struct store *store)
{
    const struct inventory *fleet = healer->daemon->fleet;
    struct err err = ERR_INIT;
    struct run *run = NULL;
    if (!is_time_again(healer))
        return;
    for (size_t i = 0; i < fleet->shard_count && !run; i++) {
        struct route route = {0};
        if (mirror_get_route(healer->daemon->mirror, fleet->shards[i].name, &route, &err) ||
            !is_past_return(&route) || !answers(healer, route.new_primary) || is_paused(store))
            continue;
        if (run_take(store, fleet, route.run, false, &run, &err))
            continue;
        carry_out(healer, run);
        healer->took_up = clock_now();
    }
}

/* A failover that the leader before us began, or that waited: its shards have no primary. It is
 * called off when it waits for an operator and other shards wait for it. Any other run that its
 * process left is called off when a primary is lost, or closed: else that could not be healed.
 * What cannot even be called off is set aside. */
static void go_on(struct healer *healer, bool is_lost)
{
    struct daemon *daemon = healer->daemon;
    struct store *store = daemon_store_get(daemon->store);
    AUTO(run_record_release) struct run_record record = {0};
    char id[RUN_ID_MAX], holder[RUN_ID_MAX];
    struct err err = ERR_INIT;
    struct run *run = NULL;
    bool is_held_up = is_lost || atomic_load(&healer->is_held_up);
    enum status status = store ? run_current(store, id, &err) : ST_BUSY;
    if (status == ST_NOT_FOUND && !is_held_up)
        take_up(healer, store);
    if (status || run_lock_holder(store, holder, &err) == ST_OK ||
        run_record_load(store, id, &record, &err))
        return;
    bool is_ours = record.kind == RUN_FAILOVER && !record.is_called_off;
    bool is_in_the_way = record.state == RUN_STUCK && is_held_up;
    if ((!is_ours && !is_held_up) || is_paused(store))
        return;
    if (is_in_the_way && (record.is_called_off || can_only_wait(healer, id))) {
        if (run_set_aside(store, id, &err) == ST_OK)
            log_event(EV_LOSS, "run", id, "is", "set aside: others wait for it", NULL);
        return;
    }
    if (!is_ours && !is_lost && !atomic_load(&healer->is_opening_held_up))
        return;
    if (is_ours && record.state == RUN_STUCK && !is_in_the_way && !is_time_again(healer))
        return;
    if (run_take(store, daemon->fleet, id, !is_ours || is_in_the_way, &run, &err))
        return;
    carry_out(healer, run);
    healer->took_up = clock_now();
}

/* ---- roles ---- */

/* By what the observer saw last; not the same look twice, and not while a run goes on. */
static void keep_up(struct healer *healer)
{
    struct daemon *daemon = healer->daemon;
    struct store *store = daemon_store_get(daemon->store);
    struct picture *picture = daemon_picture(daemon);
    struct err err = ERR_INIT;
    if (store && picture && picture->began > healer->kept_up) {
        struct upkeeper upkeeper = {.store = store,
                                    .fleet = daemon->fleet,
                                    .is_unwelcome = &healer->is_urgent,
                                    .may_open = may_open,
                                    .context = healer};
        bool has_opening = false;
        enum status status = upkeep(&upkeeper, &picture->seen, &has_opening, &err);
        healer->kept_up = clock_now();
        atomic_store(&healer->is_held_up, status == ST_BUSY);
        atomic_store(&healer->is_opening_held_up, status == ST_BUSY && has_opening);
        if (status && status != ST_BUSY)
            log_event(EV_LOSS, "roles", "not brought back", "why", err.text, NULL);
    }
    picture_unref(picture);
}

/* ---- the threads ---- */

static bool leads(struct healer *healer)
{
    AUTO_FREE char *paused = mirror_pause_text(healer->daemon->mirror);
    return !paused && election_get(healer->daemon->election, clock_now()).is_leader;
}

static void *maintain(void *context)
{
    struct healer *healer = context;
    while (!daemon_bell_has_rung(&healer->bell)) {
        if (leads(healer))
            keep_up(healer);
        daemon_bell_wait(&healer->bell, clock_deadline(UPKEEP_MS));
    }
    return NULL;
}

static bool may_act(struct healer *healer)
{
    bool is_leading = leads(healer);
    if (is_leading != healer->was_leading) /* what was seen long ago says nothing */
        memset(healer->watches, 0, healer->daemon->fleet->shard_count * sizeof(*healer->watches));
    healer->was_leading = is_leading;
    return is_leading;
}

static bool has_verdict(const struct suspect *suspects, size_t count, enum loss_verdict verdict)
{
    for (size_t i = 0; i < count; i++)
        if (suspects[i].verdict == verdict)
            return true;
    return false;
}

static void look(struct healer *healer)
{
    const struct inventory *fleet = healer->daemon->fleet;
    AUTO_FREE struct suspect *suspects = mem_zalloc((fleet->shard_count + 1) * sizeof(*suspects));
    size_t count = list_suspects(healer, suspects);
    if (!may_act(healer))
        return;
    judge_all(healer, suspects, count);
    bool is_lost = has_verdict(suspects, count, LOSS_CERTAIN);
    atomic_store(&healer->is_urgent, is_lost || has_verdict(suspects, count, LOSS_SUSPECTED));
    for (size_t region = 0; region < fleet->region_count; region++)
        order(healer, suspects, count, region);
    go_on(healer, is_lost);
}

static void *heal(void *context)
{
    struct healer *healer = context;
    nsec pace = permit_interval(healer->daemon->fleet->permission_ttl_ms * NSEC_PER_MS) /
                LOOKS_PER_INTERVAL;
    while (!daemon_bell_has_rung(&healer->bell)) {
        nsec began = clock_now();
        look(healer);
        daemon_bell_wait(&healer->bell, began + pace);
    }
    return NULL;
}

struct healer *healer_start(struct daemon *daemon)
{
    const struct inventory *fleet = daemon->fleet;
    if (fleet->policy.automatic == AUTOMATIC_NONE || fleet->host_count == 0)
        return NULL;
    struct healer *healer = mem_zalloc(sizeof(*healer));
    nsec interval = permit_interval(fleet->permission_ttl_ms * NSEC_PER_MS);
    *healer = (struct healer){
        .daemon = daemon,
        .monitor = monitor_new(fleet),
        .words = words_new(fleet, daemon->self, daemon->steward),
        .watches = mem_zalloc((fleet->shard_count + 1) * sizeof(*healer->watches)),
        .said = mem_zalloc((fleet->shard_count + 1) * sizeof(*healer->said)),
        .sightings = mem_zalloc((fleet->shard_count + 1) * sizeof(*healer->sightings)),
        .ears = {healer, hear, last_grant, route_since, may_open},
        .rules = {.suspect = interval,
                  .hold_down = fleet->policy.hold_down_ms * NSEC_PER_MS,
                  .again = AGAIN_S * NSEC_PER_SEC,
                  .window = WINDOW_S * NSEC_PER_SEC,
                  .most = fleet->policy.failovers_an_hour},
    };
    pthread_mutex_init(&healer->sightings_lock, NULL);
    daemon_bell_init(&healer->bell);
    INVARIANT(pthread_create(&healer->thread, NULL, heal, healer) == 0);
    INVARIANT(pthread_create(&healer->upkeep_thread, NULL, maintain, healer) == 0);
    return healer;
}

void healer_stop(struct healer *healer)
{
    if (!healer)
        return;
    daemon_bell_ring(&healer->bell);
    pthread_join(healer->thread, NULL);
    pthread_join(healer->upkeep_thread, NULL);
    daemon_bell_release(&healer->bell);
    monitor_free(healer->monitor);
    words_free(healer->words);
    free(healer->watches);
    free(healer->said);
    free(healer->sightings);
    pthread_mutex_destroy(&healer->sightings_lock);
    free(healer);
}
