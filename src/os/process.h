/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes: start one that outlives us, recognise it later, wait for its end, signal it. A process
 * number alone is soon given to another process; an identity is the number together with the start
 * time and the boot, so that a signal never reaches a stranger, also after a reboot and from
 * another process than the one that started it. Identities hold inside one PID namespace. No state,
 * any thread.
 */
#ifndef HOLDFAST_OS_PROCESS_H
#define HOLDFAST_OS_PROCESS_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_BOOT_MAX = 40, PROCESS_TEXT_MAX = 96 };

struct process {
    pid_t pid;
    uint64_t start_ticks; /* since the boot */
    char boot[PROCESS_BOOT_MAX];
};

struct process_spec {
    const char *const *argv; /* argv[0] is looked up in PATH; NULL at the end */
    const char *const *env;  /* NULL: ours */
    const char *folder;      /* where it runs; NULL: here */
    const char
        *output_path; /* gets stdout and stderr, appended, seen from our folder; NULL: none */
    int output_fd;    /* the same instead of a path; 0: none. Stays ours */
    int input_fd;     /* becomes stdin; 0: /dev/null. Stays ours */
};

/* Start a process in a session of its own: no terminal, no signals from ours, default signal
 * handling, no descriptor of ours but those given. It stays our child: process_wait()
 * takes its remains; when we end first, init does. */
MUST_CHECK enum status process_spawn(const struct process_spec *spec, struct process *ret,
                                     struct err *err);

/* The identity of a running process; ST_NOT_FOUND when there is none (or only its remains). */
MUST_CHECK enum status process_identify(pid_t pid, struct process *ret, struct err *err);

/* It runs, or is stopped. False once it ended, also before its parent took notice. */
bool process_is_alive(const struct process *process);

enum process_state { PROCESS_RUNS, PROCESS_STOPPED, PROCESS_ENDED };
enum process_state process_state(const struct process *process);

/* Wait until it ended; ST_TIMEOUT at the deadline. *ret_exit (may be NULL) becomes its exit code,
 * 128 + the signal that ended it, or -1 when it is not our child and nobody can tell. */
MUST_CHECK enum status process_wait(const struct process *process, nsec deadline, int *ret_exit,
                                    struct err *err);

/* Send a signal to this very process; ST_NOT_FOUND when it ended. */
MUST_CHECK enum status process_signal(const struct process *process, int signal, struct err *err);

/* "PID:START:BOOT", to keep an identity in a file. */
void process_format(const struct process *process, char ret_text[static PROCESS_TEXT_MAX]);
MUST_CHECK enum status process_parse(const char *text, struct process *ret, struct err *err);

#endif
