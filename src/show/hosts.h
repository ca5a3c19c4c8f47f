/* SPDX-License-Identifier: Apache-2.0
 * Hosts, their roles, and what draining one would do: as lines and as JSON. */
#ifndef HOLDFAST_SHOW_HOSTS_H
#define HOLDFAST_SHOW_HOSTS_H

#include "handover/plan.h"

#include <stdio.h>

/* All hosts of the fleet file; without any, the addresses of its servers. */
void hosts_print(const struct inventory *fleet, const struct fleet_observation *seen,
                 const struct drain_list *drained, bool as_json, FILE *out);
void hosts_print_plan(const struct handover_plan *plan, const struct drain_mark *mark, bool as_json,
                      FILE *out);

#endif
