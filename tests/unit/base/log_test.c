/* SPDX-License-Identifier: Apache-2.0
 * Log lines, read back through a pipe that takes the place of stderr. */
#include "base/log.h"
#include "base/scope.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int pipe_fds[2], real_stderr;

static void capture_begin(void)
{
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    real_stderr = dup(STDERR_FILENO);
    assert_true(real_stderr >= 0 && dup2(pipe_fds[1], STDERR_FILENO) >= 0);
}

/* What was logged, without the time that every line starts with. */
static const char *capture_end(void)
{
    static char text[4096];
    ssize_t count = read(pipe_fds[0], text, sizeof(text) - 1);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    text[count > 0 ? count : 0] = '\0';
    const char *space = strchr(text, ' ');
    return space ? space + 1 : text;
}

static void an_event_is_one_line_of_time_level_name_and_pairs(void **state UNUSED)
{
    log_set_level(LOG_INFO);
    capture_begin();
    log_event(EV_RUN_STATE, "run", "r-1", "state", "done", NULL);
    assert_string_equal(capture_end(), "info run.state run=r-1 state=done\n");
}

static void values_are_quoted_only_when_they_must_be(void **state UNUSED)
{
    static const struct {
        const char *value, *shown;
    } cases[] = {
        {"plain-1.2:3", "plain-1.2:3"},       {"", "\"\""},
        {"two words", "\"two words\""},       {"a=b", "\"a=b\""},
        {"say \"no\"", "\"say \\\"no\\\"\""}, {"back\\slash", "\"back\\\\slash\""},
        {"tab\there", "\"tab\there\""},       {NULL, "-"},
    };
    log_set_level(LOG_INFO);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        capture_begin();
        log_event(EV_RUN_STATE, "v", cases[i].value, NULL);
        const char *line = capture_end();
        char wanted[128];
        snprintf(wanted, sizeof(wanted), "info run.state v=%s\n", cases[i].shown);
        assert_string_equal(line, wanted);
    }
}

static void a_newline_in_a_value_cannot_forge_a_second_line(void **state UNUSED)
{
    log_set_level(LOG_INFO);
    capture_begin();
    log_event(EV_RUN_STATE, "v", "a\nb\r\n", NULL);
    assert_string_equal(capture_end(), "info run.state v=\"a\\nb\\n\\n\"\n");
}

static void less_important_events_than_the_level_are_left_out(void **state UNUSED)
{
    log_set_level(LOG_WARN);
    capture_begin();
    log_event(EV_RUN_STATE, "left", "out", NULL);
    log_event(EV_PROBE, "kept", "1", NULL);
    assert_string_equal(capture_end(), "warn probe kept=1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_one_line_of_time_level_name_and_pairs),
        cmocka_unit_test(values_are_quoted_only_when_they_must_be),
        cmocka_unit_test(a_newline_in_a_value_cannot_forge_a_second_line),
        cmocka_unit_test(less_important_events_than_the_level_are_left_out),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
