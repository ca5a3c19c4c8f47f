/* SPDX-License-Identifier: Apache-2.0
 * Shared inside fleet/ only: what its units test without servers. */
#ifndef HOLDFAST_FLEET_INTERNAL_H
#define HOLDFAST_FLEET_INTERNAL_H

#include "fleet/observation.h"

/* From the servers' states: roles, sources, the primary, the relays. Pure. */
void shard_observation__derive(struct shard_observation *shard);

#endif
