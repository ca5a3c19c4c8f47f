/* SPDX-License-Identifier: Apache-2.0
 * Shared inside cli/ only: parsed arguments, help, and the tables of each noun's file. */
#ifndef HOLDFAST_CLI_INTERNAL_H
#define HOLDFAST_CLI_INTERNAL_H

#include "cli/command.h"

#include <stdio.h>

struct cli_value {
    const struct cli_option *option;
    const char *text; /* borrowed from argv; "" for a flag */
};

struct cli_args {
    const struct cli_command *command;
    struct cli_value *values;
    size_t value_count, value_capacity;
    const char **operands;
    size_t operand_count, operand_capacity;
    bool is_help;
};

enum status cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc,
                           char **argv, struct err *err) MUST_CHECK;
void cli_args_release(struct cli_args *args);

void cli_help_overview(FILE *out);
void cli_help_command(const struct cli_command *command, FILE *out);
int cli_help_unknown(int argc, char **argv); /* prints to stderr; the exit code */

/* The nearest of 'candidates' (ended by NULL) to a mistyped word, or NULL. */
const char *cli_nearest(const char *word, const char *const *candidates);

extern const struct cli_command
    fleet_commands[]; /* fleet.c: fleet check|discover, status, readiness */
extern const struct cli_command run_commands[];   /* run.c: plan, switchover, run ..., report */
extern const struct cli_command hook_commands[];  /* hook.c */
extern const struct cli_command pause_commands[]; /* pause.c */
extern const struct cli_command lab_commands[];   /* lab.c */
extern const struct cli_command load_commands[];  /* load.c */
extern const struct cli_command help_commands[];  /* help.c: version, help, hidden developer ones */

#endif
