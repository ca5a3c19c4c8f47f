/* SPDX-License-Identifier: Apache-2.0
 *
 * Run a program that we do not trust to its end: input as a file, output read and capped, a
 * deadline at which its whole process group is ended. It can hang, flood or close its ends without
 * holding us up. Blocking; any thread.
 */
#ifndef HOLDFAST_OS_CAPTURE_H
#define HOLDFAST_OS_CAPTURE_H

#include "base/buf.h"
#include "os/process.h"

#include <stdatomic.h>
#include <stddef.h>

struct capture_job {
    const char *const *argv; /* as in struct process_spec */
    const char *const *env;
    const char *folder;
    const char *input; /* what it finds on stdin: a file in memory, at its beginning */
    size_t output_cap; /* bytes that are kept; what comes beyond is read slowly, and dropped */
    nsec deadline;     /* then SIGTERM to the group, and grace_ms later SIGKILL */
    int64_t grace_ms;
    const atomic_bool *cancel; /* the same at once when it becomes true; NULL: never */
};

struct capture {
    struct buf output;   /* stdout and stderr, raw */
    size_t output_bytes; /* all that was read of it */
    int exit_status;     /* -1: ended by 'signal' */
    int signal;
    bool is_late, is_cancelled; /* ended by us */
    double took_ms;
};

/* Until the program itself ended: children that it leaves behind in time are let go, and their
 * output is not waited for. Any status but ST_OK: it was not started. */
MUST_CHECK enum status capture_run(const struct capture_job *job, struct capture *ret,
                                   struct err *err);
void capture_release(struct capture *capture);

#endif
