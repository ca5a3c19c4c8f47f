/* SPDX-License-Identifier: Apache-2.0
 * What a command was given, checked against its table: options, their values, and how many
 * operands. Every refusal names what was typed and what to type instead. Also the accessors, and
 * the search for the word that was meant. What a value means is the command's business. */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "command/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_fleet_option = {
    .name = "--fleet",
    .kind = OPTION_TEXT,
    .value = "FILE",
    .help = "the fleet file; else $HOLDFAST_FLEET, else holdfast.yaml",
};

static const char help_option[] = "--help";

/* --- The nearest word ------------------------------------------------------------------------ */

enum { WORD_MAX = 64 }; /* longer words have no typing mistakes worth guessing */

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn one word into another. */
static size_t distance(const char *from, const char *to)
{
    size_t rows = strlen(from), columns = strlen(to);
    if (rows > WORD_MAX || columns > WORD_MAX)
        return WORD_MAX;
    size_t cost[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= rows; i++)
        cost[i][0] = i;
    for (size_t j = 0; j <= columns; j++)
        cost[0][j] = j;
    for (size_t i = 1; i <= rows; i++) {
        for (size_t j = 1; j <= columns; j++) {
            size_t replaced = cost[i - 1][j - 1] + (from[i - 1] != to[j - 1]);
            cost[i][j] = smallest(cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced);
            if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
                cost[i][j] = smallest(cost[i][j], cost[i - 2][j - 2] + 1, cost[i][j]);
        }
    }
    return cost[rows][columns];
}

const char *cli_nearest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t length = strlen(word), best_distance = length / 3 + 2;
    for (; *candidates; candidates++) {
        size_t found = distance(word, *candidates);
        bool is_start = length > 3 && strncmp(word, *candidates, length) == 0;
        if (is_start)
            found = 1;
        if (found < best_distance && found < strlen(*candidates)) {
            best = *candidates;
            best_distance = found;
        }
    }
    return best;
}

/* --- Options --------------------------------------------------------------------------------- */

/* 'name' ends at '=' or at its end. */
static const struct cli_option *find_option(const struct cli_command *command, const char *name)
{
    size_t length = strcspn(name, "=");
    for (const struct cli_option *at = command->options; at && at->name; at++)
        if (strlen(at->name) == length && strncmp(at->name, name, length) == 0)
            return at;
    return NULL;
}

static enum status hint_help(const struct cli_command *command, struct err *err)
{
    return err_hint(err, "holdfast %s --help", command->path);
}

static enum status refuse_unknown(const struct cli_command *command, const char *given,
                                  struct err *err)
{
    AUTO_FREE char *name = mem_printf("%.*s", (int)strcspn(given, "="), given);
    AUTO_FREE const char **names = NULL;
    size_t count = 0, capacity = 0;
    for (const struct cli_option *at = command->options; at && at->name; at++)
        VEC_PUSH(names, count, capacity, at->name);
    VEC_PUSH(names, count, capacity, help_option);
    VEC_PUSH(names, count, capacity, NULL);
    const char *nearest = cli_nearest(name, names);
    if (nearest)
        err_set(err, ST_INVALID, "'holdfast %s' has no option '%s'; did you mean '%s'?",
                command->path, name, nearest);
    else
        err_set(err, ST_INVALID, "'holdfast %s' has no option '%s'", command->path, name);
    return hint_help(command, err);
}

static enum status check_number(const struct cli_command *command, const struct cli_option *option,
                                const char *text, struct err *err)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end != text && *end == '\0' && !errno && number >= option->minimum &&
        number <= option->maximum)
        return ST_OK;
    if (end == text || *end)
        err_set(err, ST_INVALID, "option %s: '%s' is not a whole number", option->name, text);
    else if (option->maximum == LONG_MAX)
        err_set(err, ST_INVALID, "option %s: %s is out of range: at least %ld", option->name, text,
                option->minimum);
    else
        err_set(err, ST_INVALID, "option %s: %s is out of range: from %ld to %ld", option->name,
                text, option->minimum, option->maximum);
    return hint_help(command, err);
}

static enum status add_option(struct cli_args *args, const struct cli_option *option,
                              const char *text, struct err *err)
{
    if (!option->is_repeated && option->kind != OPTION_FLAG &&
        cli_text_count(args, option->name) > 0) {
        err_set(err, ST_INVALID, "option %s is given twice", option->name);
        return hint_help(args->command, err);
    }
    if (option->kind == OPTION_TEXT && text[0] == '\0') {
        err_set(err, ST_INVALID, "option %s is given an empty value: %s %s", option->name,
                option->name, option->value);
        return hint_help(args->command, err);
    }
    if (option->kind == OPTION_NUMBER && check_number(args->command, option, text, err))
        return err ? err->status : ST_INVALID;
    VEC_PUSH(args->values, args->value_count, args->value_capacity,
             ((struct cli_value){option, text}));
    return ST_OK;
}

/* One option at argv[*at]; moves *at onto its value when that is a word of its own. */
static enum status parse_option(struct cli_args *args, int argc, char **argv, int *at,
                                struct err *err)
{
    const char *given = argv[*at], *equals = strchr(given, '=');
    const struct cli_option *option = find_option(args->command, given);
    if (!option)
        return refuse_unknown(args->command, given, err);
    if (option->kind == OPTION_FLAG) {
        if (!equals)
            return add_option(args, option, "", err);
        err_set(err, ST_INVALID, "option %s takes no value", option->name);
        return hint_help(args->command, err);
    }
    if (equals)
        return add_option(args, option, equals + 1, err);
    if (*at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0)
        return add_option(args, option, argv[++*at], err);
    err_set(err, ST_INVALID, "option %s needs a value: %s %s", option->name, option->name,
            option->value);
    return hint_help(args->command, err);
}

/* --- Operands -------------------------------------------------------------------------------- */

/* "HOST:PORT" is one, "[RUN]" none or one, "NAME..." one or more, "[NAME...]" any number. */
static void operand_limits(const char *spec, size_t *ret_minimum, size_t *ret_maximum)
{
    *ret_minimum = *ret_maximum = 0;
    while (*spec) {
        size_t length = strcspn(spec, " ");
        *ret_minimum += *spec != '[';
        bool is_open = memmem(spec, length, "...", 3) != NULL;
        *ret_maximum = is_open || *ret_maximum == SIZE_MAX ? SIZE_MAX : *ret_maximum + 1;
        spec += length;
        spec += *spec == ' ';
    }
}

static enum status check_operands(const struct cli_args *args, struct err *err)
{
    size_t minimum = 0, maximum = 0;
    const struct cli_command *command = args->command;
    operand_limits(command->operands, &minimum, &maximum);
    if (args->operand_count > maximum) {
        err_set(err, ST_INVALID, "'holdfast %s' does not know what to do with '%s'", command->path,
                args->operands[maximum]);
        return hint_help(command, err);
    }
    if (args->operand_count < minimum) {
        err_set(err, ST_INVALID, "'holdfast %s' needs %s", command->path, command->operands);
        return hint_help(command, err);
    }
    return ST_OK;
}

static bool looks_like_option(const char *word)
{
    return word[0] == '-' && word[1];
}

enum status cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc,
                           char **argv, struct err *err)
{
    args->command = command;
    bool is_ended = false; /* by "--": all that follows are operands */
    for (int at = 0; at < argc; at++) {
        const char *word = argv[at];
        if (!is_ended && strcmp(word, "--") == 0) {
            is_ended = true;
        } else if (is_ended || !looks_like_option(word)) {
            VEC_PUSH(args->operands, args->operand_count, args->operand_capacity, word);
        } else if (strcmp(word, help_option) == 0 || strcmp(word, "-h") == 0) {
            args->is_help = true;
            return ST_OK;
        } else if (parse_option(args, argc, argv, &at, err)) {
            return err ? err->status : ST_INVALID;
        }
    }
    return check_operands(args, err);
}

void cli_args_release(struct cli_args *args)
{
    free(args->values);
    free(args->operands);
    *args = (struct cli_args){0};
}

/* --- Accessors ------------------------------------------------------------------------------- */

/* The index-th value of an option, or NULL. */
static const struct cli_value *find_value(const struct cli_args *args, const char *name,
                                          size_t index)
{
    INVARIANT(find_option(args->command, name) != NULL);
    for (size_t i = 0; i < args->value_count; i++)
        if (strcmp(args->values[i].option->name, name) == 0 && index-- == 0)
            return &args->values[i];
    return NULL;
}

bool cli_flag(const struct cli_args *args, const char *name)
{
    return find_value(args, name, 0) != NULL;
}

const char *cli_text(const struct cli_args *args, const char *name)
{
    return cli_text_at(args, name, 0);
}

long cli_number(const struct cli_args *args, const char *name, long otherwise)
{
    const struct cli_value *value = find_value(args, name, 0);
    return value ? strtol(value->text, NULL, 10) : otherwise;
}

size_t cli_text_count(const struct cli_args *args, const char *name)
{
    size_t count = 0;
    while (find_value(args, name, count))
        count++;
    return count;
}

const char *cli_text_at(const struct cli_args *args, const char *name, size_t index)
{
    const struct cli_value *value = find_value(args, name, index);
    return value ? value->text : NULL;
}

size_t cli_operand_count(const struct cli_args *args)
{
    return args->operand_count;
}

const char *cli_operand(const struct cli_args *args, size_t index)
{
    return index < args->operand_count ? args->operands[index] : NULL;
}
