/* SPDX-License-Identifier: Apache-2.0
 * Shared inside fleet/ only: what its units test without servers, and parts of the fleet file. */
#ifndef HOLDFAST_FLEET_INTERNAL_H
#define HOLDFAST_FLEET_INTERNAL_H

#include "fleet/observation.h"
#include "fleet/yaml.h"

/* From the servers' states: roles, sources, the primary, the relays. Pure. */
void shard_observation__derive(struct shard_observation *shard);

/* ---- inventory_load.c ---- */
yaml_read_fn inventory__read_tls, inventory__read_server_tls; /* struct inventory_tls */
void inventory__release_tls(struct inventory_tls *tls);

#endif
