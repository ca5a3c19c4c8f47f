/* SPDX-License-Identifier: Apache-2.0
 * Where the writes of a shard go. The route in the store says it. A refusal only says where they
 * do not go any more: then writers hold, until the route names a writable primary or a scout finds
 * one. Scouts serve fleets whose moves are not in the store, and make up for a late event. */
#include "base/mem.h"
#include "base/scope.h"
#include "load/internal.h"
#include "store/store.h"

#include <string.h>

enum {
    ASK_MS = 4,         /* between two questions to a server, while writers hold */
    ASK_SILENT_MS = 50, /* and while they do not, but nothing is acknowledged */
    ASK_RETRY_MS = 20,  /* to one that could not be reached */
    ASK_LIMIT_MS = 1000,
    TRUST_ROUTE_MS = 1000, /* after that, any server that takes writes will do */
};

void load__target_set(struct load_shard *shard, ssize_t server)
{
    if (shard->target == server)
        return;
    if (shard->last_target != NOBODY && shard->last_target != server)
        shard->report->moves++;
    shard->target = shard->last_target = server;
    shard->generation++;
}

void load__target_refused(struct load_shard *shard, uint64_t generation, nsec now)
{
    if (generation != shard->generation || shard->target == NOBODY)
        return; /* an answer from before the last change */
    shard->target = NOBODY;
    shard->generation++;
    shard->held_since = now;
    for (size_t i = 0; i < shard->spec->server_count; i++)
        shard->scouts[i].due = now;
}

/* --- scouts ---------------------------------------------------------------------------------- */

static bool is_silent(const struct load_shard *shard, nsec now)
{
    return shard->load->is_writing && now - shard->gauge.last > SILENCE_MS * NSEC_PER_MS;
}

/* Does the route allow this server? It knows better than a server that lost its region. */
static bool is_allowed(const struct load_shard *shard, ssize_t server, nsec now)
{
    nsec since = shard->target == NOBODY ? shard->held_since : shard->gauge.last;
    if (!shard->has_route || now - since > TRUST_ROUTE_MS * NSEC_PER_MS)
        return true;
    if (shard->is_routed_writable)
        return server == shard->routed_primary;
    return server == shard->ends[0] || server == shard->ends[1];
}

static void on_scout_done(struct channel *channel)
{
    struct scout *scout = channel->owner;
    struct load_shard *shard = scout->shard;
    nsec now = clock_now();
    if (channel->call.status) {
        scout->due = now + ASK_RETRY_MS * NSEC_PER_MS;
        return;
    }
    const char *read_only = sql_value(&channel->call.result, 0, 0, 0);
    bool is_writable = read_only && strcmp(read_only, "0") == 0;
    bool is_wanted = shard->target == NOBODY || is_silent(shard, now);
    if (is_writable && is_wanted && is_allowed(shard, scout->server, now))
        load__target_set(shard, scout->server);
}

void load__scouts_init(struct load_shard *shard)
{
    shard->scouts = mem_zalloc(shard->spec->server_count * sizeof(*shard->scouts));
    for (size_t i = 0; i < shard->spec->server_count; i++) {
        struct scout *scout = &shard->scouts[i];
        scout->shard = shard;
        scout->server = (ssize_t)i;
        load__channel_init(&scout->channel, &shard->load->loop, on_scout_done, scout);
        struct sql_endpoint at = load__endpoint(shard->load, &shard->spec->servers[i]);
        load__channel_bind(&scout->channel, &at);
        buf_add(&scout->channel.sql, "SELECT @@global.read_only");
    }
}

static void scout_pump(struct scout *scout, nsec every, nsec now)
{
    if (scout->channel.is_busy)
        return;
    if (scout->due <= now) {
        scout->due = now + every;
        load__channel_begin(&scout->channel, now + ASK_LIMIT_MS * NSEC_PER_MS);
    }
    load__loop_wake_at(scout->channel.loop, scout->due);
}

void load__target_pump(struct load_shard *shard, nsec now)
{
    bool is_held = shard->target == NOBODY;
    if (!is_held && !is_silent(shard, now))
        return;
    nsec every = (is_held ? ASK_MS : ASK_SILENT_MS) * NSEC_PER_MS;
    for (size_t i = 0; i < shard->spec->server_count; i++)
        if (is_allowed(shard, (ssize_t)i, now))
            scout_pump(&shard->scouts[i], every, now);
}

/* --- the route ------------------------------------------------------------------------------- */

static ssize_t find_server(const struct load_shard *shard, const char *name)
{
    for (size_t i = 0; i < shard->spec->server_count; i++)
        if (strcmp(shard->spec->servers[i].name, name) == 0)
            return (ssize_t)i;
    return NOBODY;
}

/* A state that is not writable does not stop the writers: the server does, when it has frozen. */
void load__route_changed(struct load_shard *shard, const char *text)
{
    struct route route = {0};
    shard->has_route = text && route_decode(text, &route, NULL) == ST_OK;
    if (!shard->has_route)
        return;
    shard->is_routed_writable = shard_state_is_writable(route.state);
    shard->routed_primary = find_server(shard, route.primary);
    shard->ends[0] = find_server(shard, route.old_primary);
    shard->ends[1] = find_server(shard, route.new_primary);
    if (shard->ends[1] != NOBODY) {
        bool is_over = shard->routed_primary == shard->ends[1];
        shard->standby = shard->ends[is_over ? 0 : 1];
    }
    shard->has_route = shard->routed_primary != NOBODY;
    if (shard->has_route && shard->is_routed_writable)
        load__target_set(shard, shard->routed_primary);
}

static struct load_shard *find_shard(struct load *load, const char *key)
{
    for (size_t i = 0; i < load->shard_count; i++) {
        AUTO_FREE char *own = route_key(load->shards[i].spec->name);
        if (strcmp(own, key) == 0)
            return &load->shards[i];
    }
    return NULL;
}

enum status load__routes_open(struct load *load, struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    struct store *store = load->request->store;
    enum status status =
        store_list(store, "shards/", store_deadline(store, STORE_WORK), &list, err);
    if (status)
        return err_wrap(err, "read the routes");
    for (size_t i = 0; i < list.count; i++) {
        struct load_shard *shard = find_shard(load, list.entries[i].key);
        if (shard)
            load__route_changed(shard, list.entries[i].value);
    }
    struct store_watch *watch = NULL;
    status = store_watch_open(store, "shards/", list.revision, &watch, err);
    if (status)
        return err_wrap(err, "watch the routes");
    store_watch_close(load->watch);
    load->watch = watch;
    load__loop_add_fd(&load->loop, store_watch_fd(load->watch));
    return ST_OK;
}

/* A store that fails for a moment costs an event's speed, not the run: the scouts go on, and the
 * next look catches up. */
void load__routes_read(struct load *load)
{
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    enum status status = store_watch_next(load->watch, 0, &changes, &err);
    if (status == ST_COMPACTED)
        status_ignore(load__routes_open(load, &err), "tried again at the next look");
    for (size_t i = 0; i < changes.count; i++) {
        struct load_shard *shard = find_shard(load, changes.items[i].entry.key);
        if (shard)
            load__route_changed(shard, changes.items[i].entry.value);
    }
}
