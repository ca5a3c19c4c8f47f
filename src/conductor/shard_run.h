/* SPDX-License-Identifier: Apache-2.0
 * Inside conductor/ only: one shard of a run, on the thread of a mover. */
#ifndef HOLDFAST_CONDUCTOR_SHARD_RUN_H
#define HOLDFAST_CONDUCTOR_SHARD_RUN_H

#include "conductor/switchover.h"

/* Move it, or bring to one side what another process left; once more when that had to be undone
 * first. 'report' has its shard set; the rest is filled in. */
void shard_run(struct run *run, const struct shard_observation *seen, struct shard_report *report);

#endif
