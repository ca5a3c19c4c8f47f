/* SPDX-License-Identifier: Apache-2.0
 * Which process a server is. A wrong answer would kill a stranger, so everything has to fit: the
 * server says that it runs on this machine, its pid file can be read here, and the process of that
 * number stands in the server's data folder. A server in a container or on another machine fits
 * nowhere, and is not killed. */
#include "agent/internal.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PID_FILE_MAX = 64, MACHINE_MAX = 256 };

static enum status judge_machine(const struct sql_process *said, struct err *err)
{
    char machine[MACHINE_MAX] = "";
    gethostname(machine, sizeof(machine) - 1);
    if (strcmp(machine, said->machine) == 0)
        return ST_OK;
    return err_set(err, ST_NOT_FOUND, "it says that it runs on '%s', and this is '%s'",
                   said->machine, machine);
}

static enum status read_pid(const struct sql_process *said, pid_t *ret, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_FREE char *path = said->pid_file[0] == '/'
                               ? mem_strdup(said->pid_file)
                               : mem_printf("%s/%s", said->data_folder, said->pid_file);
    enum status status = file_read(path, PID_FILE_MAX, &text, err);
    if (status)
        return status;
    char *end = NULL;
    long pid = strtol(buf_text(&text), &end, 10);
    if (end == buf_text(&text) || pid <= 1 || pid > INT32_MAX)
        return err_set(err, ST_INVALID, "there is no process number in '%s'", path);
    *ret = (pid_t)pid;
    return ST_OK;
}

/* A server makes its data folder its working directory. */
static enum status judge_place(const struct sql_process *said, pid_t pid, struct err *err)
{
    struct stat data, place;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    if (stat(path, &place) || stat(said->data_folder, &data))
        return err_set(err, ST_DENIED,
                       "process %d cannot be looked at: run the agent as root, or "
                       "as the server's user",
                       (int)pid);
    if (place.st_dev != data.st_dev || place.st_ino != data.st_ino)
        return err_set(err, ST_NOT_FOUND, "process %d does not stand in '%s'", (int)pid,
                       said->data_folder);
    return ST_OK;
}

enum status identity_find(const struct sql_process *said, struct process *ret, struct err *err)
{
    struct process process = {0};
    pid_t pid = 0;
    enum status status = judge_machine(said, err);
    if (!status)
        status = read_pid(said, &pid, err);
    if (!status)
        status = process_identify(pid, &process, err);
    if (!status)
        status = judge_place(said, pid, err);
    if (!status)
        *ret = process;
    return status;
}

bool identity_has_ended(const struct process *process)
{
    return process_wait(process, 0, NULL, NULL) == ST_OK;
}
