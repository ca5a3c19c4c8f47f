/* SPDX-License-Identifier: Apache-2.0
 * Packets between the sites: each way is a queue in the order of sending, in which each packet
 * waits for the time at which it is due. See wan.h. */
#include "wan/wan.h"

#include "base/mem.h"
#include "base/scope.h"
#include "wan/internal.h"
#include "wan/road.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    PACKET_MAX = 64 * 1024,
    BATCH = 64,                   /* from one site, before others have their turn */
    QUEUE_MAX = 64 * 1024 * 1024, /* bytes underway on one way */
};

struct packet {
    struct packet *next;
    nsec due;
    size_t length;
    uint8_t bytes[];
};

struct lane {
    struct road road;
    struct packet *first, *last;
    size_t bytes;
};

struct wan {
    const struct wan_plan *plan;
    struct wan_map *map;
    struct wan_port ports[WAN_SITES];
    struct lane lanes[WAN_SITES][WAN_SITES];
    uint8_t buffer[PACKET_MAX];
};

static void put(struct lane *lane, const uint8_t *bytes, size_t length, nsec due)
{
    struct packet *packet = mem_zalloc(sizeof(*packet) + length);
    packet->due = due;
    packet->length = length;
    memcpy(packet->bytes, bytes, length);
    if (lane->first)
        lane->last->next = packet;
    else
        lane->first = packet;
    lane->last = packet;
    lane->bytes += length;
}

static void take_in(struct wan *wan, size_t from)
{
    for (int i = 0; i < BATCH; i++) {
        ssize_t length = read(wan->ports[from].tun, wan->buffer, PACKET_MAX);
        if (length <= 0)
            return;
        size_t to = road_site(wan->plan->sites, wan->buffer, (size_t)length);
        if (to == WAN_SITES || to == from)
            continue;
        struct lane *lane = &wan->lanes[from][to];
        nsec due = 0;
        if (lane->bytes < QUEUE_MAX &&
            road_take(&lane->road, &wan->map->ways[from][to], (size_t)length, clock_now(), &due))
            put(lane, wan->buffer, (size_t)length, due);
    }
}

/* A cut also loses what is underway. */
static void hand_out(struct wan *wan, size_t from, size_t to, nsec now)
{
    struct lane *lane = &wan->lanes[from][to];
    while (lane->first && lane->first->due <= now) {
        struct packet *packet = lane->first;
        if (!wan->map->ways[from][to].is_cut &&
            write(wan->ports[to].tun, packet->bytes, packet->length) < 0) {
            /* Lost: networks do that. */
        }
        lane->first = packet->next;
        lane->bytes -= packet->length;
        free(packet);
    }
}

/* When the next one is due. */
static nsec hand_out_all(struct wan *wan)
{
    nsec now = clock_now(), next = NSEC_NEVER;
    for (size_t i = 0; i < WAN_SITES * WAN_SITES; i++) {
        size_t from = i / WAN_SITES, to = i % WAN_SITES;
        hand_out(wan, from, to, now);
        const struct packet *first = wan->lanes[from][to].first;
        if (first && first->due < next)
            next = first->due;
    }
    return next;
}

static enum status carry(struct wan *wan, struct err *err)
{
    struct pollfd polls[WAN_SITES];
    for (size_t i = 0; i < WAN_SITES; i++)
        polls[i] = (struct pollfd){.fd = wan->ports[i].tun, .events = POLLIN};
    for (;;) {
        nsec next = hand_out_all(wan), wait = next - clock_now();
        wait = wait > 0 ? wait : 0;
        struct timespec span = {wait / NSEC_PER_SEC, wait % NSEC_PER_SEC};
        if (ppoll(polls, WAN_SITES, next == NSEC_NEVER ? NULL : &span, NULL) < 0 && errno != EINTR)
            return err_set_errno(err, errno, "wait for", "packets");
        for (size_t i = 0; i < WAN_SITES; i++)
            take_in(wan, i);
    }
}

/* --- The beginning ------------------------------------------------------------------------------
 */

static enum status link_to(const struct wan_plan *plan, const char *name, const char *target,
                           struct err *err)
{
    AUTO_FREE char *path = mem_printf("%s/%s", plan->folder, name);
    if ((unlink(path) && errno != ENOENT) || (target && symlink(target, path)))
        return err_set_errno(err, errno, "make", path);
    return ST_OK;
}

/* Whoever opens them is led to our descriptors. The last site's is the sign that all is ready. */
static enum status make_links(const struct wan *wan, bool has_user, struct err *err)
{
    AUTO_FREE char *user = mem_printf("/proc/%d/ns/user", (int)getpid());
    enum status status = link_to(wan->plan, WAN_USER, has_user ? user : NULL, err);
    for (size_t i = 0; i < WAN_SITES && !status; i++) {
        AUTO_FREE char *space = mem_printf("/proc/%d/fd/%d", (int)getpid(), wan->ports[i].space);
        status = link_to(wan->plan, wan->plan->sites[i].name, space, err);
    }
    return status;
}

static enum status open_sites(struct wan *wan, bool *has_user, struct err *err)
{
    enum status status = ST_OK;
    for (size_t i = 0; i < WAN_SITES && !status; i++)
        status = wan__site_open(wan->plan, i, has_user, &wan->ports[i], err);
    return status;
}

enum status wan_try(const struct wan_plan *plan, struct err *err)
{
    struct wan_port port;
    bool has_user = false;
    enum status status = ST_OK;
    for (size_t i = 0; i < WAN_SITES && !status; i++)
        status = wan__site_open(plan, i, &has_user, &port, err);
    return status;
}

enum status wan_run(const struct wan_plan *plan, struct err *err)
{
    AUTO_FREE struct wan *wan = mem_zalloc(sizeof(*wan));
    AUTO_FREE char *map = mem_printf("%s/%s", plan->folder, WAN_MAP);
    struct gate *gate = NULL;
    bool has_user = false;
    wan->plan = plan;
    for (size_t i = 0; i < WAN_SITES * WAN_SITES; i++)
        wan->lanes[i / WAN_SITES][i % WAN_SITES].road.seed = i;
    prctl(PR_SET_TIMERSLACK, 1UL); /* 50 us otherwise: as much as a packet takes */
    enum status status = wan_map_open(map, &wan->map, err);
    status = status ? status : wan__gate_open(plan, &gate, err);
    status = status ? status : open_sites(wan, &has_user, err);
    status = status ? status : wan__gate_start(gate, wan->ports, err);
    status = status ? status : make_links(wan, has_user, err);
    return status ? status : carry(wan, err);
}
