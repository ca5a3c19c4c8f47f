/* SPDX-License-Identifier: Apache-2.0
 *
 * A wide area network on one machine, without privileges of the host: each site is a network
 * namespace, and one process carries the IP packets between them, late, slowly, not all of them, or
 * none, as a map says that other processes may change at any moment. What it carries are TCP
 * connections between addresses of 127.<second>.0.0/16, of which each site has one: so a program
 * has the same address whether it is in a namespace or not.
 *
 * Addresses of programs in the sites also work from where the process was started: there it listens
 * on them ('doors'), and passes each connection on inside the site, whatever the map says: as one
 * would reach a site by another way, to look after it.
 *
 * Two threads: packets, and doors. The namespaces are held by this process and by what runs in
 * them: when all have ended, nothing is left.
 */
#ifndef HOLDFAST_WAN_WAN_H
#define HOLDFAST_WAN_WAN_H

#include "base/err.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WAN_SITES = 3 };

/* From one site to another. */
struct wan_way {
    uint32_t delay_us;
    uint32_t jitter_us; /* at most so much more; packets do not overtake each other */
    uint32_t loss_ppm;
    uint32_t kbit_s; /* 0: no limit */
    _Atomic uint32_t is_cut;
};

/* Memory of a file: what is written here counts from the next packet on, for all that is underway,
 * too. */
struct wan_map {
    struct wan_way ways[WAN_SITES][WAN_SITES]; /* from, to */
};

/* Make the file, all ways alike, or open it. */
MUST_CHECK enum status wan_map_make(const char *path, const struct wan_way *all, struct err *err);
MUST_CHECK enum status wan_map_open(const char *path, struct wan_map **ret, struct err *err);
void wan_map_close(struct wan_map *map); /* NULL is fine */

/* 127.<second>.255.254 is where connections of a site's programs come from. */
enum { WAN_SOURCE_THIRD = 255, WAN_SOURCE_LAST = 254 };

struct wan_site {
    const char *name;
    uint8_t second; /* it has 127.<second>.0.0/16 */
    pid_t lives_in; /* a process that is in its namespace already; 0: it gets a new one */
};

struct wan_door {
    const char *host; /* IPv4 */
    size_t site;
};

struct wan_plan {
    struct wan_site sites[WAN_SITES];
    const struct wan_door *doors;
    size_t door_count;
    int port;           /* of all doors */
    const char *folder; /* has the file 'map', and gets a link to the namespace of each site */
};

#define WAN_MAP "map"
#define WAN_USER                                                                                   \
    "user" /* link to the user namespace that the sites belong to; absent: the host's */

/* Be the network. Returns only with an error. When the links are there, it works. Call it in a
 * process that has no other threads. */
MUST_CHECK enum status wan_run(const struct wan_plan *plan, struct err *err);

/* Make the sites, and no more: could there be a network here? For a process that ends then: it is
 * inside the last one. */
MUST_CHECK enum status wan_try(const struct wan_plan *plan, struct err *err);

#endif
