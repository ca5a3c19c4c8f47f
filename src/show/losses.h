/* SPDX-License-Identifier: Apache-2.0
 *
 * What the loss of a region would cost now, for a terminal.
 */
#ifndef HOLDFAST_SHOW_LOSSES_H
#define HOLDFAST_SHOW_LOSSES_H

#include "api/status.h"

#include <stdio.h>

/* A column of the lines of shards; the caller frees the cell. */
#define LOSSES_HEAD "     LOSS"
char *losses_cell(const struct status_loss *loss);

/* A line for each region that is home of a shard, with the worst of them; nothing when nothing is
 * known. */
void losses_show(const struct inventory *fleet, const struct fleet_status *seen, FILE *out);

#endif
