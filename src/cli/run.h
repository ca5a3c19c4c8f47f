/* SPDX-License-Identifier: Apache-2.0
 * Inside cli/ only: what the commands that carry out a run share, and their entries. */
#ifndef HOLDFAST_CLI_RUN_H
#define HOLDFAST_CLI_RUN_H

#include "cli/fleet.h"
#include "conductor/run.h"
#include "fleet/readiness.h"

/* Like fleet_scene_open(), with a store in any case, and the crash points of the tests set up. */
MUST_CHECK enum status run_scene_open(struct fleet_scene *scene, const struct cli_args *args,
                                      bool has_shard_option, struct err *err);

/* From here on Ctrl-C does not end the process but aborts the run, also one yet to begin. */
void run_take_signals(void);
bool run_was_interrupted(void);
int run_interrupts(void); /* how often */
/* From here on the loss of the terminal ends nothing: a run can be followed and aborted from
 * another one. Before, it ends the process, and nothing was changed. */
void run_outlive_terminal(void);
/* From here on Ctrl-C aborts this run; NULL: there is none any more. */
void run_set_running(struct run *run);

/* The operator types the answer, which 'what' says, to go. ST_ABORTED: anything else. */
MUST_CHECK enum status run_ask_go(const char *what, const char *answer, struct err *err);

/* What a run that ended so means for a command. */
enum status run_exit_status(enum run_state state);

/* The fleet is paused, by whom and why; NULL: it is not. A pause that cannot be read counts. The
 * caller frees. */
char *run_pause_text(struct store *store);
/* Which regions are fenced; NULL: none, as far as is known. The caller frees. */
char *run_fenced_text(struct store *store);

/* What --reason says, fit to be shown on one line; NULL: not given, or blank. The caller frees. */
MUST_CHECK enum status run_read_reason(const struct cli_args *args, char **ret, struct err *err);
/* The same for what policy.reason_required is about. */
MUST_CHECK enum status run_demand_reason(const struct inventory *fleet, const struct cli_args *args,
                                         char **ret, struct err *err);
/* The journal of a run, or of what is none; never NULL. */
struct journal *run_open_journal(const struct fleet_scene *scene, const char *id);

/* Hand the order to the conductors, follow the run, and say what came of it. False: nobody takes
 * orders (or --direct, or there are no conductors), so that it is to be carried out here. */
bool run_submit(const struct fleet_scene *scene, const struct run_record *record,
                const struct cli_args *args, enum status *ret_status, struct err *err);

/* Carry the run out to its end, with progress, and say what came of it. Takes the run;
 * 'observation' is of its shards. */
MUST_CHECK enum status run_carry_out(const struct fleet_scene *scene,
                                     const struct fleet_observation *observation, struct run *run,
                                     bool as_json, struct err *err);

/* The run that yielded to one that is over; "": none did. What it left and was not failed over,
 * this process does not touch: it says what to do. */
void run_end_aside(const struct fleet_scene *scene, const char *aside);

enum status run_plan_switchover(const struct cli_args *args, struct err *err); /* switchover.c */
enum status run_failover(const struct cli_args *args, struct err *err);        /* failover.c */
enum status run_switchover(const struct cli_args *args, struct err *err);      /* switchover.c */

#endif
