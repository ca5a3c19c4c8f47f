/* SPDX-License-Identifier: Apache-2.0
 * Shared inside cli/ only: the tables of each noun's file. */
#ifndef HOLDFAST_CLI_INTERNAL_H
#define HOLDFAST_CLI_INTERNAL_H

#include "command/command.h"

extern const struct cli_command
    fleet_commands[]; /* fleet.c: fleet check|discover, status, readiness */
extern const struct cli_command run_commands[];       /* run.c: plan, switchover, run ..., report */
extern const struct cli_command hook_commands[];      /* hook.c */
extern const struct cli_command host_commands[];      /* standing.c */
extern const struct cli_command region_commands[];    /* failover.c */
extern const struct cli_command pause_commands[];     /* standing.c */
extern const struct cli_command conductor_commands[]; /* commands.c */
extern const struct cli_command agent_commands[];     /* commands.c: agent ... */
extern const struct cli_command lab_commands[];       /* lab.c */
extern const struct cli_command load_commands[];      /* load.c */

#endif
