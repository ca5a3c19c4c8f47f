/* SPDX-License-Identifier: Apache-2.0
 * See warden.h. */
#include "daemon/warden.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/switchover.h"
#include "daemon/deed.h"
#include "daemon/election.h"
#include "daemon/hearing.h"
#include "daemon/internal.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "mirror/mirror.h"
#include "permit/fence.h"
#include "permit/permit.h"
#include "region/lost.h"
#include "store/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    PACE_MS = 50,
    LAPSE_PERCENT = 70,   /* of a TTL */
    RETURN_PERCENT = 150, /* of an interval, in which the other region beats too */
    URGENT_MS = 2000,     /* after its end: else something hinders us, and roles matter again */
    STORE_MS = 1000,
    HASTE_MS = 200, /* for a region that is silent ... */
    LOOK_MS = 1000, /* ... and for the other one */
    LOOK_AGAIN_MS = 500,
    AGAIN_MS = 15000,
    BUSY_MS = 1000,
    READY_MS = 800, /* before the end the lock is taken, a quarter of a TTL at most */
    READY_PARTS = 4,
    YIELD_MS = 500 /* to whoever of this region has it */
};

struct warden {
    struct daemon *daemon;
    struct daemon_bell bell;
    pthread_t thread;
    nsec tried;    /* to fail over, the last time; 0: never */
    nsec again_at; /* a region that is fenced, and served all the same */
    /* The shards served in a region that is silent, as they were seen while it was waited for. */
    struct fleet_observation seen;
    size_t seen_region;
    nsec seen_at; /* 0: not */
    /* The lock, taken before the fence for the run that will fail it over: what takes time is done
     * then. NULL: somebody else has it, or it is too early. */
    struct run *ready;
    nsec ready_at;
    nsec yields_until;      /* somebody else of this region has it */
    char aside[RUN_ID_MAX]; /* a run that had to yield; "": none */
    /* Our own region's beats. When they had stopped for long, the store was away, or we were: the
     * other region must have the time to beat again. */
    struct {
        int64_t revision;
        nsec at, resumed;
    } own;
    char said[ERR_TEXT_MAX]; /* why a region that is silent is left alone */
};

/* ---- what is served there ---- */

bool warden_is_concerned(struct daemon *daemon, const struct inventory_shard *shard, size_t region)
{
    struct route route = {0};
    struct err ignored = ERR_INIT;
    return mirror_get_route(daemon->mirror, shard->name, &route, &ignored) == ST_OK &&
           failover_is_concerned(daemon->fleet, shard, &route, region);
}

static size_t list_homed(struct daemon *daemon, size_t region, const struct inventory_shard **ret)
{
    const struct inventory *fleet = daemon->fleet;
    size_t count = 0;
    for (size_t i = 0; i < fleet->shard_count; i++)
        if (warden_is_concerned(daemon, &fleet->shards[i], region))
            ret[count++] = &fleet->shards[i];
    return count;
}

bool warden_is_silent(struct daemon *daemon, size_t region)
{
    struct mirror_region sign;
    if (!mirror_get_region(daemon->mirror, daemon->fleet->regions[region], &sign))
        return false;
    bool is_quiet = sign.beat && clock_now() - sign.sent_by > hearing_patience(daemon->fleet);
    return sign.fence || is_quiet;
}

bool warden_is_about_to_act(struct daemon *daemon, size_t region)
{
    struct mirror_region sign;
    nsec now = clock_now();
    if (daemon->fleet->policy.automatic != AUTOMATIC_REGION ||
        !mirror_get_region(daemon->mirror, daemon->fleet->regions[region], &sign) || !sign.beat)
        return false;
    return !sign.fence && now - sign.sent_by > hearing_patience(daemon->fleet) &&
           sign.end != NSEC_NEVER && now < sign.end + URGENT_MS * NSEC_PER_MS;
}

/* ---- may it be fenced? ---- */

static void say(struct warden *warden, const char *region, const char *why)
{
    if (strcmp(warden->said, why) == 0)
        return;
    snprintf(warden->said, sizeof(warden->said), "%s", why);
    log_event(EV_LOSS, "region", region, "is", "silent", "not failed over", why, NULL);
}

/* Whoever could be open there has somebody who closes it. */
static bool is_looked_after(const struct inventory_shard *shard, size_t region)
{
    for (size_t i = 0; i < shard->server_count; i++)
        if (shard->servers[i].region == region && !shard->servers[i].has_agent)
            return false;
    return true;
}

static bool answers_here(const struct picture *picture, const struct inventory_shard *shard,
                         size_t here)
{
    for (size_t i = 0; picture && i < shard->server_count; i++) {
        const struct pictured_server *seen = picture_find(picture, shard->servers[i].name);
        if (shard->servers[i].region == here && seen && seen->server->status == ST_OK)
            return true;
    }
    return false;
}

/* An outage of the store that made the other region look lost has silenced ours for nearly as long;
 * one beat that is late says nothing. */
static nsec lapse_of(const struct inventory *fleet)
{
    return fleet->permission_ttl_ms * NSEC_PER_MS * LAPSE_PERCENT / 100;
}

static void watch_own(struct warden *warden)
{
    struct daemon *daemon = warden->daemon;
    struct mirror_region sign;
    if (!mirror_get_region(daemon->mirror, daemon->fleet->regions[daemon->self->region], &sign) ||
        sign.beat == warden->own.revision)
        return;
    if (sign.heard - warden->own.at > lapse_of(daemon->fleet))
        warden->own.resumed = sign.heard;
    warden->own.revision = sign.beat;
    warden->own.at = sign.heard;
}

static bool is_just_back(const struct warden *warden)
{
    const struct inventory *fleet = warden->daemon->fleet;
    nsec now = clock_now(), ttl = fleet->permission_ttl_ms * NSEC_PER_MS;
    return now - warden->own.at > lapse_of(fleet) ||
           now - warden->own.resumed < permit_interval(ttl) * RETURN_PERCENT / 100;
}

/* NULL: it may. */
static const char *find_hindrance(struct warden *warden, size_t region,
                                  const struct inventory_shard **shards, size_t count)
{
    struct daemon *daemon = warden->daemon;
    size_t here = daemon->self->region, answering = 0;
    struct picture *picture = daemon_picture(daemon);
    const char *hindrance = NULL;
    for (size_t i = 0; i < count; i++) {
        answering += answers_here(picture, shards[i], here);
        if (!is_looked_after(shards[i], region))
            hindrance = "a server there has no agent: holdfast failover --to, when you know that "
                        "it is gone";
    }
    picture_unref(picture);
    if (answering == 0)
        hindrance = "nobody here could take over";
    struct mirror_region own;
    if (is_just_back(warden))
        hindrance = "this region's own beats have come back a moment ago, or not yet";
    if (mirror_get_region(daemon->mirror, daemon->fleet->regions[here], &own) && own.fence)
        hindrance = "the region that could take over is fenced itself";
    return hindrance;
}

/* ---- the run ---- */

/* Who answers there, and here: so that nobody is waited for once it counts. */
static void look(struct warden *warden, size_t region)
{
    struct daemon *daemon = warden->daemon;
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((daemon->fleet->shard_count + 1) * sizeof(*shards));
    size_t count = list_homed(daemon, region, shards);
    struct fleet_haste haste = {region, clock_deadline(HASTE_MS)};
    fleet_observation_release(&warden->seen);
    warden->seen = (struct fleet_observation){0};
    if (count > 0)
        fleet_observe_in_haste(daemon->fleet, shards, count, &haste, clock_deadline(LOOK_MS),
                               &warden->seen);
    warden->seen_region = region;
    warden->seen_at = clock_now();
}

static void look_ahead(struct warden *warden, size_t region, const struct mirror_region *sign)
{
    nsec now = clock_now();
    bool is_fresh = warden->seen_at && warden->seen_region == region &&
                    now - warden->seen_at < LOOK_AGAIN_MS * NSEC_PER_MS;
    if (!is_fresh && sign->end - now > HASTE_MS * NSEC_PER_MS)
        look(warden, region);
}

static void set_aside(struct warden *warden, const char *run)
{
    if (run[0])
        snprintf(warden->aside, sizeof(warden->aside), "%s", run);
}

/* What the run that yielded left in the middle and was not failed over goes back to where it was: a
 * move to the region that is lost now. Tried again until that is so. */
static void call_off(struct warden *warden)
{
    struct err err = ERR_INIT;
    warden->tried = clock_now();
    if (!deed_end_aside(warden->daemon, warden->aside, HASTE_MS * NSEC_PER_MS, &err))
        warden->aside[0] = '\0'; /* it has ended, or is a run of its own again */
}

static void call_off_later(struct warden *warden)
{
    bool is_time = clock_now() - warden->tried >= AGAIN_MS * NSEC_PER_MS;
    if (warden->aside[0] && is_time && daemon_store_get(warden->daemon->store))
        call_off(warden);
}

/* Another conductor fails the region over, or is about to. */
static bool is_in_hand_elsewhere(struct warden *warden)
{
    struct store *store = daemon_store_get(warden->daemon->store);
    AUTO(run_record_release) struct run_record record = {0};
    char holder[RUN_ID_MAX];
    struct err ignored = ERR_INIT;
    if (!store || run_lock_holder(store, holder, &ignored))
        return false;
    return strcmp(holder, MANDATE_READY) == 0 ||
           (run_record_load(store, holder, &record, &ignored) == ST_OK && record.is_region_lost);
}

static void record_of(struct warden *warden, size_t region, struct run_record *ret)
{
    struct daemon *daemon = warden->daemon;
    run_record_init(ret, daemon->fleet->regions[daemon->self->region]);
    ret->kind = RUN_FAILOVER;
    ret->is_region_lost = true;
    snprintf(ret->aside, sizeof(ret->aside), "%s", warden->aside);
    ret->reason = mem_printf("conductor %s: region %s is lost", daemon->self->name,
                             daemon->fleet->regions[region]);
    for (size_t i = 0; i < warden->seen.count; i++)
        run_record_add_shard(ret, warden->seen.shards[i].shard->name);
}

/* All that is served there was looked at: what came there since then has to be, too. */
static bool has_seen_all(struct warden *warden, size_t region)
{
    struct daemon *daemon = warden->daemon;
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((daemon->fleet->shard_count + 1) * sizeof(*shards));
    size_t count = list_homed(daemon, region, shards), at = 0;
    if (!warden->seen_at || warden->seen_region != region)
        return false;
    for (size_t i = 0; i < count; i++) { /* both are in the fleet's order */
        while (at < warden->seen.count && warden->seen.shards[at].shard != shards[i])
            at++;
        if (at == warden->seen.count)
            return false;
    }
    return true;
}

/* The run, with the lock that was taken for it, or with one of its own. NULL: somebody else's has
 * it. */
static struct run *begin_run(struct warden *warden, size_t region)
{
    AUTO(run_record_release) struct run_record record = {0}, again = {0};
    struct run *run = take_pointer(warden->ready);
    struct err err = ERR_INIT;
    record_of(warden, region, &record);
    if (run && run_begin_ready(run, &record, &err) == ST_OK)
        return run;
    run_free(run);
    run = NULL;
    record_of(warden, region, &again);
    struct daemon *daemon = warden->daemon;
    char aside[RUN_ID_MAX];
    enum status status =
        run_begin_over(daemon_store_get(daemon->store), daemon->fleet, &again, &run, aside, &err);
    set_aside(warden, aside);
    if (!status)
        return run;
    if (err.status == ST_BUSY && is_in_hand_elsewhere(warden))
        return NULL;
    say(warden, warden->daemon->fleet->regions[region], err.text);
    warden->again_at = clock_deadline(BUSY_MS); /* roles are brought back, or alike */
    return NULL;
}

/* 'fence': its revision; with the term that it was found by. */
static void fail_over(struct warden *warden, size_t region, int64_t fence,
                      const struct permit_term *term)
{
    struct daemon *daemon = warden->daemon;
    AUTO(switchover_report_release) struct switchover_report report = {0};
    if (!has_seen_all(warden, region))
        look(warden, region);
    warden->tried = clock_now();
    warden->again_at = clock_deadline(AGAIN_MS);
    struct run *run = warden->seen.count > 0 ? begin_run(warden, region) : NULL;
    if (!run)
        return;
    run->fence = fence;
    run->term = *term;
    deed_carry_out(daemon, run, &warden->seen, 0, &report);
    run_free(run);
    warden->seen_at = 0;
    if (warden->aside[0])
        call_off(warden);
    warden->tried = clock_now();
    warden->again_at = clock_deadline(AGAIN_MS);
}

/* ---- before the fence ---- */

static void stand_down(struct warden *warden)
{
    run_free(take_pointer(warden->ready));
}

/* Only when the lock is free: what else there is has to yield to a fence, not to a suspicion. */
static void get_ready(struct warden *warden)
{
    struct daemon *daemon = warden->daemon;
    struct store *store = daemon_store_get(daemon->store);
    const char *here = daemon->fleet->regions[daemon->self->region];
    struct err err = ERR_INIT;
    if (!store || deed_is_forbidden(store))
        return;
    warden->ready_at = clock_now();
    enum status status = run_get_ready(store, daemon->fleet, here, &warden->ready, &err);
    if (status == ST_BUSY && is_in_hand_elsewhere(warden))
        warden->yields_until = clock_deadline(READY_MS + YIELD_MS);
}

static bool is_time(const struct warden *warden, const struct mirror_region *sign)
{
    nsec now = clock_now();
    nsec most = warden->daemon->fleet->permission_ttl_ms * NSEC_PER_MS / READY_PARTS;
    nsec span = most < READY_MS * NSEC_PER_MS ? most : READY_MS * NSEC_PER_MS;
    return sign->end != NSEC_NEVER && sign->end - now <= span && now >= warden->yields_until;
}

static void prepare(struct warden *warden, size_t region, const struct mirror_region *sign)
{
    const struct inventory *fleet = warden->daemon->fleet;
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((fleet->shard_count + 1) * sizeof(*shards));
    if (warden->ready && is_time(warden, sign))
        return;
    stand_down(warden); /* a late beat came, and the end is far again */
    look_ahead(warden, region, sign);
    size_t count = list_homed(warden->daemon, region, shards);
    bool was_seen = warden->seen_at && warden->seen_region == region && warden->seen.count > 0;
    if (count > 0 && was_seen && is_time(warden, sign) &&
        !find_hindrance(warden, region, shards, count))
        get_ready(warden);
}

/* ---- the fence ---- */

static void say_fenced(struct warden *warden, const char *region, const char *left)
{
    log_event(EV_PERMISSION, "region", region, "given", "no", "why",
              "it was silent for a TTL: it is fenced", NULL);
    set_aside(warden, left);
    if (left[0])
        log_event(EV_LOSS, "run", left, "is", "set aside: a region is lost", NULL);
}

static bool fence(struct warden *warden, const char *region, const struct mirror_region *sign,
                  int64_t *ret_revision)
{
    struct daemon *daemon = warden->daemon;
    struct store *store = daemon_store_get(daemon->store);
    AUTO_FREE char *by = mem_printf("conductor %s", daemon->self->name);
    char left[RUN_ID_MAX] = "";
    struct permit_fencing fencing = {.region = region,
                                     .own = daemon->fleet->regions[daemon->self->region],
                                     .beat = sign->beat,
                                     .term = sign->term,
                                     .by = by,
                                     .reason = "it was silent for a TTL"};
    struct err err = ERR_INIT;
    nsec deadline = clock_deadline(STORE_MS);
    enum status status = warden->ready
                             ? permit_fence(store, &fencing, deadline, ret_revision, &err)
                             : region_fence(store, &fencing, deadline, left, ret_revision, &err);
    if (!status)
        say_fenced(warden, region, left);
    return status == ST_OK;
}

/* The store was asked a moment ago, when we got ready: then what is known of it will do. */
static bool is_forbidden(struct warden *warden, struct store *store)
{
    if (!warden->ready)
        return deed_is_forbidden(store);
    AUTO_FREE char *paused = mirror_pause_text(warden->daemon->mirror);
    return paused != NULL;
}

static void see_silent(struct warden *warden, size_t region, const struct mirror_region *sign)
{
    struct daemon *daemon = warden->daemon;
    const char *name = daemon->fleet->regions[region];
    struct store *store = daemon_store_get(daemon->store);
    int64_t revision = 0;
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((daemon->fleet->shard_count + 1) * sizeof(*shards));
    size_t count = list_homed(daemon, region, shards);
    if (count == 0 || !store || clock_now() < warden->yields_until)
        return;
    const char *hindrance = find_hindrance(warden, region, shards, count);
    if (!hindrance && is_forbidden(warden, store))
        hindrance = "the fleet is paused, or the store does not say that it is not";
    if (hindrance)
        say(warden, name, hindrance);
    else if (fence(warden, name, sign, &revision))
        fail_over(warden, region, revision, &sign->term);
}

/* It is fenced, and shards are still served there: whoever began to fail them over is gone. */
static void see_fenced(struct warden *warden, size_t region, const struct mirror_region *sign)
{
    struct daemon *daemon = warden->daemon;
    struct store *store = daemon_store_get(daemon->store);
    bool is_due =
        clock_now() >= warden->again_at && election_get(daemon->election, clock_now()).is_leader;
    if (!store || (!warden->ready && !is_due) || is_forbidden(warden, store))
        return;
    warden->seen_at = 0; /* they may have been failed over since */
    fail_over(warden, region, sign->fence, &sign->term);
}

static void be_calm(struct warden *warden)
{
    warden->said[0] = '\0';
    warden->yields_until = 0;
    stand_down(warden);
}

static void watch(struct warden *warden, size_t region)
{
    struct daemon *daemon = warden->daemon;
    struct mirror_region sign;
    if (clock_now() - warden->ready_at > (READY_MS + URGENT_MS) * NSEC_PER_MS)
        stand_down(warden); /* something hinders us: others wait for the lock */
    if (region == daemon->self->region ||
        !mirror_get_region(daemon->mirror, daemon->fleet->regions[region], &sign))
        return;
    if (sign.fence)
        see_fenced(warden, region, &sign);
    else if (sign.beat && clock_now() >= sign.end)
        see_silent(warden, region, &sign);
    else if (warden_is_silent(daemon, region))
        prepare(warden, region, &sign);
    else
        be_calm(warden);
}

/* When a region may be fenced, or soon. */
static nsec next_turn(const struct warden *warden)
{
    nsec next = clock_deadline(PACE_MS);
    for (size_t i = 0; i < warden->daemon->fleet->region_count; i++) {
        struct mirror_region sign;
        if (mirror_get_region(warden->daemon->mirror, warden->daemon->fleet->regions[i], &sign) &&
            i != warden->daemon->self->region && !sign.fence && sign.end > clock_now() &&
            sign.end < next)
            next = sign.end;
    }
    return next;
}

static void *ward(void *context)
{
    struct warden *warden = context;
    while (!daemon_bell_has_rung(&warden->bell)) {
        watch_own(warden);
        for (size_t i = 0; i < warden->daemon->fleet->region_count; i++)
            watch(warden, i);
        call_off_later(warden);
        daemon_bell_wait(&warden->bell, next_turn(warden));
    }
    return NULL;
}

struct warden *warden_start(struct daemon *daemon)
{
    const struct inventory *fleet = daemon->fleet;
    if (fleet->policy.automatic != AUTOMATIC_REGION || fleet->host_count == 0)
        return NULL;
    struct warden *warden = mem_zalloc(sizeof(*warden));
    warden->daemon = daemon;
    daemon_bell_init(&warden->bell);
    INVARIANT(pthread_create(&warden->thread, NULL, ward, warden) == 0);
    return warden;
}

void warden_stop(struct warden *warden)
{
    if (!warden)
        return;
    daemon_bell_ring(&warden->bell);
    pthread_join(warden->thread, NULL);
    stand_down(warden);
    daemon_bell_release(&warden->bell);
    fleet_observation_release(&warden->seen);
    free(warden);
}
