/* SPDX-License-Identifier: Apache-2.0
 * What the command line accepts, and how it refuses the rest. */
#include "base/mem.h"
#include "base/scope.h"
#include "command/internal.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct cli_option options[] = {
    {.name = "--json", .kind = OPTION_FLAG, .help = "print JSON"},
    {.name = "--dir", .kind = OPTION_TEXT, .value = "DIR", .help = "the folder"},
    {.name = "--shard",
     .kind = OPTION_TEXT,
     .value = "NAME",
     .help = "only this",
     .is_repeated = true},
    {.name = "--writers",
     .kind = OPTION_NUMBER,
     .value = "N",
     .help = "how many",
     .minimum = 1,
     .maximum = 64},
    {.name = "--seconds",
     .kind = OPTION_NUMBER,
     .value = "S",
     .help = "how long",
     .minimum = 0,
     .maximum = LONG_MAX},
    {0},
};

static const struct cli_command no_operands = {
    .path = "lab up", .operands = "", .options = options};
static const struct cli_command one_operand = {
    .path = "fleet discover", .operands = "HOST:PORT", .options = options};
static const struct cli_command optional_operand = {.path = "run show", .operands = "[RUN]"};
static const struct cli_command some_operands = {.path = "lab kill", .operands = "NAME..."};
static const struct cli_command any_operands = {.path = "help", .operands = "[COMMAND...]"};

enum { WORDS_MAX = 8 };

/* Parse words given as "a b c"; a word may not contain a space here. */
static enum status parse(const struct cli_command *command, const char *line, struct cli_args *ret,
                         struct err *err)
{
    static char words[256];
    char *argv[WORDS_MAX] = {NULL}, *rest = words;
    int argc = 0;
    snprintf(words, sizeof(words), "%s", line);
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " "))
        if (word[0])
            argv[argc++] = word;
    *ret = (struct cli_args){0};
    *err = (struct err)ERR_INIT;
    return cli_args_parse(ret, command, argc, argv, err);
}

static void values_are_separate_words_or_after_an_equals_sign(void **state UNUSED)
{
    AUTO(cli_args_release) struct cli_args args;
    struct err err;
    assert_int_equal(
        parse(&no_operands, "--dir here --writers=7 --json --shard a --shard=b", &args, &err),
        ST_OK);
    assert_string_equal(cli_text(&args, "--dir"), "here");
    assert_int_equal(cli_number(&args, "--writers", 1), 7);
    assert_int_equal(cli_number(&args, "--seconds", 30), 30);
    assert_true(cli_flag(&args, "--json"));
    assert_int_equal(cli_text_count(&args, "--shard"), 2);
    assert_string_equal(cli_text_at(&args, "--shard", 1), "b");
    assert_null(cli_text_at(&args, "--shard", 2));
}

static void what_is_not_given_is_absent(void **state UNUSED)
{
    AUTO(cli_args_release) struct cli_args args;
    struct err err;
    assert_int_equal(parse(&no_operands, "", &args, &err), ST_OK);
    assert_null(cli_text(&args, "--dir"));
    assert_false(cli_flag(&args, "--json"));
    assert_int_equal(cli_text_count(&args, "--shard"), 0);
    assert_null(cli_operand(&args, 0));
}

static void two_dashes_end_the_options(void **state UNUSED)
{
    AUTO(cli_args_release) struct cli_args args;
    struct err err;
    assert_int_equal(parse(&some_operands, "-- --json -x", &args, &err), ST_OK);
    assert_int_equal(cli_operand_count(&args), 2);
    assert_string_equal(cli_operand(&args, 0), "--json");
}

static void help_needs_no_operands(void **state UNUSED)
{
    AUTO(cli_args_release) struct cli_args args;
    struct err err;
    assert_int_equal(parse(&some_operands, "--help", &args, &err), ST_OK);
    assert_true(args.is_help);
}

static void bad_input_is_refused_by_name(void **state UNUSED)
{
    static const struct {
        const struct cli_command *command;
        const char *line, *expected; /* part of the message */
    } cases[] = {
        {&no_operands, "--shrad a", "did you mean '--shard'?"},
        {&no_operands, "--writer=3", "has no option '--writer'; did you mean '--writers'?"},
        {&no_operands, "--xyzzy", "'holdfast lab up' has no option '--xyzzy'"},
        {&no_operands, "-j", "has no option '-j'"},
        {&no_operands, "--dir", "option --dir needs a value: --dir DIR"},
        {&no_operands, "--dir --json", "option --dir needs a value"},
        {&no_operands, "--dir=", "option --dir is given an empty value: --dir DIR"},
        {&no_operands, "--dir a --dir b", "option --dir is given twice"},
        {&no_operands, "--json=yes", "option --json takes no value"},
        {&no_operands, "--writers 0", "0 is out of range: from 1 to 64"},
        {&no_operands, "--writers 65", "65 is out of range: from 1 to 64"},
        {&no_operands, "--writers 99999999999999999999", "is out of range: from 1 to 64"},
        {&no_operands, "--seconds -1", "-1 is out of range: at least 0"},
        {&no_operands, "--writers 4x", "'4x' is not a whole number"},
        {&no_operands, "--writers=", "'' is not a whole number"},
        {&no_operands, "west", "does not know what to do with 'west'"},
        {&one_operand, "", "'holdfast fleet discover' needs HOST:PORT"},
        {&one_operand, "a:1 b:2", "does not know what to do with 'b:2'"},
        {&optional_operand, "1 2", "does not know what to do with '2'"},
        {&some_operands, "", "'holdfast lab kill' needs NAME..."},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(cli_args_release) struct cli_args args;
        struct err err;
        assert_int_equal(parse(cases[i].command, cases[i].line, &args, &err), ST_INVALID);
        if (!strstr(err.text, cases[i].expected))
            fail_msg("'%s': '%s' lacks '%s'", cases[i].line, err.text, cases[i].expected);
        AUTO_FREE char *hint = mem_printf("holdfast %s --help", cases[i].command->path);
        assert_string_equal(err.hint, hint);
    }
}

static void the_number_of_operands_follows_from_their_description(void **state UNUSED)
{
    static const struct {
        const struct cli_command *command;
        const char *line;
    } cases[] = {
        {&no_operands, ""},       {&one_operand, "a:1"},     {&optional_operand, ""},
        {&optional_operand, "7"}, {&some_operands, "a"},     {&some_operands, "a b c d"},
        {&any_operands, ""},      {&any_operands, "lab up"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(cli_args_release) struct cli_args args;
        struct err err;
        assert_int_equal(parse(cases[i].command, cases[i].line, &args, &err), ST_OK);
    }
}

static void the_nearest_word_is_found_only_when_it_is_near(void **state UNUSED)
{
    static const char *const words[] = {"lab up", "lab status", "switchover", "readiness", NULL};
    assert_string_equal(cli_nearest("lab stauts", words), "lab status");
    assert_string_equal(cli_nearest("switch", words), "switchover");
    assert_string_equal(cli_nearest("swithcover", words), "switchover");
    assert_string_equal(cli_nearest("lab pu", words), "lab up");
    assert_null(cli_nearest("frobnicate", words));
    assert_null(cli_nearest("x", words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_separate_words_or_after_an_equals_sign),
        cmocka_unit_test(what_is_not_given_is_absent),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_needs_no_operands),
        cmocka_unit_test(bad_input_is_refused_by_name),
        cmocka_unit_test(the_number_of_operands_follows_from_their_description),
        cmocka_unit_test(the_nearest_word_is_found_only_when_it_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
