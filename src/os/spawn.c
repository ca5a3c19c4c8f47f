/* SPDX-License-Identifier: Apache-2.0
 * Starting a process; see process.h. posix_spawn() is used instead of fork(): it is safe beside
 * threads, does not copy our memory map, and reports a failing exec to the caller. */
#include "os/process.h"

#include "base/scope.h"
#include "os/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_OTHER_FD = STDERR_FILENO + 1, OUTPUT_MODE = 0640 };

static int add_actions(posix_spawn_file_actions_t *actions, const struct process_spec *spec)
{
    const char *output = spec->output_path ? spec->output_path : "/dev/null";
    int flags = O_WRONLY | O_CREAT | O_APPEND, error = 0;
    if (spec->input_fd)
        error = posix_spawn_file_actions_adddup2(actions, spec->input_fd, STDIN_FILENO);
    else
        error = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!error && spec->output_fd)
        error = posix_spawn_file_actions_adddup2(actions, spec->output_fd, STDOUT_FILENO);
    else if (!error)
        error =
            posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, output, flags, OUTPUT_MODE);
    error = error ? error : posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO);
    error = error ? error : posix_spawn_file_actions_addclosefrom_np(actions, FIRST_OTHER_FD);
    if (!error && spec->folder)
        error = posix_spawn_file_actions_addchdir_np(actions, spec->folder);
    return error;
}

static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawnattr_setsigmask(attributes, &none);
    error = error ? error : posix_spawnattr_setsigdefault(attributes, &all);
    short flags = POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    return error ? error : posix_spawnattr_setflags(attributes, flags);
}

enum status process_spawn(const struct process_spec *spec, struct process *ret, struct err *err)
{
    /* The functions want char *const[], and promise not to write. */
    char *const *argv = (char *const *)spec->argv;
    char *const *env = spec->env ? (char *const *)spec->env : environ;
    AUTO(posix_spawn_file_actions_destroy) posix_spawn_file_actions_t actions;
    AUTO(posix_spawnattr_destroy) posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);

    pid_t pid = -1;
    int error = add_actions(&actions, spec);
    error = error ? error : set_attributes(&attributes);
    error = error ? error : posix_spawnp(&pid, argv[0], &actions, &attributes, argv, env);
    if (error)
        return err_set_errno(err, error, "start", argv[0]);
    enum status status = process__identify(pid, true, ret, err);
    return status ? err_wrap(err, "start '%s'", argv[0]) : ST_OK;
}
