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

/* 'seen' is of a moment ago, with lag. Ends soon when somebody sets 'is_unwelcome', who needs the
 * run lock more. ST_OK: there was nothing to do, or it was done as far as it goes; ST_BUSY: a run
 * has the lock; others: the store, or another process took over. */
MUST_CHECK enum status upkeep(struct store *store, const struct inventory *fleet,
                              const struct fleet_observation *seen, const atomic_bool *is_unwelcome,
                              struct err *err);

#endif
