/* SPDX-License-Identifier: Apache-2.0
 * Identity, end and signals of processes; see process.h. Starting one is in spawn.c.
 *
 * Everything done to a process goes through a pidfd: it is opened first, then the identity is
 * compared. If it matches, the descriptor cannot mean anybody else, whatever happens later. */
#include "os/process.h"

#include "base/buf.h"
#include "base/scope.h"
#include "os/file.h"
#include "os/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum { STAT_MAX_BYTES = 4096, STAT_FIELDS_BEFORE_START = 19 /* after the state, field 3 */ };

static enum status read_boot(char ret_boot[static PROCESS_BOOT_MAX], struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    enum status status = file_read("/proc/sys/kernel/random/boot_id", STAT_MAX_BYTES, &text, err);
    if (status)
        return status;
    snprintf(ret_boot, PROCESS_BOOT_MAX, "%.*s", (int)strcspn(buf_text(&text), "\n"),
             buf_text(&text));
    return ST_OK;
}

static enum status no_process(pid_t pid, struct err *err)
{
    return err_set(err, ST_NOT_FOUND, "process %d does not run", (int)pid);
}

/* Who has this number now, and the letter of its state. */
static enum status look_at(pid_t pid, struct process *ret, char *ret_state, struct err *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    AUTO(buf_release) struct buf text = {0};
    struct err ignored = ERR_INIT;
    if (pid <= 0 || file_read(path, STAT_MAX_BYTES, &text, &ignored))
        return no_process(pid, err); /* ESRCH in mid-read means the same as ENOENT */

    /* The name, in parentheses, may contain anything, also spaces and parentheses. */
    const char *at = strrchr(buf_text(&text), ')');
    if (!at || at[1] != ' ')
        return no_process(pid, err);
    char state = at[2];
    at += 2;
    for (int i = 0; i < STAT_FIELDS_BEFORE_START && at; i++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    struct process found = {.pid = pid};
    if (!at || sscanf(at, "%" SCNu64, &found.start_ticks) != 1)
        return err_set(err, ST_INTERNAL, "cannot understand '%s'", path);
    enum status status = read_boot(found.boot, err);
    if (status)
        return status;
    *ret = found;
    *ret_state = state;
    return ST_OK;
}

static bool is_over(char state)
{
    return strchr("ZXx", state) != NULL;
}

enum status process__identify(pid_t pid, bool with_ended, struct process *ret, struct err *err)
{
    char state = 0;
    struct process found;
    enum status status = look_at(pid, &found, &state, err);
    if (!status && !with_ended && is_over(state))
        return no_process(pid, err);
    if (!status)
        *ret = found;
    return status;
}

enum status process_identify(pid_t pid, struct process *ret, struct err *err)
{
    return process__identify(pid, false, ret, err);
}

static bool is_same(const struct process *process, const struct process *now)
{
    return process->start_ticks == now->start_ticks && strcmp(process->boot, now->boot) == 0;
}

static bool is_there(const struct process *process, bool with_ended)
{
    struct process now = {0};
    return !process__identify(process->pid, with_ended, &now, NULL) && is_same(process, &now);
}

bool process_is_alive(const struct process *process)
{
    return is_there(process, false);
}

enum process_state process_state(const struct process *process)
{
    char state = 0;
    struct process now = {0};
    if (look_at(process->pid, &now, &state, NULL) || !is_same(process, &now) || is_over(state))
        return PROCESS_ENDED;
    return state == 'T' ? PROCESS_STOPPED : PROCESS_RUNS;
}

static enum status failed_on(pid_t pid, int error, const char *verb, struct err *err)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", (int)pid);
    return error == ESRCH ? no_process(pid, err) : err_set_errno(err, error, verb, number);
}

/* A pidfd of exactly this process; ST_NOT_FOUND when it ended. */
static enum status open_process(const struct process *process, bool with_ended, int *ret_fd,
                                struct err *err)
{
    if (process->pid <= 0)
        return no_process(process->pid, err);
    AUTO_CLOSE int fd = pidfd_open(process->pid, 0);
    if (fd < 0)
        return failed_on(process->pid, errno, "open process", err);
    if (!is_there(process, with_ended))
        return no_process(process->pid, err);
    *ret_fd = take_fd(&fd);
    return ST_OK;
}

/* Take the exit code from an ended child, if it is ours; also frees its number. */
static int reap(int fd)
{
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) || info.si_pid == 0)
        return -1;
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

enum status process_wait(const struct process *process, nsec deadline, int *ret_exit,
                         struct err *err)
{
    AUTO_CLOSE int fd = -1;
    int code = -1;
    enum status status = open_process(process, true, &fd, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    if (status == ST_OK) {
        struct pollfd end = {.fd = fd, .events = POLLIN};
        int ready = 0;
        do {
            ready = poll(&end, 1, clock_ms_left(deadline));
        } while (ready < 0 && errno == EINTR);
        if (ready < 0)
            return failed_on(process->pid, errno, "wait for process", err);
        if (ready == 0)
            return err_set(err, ST_TIMEOUT, "process %d did not end in time", (int)process->pid);
        code = reap(fd);
    }
    if (ret_exit)
        *ret_exit = code;
    return ST_OK;
}

enum status process_signal(const struct process *process, int signal, struct err *err)
{
    AUTO_CLOSE int fd = -1;
    enum status status = open_process(process, false, &fd, err);
    if (status)
        return status;
    if (pidfd_send_signal(fd, signal, NULL, 0))
        return failed_on(process->pid, errno, "signal process", err);
    return ST_OK;
}

void process_format(const struct process *process, char ret_text[static PROCESS_TEXT_MAX])
{
    snprintf(ret_text, PROCESS_TEXT_MAX, "%d:%" PRIu64 ":%s", (int)process->pid,
             process->start_ticks, process->boot);
}

enum status process_parse(const char *text, struct process *ret, struct err *err)
{
    struct process found = {0};
    int used = 0;
    _Static_assert(PROCESS_BOOT_MAX == 40, "the widths below keep each value in its type");
    if (sscanf(text, "%9d:%19" SCNu64 ":%39[0-9a-f-]%n", &found.pid, &found.start_ticks, found.boot,
               &used) != 3 ||
        text[used] || found.pid <= 0)
        return err_set(err, ST_INVALID, "'%s' is not a process identity (PID:START:BOOT)", text);
    *ret = found;
    return ST_OK;
}
