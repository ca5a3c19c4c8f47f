/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells the hooks of a fleet (hooks/hooks.h) where a run is: what is about to begin, each state of
 * a shard, how everything ended, and what is to be undone for that. NULL: the fleet has no hooks;
 * all functions but the first accept it. Any thread.
 */
#ifndef HOLDFAST_CONDUCTOR_ANNOUNCER_H
#define HOLDFAST_CONDUCTOR_ANNOUNCER_H

#include "conductor/switchover.h"
#include "hooks/hooks.h"

struct announcer;
struct route;

/* From here on the moves of the run are listened to. Borrows both until announcer_free(). */
struct announcer *announcer_start(struct run *run, const struct switchover_report *report);

/* May it begin? ST_NO_GO: a required hook says no; ST_ABORTED: the run was stopped meanwhile. A run
 * that only undoes begins nothing: nobody is asked. */
MUST_CHECK enum status announcer_begin_run(struct announcer *announcer, struct err *err);
MUST_CHECK enum status announcer_begin_wave(struct announcer *announcer, size_t wave,
                                            struct err *err);
MUST_CHECK enum status announcer_begin_shard(struct announcer *announcer,
                                             const struct inventory_shard *shard,
                                             const struct route *route, struct err *err);

void announcer_end_shard(struct announcer *announcer, const struct shard_report *shard);
void announcer_end_wave(struct announcer *announcer, size_t wave);
/* The report has its state. Until all hooks have heard it, in a bounded time; what came of all
 * calls is in *ret_json then (a JSON array; the caller frees). */
void announcer_end_run(struct announcer *announcer, switchover_progress *progress, void *context,
                       char **ret_json);
/* The gate that is waited for, when that takes long. */
struct hook_wait announcer_waiting(struct announcer *announcer);
/* Calls that are not over yet. */
size_t announcer_pending(struct announcer *announcer);
void announcer_free(struct announcer *announcer);

#endif
