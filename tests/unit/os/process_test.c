/* SPDX-License-Identifier: Apache-2.0
 * Processes, with real ones: sh and sleep. */
#include "base/scope.h"
#include "os/file.h"
#include "os/process.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 10000, SHORT_MS = 20 };

static struct err err;

static struct process spawn_shell(const char *script, const char *output_path)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct process process = {0};
    struct process_spec spec = {.argv = argv, .folder = "/", .output_path = output_path};
    err = (struct err)ERR_INIT;
    assert_int_equal(process_spawn(&spec, &process, &err), ST_OK);
    return process;
}

static int wait_end(const struct process *process)
{
    int code = -2;
    assert_int_equal(process_wait(process, clock_deadline(LONG_MS), &code, &err), ST_OK);
    return code;
}

static void the_exit_code_and_the_output_of_a_child_arrive(void **state UNUSED)
{
    char path[] = "/tmp/holdfast-test-XXXXXX";
    AUTO_CLOSE int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct process child = spawn_shell("pwd; echo oops >&2; exit 7", path);
    assert_int_equal(wait_end(&child), 7);
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(path, 100, &text, &err), ST_OK);
    assert_string_equal(buf_text(&text), "/\noops\n");
    unlink(path);
}

static void
a_child_has_its_own_session_default_signals_and_no_descriptor_of_ours(void **state UNUSED)
{
    char path[] = "/tmp/holdfast-test-XXXXXX";
    AUTO_CLOSE int fd = mkstemp(path); /* not close-on-exec, on purpose */
    assert_true(fd >= 0);
    sighandler_t before = signal(SIGTERM, SIG_IGN);
    struct process child = spawn_shell("ls /proc/self/fd | wc -l; cut -d' ' -f6 /proc/$$/stat; "
                                       "echo $$; kill -TERM $$; echo survived",
                                       path);
    signal(SIGTERM, before);
    assert_int_equal(wait_end(&child), 128 + SIGTERM);
    AUTO(buf_release) struct buf text = {0}, wanted = {0};
    assert_int_equal(file_read(path, 100, &text, &err), ST_OK);
    /* 0, 1, 2 and the one that ls itself opened */
    buf_printf(&wanted, "4\n%d\n%d\n", (int)child.pid, (int)child.pid);
    assert_string_equal(buf_text(&text), buf_text(&wanted));
    unlink(path);
}

static void a_program_that_does_not_exist_is_named(void **state UNUSED)
{
    const char *argv[] = {"holdfast-no-such-program", NULL};
    struct process_spec spec = {.argv = argv};
    struct process process;
    assert_int_equal(process_spawn(&spec, &process, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "holdfast-no-such-program"));
}

static void the_state_of_a_process_is_seen(void **state UNUSED)
{
    struct process child = spawn_shell("exec sleep 60", NULL), stranger = child;
    assert_int_equal(process_state(&child), PROCESS_RUNS);
    stranger.start_ticks++;
    assert_int_equal(process_state(&stranger), PROCESS_ENDED);
    assert_int_equal(process_signal(&child, SIGSTOP, &err), ST_OK);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WSTOPPED | WNOWAIT), 0);
    assert_int_equal(process_state(&child), PROCESS_STOPPED);
    assert_int_equal(process_signal(&child, SIGKILL, &err), ST_OK);
    wait_end(&child);
    assert_int_equal(process_state(&child), PROCESS_ENDED);
}

static void a_stopped_process_is_alive_and_an_unreaped_one_is_not(void **state UNUSED)
{
    struct process child = spawn_shell("exec sleep 60", NULL);
    assert_true(process_is_alive(&child));
    assert_int_equal(process_signal(&child, SIGSTOP, &err), ST_OK);
    assert_true(process_is_alive(&child));
    assert_int_equal(process_wait(&child, clock_deadline(SHORT_MS), NULL, &err), ST_TIMEOUT);
    assert_int_equal(process_signal(&child, SIGKILL, &err), ST_OK);
    siginfo_t info; /* ended, but left as a zombie */
    assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(process_is_alive(&child));
    assert_int_equal(process_signal(&child, SIGTERM, &err), ST_NOT_FOUND);
    assert_int_equal(wait_end(&child), 128 + SIGKILL);
    assert_int_equal(wait_end(&child), -1);
}

static void
a_process_with_the_same_number_but_another_start_or_boot_is_a_stranger(void **state UNUSED)
{
    struct process child = spawn_shell("exec sleep 60", NULL);
    struct process later = child, other_boot = child;
    later.start_ticks++;
    other_boot.boot[0] = other_boot.boot[0] == '0' ? '1' : '0';
    assert_false(process_is_alive(&later));
    assert_false(process_is_alive(&other_boot));
    assert_int_equal(process_signal(&later, SIGKILL, &err), ST_NOT_FOUND);
    assert_int_equal(wait_end(&later), -1);
    assert_true(process_is_alive(&child));
    assert_int_equal(process_signal(&child, SIGKILL, &err), ST_OK);
    assert_int_equal(wait_end(&child), 128 + SIGKILL);
}

static void an_identity_survives_being_written_and_read(void **state UNUSED)
{
    struct process self, read_back;
    assert_int_equal(process_identify(getpid(), &self, &err), ST_OK);
    char text[PROCESS_TEXT_MAX];
    process_format(&self, text);
    assert_int_equal(process_parse(text, &read_back, &err), ST_OK);
    assert_true(process_is_alive(&read_back));
}

static void text_that_is_no_identity_is_refused(void **state UNUSED)
{
    static const char *const texts[] = {
        "", "1", "1:2", "1:2:", "0:2:ab", "-1:2:ab", "1:2:ab ", "1:2:ab:c"};
    struct process process;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_int_equal(process_parse(texts[i], &process, &err), ST_INVALID);
}

static void no_process_has_a_number_below_one(void **state UNUSED)
{
    struct process nobody = {.pid = -1};
    assert_false(process_is_alive(&nobody));
    assert_int_equal(process_signal(&nobody, SIGTERM, &err), ST_NOT_FOUND);
    nobody.pid = 0;
    assert_int_equal(process_signal(&nobody, SIGTERM, &err), ST_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_code_and_the_output_of_a_child_arrive),
        cmocka_unit_test(a_child_has_its_own_session_default_signals_and_no_descriptor_of_ours),
        cmocka_unit_test(a_program_that_does_not_exist_is_named),
        cmocka_unit_test(the_state_of_a_process_is_seen),
        cmocka_unit_test(a_stopped_process_is_alive_and_an_unreaped_one_is_not),
        cmocka_unit_test(a_process_with_the_same_number_but_another_start_or_boot_is_a_stranger),
        cmocka_unit_test(an_identity_survives_being_written_and_read),
        cmocka_unit_test(text_that_is_no_identity_is_refused),
        cmocka_unit_test(no_process_has_a_number_below_one),
    };
    return cmocka_run_group_tests_name("os/process", tests, NULL, NULL);
}
