/* SPDX-License-Identifier: Apache-2.0
 *
 * Replication between the simulated servers of a shard: what a source has committed is applied by
 * each of its replicas after the link's delay, and committed there in turn. Received and applied
 * are one moment here. */
#include "sim/model.h"

#include "base/invariant.h"

#include <arpa/inet.h>

enum { ORIGIN_SHIFT = 56 };

static struct sim_server *source_of(const struct sim_server *server)
{
    return server->link.source < 0 ? NULL : &server->shard->servers[server->link.source];
}

bool sim_link_receives(const struct sim_server *server)
{
    const struct sim_server *source = source_of(server);
    return source && server->link.io && !server->link.io_error && sim_server_answers(server) &&
           sim_server_answers(source);
}

unsigned sim_ackers(const struct sim_server *server)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SIM_SERVERS; i++) {
        const struct sim_server *at = &server->shard->servers[i];
        count +=
            at->link.source == (int)server->index && at->link.acknowledges && sim_link_receives(at);
    }
    return count;
}

/* Answers of a region come late by its round-trip time, although they are made at once: its clock
 * runs ahead by half of that. What crosses into a region without delay is seen a whole one later.
 */
static nsec link_delay(const struct sim_server *source, const struct sim_server *replica)
{
    const struct sim *sim = sim_of(source);
    return sim->lag + (source->region != replica->region ? sim->rtt[source->region] : 0);
}

static void advance(struct sim_server *server, struct sim_gtid gtid);

static void apply(struct sim_server *replica, struct sim_gtid gtid)
{
    if (gtid.seq <= replica->applied.seq)
        return;
    bool is_own = gtid.seq <= replica->written[gtid.origin];
    if (replica->strict && !is_own && gtid.seq <= replica->logged.seq) {
        replica->link.sql = false;
        replica->link.sql_error = "An attempt was made to binlog GTID which would create an "
                                  "out-of-order sequence number (error 1950)";
        return;
    }
    replica->applied = gtid;
    if (!is_own)
        advance(replica, gtid);
    sim_server_changed(replica);
}

static void on_arrival(const struct timer *timer)
{
    struct sim_server *replica = timer->object;
    if (replica->link.generation != timer->stamp)
        return;
    struct sim_gtid gtid = {(unsigned)(timer->value >> ORIGIN_SHIFT),
                            timer->value & (((uint64_t)1 << ORIGIN_SHIFT) - 1)};
    apply(replica, gtid);
}

static void send_to(struct sim_server *source, struct sim_server *replica, struct sim_gtid gtid)
{
    nsec delay = link_delay(source, replica);
    if (delay == 0) {
        apply(replica, gtid);
        return;
    }
    struct timer timer = {
        .due = clock_now() + delay,
        .on_due = on_arrival,
        .object = replica,
        .stamp = replica->link.generation,
        .value = (uint64_t)gtid.origin << ORIGIN_SHIFT | gtid.seq,
    };
    loop_at(sim_of(source)->loop, &timer);
}

/* Into its binlog, and on to its replicas. */
static void advance(struct sim_server *server, struct sim_gtid gtid)
{
    server->logged = gtid;
    if (server->written[gtid.origin] < gtid.seq)
        server->written[gtid.origin] = gtid.seq;
    for (unsigned i = 0; i < SIM_SERVERS; i++) {
        struct sim_server *at = &server->shard->servers[i];
        if (at->link.source == (int)server->index && at->link.sql && sim_link_receives(at))
            send_to(server, at, gtid);
    }
}

void sim_commit(struct sim_server *server)
{
    uint64_t last =
        server->logged.seq > server->applied.seq ? server->logged.seq : server->applied.seq;
    advance(server, (struct sim_gtid){server->index, last + 1});
    sim_of(server)->stats.writes++;
}

/* What the source has and this one lacks, in order: the last of each origin says it all. */
static void catch_up(struct sim_server *replica)
{
    struct sim_server *source = source_of(replica);
    uint64_t last = replica->applied.seq;
    for (unsigned i = 0; i < SIM_SERVERS; i++) {
        struct sim_gtid next = {0, UINT64_MAX};
        for (unsigned origin = 0; origin < SIM_SERVERS; origin++)
            if (source->written[origin] > last && source->written[origin] < next.seq)
                next = (struct sim_gtid){origin, source->written[origin]};
        if (next.seq == UINT64_MAX)
            return;
        last = next.seq;
        send_to(source, replica, next);
    }
}

/* The link as it is now: what is under way in its older life is dropped and sent again. */
static void link_refresh(struct sim_server *replica)
{
    struct sim_server *source = source_of(replica);
    replica->link.generation++;
    if (source)
        sim_server_changed(source);
    sim_server_changed(replica);
    if (replica->link.sql && sim_link_receives(replica))
        catch_up(replica);
}

void sim_links_refresh(struct sim_server *server)
{
    link_refresh(server);
    for (unsigned i = 0; i < SIM_SERVERS; i++)
        if (server->shard->servers[i].link.source == (int)server->index)
            link_refresh(&server->shard->servers[i]);
}

void sim_link_start(struct sim_server *server, bool io, bool sql)
{
    struct sim_link *link = &server->link;
    const struct sim_server *source = source_of(server);
    if (io && !link->io)
        link->acknowledges = server->semi_replica;
    if (io && !link->io_error && source && server->applied.seq > source->logged.seq)
        link->io_error = "error 1236: the master does not have the position of this replica";
    if (sql)
        link->sql_error = NULL;
    link->io = link->io || io;
    link->sql = link->sql || sql;
    link_refresh(server);
}

void sim_link_stop(struct sim_server *server, bool io, bool sql)
{
    struct sim_link *link = &server->link;
    link->io = link->io && !io;
    link->sql = link->sql && !sql;
    if (io)
        link->acknowledges = false;
    link_refresh(server);
}

void sim_link_reset(struct sim_server *server)
{
    uint64_t generation = server->link.generation + 1;
    struct sim_server *source = source_of(server);
    server->link = (struct sim_link){.source = -1, .generation = generation};
    if (source)
        sim_server_changed(source);
}
