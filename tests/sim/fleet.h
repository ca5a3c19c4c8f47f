/* SPDX-License-Identifier: Apache-2.0
 * Making the whole simulated fleet, and the files by which Holdfast finds it. */
#ifndef HOLDFAST_SIM_FLEET_H
#define HOLDFAST_SIM_FLEET_H

#include "base/err.h"
#include "sim/options.h"

/* All servers, each listening at an address of its own: 127.X.H.L with H = shard / 40 and
 * L = 6 * (shard % 40) + server + 1; 0-2 are in west, 3-5 in east. */
MUST_CHECK enum status fleet_start(const struct options *options, struct sim *ret, struct err *err);
void fleet_stop(struct sim *sim);

/* holdfast.yaml, and beside it the password files; the store will be beside it too. */
MUST_CHECK enum status fleet_write(const struct sim *sim, const struct options *options,
                                   struct err *err);

#endif
