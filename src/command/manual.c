/* SPDX-License-Identifier: Apache-2.0
 * The man page and the completion for bash, printed from the command tables by the hidden
 * commands 'dev man' and 'dev completion'. Packaging calls them; see manual.h. */
#include "command/manual.h"

#include "base/buf.h"
#include "base/scope.h"

#include <string.h>

/* Text for troff: '-' and '\' are written so that they print as typed, and a line must not begin
 * with a control character. An empty line is a new paragraph. */
static void print_troff(const char *text, FILE *out)
{
    bool is_line_start = true;
    for (; *text; text++) {
        if (is_line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        is_line_start = *text == '\n';
        if (*text == '\n' && text[1] == '\n')
            fputs("\n.PP", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

static void print_tagged(const char *tag, const char *value, const char *text, FILE *out)
{
    fputs(".TP\n\\fB", out);
    print_troff(tag, out);
    fputs("\\fR", out);
    if (value) {
        fputs(" \\fI", out);
        print_troff(value, out);
        fputs("\\fR", out);
    }
    fputs("\n", out);
    print_troff(text, out);
    fputs(".\n", out);
}

static void print_command(const struct cli_command *command, FILE *out)
{
    AUTO(buf_release) struct buf usage = {0};
    cli_usage_format(command, &usage);
    fputs(".SS \"", out);
    print_troff(command->path, out);
    fputs("\"\n\\fB", out);
    print_troff(buf_text(&usage), out);
    fputs("\\fR\n.PP\n", out);
    print_troff(command->summary, out);
    fputs(".\n", out);
    if (command->details) {
        fputs(".PP\n", out);
        print_troff(command->details, out);
        fputs("\n", out);
    }
    for (const struct cli_option *at = command->options; at && at->name; at++)
        print_tagged(at->name, at->value, at->help, out);
}

void cli_manual_print(const char *version, FILE *out)
{
    fprintf(out, ".TH HOLDFAST 8 \"\" \"holdfast %s\" \"Holdfast\"\n", version);
    fputs(".SH NAME\nholdfast \\- move the active region of SQL shards\n", out);
    fputs(".SH SYNOPSIS\n\\fBholdfast\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]...\n", out);
    fputs(".SH COMMANDS\n", out);
    for (const struct cli_command *const *table = cli_commands; *table; table++)
        for (const struct cli_command *at = *table; at->path; at++)
            if (!at->is_hidden)
                print_command(at, out);
    fputs(".SH EXIT STATUS\n", out);
    /* 70 ends the numbers in use: the internal error. */
    for (int code = 0; code <= 70; code++) {
        for (int status = ST_OK; status <= ST_INTERNAL; status++) {
            if (status_exit_code((enum status)status) != code)
                continue;
            fprintf(out, ".TP\n%d\n%s.\n", code,
                    code == 1
                        ? "the command failed, as it says; of a run: shards did not move, and "
                          "serve where they were"
                        : status_text((enum status)status));
            break;
        }
    }
}

/* One line a command: 'path|options'. The shell script looks the typed words up in it. */
static void print_table(FILE *out)
{
    fputs("_holdfast_commands='", out);
    for (const struct cli_command *const *table = cli_commands; *table; table++) {
        for (const struct cli_command *at = *table; at->path; at++) {
            if (at->is_hidden)
                continue;
            fprintf(out, "%s|", at->path);
            for (const struct cli_option *option = at->options; option && option->name; option++)
                fprintf(out, "%s ", option->name);
            fputs("--help\n", out);
        }
    }
    fputs("'\n", out);
}

void cli_completion_print(FILE *out)
{
    fputs("# SPDX-License-Identifier: Apache-2.0\n"
          "# Completion of holdfast for bash; printed by 'holdfast dev completion'.\n",
          out);
    print_table(out);
    fputs("_holdfast()\n"
          "{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} typed= path options rest choices=\n"
          "    local at\n"
          "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
          "        [[ ${COMP_WORDS[at]} == -* ]] && break\n"
          "        typed+=\"${COMP_WORDS[at]} \"\n"
          "    done\n"
          "    while IFS='|' read -r path options; do\n"
          "        [[ -n $path ]] || continue\n"
          "        if [[ $typed == \"$path \"* ]]; then\n"
          "            choices+=\" $options\"\n"
          "        elif [[ \"$path \" == \"$typed\"* ]]; then\n"
          "            rest=${path#\"$typed\"}\n"
          "            choices+=\" ${rest%% *}\"\n"
          "        fi\n"
          "    done <<<\"$_holdfast_commands\"\n"
          "    COMPREPLY=($(compgen -W \"$choices\" -- \"$word\"))\n"
          "    [[ ${#COMPREPLY[@]} -gt 0 || $word == -* ]] || COMPREPLY=($(compgen -f -- "
          "\"$word\"))\n"
          "}\n"
          "complete -F _holdfast holdfast\n",
          out);
}
