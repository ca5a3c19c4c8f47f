/* SPDX-License-Identifier: Apache-2.0
 * What Holdfast says about itself: the overview, the help of a command, and the answer to a
 * command that does not exist. All of it is printed from the command tables; the man page and
 * the shell completion, printed from the same, are in manual.c. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "command/internal.h"
#include "command/manual.h"

#include <string.h>

#ifndef HOLDFAST_VERSION
#define HOLDFAST_VERSION "0.1.0-dev"
#endif

enum { USAGE_EXIT = 2, LINE_MAX_CHARS = 80 };

/* Calls visit(command) for each command that help may mention, table by table. */
#define EACH_COMMAND(command)                                                                      \
    for (const struct cli_command *const *table_ = cli_commands; *table_; table_++)                \
        for (const struct cli_command *command = *table_; command->path; command++)                \
            if (!command->is_hidden)

/* The width of the first column: the longest 'path operands' among those with this prefix. */
static int column_width(const char *prefix)
{
    size_t widest = 0;
    EACH_COMMAND(command)
    {
        size_t width = strlen(command->path) + strlen(command->operands) + 1;
        if (strncmp(command->path, prefix, strlen(prefix)) == 0 && width > widest)
            widest = width;
    }
    return (int)widest;
}

static void print_line(const struct cli_command *command, int width, FILE *out)
{
    int used =
        fprintf(out, "  %s%s%s", command->path, command->operands[0] ? " " : "", command->operands);
    fprintf(out, "%*s  %s\n", used < width + 2 ? width + 2 - used : 0, "", command->summary);
}

void cli_help_overview(FILE *out)
{
    fputs("Holdfast moves the active region of SQL shards, measures it, and proves it.\n\n"
          "usage: holdfast COMMAND [OPTION]...\n",
          out);
    int width = column_width("");
    for (const struct cli_command *const *table = cli_commands; *table; table++) {
        bool is_first = true;
        for (const struct cli_command *at = *table; at->path; at++) {
            if (at->is_hidden)
                continue;
            fputs(is_first ? "\n" : "", out);
            is_first = false;
            print_line(at, width, out);
        }
    }
    fputs("\n'holdfast COMMAND --help' says more. To try it all on this machine: holdfast lab up\n",
          out);
}

void cli_usage_format(const struct cli_command *command, struct buf *usage)
{
    buf_printf(usage, "holdfast %s", command->path);
    for (const struct cli_option *at = command->options; at && at->name; at++) {
        buf_printf(usage, " [%s%s%s]", at->name, at->value ? " " : "", at->value ? at->value : "");
        buf_add(usage, at->is_repeated ? "..." : "");
    }
    if (command->operands[0])
        buf_printf(usage, " %s", command->operands);
}

/* 'text' in lines of at most LINE_MAX_CHARS, broken at ' [' and continued under 'indent'. */
static void print_usage(const char *text, size_t indent, FILE *out)
{
    size_t column = indent;
    while (*text) {
        const char *next = strstr(text + 1, " [");
        size_t length = next ? (size_t)(next - text) : strlen(text);
        if (column > indent && column + length > LINE_MAX_CHARS) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        fprintf(out, "%.*s", (int)length, text);
        column += length;
        text += length;
    }
    fputs("\n", out);
}

static void print_option(const char *name, const char *value, const char *help, FILE *out)
{
    AUTO_FREE char *shown = mem_printf("%s%s%s", name, value ? " " : "", value ? value : "");
    fprintf(out, "  %-18s %s\n", shown, help);
}

void cli_help_command(const struct cli_command *command, FILE *out)
{
    AUTO(buf_release) struct buf usage = {0};
    cli_usage_format(command, &usage);
    fputs("usage: ", out);
    print_usage(buf_text(&usage), strlen("usage: "), out);
    fprintf(out, "\n%s.\n", command->summary);
    if (command->details)
        fprintf(out, "\n%s\n", command->details);
    fputs("\noptions:\n", out);
    for (const struct cli_option *at = command->options; at && at->name; at++) {
        AUTO_FREE char *help = mem_printf("%s%s", at->help, at->is_repeated ? " (repeatable)" : "");
        print_option(at->name, at->value, help, out);
    }
    print_option("--help", NULL, "show this", out);
    fputs("\nExit status 1: it failed, as it says; 2: the command line or a file is wrong.\n", out);
}

/* --- Commands that do not exist --------------------------------------------------------------- */

/* Join the leading words of argv, up to 'most', that are not options. */
static char *join_words(int argc, char **argv, int most)
{
    struct buf words = {0};
    for (int i = 0; i < argc && i < most && argv[i][0] != '-'; i++)
        buf_printf(&words, "%s%s", i ? " " : "", argv[i]);
    return buf_take(&words);
}

/* Does the path begin with these whole words? */
static bool has_words(const char *path, const char *words)
{
    size_t length = strlen(words);
    return length > 0 && strncmp(path, words, length) == 0 &&
           (path[length] == ' ' || path[length] == '\0');
}

/* Print the commands that begin with these words; how many there are. */
static size_t list_commands(const char *words, FILE *out)
{
    size_t count = 0;
    int width = column_width(words);
    EACH_COMMAND(command)
    {
        if (!has_words(command->path, words))
            continue;
        if (count++ == 0)
            fprintf(out, "commands of 'holdfast %s':\n", words);
        print_line(command, width, out);
    }
    return count;
}

static const char *nearest_command(const char *words)
{
    AUTO_FREE const char **paths = NULL;
    size_t count = 0, capacity = 0;
    EACH_COMMAND(command)
    VEC_PUSH(paths, count, capacity, command->path);
    VEC_PUSH(paths, count, capacity, NULL);
    return cli_nearest(words, paths);
}

static const char *guess_command(int argc, char **argv)
{
    for (int words = 2; words > 0; words--) {
        AUTO_FREE char *joined = join_words(argc, argv, words);
        const char *nearest = joined[0] ? nearest_command(joined) : NULL;
        if (nearest)
            return nearest;
    }
    return NULL;
}

/* The man page and the completion know these words too. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int cli_help_unknown(int argc, char **argv)
{
    if (strcmp(argv[0], "--version") == 0) {
        puts("holdfast " HOLDFAST_VERSION);
        return 0;
    }
    AUTO_FREE char *all = join_words(argc, argv, argc);
    bool is_asked = wants_help(argc, argv);
    if (list_commands(all, is_asked ? stdout : stderr) > 0)
        return is_asked ? 0 : USAGE_EXIT;
    if (!all[0])
        fprintf(stderr, "holdfast: '%s' is not a command\n  next: holdfast help\n", argv[0]);
    else {
        AUTO_FREE char *shown = join_words(argc, argv, 2);
        const char *nearest = guess_command(argc, argv);
        fprintf(stderr, "holdfast: no command '%s'", shown);
        if (nearest)
            fprintf(stderr, "; did you mean '%s'?", nearest);
        fputs("\n  next: holdfast help\n", stderr);
        AUTO_FREE char *first = join_words(argc, argv, 1);
        list_commands(first, stderr);
    }
    return USAGE_EXIT;
}

/* --- The commands of this file ---------------------------------------------------------------- */

static enum status run_help(const struct cli_args *args, struct err *err)
{
    if (cli_operand_count(args) == 0) {
        cli_help_overview(stdout);
        return ST_OK;
    }
    AUTO_FREE char *words =
        join_words((int)args->operand_count, (char **)args->operands, (int)args->operand_count);
    for (const struct cli_command *const *table = cli_commands; *table; table++)
        for (const struct cli_command *at = *table; at->path; at++)
            if (strcmp(at->path, words) == 0) {
                cli_help_command(at, stdout);
                return ST_OK;
            }
    if (list_commands(words, stdout) > 0)
        return ST_OK;
    const char *nearest = nearest_command(words);
    err_set(err, ST_INVALID, "no command '%s'%s%s%s", words, nearest ? "; did you mean '" : "",
            nearest ? nearest : "", nearest ? "'?" : "");
    return err_hint(err, "holdfast help");
}

static enum status run_version(const struct cli_args *args UNUSED, struct err *err UNUSED)
{
    puts("holdfast " HOLDFAST_VERSION);
    return ST_OK;
}

static enum status run_man(const struct cli_args *args UNUSED, struct err *err UNUSED)
{
    cli_manual_print(HOLDFAST_VERSION, stdout);
    return ST_OK;
}

static enum status run_completion(const struct cli_args *args UNUSED, struct err *err UNUSED)
{
    cli_completion_print(stdout);
    return ST_OK;
}

const struct cli_command help_commands[] = {
    {.path = "help",
     .operands = "[COMMAND...]",
     .summary = "Show all commands, or the help of one",
     .run = run_help},
    {.path = "version", .operands = "", .summary = "Show the version", .run = run_version},
    {.path = "dev man",
     .operands = "",
     .summary = "Print the man page, from the command tables",
     .run = run_man,
     .is_hidden = true},
    {.path = "dev completion",
     .operands = "",
     .summary = "Print completion for bash, from the command tables",
     .run = run_completion,
     .is_hidden = true},
    {0},
};
