/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps one program running, as systemd does it on a host: it is started again at once when it ends
 * (Restart=always), killed when it hangs (WatchdogSec=), and what must not go on without it is told
 * so when it stays away longer than a grace (BindsTo= of the others, with a restart between). For
 * labs and tests, where there is no systemd. One thread: the caller's, for as long as it lives.
 *
 * Signs of life are those of sd_notify(3): datagrams to $NOTIFY_SOCKET, by the program itself. Time
 * in which the keeper was stopped, with all of its host, is not held against the program.
 */
#ifndef HOLDFAST_KEEPER_KEEPER_H
#define HOLDFAST_KEEPER_KEEPER_H

#include "base/err.h"
#include "os/process.h"

#include <stdbool.h>
#include <stdint.h>

struct keeper {
    const char *const *argv;   /* the program; argv[0] is looked up in PATH */
    const char *output_path;   /* gets what it says, appended */
    const char *identity_path; /* who runs now, for keeper_find(); replaced whole */
    int64_t grace_ms;
    bool has_signs; /* it gives signs of life; else it is there when it runs and is not stopped */
    void (*on_away)(void *context); /* again and again while it is away for longer */
    void (*say)(void *context, const char *line);
    void *context;
};

/* Until it cannot be done any more: returns only with an error. What ran under the same identity
 * file is ended first. */
MUST_CHECK enum status keeper_run(const struct keeper *keeper, struct err *err);

/* Who was started last by the keeper with this identity file, and whether it said READY=1 since.
 * For other processes than the keeper. ST_NOT_FOUND: nobody ever was. */
MUST_CHECK enum status keeper_find(const char *identity_path, struct process *ret,
                                   bool *ret_is_ready, struct err *err);

#endif
