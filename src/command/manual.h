/* SPDX-License-Identifier: Apache-2.0
 * Inside command/ only: what is printed from the command tables for installation. */
#ifndef HOLDFAST_COMMAND_MANUAL_H
#define HOLDFAST_COMMAND_MANUAL_H

#include "command/command.h"

#include <stdio.h>

struct buf;

void cli_usage_format(const struct cli_command *command, struct buf *usage); /* help.c */
void cli_manual_print(const char *version, FILE *out);                       /* troff, section 8 */
void cli_completion_print(FILE *out);                                        /* for bash */

#endif
