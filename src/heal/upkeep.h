/* SPDX-License-Identifier: Apache-2.0
 *
 * One round of keeping a fleet in its roles; see README.md. Blocking, for as long as a step takes:
 * nothing is waited for, the next round sees what came of it.
 */
#ifndef HOLDFAST_HEAL_UPKEEP_H
#define HOLDFAST_HEAL_UPKEEP_H

#include "base/err.h"
#include "fleet/observation.h"

#include <stdatomic.h>

struct store;

struct upkeeper {
    struct store *store;
    const struct inventory *fleet;
    /* Who needs the run lock more; the round ends soon when that is set. */
    const atomic_bool *is_unwelcome;
    /* Has it no agent, or was that granted permission to it a moment ago? Else it would close it
     * right after it was opened. */
    bool (*may_open)(void *context, const struct inventory_server *server);
    void *context;
};

/* Why nothing was done: a run has the lock, or was left unfinished. */
struct upkeep_hindrance {
    bool is_held_up;
    bool is_opening_held_up; /* a primary waits to be opened */
};

/* 'seen' is of a moment ago, with lag. ST_OK: there was nothing to do, or it was done as far as it
 * goes; else the first failure: what it says may be of one server, and the others were seen to. */
MUST_CHECK enum status upkeep(const struct upkeeper *upkeeper, const struct fleet_observation *seen,
                              struct upkeep_hindrance *ret, struct err *err);

#endif
