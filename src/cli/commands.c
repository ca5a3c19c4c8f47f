/* SPDX-License-Identifier: Apache-2.0
 * The list of all commands: one table a noun, in the order of help. */
#include "cli/internal.h"

const struct cli_command *const cli_commands[] = {
    fleet_commands, run_commands,  hook_commands, pause_commands,
    lab_commands,   load_commands, help_commands, NULL,
};
