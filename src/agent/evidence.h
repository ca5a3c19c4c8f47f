/* SPDX-License-Identifier: Apache-2.0
 *
 * Evidence: copies of a server's newest binary logs and of its relay logs, made and synced before
 * it may start again. Recovery may cut off the end of a binary log, acknowledged writes with it,
 * and a replica that starts throws away what it received and did not apply: what was lost is told
 * from these copies. Blocking; any thread.
 */
#ifndef HOLDFAST_AGENT_EVIDENCE_H
#define HOLDFAST_AGENT_EVIDENCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evidence_job {
    const char *server; /* "host:port" */
    const char *data;   /* its data folder */
    const char *const *log_folders;
    size_t log_folder_count;
    const char *into;         /* copies are in into/SERVER/TIME */
    const char *state_folder; /* of the agent: what it had received; or NULL */
    int64_t tail_bytes;       /* of the newest binary logs, whole files, at least one */
    int64_t max_bytes;        /* of one copy */
    int64_t keep_s;           /* older copies are removed, but the newest; 0: never */
};

struct evidence {
    char *folder;                                  /* of the copy; NULL: the server has no logs */
    bool is_new;                                   /* else an earlier copy has all of it */
    size_t binary_count, relay_count, older_count; /* older: binary logs that were left out */
    int64_t bytes;
};

/* ST_BUSY: the server runs. ST_FULL: it would be more than max_bytes, or than there is room for;
 * nothing was kept then. */
MUST_CHECK enum status evidence_keep(const struct evidence_job *job, struct evidence *ret,
                                     struct err *err);
void evidence_release(struct evidence *evidence);

#endif
