/* SPDX-License-Identifier: Apache-2.0
 * See monitor.h. */
#include "monitor/monitor.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "monitor/internal.h"

#include <stdlib.h>
#include <sys/epoll.h>

/* A replica is asked to answer this much before the deadline, so that "not yet" is an answer. */
enum { LAG_MARGIN_MS = 50 };

struct monitor *monitor_new(const struct inventory *fleet)
{
    struct monitor *monitor = mem_zalloc(sizeof(*monitor));
    monitor->fleet = fleet;
    monitor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    INVARIANT(monitor->epoll_fd >= 0);
    monitor->first = mem_zalloc((fleet->shard_count + 1) * sizeof(*monitor->first));
    for (size_t i = 0; i < fleet->shard_count; i++) {
        monitor->first[i] = monitor->count;
        monitor->count += inventory_shard_size(&fleet->shards[i]);
    }
    monitor->links = mem_zalloc((monitor->count + 1) * sizeof(*monitor->links));
    for (size_t i = 0; i < fleet->shard_count; i++)
        for (size_t j = 0; j < inventory_shard_size(&fleet->shards[i]); j++)
            monitor->links[monitor->first[i] + j].server = &fleet->shards[i].servers[j];
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return;
    for (size_t i = 0; i < monitor->count; i++)
        link_close(&monitor->links[i]);
    close(monitor->epoll_fd);
    free(monitor->links);
    free(monitor->first);
    free(monitor);
}

static struct link *link_of(struct monitor *monitor, const struct inventory_shard *shard,
                            size_t server)
{
    return &monitor->links[monitor->first[shard->index] + server];
}

/* ---- the states ---- */

static void read_answer(struct ask *ask)
{
    struct server_observation *server = ask->context;
    struct err err = ERR_INIT;
    enum status status = ask->status;
    server->answer_ms = clock_ms(ask->finished - ask->started);
    if (!status)
        status = sql_flavour_find(link_server_version(ask->link), &server->flavour, &err);
    if (!status)
        status = server->flavour->read_observation(&ask->result, &server->state, &err);
    if (status)
        server_observation_fail(server, ask->err ? ask->err : &err);
    else
        server->clock_ahead_s = server->state.clock_s -
                                clock_ms(ask->started + (ask->finished - ask->started) / 2) / 1000;
    ask_release(ask);
    sql_server_state_compact(&server->state);
}

static void look_at_states(struct monitor *monitor, nsec deadline, struct fleet_observation *ret)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO_FREE struct ask *asks = mem_zalloc((monitor->count + 1) * sizeof(*asks));
    sql_mariadb.observe(&sql);
    for (size_t i = 0; i < ret->count; i++)
        for (size_t j = 0; j < inventory_shard_size(ret->shards[i].shard); j++) {
            size_t at = monitor->first[i] + j;
            asks[at] = (struct ask){.link = &monitor->links[at],
                                    .sql = buf_text(&sql),
                                    .on_done = read_answer,
                                    .context = &ret->shards[i].servers[j]};
        }
    monitor__ask(monitor, asks, monitor->count, deadline);
    for (size_t i = 0; i < ret->count; i++)
        shard_observation_derive(&ret->shards[i]);
}

/* ---- how far behind ---- */

static void read_positions(struct monitor *monitor, nsec deadline, struct fleet_observation *ret)
{
    AUTO_FREE struct ask *asks = mem_zalloc((ret->count + 1) * sizeof(*asks));
    AUTO_FREE size_t *of = mem_zalloc((ret->count + 1) * sizeof(*of));
    AUTO(buf_release) struct buf sql = {0};
    size_t count = 0;
    sql_mariadb.read_position(&sql);
    for (size_t i = 0; i < ret->count; i++) {
        const struct shard_observation *shard = &ret->shards[i];
        if (!shard->primary)
            continue;
        of[count] = i;
        asks[count++] =
            (struct ask){.link = link_of(monitor, shard->shard, shard->primary->server->index),
                         .sql = buf_text(&sql)};
    }
    monitor__ask(monitor, asks, count, deadline);
    for (size_t i = 0; i < count; i++) {
        const char *position = sql_value(&asks[i].result, 0, 0, 0);
        ret->shards[of[i]].later_position = position ? mem_strdup(position) : NULL;
        if (asks[i].err)
            ret->shards[of[i]].later_err = *asks[i].err;
        ask_release(&asks[i]);
    }
}

static bool can_wait(const struct shard_observation *shard, const struct server_observation *server)
{
    return shard->later_position && server != shard->primary && server->status == ST_OK &&
           server->state.channels > 0;
}

static void wait_for_replicas(struct monitor *monitor, nsec deadline, struct fleet_observation *ret)
{
    AUTO_FREE struct ask *asks = mem_zalloc((monitor->count + 1) * sizeof(*asks));
    AUTO_FREE struct server_observation **of =
        mem_zalloc((monitor->count + 1) * sizeof(struct server_observation *));
    int wait_ms = clock_ms_left(deadline) - LAG_MARGIN_MS;
    size_t count = 0;
    for (size_t i = 0; i < ret->count; i++) {
        const struct shard_observation *shard = &ret->shards[i];
        for (size_t j = 0; j < shard->shard->server_count; j++) {
            struct buf sql = {0};
            if (!can_wait(shard, &shard->servers[j]))
                continue;
            shard->servers[j].flavour->wait_for(&sql, shard->later_position,
                                                wait_ms > 0 ? wait_ms : 0);
            of[count] = &shard->servers[j];
            asks[count++] =
                (struct ask){.link = link_of(monitor, shard->shard, j), .sql = buf_take(&sql)};
        }
    }
    monitor__ask(monitor, asks, count, deadline);
    for (size_t i = 0; i < count; i++) {
        bool arrived =
            asks[i].status == ST_OK && sql_number(sql_value(&asks[i].result, 0, 0, 0), -1) == 0;
        of[i]->lag_ms = arrived ? clock_ms(asks[i].finished - asks[i].started) : -1;
        free((char *)asks[i].sql);
        ask_release(&asks[i]);
    }
}

void monitor_look(struct monitor *monitor, nsec time, struct fleet_observation *ret)
{
    fleet_observation_prepare(monitor->fleet, ret);
    nsec begun = clock_now();
    look_at_states(monitor, begun + time, ret);
    begun = clock_now();
    read_positions(monitor, begun + time / 2, ret);
    wait_for_replicas(monitor, begun + time, ret);
}

/* ---- only whether they answer ---- */

void monitor_ping(struct monitor *monitor, struct monitor_ping *pings, size_t count, nsec deadline)
{
    AUTO_FREE struct ask *asks = mem_zalloc((count + 1) * sizeof(*asks));
    for (size_t i = 0; i < count; i++)
        asks[i].link = link_of(monitor, pings[i].shard, pings[i].server->index);
    for (size_t i = 0; i < count; i++)
        asks[i].sql = "SELECT 1";
    monitor__ask(monitor, asks, count, deadline);
    for (size_t i = 0; i < count; i++) {
        pings[i].status = asks[i].status;
        ask_release(&asks[i]);
    }
}
