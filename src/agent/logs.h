/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside agent/ only: the binary and relay logs of a server that does not run, as they lie in its
 * folders. What is a log is found by the index files that the server keeps; what a file is, by its
 * first bytes.
 */
#ifndef HOLDFAST_AGENT_LOGS_H
#define HOLDFAST_AGENT_LOGS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOGS_MAX = 20000,
    LOGS_HEAD_BYTES = 23, /* magic, then the first event's header with its flags */
};

enum log_kind { LOG_BINARY, LOG_RELAY, LOG_OTHER /* index files, positions: small */ };

struct log_file {
    char *path, *name; /* the name alone is how its copy is called */
    enum log_kind kind;
    int64_t size, modified_ns;
};

struct logs {
    struct log_file *files; /* binary logs from the oldest to the newest, by index */
    size_t count, capacity;
    size_t missing; /* in an index, and not there: purged in the middle of a crash */
};

const char *log_kind_name(enum log_kind kind);
/* LOG_OTHER when these are not the first bytes of a log. */
enum log_kind log_kind_of(const unsigned char *head, size_t length);

/* Of the data folder, and of other folders where logs are. */
MUST_CHECK enum status logs_find(const char *data, const char *const *folders, size_t folder_count,
                                 struct logs *ret, struct err *err);
void logs_release(struct logs *logs);

/* ST_BUSY: a server uses this data folder. */
MUST_CHECK enum status logs_check_unused(const char *data, struct err *err);

#endif
