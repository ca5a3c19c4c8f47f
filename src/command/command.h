/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line as a tree of const tables: parsing, --help, completion, the man page and the
 * tests derive from them. A command is one function in the file of its noun.
 */
#ifndef HOLDFAST_COMMAND_COMMAND_H
#define HOLDFAST_COMMAND_COMMAND_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER };

struct cli_option {
    const char *name; /* "--fleet" */
    enum option_kind kind;
    const char *value;     /* name of the value in help: "FILE"; NULL for a flag */
    const char *help;      /* one line, no full stop */
    bool is_repeated;      /* may be given several times */
    long minimum, maximum; /* for OPTION_NUMBER */
};

struct cli_args; /* what was given; see the accessors below */

struct cli_command {
    const char *path;                 /* "lab up": words separated by one space */
    const char *operands;             /* "HOST:PORT", "[RUN]", "NAME..."; "" for none */
    const char *summary;              /* one line */
    const char *details;              /* paragraphs for --help and the man page; may be NULL */
    const struct cli_option *options; /* ended by {0}; may be NULL */
    /* Returns ST_OK or the status that becomes the exit code; the err is printed by the caller. */
    enum status (*run)(const struct cli_args *args, struct err *err);
    bool is_hidden; /* for tests and developers; not in help */
};

/* Accessors; INVARIANT when the option is not in the command's table. */
bool cli_flag(const struct cli_args *args, const char *name);
const char *cli_text(const struct cli_args *args, const char *name); /* NULL when absent */
long cli_number(const struct cli_args *args, const char *name, long otherwise);
size_t cli_text_count(const struct cli_args *args, const char *name); /* repeated options */
const char *cli_text_at(const struct cli_args *args, const char *name, size_t index);
size_t cli_operand_count(const struct cli_args *args);
const char *cli_operand(const struct cli_args *args, size_t index); /* NULL when absent */

/* The nearest of 'candidates' (ended by NULL) to a mistyped word, or NULL. */
const char *cli_nearest(const char *word, const char *const *candidates);

extern const struct cli_option cli_fleet_option; /* --fleet FILE, for tables that need it */

/* All commands, in the order of help; ended by NULL. Defined where the commands are. */
extern const struct cli_command *const cli_commands[];
extern const struct cli_command help_commands[]; /* help.c: version, help, hidden developer ones */

int cli_main(int argc, char **argv);

#endif
