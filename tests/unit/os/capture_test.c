/* SPDX-License-Identifier: Apache-2.0
 * Running programs that are not trusted, with real ones. */
#include "base/scope.h"
#include "os/capture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { LONG_MS = 30000, SHORT_MS = 100, CAP = 16 };

static struct err err;

static struct capture run(const char *script, const char *input, int64_t ms,
                          const atomic_bool *cancel)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct capture_job job = {.argv = argv,
                              .folder = "/",
                              .input = input,
                              .output_cap = CAP,
                              .deadline = clock_deadline(ms),
                              .grace_ms = SHORT_MS,
                              .cancel = cancel};
    struct capture capture;
    err = (struct err)ERR_INIT;
    assert_int_equal(capture_run(&job, &capture, &err), ST_OK);
    return capture;
}

static void input_output_and_exit_status_arrive(void **state UNUSED)
{
    AUTO(capture_release)
    struct capture done = run("cat; echo b >&2; exit 7", "a\n", LONG_MS, NULL);
    assert_string_equal(buf_text(&done.output), "a\nb\n");
    assert_int_equal(done.exit_status, 7);
    assert_int_equal(done.output_bytes, 4);
    assert_false(done.is_late || done.is_cancelled);
}

static void input_that_nobody_reads_and_closed_ends_do_no_harm(void **state UNUSED)
{
    AUTO(capture_release)
    struct capture done = run("exec 0<&- 1>&- 2>&-; exit 3", "a\n", LONG_MS, NULL);
    assert_int_equal(done.exit_status, 3);
}

static void output_beyond_the_cap_is_counted_and_dropped(void **state UNUSED)
{
    AUTO(capture_release)
    struct capture done = run("head -c 300000 /dev/zero | tr '\\0' x", "", LONG_MS, NULL);
    assert_int_equal(done.output.length, CAP);
    assert_int_equal(done.output_bytes, 300000);
    assert_int_equal(done.exit_status, 0);
}

static void a_flood_without_end_is_ended_at_the_deadline(void **state UNUSED)
{
    AUTO(capture_release) struct capture done = run("yes", "", SHORT_MS, NULL);
    assert_true(done.is_late);
    assert_int_equal(done.output.length, CAP);
}

static void one_that_ignores_sigterm_is_killed_with_its_children(void **state UNUSED)
{
    AUTO(capture_release)
    struct capture done = run("trap '' TERM; sleep 100 & echo $!; while :; do sleep 0.05; done", "",
                              5 * SHORT_MS, NULL);
    assert_true(done.is_late);
    assert_int_equal(done.signal, SIGKILL);
    pid_t child = (pid_t)strtol(buf_text(&done.output), NULL, 10);
    struct process found;
    nsec deadline = clock_deadline(LONG_MS); /* init, or whoever adopted it, takes its remains */
    while (process_identify(child, &found, NULL) == ST_OK && clock_now() < deadline)
        usleep(1000);
    assert_int_equal(process_identify(child, &found, NULL), ST_NOT_FOUND);
}

static void a_child_that_keeps_the_output_open_is_not_waited_for(void **state UNUSED)
{
    nsec began = clock_now();
    AUTO(capture_release) struct capture done = run("sleep 5 & echo a", "", LONG_MS, NULL);
    assert_string_equal(buf_text(&done.output), "a\n");
    assert_int_equal(done.exit_status, 0);
    assert_true(clock_ms(clock_now() - began) < 4000);
}

static void cancelling_ends_it_at_once(void **state UNUSED)
{
    atomic_bool cancel = true;
    AUTO(capture_release) struct capture done = run("sleep 100", "", LONG_MS, &cancel);
    assert_true(done.is_cancelled && !done.is_late);
    assert_int_equal(done.signal, SIGTERM);
}

static void what_cannot_be_started_is_an_error(void **state UNUSED)
{
    const char *argv[] = {"/nowhere/there", NULL};
    struct capture_job job = {.argv = argv, .input = "", .deadline = clock_deadline(LONG_MS)};
    AUTO(capture_release) struct capture capture = {0};
    assert_int_equal(capture_run(&job, &capture, &err), ST_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_output_and_exit_status_arrive),
        cmocka_unit_test(input_that_nobody_reads_and_closed_ends_do_no_harm),
        cmocka_unit_test(output_beyond_the_cap_is_counted_and_dropped),
        cmocka_unit_test(a_flood_without_end_is_ended_at_the_deadline),
        cmocka_unit_test(one_that_ignores_sigterm_is_killed_with_its_children),
        cmocka_unit_test(a_child_that_keeps_the_output_open_is_not_waited_for),
        cmocka_unit_test(cancelling_ends_it_at_once),
        cmocka_unit_test(what_cannot_be_started_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
