/* SPDX-License-Identifier: Apache-2.0
 * Shared inside command/ only: parsed arguments, and help. */
#ifndef HOLDFAST_COMMAND_INTERNAL_H
#define HOLDFAST_COMMAND_INTERNAL_H

#include "command/command.h"

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

#endif
