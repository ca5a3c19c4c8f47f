/* SPDX-License-Identifier: Apache-2.0
 * A keeper in a process of its own, with real programs. That something is away is said by a byte in
 * a pipe. Where signs of life are needed, the program is this one. */
#include "keeper/keeper.h"

#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"
#include "os/process.h"
#include "os/program.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { GRACE_MS = 500, SIGN_MS = 50, LONG_MS = 20000, MANY = 1000000 };

static char folder[] = "/tmp/holdfast-keeper-XXXXXX";
static char *identity_path, *self;
static int away[2];
static pid_t keeper_pid;

static void on_away(void *context UNUSED)
{
    assert_int_equal(write(away[1], "!", 1), 1);
}

static const char *const sleeper[] = {"sleep", "60", NULL};
static const char *const failing[] = {"false", NULL};
static const char *const missing[] = {"/nowhere/program", NULL};

static void begin(const char *const *argv, bool has_signs)
{
    const struct keeper keeper = {.argv = argv,
                                  .identity_path = identity_path,
                                  .grace_ms = GRACE_MS,
                                  .has_signs = has_signs,
                                  .on_away = on_away};
    keeper_pid = fork();
    assert_true(keeper_pid >= 0);
    if (keeper_pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(keeper_run(&keeper, NULL) ? 1 : 0);
}

static bool find_kept(struct process *ret)
{
    bool is_ready = false;
    return !keeper_find(identity_path, ret, &is_ready, NULL) && process_state(ret) != PROCESS_ENDED;
}

/* Another one than 'former', which may be of pid 0. */
static struct process wait_kept(const struct process *former)
{
    struct process kept = {0};
    nsec deadline = clock_deadline(LONG_MS);
    while (!find_kept(&kept) || kept.pid == former->pid) {
        assert_true(clock_now() < deadline);
        poll(NULL, 0, 2);
    }
    return kept;
}

static bool is_away_within(int ms)
{
    struct pollfd pipe_end = {.fd = away[0], .events = POLLIN};
    char bytes[100];
    return poll(&pipe_end, 1, ms) == 1 && read(away[0], bytes, sizeof(bytes)) > 0;
}

static void end_keeper(void)
{
    if (keeper_pid > 0) {
        kill(keeper_pid, SIGKILL);
        waitpid(keeper_pid, NULL, 0);
    }
    keeper_pid = 0;
}

static int make_all(void **state UNUSED)
{
    static const char template[] = "/tmp/holdfast-keeper-XXXXXX";
    memcpy(folder, template, sizeof(template));
    return mkdtemp(folder) && pipe(away) == 0 && !program_self(&self, NULL) &&
                   (identity_path = mem_printf("%s/identity", folder))
               ? 0
               : -1;
}

static int end_all(void **state UNUSED)
{
    struct process kept;
    end_keeper();
    if (find_kept(&kept))
        status_ignore(process_signal(&kept, SIGKILL, NULL), "it may have ended");
    close(away[0]);
    close(away[1]);
    free(identity_path);
    free(self);
    return folder_remove(folder, NULL) ? -1 : 0;
}

static void what_was_killed_runs_again_at_once(void **state UNUSED)
{
    struct process none = {0};
    begin(sleeper, false);
    struct process first = wait_kept(&none);
    poll(NULL, 0, 150); /* it has lived for longer than what ends at once */
    nsec killed = clock_now();
    assert_int_equal(process_signal(&first, SIGKILL, NULL), ST_OK);
    wait_kept(&first);
    assert_true(clock_ms(clock_now() - killed) < GRACE_MS);
    assert_false(is_away_within(2 * GRACE_MS));
}

static void what_cannot_stay_is_said_to_be_away_after_the_grace(void **state UNUSED)
{
    const char *const *const programs[] = {failing, missing};
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        nsec begun = clock_now();
        begin(programs[i], false);
        assert_true(is_away_within(LONG_MS));
        assert_true(clock_ms(clock_now() - begun) >= GRACE_MS);
        end_keeper();
        while (is_away_within(0))
            ;
    }
}

static void what_is_stopped_is_away_and_then_started_anew(void **state UNUSED)
{
    struct process none = {0};
    begin(sleeper, false);
    struct process first = wait_kept(&none);
    assert_false(is_away_within(GRACE_MS));
    assert_int_equal(process_signal(&first, SIGSTOP, NULL), ST_OK);
    assert_true(is_away_within(LONG_MS));
    wait_kept(&first);
}

static void what_gives_no_more_signs_is_away_and_then_started_anew(void **state UNUSED)
{
    const char *argv[] = {self, "signs", "20", NULL};
    struct process none = {0};
    nsec begun = clock_now();
    begin(argv, true);
    struct process first = wait_kept(&none);
    assert_true(is_away_within(LONG_MS));
    assert_true(clock_ms(clock_now() - begun) >= 19 * SIGN_MS + GRACE_MS);
    wait_kept(&first);
}

static void a_host_that_was_stopped_goes_on_where_it_was(void **state UNUSED)
{
    AUTO_FREE char *many = mem_printf("%d", MANY);
    const char *argv[] = {self, "signs", many, NULL};
    struct process none = {0};
    begin(argv, true);
    struct process kept = wait_kept(&none);
    assert_false(is_away_within(GRACE_MS / 2));
    kill(keeper_pid, SIGSTOP);
    assert_int_equal(process_signal(&kept, SIGSTOP, NULL), ST_OK);
    assert_false(is_away_within(3 * GRACE_MS));
    kill(keeper_pid, SIGCONT);
    assert_false(is_away_within(GRACE_MS / 4));
    assert_int_equal(process_signal(&kept, SIGCONT, NULL), ST_OK);
    assert_false(is_away_within(2 * GRACE_MS));
    assert_int_equal(process_state(&kept), PROCESS_RUNS);
}

static void what_said_that_it_is_ready_is_known_to_be_until_it_ends(void **state UNUSED)
{
    AUTO_FREE char *many = mem_printf("%d", MANY);
    const char *argv[] = {self, "ready", many, NULL};
    struct process none = {0}, kept = {0};
    bool is_ready = false;
    assert_int_equal(keeper_find(identity_path, &kept, &is_ready, NULL), ST_NOT_FOUND);
    begin(argv, true);
    kept = wait_kept(&none);
    nsec deadline = clock_deadline(LONG_MS);
    while (!is_ready) {
        assert_true(clock_now() < deadline);
        assert_int_equal(keeper_find(identity_path, &kept, &is_ready, NULL), ST_OK);
    }
    end_keeper();
    argv[1] = "signs";
    begin(argv, true); /* gives signs, but never that one */
    wait_kept(&kept);
    assert_false(is_away_within(GRACE_MS));
    assert_int_equal(keeper_find(identity_path, &kept, &is_ready, NULL), ST_OK);
    assert_false(is_ready);
}

static void what_a_former_keeper_left_is_ended(void **state UNUSED)
{
    struct process none = {0};
    begin(sleeper, false);
    struct process first = wait_kept(&none);
    end_keeper();
    assert_int_equal(process_state(&first), PROCESS_RUNS);
    begin(sleeper, false);
    wait_kept(&first);
    assert_int_equal(process_state(&first), PROCESS_ENDED);
}

/* The program that is kept: gives so many signs of life, then hangs. */
static int give_signs(const char *sign, long count)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !path || path[0] != '@' || !getenv("WATCHDOG_USEC"))
        return 1;
    size_t length = strlen(path);
    memcpy(address.sun_path + 1, path + 1, length - 1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    for (long i = 0; i < count; i++) {
        if (sendto(fd, sign, strlen(sign), 0, (struct sockaddr *)&address, size) < 0)
            return 0; /* the keeper is gone */
        poll(NULL, 0, SIGN_MS);
    }
    pause();
    return 0;
}

#define WITH_ALL(test) cmocka_unit_test_setup_teardown(test, make_all, end_all)

int main(int argc, char **argv)
{
    if (argc == 3)
        return give_signs(strcmp(argv[1], "ready") == 0 ? "STATUS=fine\nREADY=1" : "WATCHDOG=1",
                          strtol(argv[2], NULL, 10));
    const struct CMUnitTest tests[] = {
        WITH_ALL(what_was_killed_runs_again_at_once),
        WITH_ALL(what_cannot_stay_is_said_to_be_away_after_the_grace),
        WITH_ALL(what_is_stopped_is_away_and_then_started_anew),
        WITH_ALL(what_gives_no_more_signs_is_away_and_then_started_anew),
        WITH_ALL(a_host_that_was_stopped_goes_on_where_it_was),
        WITH_ALL(what_said_that_it_is_ready_is_known_to_be_until_it_ends),
        WITH_ALL(what_a_former_keeper_left_is_ended),
    };
    return cmocka_run_group_tests_name("keeper/keeper", tests, NULL, NULL);
}
