/* SPDX-License-Identifier: Apache-2.0
 * What is done to the processes of a lab: kill, freeze, thaw, and the end of all of them. Signals
 * go only to a process whose identity is the one that the lab started, or, in the end of all,
 * whose command line names an option file inside the lab's folder. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { END_MS = 10000, STOP_MS = 5000, PAUSE_MS = 1, PROC_MAX_BYTES = 128 * 1024 };

size_t lab_running(const struct lab *lab)
{
    size_t count = 0;
    for (size_t i = 0; i < lab->server_count; i++)
        count += process_state(&lab->servers[i].process) != PROCESS_ENDED;
    return count;
}

static enum status send_signal(const struct lab_server *server, int signal, struct err *err)
{
    enum status status = server->process.pid ? process_signal(&server->process, signal, err)
                                             : err_set(err, ST_NOT_FOUND, "it was never started");
    if (!status)
        return ST_OK;
    err_wrap(err, "%s", server->name);
    return status == ST_NOT_FOUND ? err_hint(err, "holdfast lab restart %s", server->name) : status;
}

/* Those that ended before are as wanted, unless all of them did: then it was a mistake. */
static enum status kill_each(const struct lab_choice *choice, struct err *err)
{
    size_t ended_before = 0;
    struct err failure = ERR_INIT;
    for (size_t i = 0; i < choice->count; i++) {
        enum status status = send_signal(choice->servers[i], SIGKILL, &failure);
        ended_before += status == ST_NOT_FOUND;
        if (status && (status != ST_NOT_FOUND || ended_before == choice->count)) {
            if (err)
                *err = failure;
            return status;
        }
    }
    return ST_OK;
}

enum status lab_kill(const struct lab_choice *choice, struct err *err)
{
    enum status status = kill_each(choice, err);
    nsec deadline = clock_deadline(END_MS);
    for (size_t i = 0; i < choice->count && !status; i++) {
        status = process_wait(&choice->servers[i]->process, deadline, NULL, err);
        if (status)
            err_wrap(err, "%s", choice->servers[i]->name);
    }
    return status;
}

/* A stopped process of another parent tells nobody: it has to be looked at. */
static enum status wait_stopped(const struct lab_server *server, nsec deadline, struct err *err)
{
    while (process_state(&server->process) == PROCESS_RUNS) {
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "%s did not stop in time", server->name);
        status_ignore(process_wait(&server->process, clock_deadline(PAUSE_MS), NULL, NULL),
                      "a pause");
    }
    return ST_OK;
}

/* All get their signal, whatever happens to some of them; the first failure is reported. */
static enum status signal_all(const struct lab_choice *choice, int signal, struct err *err)
{
    enum status first = ST_OK;
    for (size_t i = 0; i < choice->count; i++) {
        enum status status = send_signal(choice->servers[i], signal, first ? NULL : err);
        first = first ? first : status;
    }
    return first;
}

enum status lab_freeze(const struct lab_choice *choice, struct err *err)
{
    enum status first = signal_all(choice, SIGSTOP, err);
    nsec deadline = clock_deadline(STOP_MS);
    for (size_t i = 0; i < choice->count; i++) {
        enum status status = wait_stopped(choice->servers[i], deadline, first ? NULL : err);
        first = first ? first : status;
    }
    return first;
}

enum status lab_thaw(const struct lab_choice *choice, struct err *err)
{
    return signal_all(choice, SIGCONT, err);
}

/* --- The end of all -----------------------------------------------------------------------------
 */

/* The same path may be another folder for a process in a container. */
static bool sees_same_folder(pid_t pid, const struct lab *lab)
{
    AUTO_FREE char *theirs = mem_printf("/proc/%d/root%s", (int)pid, lab->dir);
    struct stat ours, other;
    return stat(lab->dir, &ours) == 0 && stat(theirs, &other) == 0 && ours.st_dev == other.st_dev &&
           ours.st_ino == other.st_ino;
}

/* Its command line says so: also true for a process that an interrupted 'up' started and could not
 * note any more. */
static bool is_of_lab(pid_t pid, const struct lab *lab)
{
    AUTO_FREE char *path = mem_printf("/proc/%d/cmdline", (int)pid);
    AUTO_FREE char *mark = mem_printf("--defaults-file=%s/", lab->dir);
    AUTO(buf_release) struct buf line = {0};
    if (file_read(path, PROC_MAX_BYTES, &line, NULL) || line.length == 0)
        return false;
    const char *at = line.data, *end = line.data + line.length;
    for (; at < end; at += strlen(at) + 1)
        if (strncmp(at, mark, strlen(mark)) == 0)
            return sees_same_folder(pid, lab);
    return false;
}

static void close_listing(DIR **listing)
{
    if (*listing)
        closedir(*listing);
}

/* The identity is taken before the command line is read: if the number changes hands between, the
 * identity does not match any more when the signal is sent. */
static enum status find_processes(const struct lab *lab, struct process **ret, size_t *ret_count,
                                  struct err *err)
{
    AUTO(close_listing) DIR *listing = opendir("/proc");
    if (!listing)
        return err_set_errno(err, errno, "open", "/proc");
    AUTO_FREE struct process *found = NULL;
    size_t count = 0, capacity = 0;
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        struct process process;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != getpid() && !process_identify(pid, &process, NULL) &&
            is_of_lab(pid, lab))
            VEC_PUSH(found, count, capacity, process);
    }
    *ret = take_pointer(found);
    *ret_count = count;
    return ST_OK;
}

enum status lab__kill_all(const struct lab *lab, size_t *ret_ended, struct err *err)
{
    AUTO_FREE struct process *found = NULL;
    size_t count = 0;
    enum status status = find_processes(lab, &found, &count, err);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        status = process_signal(&found[i], SIGKILL, err);
        if (status && status != ST_NOT_FOUND)
            return status;
    }
    nsec deadline = clock_deadline(END_MS);
    for (size_t i = 0; i < count; i++) {
        status = process_wait(&found[i], deadline, NULL, err);
        if (status)
            return status;
    }
    *ret_ended = count;
    return ST_OK;
}
