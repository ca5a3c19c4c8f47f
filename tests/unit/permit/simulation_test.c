/* SPDX-License-Identifier: Apache-2.0
 *
 * A property test: the real rules of conductors, agents and openers, at random, over a simulated
 * store and clocks. Two conductors, two servers of one shard on a host each, openers without
 * rivals (tests/model/runs.pml has those). Reads are old, answers late or lost, outcomes unknown or
 * done much later; what conductors tell of their grants is old; conductors pause, hosts freeze,
 * clocks run up to 5 % wrong, and the conductors' fleet files want different TTLs. In half of the
 * runs each server is of a region of its own, which is watched, fenced and given back. Whenever a
 * server opens, the other one must not serve. */
#include "permit/basis.h"
#include "permit/holder.h"
#include "permit/opening.h"
#include "permit/pulse.h"

#include "base/mem.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    SERVERS = 2,
    CONDUCTORS = 3,
    HISTORY = 8192,
    ANSWERS = 4,
    EVENTS = 6,
    STEPS = 20000,
    RUNS = 500
};
/* Ticks; a tick is the unit of all times here. */
enum { FENCE = 5, LOOKS = 60, LOOKS_AT_CLOSED = 10 };
static const char *const names[SERVERS] = {"a:1", "b:1"};
static const char *const names_of_granters[CONDUCTORS] = {"g0", "g1", "g2"};

struct clock { /* reads offset + rate * real */
    nsec offset;
    double rate;
};

/* How often what happens: once in so many chances. Drawn for each run, so that some of them have
 * answers that are later than a TTL, statements that lie in a server for as long, or lists that are
 * hardly ever read. */
struct mood {
    unsigned receive, lose, obey, close, list, cut, freeze, watch;
};

struct answer_on_its_way {
    bool is_there;
    nsec sent; /* the agent's clock, before it asked */
    struct permit_grant grant;
};

struct world {
    unsigned seed, seed_of_run;
    struct mood mood;
    nsec now; /* real time */
    /* the store: each revision, what was revoked then, and since when */
    int64_t revision, revoked[HISTORY][SERVERS], versions[HISTORY];
    struct permit_term term; /* in the store */
    bool is_regional;        /* server 0 and server 1 are of different regions, as are conductors */
    int64_t beats[SERVERS], fenced[SERVERS]; /* in the store, by region; 0: not */
    struct watcher {
        struct clock clock;
        struct permit_pulse pulse;
        struct event {
            int64_t revision;
            char value[160];
        } events[EVENTS]; /* on their way to it, in order */
        size_t event_count;
        bool is_broken; /* some were missed: it reads the newest */
        struct event newest;
    } watchers[SERVERS];
    struct conductor {
        struct clock clock;
        struct permit_basis basis;
        struct permit_term term;
        nsec since, wants; /* when its term was first seen; its fleet file's TTL */
        nsec cut;          /* until then it does not reach the store */
        bool is_beating, is_in_store;
        struct permit_beat beat; /* the one on its way */
        struct permit_ears ears; /* of what it granted */
    } conductors[CONDUCTORS];
    struct host {
        struct clock clock;
        struct permit_holder holder;
        bool is_frozen, is_open, is_sent; /* a statement that opens it is queued */
        nsec in_time, looked;             /* by its clock: it opens until then; the last look */
        nsec deaf;                        /* until then no answer reaches it */
        struct answer_on_its_way answers[ANSWERS];
    } hosts[SERVERS];
    struct permit_ears ears;
    struct opener {
        struct clock clock;
        enum { SERVING, SENT, REVOKED, WAITING, OPENING } step;
        size_t primary;
        int64_t revision;
        nsec since, settled;
        struct permit_term term;
        int64_t fence;
        struct word { /* of a conductor, as it was heard last */
            int64_t revision;
            nsec granted[SERVERS];
        } words[CONDUCTORS];
    } opener;
    unsigned openings, by_time, by_grants, by_fence;
};

static unsigned draw(struct world *world, unsigned below)
{
    world->seed = world->seed * 1664525u + 1013904223u;
    return (world->seed >> 8) % below;
}

static bool once_in(struct world *world, unsigned times)
{
    return draw(world, times) == 0;
}

static nsec clock_read(const struct world *world, const struct clock *clock)
{
    return clock->offset + (nsec)((double)world->now * clock->rate);
}

static void check(const struct world *world)
{
    size_t serving = 0;
    for (size_t i = 0; i < SERVERS; i++)
        serving += world->hosts[i].is_open && !world->hosts[i].is_frozen;
    if (serving > 1)
        fail_msg("two servers serve at %lld, after %u openings", (long long)world->now,
                 world->openings);
}

/* ---- the store ---- */

static int64_t *next_revision(struct world *world)
{
    assert_true(world->revision + 1 < HISTORY);
    memcpy(world->revoked[world->revision + 1], world->revoked[world->revision],
           sizeof(world->revoked[0]));
    world->versions[world->revision + 1] = world->versions[world->revision];
    world->revision++;
    return world->revoked[world->revision];
}

static int64_t *change_revoked(struct world *world)
{
    int64_t *revoked = next_revision(world);
    world->versions[world->revision] = world->revision;
    return revoked;
}

static struct permit_list list_at(const struct world *world, int64_t revision)
{
    struct permit_list list = {.version = world->versions[revision], .revision = revision};
    for (size_t i = 0; i < SERVERS; i++)
        if (world->revoked[revision][i])
            permit_list_add(&list, names[i], world->revoked[revision][i]);
    return list;
}

static void write_term(struct world *world, struct conductor *conductor)
{
    struct permit_term next = {0};
    nsec now = clock_read(world, &conductor->clock);
    if (conductor->term.revision != world->term.revision) {
        conductor->term = world->term;
        conductor->since = now;
    } else if (permit_term_plan(&conductor->term, conductor->wants, conductor->since, now, &next)) {
        next_revision(world);
        next.revision = world->revision;
        world->term = next;
    }
}

/* ---- regions ---- */

static size_t region_of(const struct world *world, const struct conductor *conductor)
{
    return (size_t)(conductor - world->conductors) % SERVERS;
}

/* The region's beat, or what a return leaves there, has just got a revision. */
static void put_beat(struct world *world, size_t region, const char *granter, nsec sent)
{
    struct watcher *watcher = &world->watchers[region];
    AUTO_FREE char *value = permit_pulse_encode("c", granter, sent);
    world->beats[region] = watcher->newest.revision = world->revision;
    snprintf(watcher->newest.value, sizeof(watcher->newest.value), "%s", value);
    if (watcher->event_count == EVENTS || once_in(world, 100))
        watcher->is_broken = true;
    else if (!watcher->is_broken)
        watcher->events[watcher->event_count++] = watcher->newest;
}

static void watch(struct world *world, struct watcher *watcher)
{
    nsec now = clock_read(world, &watcher->clock);
    const struct event *event = &watcher->events[0];
    if (watcher->event_count > 0) {
        permit_pulse_on_change(&watcher->pulse, event->revision, event->value, now);
        memmove(watcher->events, event + 1, --watcher->event_count * sizeof(*event));
    } else if (watcher->is_broken) {
        permit_pulse_on_reading(&watcher->pulse, watcher->newest.revision, watcher->newest.value,
                                now);
        watcher->is_broken = false;
    }
}

static void watcher_act(struct world *world, size_t region)
{
    struct watcher *watcher = &world->watchers[region];
    nsec now = clock_read(world, &watcher->clock);
    if (once_in(world, world->mood.watch)) /* else nothing reaches it */
        watch(world, watcher);
    if (now < permit_pulse_end(&watcher->pulse, &world->term) || world->fenced[region] ||
        watcher->pulse.revision != world->beats[region])
        return;
    change_revoked(world);
    world->fenced[region] = world->revision;
}

static void give_back(struct world *world, size_t region)
{
    world->fenced[region] = 0;
    change_revoked(world);
    put_beat(world, region, NULL, INT64_MIN);
}

/* ---- conductors ---- */

static void beat(struct world *world, struct conductor *conductor)
{
    struct permit_beat *sent = &conductor->beat;
    if (!conductor->is_beating) {
        conductor->is_beating = true;
        conductor->is_in_store = false;
        *sent = (struct permit_beat){clock_read(world, &conductor->clock), conductor->term.ttl,
                                     conductor->term.revision};
    } else if (!conductor->is_in_store) {
        size_t region = region_of(world, conductor);
        conductor->is_in_store = sent->revision == world->term.revision && !world->fenced[region];
        conductor->is_beating = conductor->is_in_store;
        if (conductor->is_in_store) {
            next_revision(world);
            sent->revision = world->revision;
            put_beat(world, region, names_of_granters[conductor - world->conductors], sent->sent);
        }
    } else {
        conductor->is_beating = false;
        if (!once_in(world, 4)) /* else its outcome stays unknown */
            permit_basis_on_beat(&conductor->basis, sent);
    }
}

static void read_list(struct world *world, struct conductor *conductor)
{
    int64_t age = once_in(world, 3) ? draw(world, 12) : 0;
    int64_t revision = world->revision > age ? world->revision - age : 0;
    struct permit_list list = list_at(world, revision);
    permit_basis_on_list(&conductor->basis, &list);
}

/* For up to two TTLs; what it sent may arrive. */
static void cut(struct world *world, struct conductor *conductor)
{
    conductor->cut = world->now + draw(world, 600);
}

static void conductor_act(struct world *world, struct conductor *conductor)
{
    if (world->now < conductor->cut) {
        if (conductor->is_beating && !conductor->is_in_store && once_in(world, 20))
            beat(world, conductor);
        return;
    }
    if (once_in(world, 50 * world->mood.cut))
        cut(world, conductor);
    switch (draw(world, 8)) {
    case 0:
    case 1:
    case 2:
        if (once_in(world, world->mood.list))
            read_list(world, conductor);
        break;
    case 3:
        if (once_in(world, 40))
            conductor->wants = 100 + draw(world, 3) * 100;
        write_term(world, conductor);
        break;
    default:
        beat(world, conductor);
    }
}

/* ---- agents ---- */

static void tell(struct world *world, size_t index)
{
    const struct permit_holder *holder = &world->hosts[index].holder;
    struct permit_told told = {.server = names[index],
                               .host = "host",
                               .is_closed = permit_holder_is_shut(holder, 0),
                               .version = holder->servers[0].closed};
    permit_ears_on_told(&world->ears, &told, 0);
}

static void ask(struct world *world, size_t index, struct answer_on_its_way *way)
{
    struct conductor *conductor = &world->conductors[draw(world, CONDUCTORS)];
    if (world->is_regional && region_of(world, conductor) != index)
        return;
    const struct permit_list *list = &conductor->basis.list;
    nsec now = clock_read(world, &conductor->clock);
    way->sent = clock_read(world, &world->hosts[index].clock);
    way->grant = (struct permit_grant){.span = permit_basis_span(&conductor->basis, now),
                                       .version = list->version,
                                       .revoked = &names[index],
                                       .revoked_count = permit_list_find(list, names[index]) != 0};
    way->is_there = true;
    struct permit_told told = {.server = names[index],
                               .host = "host",
                               .is_granted = way->grant.span > 0 && way->grant.revoked_count == 0};
    permit_ears_on_told(&conductor->ears, &told, now);
    tell(world, index);
}

static void receive(struct world *world, struct host *host, struct answer_on_its_way *way)
{
    if (!once_in(world, world->mood.lose))
        permit_holder_on_grant(&host->holder, way->sent, &way->grant);
    way->is_there = false;
}

static void close_server(struct host *host)
{
    host->is_open = false;
    host->is_sent = false; /* its session is ended */
    permit_holder_on_shut(&host->holder, 0, permit_holder_moment(&host->holder, 0));
}

static void look(struct host *host, bool is_permitted)
{
    const struct permit_held *held = &host->holder.servers[0];
    bool is_confirmed = held->is_shut && held->closed == host->holder.version;
    if (host->is_open)
        permit_holder_on_open(&host->holder, 0);
    else if (!is_permitted && !is_confirmed)
        close_server(host);
}

/* Every fifth of a TTL at least; at one that may not be open more often, whatever the TTL is. */
static void look_in_time(struct world *world, struct host *host)
{
    nsec now = clock_read(world, &host->clock);
    bool is_permitted = !permit_holder_must_close(&host->holder, 0, now);
    nsec pause = is_permitted ? LOOKS : LOOKS_AT_CLOSED;
    if (now - host->looked < pause && !once_in(world, 12))
        return;
    host->looked = now;
    look(host, is_permitted);
}

/* What the agent does when it must: closing takes up to the fence span, never longer. */
static void close_in_time(struct world *world, struct host *host)
{
    nsec now = clock_read(world, &host->clock);
    if (now < permit_holder_due(&host->holder))
        return;
    bool is_late = permit_holder_must_close(&host->holder, 0, now - FENCE) &&
                   host->holder.servers[0].until <= now + 1;
    if (is_late || once_in(world, world->mood.close))
        close_server(host);
}

static void obey(struct world *world, struct host *host)
{
    nsec now = clock_read(world, &host->clock);
    host->is_sent = false;
    if (now >= host->in_time)
        return;
    host->is_open = true; /* with a permission or without: its agent has to see that */
    world->openings++;
    check(world);
}

static void host_act(struct world *world, size_t index)
{
    struct host *host = &world->hosts[index];
    struct answer_on_its_way *way = &host->answers[draw(world, ANSWERS)];
    if (once_in(world, world->mood.freeze))
        host->is_frozen = true;
    else if (host->is_sent && once_in(world, world->mood.obey))
        obey(world, host);
    else if (!way->is_there)
        ask(world, index, way);
    else if (world->now < host->deaf)
        way->is_there = false;
    else if (once_in(world, world->mood.receive))
        receive(world, host, way);
}

static void thaw(struct world *world, struct host *host)
{
    host->is_frozen = false; /* and the agent comes first: the thaw window */
    if (permit_holder_must_close(&host->holder, 0, clock_read(world, &host->clock)))
        host->is_open = false;
    check(world);
    if (host->is_sent && once_in(world, 2)) /* that is no such window: it was closed */
        obey(world, host);
}

/* ---- the opener ---- */

static void revoke_primary(struct world *world, struct opener *opener)
{
    opener->term = world->term; /* compared: it is the one in the store */
    int64_t *revoked = change_revoked(world);
    revoked[opener->primary] = opener->revision = world->revision;
    opener->fence = world->fenced[opener->primary];
    opener->step = REVOKED;
    if (once_in(world, 2)) /* it is why one fails over */
        world->hosts[opener->primary].deaf = world->now + 200 + draw(world, 200);
    for (size_t i = 0; i < CONDUCTORS; i++)
        if (once_in(world, world->mood.cut))
            cut(world, &world->conductors[i]);
}

static void take_back(struct world *world, size_t server)
{
    change_revoked(world)[server] = 0;
    world->hosts[server].is_sent = false; /* seen under its lock */
}

/* What a conductor tells, in a moment; it may be old when it counts. */
static void listen(struct world *world, struct opener *opener)
{
    size_t which = draw(world, CONDUCTORS);
    const struct conductor *conductor = &world->conductors[which];
    struct word *word = &opener->words[which];
    nsec now = clock_read(world, &opener->clock);
    if (world->now < conductor->cut)
        return;
    word->revision = conductor->basis.list.revision;
    for (size_t i = 0; i < SERVERS; i++) {
        const struct permit_heard *heard = permit_ears_find(&conductor->ears, names[i]);
        bool was_granted = heard && heard->granted != INT64_MIN;
        word->granted[i] =
            was_granted ? now - (clock_read(world, &conductor->clock) - heard->granted) : INT64_MIN;
    }
}

static struct permit_rumour rumour_of(struct world *world, struct opener *opener)
{
    struct permit_rumour rumour = {
        .heard = permit_ears_find(&world->ears, names[opener->primary]),
        .is_last_grant_known = true,
        .last_grant = INT64_MIN,
    };
    for (size_t i = 0; i < CONDUCTORS; i++) {
        const struct word *word = &opener->words[i];
        nsec granted = word->granted[opener->primary];
        if (opener->fence && region_of(world, &world->conductors[i]) == opener->primary)
            continue; /* left out */
        rumour.is_last_grant_known &= word->revision >= opener->revision;
        rumour.last_grant = granted > rumour.last_grant ? granted : rumour.last_grant;
    }
    return rumour;
}

static bool is_seen_closed(const struct host *host)
{
    return !host->is_open && !host->is_frozen;
}

static bool may_open(const struct world *world, size_t server)
{
    return !world->revoked[world->revision][server] && !world->fenced[server];
}

/* Recorded; sent at any time after that. The server's clock was read before. */
static void send_open(struct world *world, struct opener *opener, size_t server)
{
    struct host *host = &world->hosts[server];
    opener->primary = server;
    opener->step = OPENING;
    host->is_sent = true;
    opener->settled = clock_read(world, &opener->clock); /* its route was written */
    host->in_time = clock_read(world, &host->clock) + permit_guard_span(world->term.wait);
}

static void open_another(struct world *world, struct opener *opener)
{
    size_t other = 1 - opener->primary;
    struct permit_rumour rumour = rumour_of(world, opener), only_heard = {.heard = rumour.heard};
    struct permit_wait wait = {.term = opener->term,
                               .revision = opener->revision,
                               .since = opener->since,
                               .settled = opener->settled,
                               .fence = opener->fence};
    nsec now = clock_read(world, &opener->clock);
    if (world->revoked[world->revision][other] && is_seen_closed(&world->hosts[other])) {
        take_back(world, other);
    } else if (is_seen_closed(&world->hosts[opener->primary]) && !world->fenced[opener->primary] &&
               once_in(world, 20)) {
        take_back(world, opener->primary);
        send_open(world, opener, opener->primary);
    } else if (permit_end_of(&wait, &rumour, now) && may_open(world, other)) {
        world->by_fence += permit_end_of(&wait, &rumour, now) == PERMIT_REGION_FENCED;
        world->by_grants += permit_end_of(&wait, &only_heard, now) == PERMIT_LASTS;
        wait.since = now;
        world->by_time += permit_end_of(&wait, &only_heard, now) == PERMIT_LASTS;
        send_open(world, opener, other);
    }
}

static void opener_act(struct world *world, struct opener *opener)
{
    size_t region = draw(world, SERVERS);
    if (once_in(world, 8))
        listen(world, opener);
    if (world->fenced[region] && once_in(world, 100))
        give_back(world, region);
    switch (opener->step) {
    case SERVING:
        if (is_seen_closed(&world->hosts[opener->primary]) && may_open(world, opener->primary) &&
            once_in(world, 10))
            send_open(world, opener, opener->primary); /* its permission ended, or it crashed */
        else
            opener->step = once_in(world, 10) ? SENT : SERVING;
        break;
    case SENT:
        revoke_primary(world, opener);
        break;
    case REVOKED: /* now it is known */
        opener->since = clock_read(world, &opener->clock);
        opener->step = WAITING;
        break;
    case WAITING:
        if (once_in(world, 4)) /* a list of fences */
            opener->fence = opener->fence ? opener->fence : world->fenced[opener->primary];
        open_another(world, opener);
        break;
    case OPENING:
        if (world->hosts[opener->primary].is_open)
            opener->step = SERVING;
        else if (once_in(world, 30))
            opener->step = SENT;
        break;
    }
}

/* ---- one run ---- */

/* As wrong as the margin allows in half of the runs: 'worst' is what is worst for its reader. */
static struct clock draw_clock(struct world *world, double worst)
{
    static const double rates[] = {0.953, 1.0, 1.047};
    nsec offset = 1000000 + draw(world, 1000000);
    return (struct clock){offset, world->seed_of_run % 2 ? worst : rates[draw(world, 3)]};
}

static unsigned pick(struct world *world, unsigned often, unsigned seldom)
{
    return once_in(world, 2) ? often : seldom;
}

static struct mood draw_mood(struct world *world)
{
    return (struct mood){.receive = pick(world, 1, 40),
                         .lose = pick(world, 2, 20),
                         .obey = pick(world, 1, 150),
                         .close = pick(world, 2, 100),
                         .list = pick(world, 1, 10),
                         .cut = pick(world, 2, 20),
                         .freeze = pick(world, 300, 3000),
                         .watch = pick(world, 1, 50)};
}

static void world_init(struct world *world, unsigned seed)
{
    *world = (struct world){
        .seed = seed, .seed_of_run = seed, .revision = 1, .term = {300, 300, 1 /* it exists */}};
    world->mood = draw_mood(world);
    world->is_regional = once_in(world, 2);
    for (size_t i = 0; i < CONDUCTORS; i++) {
        struct conductor *conductor = &world->conductors[i];
        conductor->clock = draw_clock(world, 0.953);
        conductor->term = world->term;
        conductor->wants = 300;
        permit_basis_init(&conductor->basis);
    }
    for (size_t i = 0; i < SERVERS; i++) {
        world->hosts[i].clock = draw_clock(world, 0.953);
        world->watchers[i].clock = draw_clock(world, 1.047);
        permit_holder_init(&world->hosts[i].holder, &names[i], 1, FENCE);
    }
    world->opener.clock = draw_clock(world, 1.047);
    send_open(world, &world->opener, 0);
}

static void world_release(struct world *world)
{
    for (size_t i = 0; i < CONDUCTORS; i++) {
        permit_basis_release(&world->conductors[i].basis);
        permit_ears_release(&world->conductors[i].ears);
    }
    for (size_t i = 0; i < SERVERS; i++)
        permit_holder_release(&world->hosts[i].holder);
    permit_ears_release(&world->ears);
}

static void world_step(struct world *world)
{
    world->now++;
    for (size_t i = 0; i < SERVERS; i++) {
        struct host *host = &world->hosts[i];
        if (host->is_frozen && once_in(world, 200))
            thaw(world, host);
        if (host->is_frozen)
            continue;
        look_in_time(world, host);
        close_in_time(world, host);
        if (once_in(world, 3))
            host_act(world, i);
    }
    for (size_t i = 0; i < CONDUCTORS; i++)
        if (once_in(world, 4))
            conductor_act(world, &world->conductors[i]);
    for (size_t i = 0; i < SERVERS; i++)
        if (world->is_regional && once_in(world, 3))
            watcher_act(world, i);
    if (once_in(world, 2))
        opener_act(world, &world->opener);
}

static void two_servers_never_serve_at_once(UNUSED void **state)
{
    AUTO_FREE struct world *world = mem_zalloc(sizeof(*world));
    unsigned openings = 0, by_time = 0, by_grants = 0, by_fence = 0;
    const char *seed = getenv("PERMIT_SEED"), *runs = getenv("PERMIT_RUNS");
    unsigned first = seed ? (unsigned)strtoul(seed, NULL, 10) : 1;
    unsigned count = runs ? (unsigned)strtoul(runs, NULL, 10) : RUNS;
    for (unsigned i = 0; i < count; i++) {
        world_init(world, first + i);
        for (unsigned step = 0; step < STEPS && world->revision < HISTORY - 8; step++)
            world_step(world);
        openings += world->openings;
        by_time += world->by_time;
        by_grants += world->by_grants;
        by_fence += world->by_fence;
        world_release(world);
    }
    print_message(
        "%u runs: %u openings, %u without a confirmation, %u by last grants, %u by fences\n", count,
        openings, by_time, by_grants, by_fence);
    assert_true(openings > 4 * count); /* else it shows nothing */
    assert_true(by_time > 2 * count);
    assert_true(by_grants > count / 2);
    assert_true(by_fence > count / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_servers_never_serve_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
