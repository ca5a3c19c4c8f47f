/* SPDX-License-Identifier: Apache-2.0
 * From the words of a command line to a command, and its exit code; see command.h. Parsing is in
 * args.c, help in help.c.
 */
#include "command/command.h"

#include "base/log.h"
#include "base/scope.h"
#include "command/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many words of argv a command's path takes; 0 when it does not match. */
static int match_words(const struct cli_command *command, int argc, char **argv)
{
    const char *at = command->path;
    int words = 0;
    while (*at) {
        size_t length = strcspn(at, " ");
        if (words >= argc || strlen(argv[words]) != length || strncmp(argv[words], at, length) != 0)
            return 0;
        words++;
        at += length;
        at += *at == ' ';
    }
    return words;
}

static const struct cli_command *find_command(int argc, char **argv, int *ret_words)
{
    const struct cli_command *best = NULL;
    *ret_words = 0;
    for (size_t group = 0; cli_commands[group]; group++) {
        for (const struct cli_command *at = cli_commands[group]; at->path; at++) {
            int words = match_words(at, argc, argv);
            if (words > *ret_words) {
                best = at;
                *ret_words = words;
            }
        }
    }
    return best;
}

static int report(const struct err *err, enum status status)
{
    if (err->text[0])
        fprintf(stderr, "holdfast: %s\n", err->text);
    else if (status != ST_OK)
        fprintf(stderr, "holdfast: %s\n", status_text(status));
    if (err->hint[0])
        fprintf(stderr, "  next: %s\n", err->hint);
    return status_exit_code(status);
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    struct err err = ERR_INIT;
    AUTO(cli_args_release) struct cli_args args = {0};
    enum status status = cli_args_parse(&args, command, argc, argv, &err);
    if (status == ST_OK && args.is_help) {
        cli_help_command(command, stdout);
        return 0;
    }
    if (status == ST_OK)
        status = command->run(&args, &err);
    if (status == ST_OK)
        return 0;
    if (err.status == ST_OK)
        err.text[0] = '\0'; /* the command has said it all itself */
    if (err.text[0] == '\0' && err.hint[0] == '\0' && (status == ST_NO_GO || status == ST_ABORTED))
        return status_exit_code(status);
    return report(&err, status);
}

/* The one place where a full disk under a redirected output shows. A reader that has gone ('|
 * head') has what it wanted. stdio keeps what it could not write, so the flush fails again: errno
 * is its. */
static int finish_output(int code)
{
    errno = 0;
    bool has_failed = fflush(stdout) != 0 || ferror(stdout);
    if (!has_failed || errno == EPIPE)
        return code;
    fprintf(stderr, "holdfast: cannot write the output: %s\n", strerror(errno ? errno : EIO));
    return code ? code : status_exit_code(ST_IO);
}

static bool set_log_level(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0) {
            log_set_level((enum log_level)i);
            return true;
        }
    return false;
}

static int dispatch(int argc, char **argv)
{
    const char *level = getenv("HOLDFAST_LOG");
    if (level && !set_log_level(level)) {
        fprintf(stderr, "holdfast: HOLDFAST_LOG: '%.40s' is none of error, warn, info, debug\n",
                level);
        return status_exit_code(ST_INVALID);
    }
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        cli_help_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    int words = 0;
    const struct cli_command *command = find_command(argc - 1, argv + 1, &words);
    if (command)
        return run_command(command, argc - 1 - words, argv + 1 + words);
    return cli_help_unknown(argc - 1, argv + 1);
}

int cli_main(int argc, char **argv)
{
    return finish_output(dispatch(argc, argv));
}
