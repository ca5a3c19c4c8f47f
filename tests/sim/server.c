/* SPDX-License-Identifier: Apache-2.0
 * One simulated server: how it begins, comes and goes, and opens for writes. */
#include "sim/model.h"
#include "sim/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 512, HISTORY = 100 }; /* transactions that a fleet begins with */

const char *const sim_region_names[SIM_REGIONS] = {"west", "east"};

struct sim *sim_of(const struct sim_server *server)
{
    return server->shard->sim;
}

/* Who follows whom when all begins: the first of west is primary, that of east its relay. */
static int first_source(unsigned index)
{
    return index == 0 ? -1 : index <= SIM_SIDE ? 0 : SIM_SIDE;
}

static void follow(struct sim_server *server, int source)
{
    struct sim_link *link = &server->link;
    const struct sim_server *from = &server->shard->servers[source];
    struct sim *sim = sim_of(server);
    link->is_configured = true;
    link->source = source;
    inet_ntop(AF_INET, &from->address, link->host, sizeof(link->host));
    link->port = sim->port;
    snprintf(link->user, sizeof(link->user), "%s", sim->accounts[1].user);
    link->io = link->sql = true;
    link->acknowledges = server->semi_replica;
    server->applied = server->logged;
}

void sim_server_init(struct sim_server *server, struct sim_shard *shard, unsigned index,
                     struct in_addr address)
{
    *server = (struct sim_server){
        .listener.fd = -1,
        .shard = shard,
        .index = index,
        .region = index / SIM_SIDE,
        .server_id = (uint32_t)(shard->index * SIM_SERVERS + index + 1),
        .address = address,
        .read_only = index != 0,
        .semi_source = index == 0,
        .semi_replica = index % SIM_SIDE != 0,
        .strict = true,
        .logged = {0, HISTORY},
        .written = {HISTORY},
        .link.source = -1,
    };
    int source = first_source(index);
    if (source >= 0)
        follow(server, source);
}

void sim_server_changed(struct sim_server *server)
{
    if (server->waiting == 0 || server->is_changed)
        return;
    struct sim *sim = sim_of(server);
    server->is_changed = true;
    server->next_changed = sim->changed;
    sim->changed = server;
}

bool sim_server_answers(const struct sim_server *server)
{
    return !server->is_down && !server->is_hung;
}

nsec sim_server_delay(const struct sim_server *server)
{
    return sim_of(server)->rtt[server->region] + server->slow;
}

void sim_server_stop(struct sim_server *server)
{
    loop_close(sim_of(server)->loop, &server->listener);
    server->is_down = true;
    server->link.io = server->link.sql = false;
    while (server->sessions)
        session_end(server->sessions);
    sim_links_refresh(server);
}

void sim_server_hang(struct sim_server *server)
{
    server->is_hung = true;
    sim_links_refresh(server);
}

static bool listen_at(struct sim_server *server)
{
    struct sim *sim = sim_of(server);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)sim->port), .sin_addr = server->address};
    socklen_t length = sizeof(at);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&at, &length)) {
        int error = errno;
        close(fd);
        errno = error;
        return false;
    }
    sim->port = ntohs(at.sin_port); /* 0 was: any; the first server chooses for all */
    server->listener.on_ready = session_accept;
    loop_add(sim->loop, &server->listener, fd);
    return true;
}

/* A configuration that is role-neutral: read-only, semi-sync off, replication not started. */
bool sim_server_start(struct sim_server *server)
{
    if (server->is_down) {
        server->read_only = true;
        server->semi_source = server->semi_replica = false;
        server->slow = 0;
        server->freeze_times_out = server->promote_fails = false;
    }
    if (server->listener.fd < 0 && !listen_at(server))
        return false;
    bool was_away = !sim_server_answers(server);
    server->is_down = server->is_hung = false;
    if (was_away)
        sim_links_refresh(server);
    return true;
}

static uint64_t last_of(const struct sim_server *server)
{
    return server->logged.seq > server->applied.seq ? server->logged.seq : server->applied.seq;
}

void sim_server_open(struct sim_server *server)
{
    struct sim_shard *shard = server->shard;
    struct sim_stats *stats = &sim_of(server)->stats;
    if (!server->read_only)
        return;
    server->read_only = false;
    stats->opened++;
    sim_server_changed(server);
    for (unsigned i = 0; i < SIM_SERVERS; i++)
        if (i != server->index && !shard->servers[i].read_only && !shard->servers[i].is_down) {
            stats->two_primaries++;
            fprintf(stderr, "simfleet: VIOLATION: s%zu has two writable servers, %u and %u\n",
                    shard->index, i, server->index);
        }
    if (last_of(server) >= shard->acknowledged)
        return;
    stats->lost += shard->acknowledged - last_of(server);
    fprintf(stderr, "simfleet: VIOLATION: s%zu opened server %u without %llu promised writes\n",
            shard->index, server->index,
            (unsigned long long)(shard->acknowledged - last_of(server)));
}
