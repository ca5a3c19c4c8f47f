/* SPDX-License-Identifier: Apache-2.0
 * See healer.h. */
#include "daemon/healer.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/pause.h"
#include "conductor/switchover.h"
#include "daemon/deed.h"
#include "daemon/election.h"
#include "daemon/hearing.h"
#include "daemon/internal.h"
#include "daemon/steward.h"
#include "daemon/warden.h"
#include "exposure/surveyor.h"
#include "failover/watch.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "heal/regions.h"
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
};

/* ---- what is lost ---- */

/* A shard that serves, by its route, and its primary. */
struct suspect {
    const struct inventory_shard *shard;
    struct monitor_ping ping;
    enum loss_verdict verdict;
    size_t region;
    size_t first_peer, peers; /* pinged, too */
};

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
        hearing_sight(healer->daemon->hearing, shard, &route);
        if (route.state != SHARD_SERVING)
            continue;
        const struct inventory_server *primary = inventory_find_server(shard, route.primary);
        /* A region that gives no permission has nobody who could serve. */
        if (primary && !warden_is_silent(healer->daemon, primary->region))
            ret[count++] = (struct suspect){.shard = shard,
                                            .ping = {.shard = shard, .server = primary},
                                            .region = primary->region};
    }
    return count;
}

static enum witness witness_of(struct healer *healer, const char *server, nsec now)
{
    struct steward_word word = hearing_word(healer->daemon->hearing, server);
    if (!word.is_known)
        return WITNESS_NONE;
    if (now - word.at > hearing_patience(healer->daemon->fleet))
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

/* It answers, but nobody would ever open it: its agent is gone, and left it closed. */
static bool is_closed_for_good(struct healer *healer, const struct suspect *suspect, nsec now)
{
    const struct inventory_server *primary = suspect->ping.server;
    struct steward_word word = hearing_word(healer->daemon->hearing, primary->name);
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
        if (other != primary && other->region == primary->region &&
            hearing_may_open(healer->daemon->hearing, other))
            return true;
    }
    return false;
}

/* Nobody takes over where nobody answers: asked of those whose primary was silent the last time. */
static void add_peers(const struct healer *healer, struct suspect *suspect,
                      struct monitor_ping *pings, size_t *count)
{
    suspect->first_peer = *count;
    if (!healer->watches[suspect->shard->index].silent_since)
        return;
    for (size_t i = 0; i < suspect->shard->server_count; i++) {
        const struct inventory_server *peer = &suspect->shard->servers[i];
        if (peer != suspect->ping.server && peer->region == suspect->region)
            pings[(*count)++] = (struct monitor_ping){.shard = suspect->shard, .server = peer};
    }
    suspect->peers = *count - suspect->first_peer;
}

static bool is_cut_off(const struct suspect *suspect, const struct monitor_ping *pings)
{
    for (size_t i = 0; i < suspect->peers; i++)
        if (pings[suspect->first_peer + i].status == ST_OK)
            return false;
    return suspect->peers > 0;
}

/* In the middle of the last time that it answered, and the first that it did not. */
static void note_loss(struct healer *healer, const struct inventory_shard *shard,
                      const struct loss_watch *watch)
{
    nsec since = watch->silent_since && watch->answered
                     ? watch->answered + (watch->silent_since - watch->answered) / 2
                     : 0;
    hearing_note_loss(healer->daemon->hearing, shard, since);
}

static void judge(struct healer *healer, struct suspect *suspect, const struct monitor_ping *pings,
                  nsec asked)
{
    nsec now = clock_now();
    bool answers = suspect->ping.status == ST_OK && !is_closed_for_good(healer, suspect, now);
    enum witness witness =
        answers ? WITNESS_NONE : witness_of(healer, suspect->ping.server->name, now);
    struct loss_watch *watch = &healer->watches[suspect->shard->index];
    if (suspect->ping.status == ST_OK)
        watch->answered = asked;
    if (!answers && !watch->silent_since)
        watch->silent_since = asked; /* not since we stopped to wait for it */
    note_loss(healer, suspect->shard, watch);
    suspect->verdict = loss_watch_see(watch, &healer->rules, answers, witness, now);
    if (suspect->verdict == LOSS_CERTAIN && is_cut_off(suspect, pings))
        suspect->verdict = LOSS_CUT_OFF;
    if (healer->was_leading)
        say(healer, suspect);
}

static void judge_all(struct healer *healer, struct suspect *suspects, size_t count)
{
    nsec interval = permit_interval(healer->daemon->fleet->permission_ttl_ms * NSEC_PER_MS);
    size_t all = count;
    for (size_t i = 0; i < count; i++)
        all += suspects[i].shard->server_count;
    AUTO_FREE struct monitor_ping *pings = mem_zalloc((all + 1) * sizeof(*pings));
    for (size_t i = 0; i < count; i++)
        pings[i] = suspects[i].ping;
    size_t asking = count;
    for (size_t i = 0; i < count; i++)
        add_peers(healer, &suspects[i], pings, &asking);
    nsec asked = clock_now();
    monitor_ping(healer->monitor, pings, asking, asked + ping_span(interval));
    for (size_t i = 0; i < count; i++) {
        suspects[i].ping = pings[i];
        judge(healer, &suspects[i], pings, asked);
    }
}

/* ---- the run ---- */

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
    AUTO(switchover_report_release) struct switchover_report report = {0};
    nsec interval = permit_interval(healer->daemon->fleet->permission_ttl_ms * NSEC_PER_MS);
    deed_carry_out(healer->daemon, run, NULL, interval / 2, &report);
    for (size_t i = 0; i < report.count; i++)
        remember(healer, run, &report.shards[i]);
    AUTO_FREE char *aside = mem_strdup(run->record.aside);
    run_free(run);
    struct err err = ERR_INIT;
    if (aside[0] && deed_end_aside(healer->daemon, aside, interval / 2, &err))
        log_event(EV_RUN_STATE, "run", aside, "state", "set aside", "why", err.text, NULL);
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
    if (record.shard_count == 0 || !store || deed_is_forbidden(store))
        return;
    if (!run_begin(store, daemon->fleet, &record, &run, &err))
        carry_out(healer, run);
    else if (strcmp(healer->said_busy, err.text) != 0) /* it is tried again at once */
        log_event(EV_LOSS, "region", daemon->fleet->regions[region], "not healed", err.text, NULL);
    snprintf(healer->said_busy, sizeof(healer->said_busy), "%s", err.text);
}

/* ---- runs that were left in the middle ---- */

/* Who may be open, or has what was acknowledged: nothing can be gone on with before that one
 * answers. "": nobody is waited for. NULL: the shard serves. */
static const char *find_awaited(const struct route *route)
{
    bool is_back = route->state == SHARD_FROZEN || route->state == SHARD_UNDOING;
    bool is_of_move = strcmp(route->primary, route->old_primary) != 0; /* FENCING: what it left */
    if (route->state == SHARD_SERVING)
        return NULL;
    if (route->state == SHARD_PREPARING)
        return "";
    if (is_back)
        return route->old_primary;
    if (route->new_primary[0])
        return route->new_primary;
    return is_of_move ? route->primary : "";
}

static bool is_of_failover(const struct route *route)
{
    return route->state == SHARD_FENCING || route->state == SHARD_OPENING ||
           route->state == SHARD_REPOINTING;
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
        if (!*find_awaited(&route))
            return false;
        waiting++;
    }
    return waiting > 0;
}

/* As it was seen last; NULL: it does not answer. The picture holds it. */
static const struct server_observation *find_answering(const struct picture *picture,
                                                       const char *server)
{
    const struct pictured_server *found = picture ? picture_find(picture, server) : NULL;
    return found && found->server->status == ST_OK ? found->server : NULL;
}

/* Would it get any further? What a move has published is only short of its old primary, while the
 * new one is open. */
static bool may_go_on(struct healer *healer, const struct route *route)
{
    struct picture *picture = daemon_picture(healer->daemon);
    const char *awaited = find_awaited(route);
    const struct server_observation *seen = *awaited ? find_answering(picture, awaited) : NULL;
    bool may = !*awaited || seen;
    if (may && route->state == SHARD_REDIRECTING && !seen->state.is_read_only)
        may = find_answering(picture, route->old_primary) != NULL;
    picture_unref(picture);
    return may;
}

static bool can_go_on(struct healer *healer, const char *run)
{
    const struct inventory *fleet = healer->daemon->fleet;
    for (size_t i = 0; i < fleet->shard_count; i++) {
        struct route route = {0};
        struct err ignored = ERR_INIT;
        if (mirror_get_route(healer->daemon->mirror, fleet->shards[i].name, &route, &ignored) ==
                ST_OK &&
            route.state != SHARD_SERVING && strcmp(route.run, run) == 0 &&
            may_go_on(healer, &route))
            return true;
    }
    return false;
}

static bool is_time_again(const struct healer *healer)
{
    return clock_now() - healer->took_up >= healer->rules.again;
}

/* The warden has those that are served in a region that is fenced. */
static bool is_wardens(struct daemon *daemon, const struct inventory_shard *shard)
{
    const struct inventory *fleet = daemon->fleet;
    struct mirror_region sign;
    for (size_t i = 0; i < fleet->region_count; i++)
        if (fleet->policy.automatic == AUTOMATIC_REGION &&
            mirror_get_region(daemon->mirror, fleet->regions[i], &sign) && sign.fence &&
            warden_is_concerned(daemon, shard, i))
            return true;
    return false;
}

/* What no run that is under way, or that waits, has in hand: its own was set aside, perhaps by
 * somebody who is gone. When who it waits for is back; a move goes no further. */
static void take_up(struct healer *healer, struct store *store)
{
    const struct inventory *fleet = healer->daemon->fleet;
    struct err err = ERR_INIT;
    struct run *run = NULL;
    if (!is_time_again(healer))
        return;
    for (size_t i = 0; i < fleet->shard_count && !run; i++) {
        struct route route = {0};
        bool is_known =
            !mirror_get_route(healer->daemon->mirror, fleet->shards[i].name, &route, &err);
        if (!is_known || route.state == SHARD_SERVING || !may_go_on(healer, &route) ||
            is_wardens(healer->daemon, &fleet->shards[i]) || deed_is_forbidden(store))
            continue;
        if (run_take(store, fleet, route.run, !is_of_failover(&route), &run, &err))
            continue;
        carry_out(healer, run);
        healer->took_up = clock_now();
    }
}

/* A failover that the leader before us began, or that waited: its shards have no primary. It is
 * called off when it waits for an operator and other shards wait for it. One that was called off is
 * tried again when who it waits for is back. Any other run that its
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
    enum status status = ST_BUSY;
    if (store) /* asked so often, that it must cost nothing while there is no run */
        status = mirror_has_run(daemon->mirror) ? run_current(store, id, &err) : ST_NOT_FOUND;
    if (status == ST_NOT_FOUND && !is_held_up)
        take_up(healer, store);
    if (status || run_lock_holder(store, holder, &err) == ST_OK ||
        run_record_load(store, id, &record, &err))
        return;
    bool is_ours = record.kind == RUN_FAILOVER && !record.is_called_off;
    bool is_in_the_way = record.state == RUN_STUCK && is_held_up;
    bool is_back = record.state == RUN_STUCK && record.is_called_off && is_time_again(healer) &&
                   can_go_on(healer, id);
    if ((!is_ours && !is_held_up && !is_back) || deed_is_forbidden(store))
        return;
    if (is_in_the_way && (record.is_called_off || can_only_wait(healer, id))) {
        if (run_set_aside(store, id, &err) == ST_OK)
            log_event(EV_LOSS, "run", id, "is", "set aside: others wait for it", NULL);
        return;
    }
    if (!is_ours && !is_lost && !is_back && !atomic_load(&healer->is_opening_held_up))
        return;
    if (is_ours && record.state == RUN_STUCK && !is_in_the_way && !is_time_again(healer))
        return;
    if (run_take(store, daemon->fleet, id, !is_ours || is_in_the_way, &run, &err))
        return;
    carry_out(healer, run);
    healer->took_up = clock_now();
}

/* ---- roles ---- */

static enum status give_regions_back(const struct daemon *daemon, struct store *store,
                                     const struct picture *picture, struct err *err)
{
    AUTO(exposure_list_release) struct exposure_list exposures = {0};
    surveyor_list(daemon->surveyor, &picture->seen, &exposures);
    return regions_give_back(store, daemon->fleet, &picture->seen, &exposures, err);
}

static void keep_regions(struct healer *healer, struct store *store, const struct picture *picture)
{
    struct daemon *daemon = healer->daemon;
    AUTO_FREE char *fenced = mirror_fenced_text(daemon->mirror);
    struct err err = ERR_INIT;
    if (fenced && !atomic_load(&healer->is_urgent) &&
        give_regions_back(daemon, store, picture, &err) && err.status != ST_BUSY)
        log_event(EV_LOSS, "region", "not given back", "why", err.text, NULL);
}

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
                                    .may_open = hearing_may_open,
                                    .context = daemon->hearing};
        struct upkeep_hindrance hindrance;
        enum status status = upkeep(&upkeeper, &picture->seen, &hindrance, &err);
        atomic_store(&healer->is_held_up, hindrance.is_held_up);
        atomic_store(&healer->is_opening_held_up, hindrance.is_opening_held_up);
        if (status && !hindrance.is_held_up)
            log_event(EV_LOSS, "roles", "not brought back", "why", err.text, NULL);
        if (!hindrance.is_held_up)
            keep_regions(healer, store, picture);
        healer->kept_up = clock_now();
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

static bool has_shard_of(struct healer *healer, size_t region)
{
    const struct inventory *fleet = healer->daemon->fleet;
    for (size_t i = 0; i < fleet->shard_count; i++)
        if (warden_is_concerned(healer->daemon, &fleet->shards[i], region))
            return true;
    return false;
}

/* It may have to be failed over in a moment; else what is left of it needs nobody's hurry. */
static bool is_region_in_doubt(struct healer *healer)
{
    for (size_t i = 0; i < healer->daemon->fleet->region_count; i++)
        if (warden_is_about_to_act(healer->daemon, i) && has_shard_of(healer, i))
            return true;
    return false;
}

static void look(struct healer *healer)
{
    const struct inventory *fleet = healer->daemon->fleet;
    AUTO_FREE struct suspect *suspects = mem_zalloc((fleet->shard_count + 1) * sizeof(*suspects));
    size_t count = list_suspects(healer, suspects);
    bool may_heal = may_act(healer);
    judge_all(healer, suspects, count); /* any conductor may fail a region over */
    if (!may_heal)
        return;
    bool is_lost = has_verdict(suspects, count, LOSS_CERTAIN);
    atomic_store(&healer->is_urgent, is_lost || has_verdict(suspects, count, LOSS_SUSPECTED) ||
                                         is_region_in_doubt(healer));
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
        .watches = mem_zalloc((fleet->shard_count + 1) * sizeof(*healer->watches)),
        .said = mem_zalloc((fleet->shard_count + 1) * sizeof(*healer->said)),
        .rules = {.suspect = interval,
                  .hold_down = fleet->policy.hold_down_ms * NSEC_PER_MS,
                  .again = AGAIN_S * NSEC_PER_SEC,
                  .window = WINDOW_S * NSEC_PER_SEC,
                  .most = fleet->policy.failovers_an_hour},
    };
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
    free(healer->watches);
    free(healer->said);
    free(healer);
}
