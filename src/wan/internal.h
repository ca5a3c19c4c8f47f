/* SPDX-License-Identifier: Apache-2.0
 * Shared inside wan/ only. */
#ifndef HOLDFAST_WAN_INTERNAL_H
#define HOLDFAST_WAN_INTERNAL_H

#include "base/clock.h"
#include "wan/wan.h"

#include <stdbool.h>

/* --- site.c -------------------------------------------------------------------------------------
 */

struct wan_port {
    int space; /* the namespace */
    int tun;   /* what programs in it send to other sites; never blocks */
};

/* The calling thread is in the site's namespace then. *has_user: whether a user namespace had to be
 * entered, now or for a site before. */
MUST_CHECK enum status wan__site_open(const struct wan_plan *plan, size_t site, bool *has_user,
                                      struct wan_port *ret, struct err *err);

/* --- gate.c -------------------------------------------------------------------------------------
 */

struct gate;
/* Listen on all doors, here. ST_CONFLICT: an address is taken. */
MUST_CHECK enum status wan__gate_open(const struct wan_plan *plan, struct gate **ret,
                                      struct err *err);
/* In a thread of its own from now on. The gate is never closed. */
MUST_CHECK enum status wan__gate_start(struct gate *gate, const struct wan_port *ports,
                                       struct err *err);

#endif
