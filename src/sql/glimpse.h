/* SPDX-License-Identifier: Apache-2.0
 *
 * The little that a server is asked again and again. Texts point into the result.
 */
#ifndef HOLDFAST_SQL_GLIMPSE_H
#define HOLDFAST_SQL_GLIMPSE_H

#include <stdbool.h>
#include <stdint.h>

/* Of a server's process, for those who share a machine with it. */
struct sql_process {
    bool is_read_only;
    const char *pid_file, *data_folder, *machine;
};

/* Where a server is, for those who ask again and again. */
struct sql_whereabouts {
    int64_t server_id;
    bool is_read_only, is_replica;
    int64_t source_id;    /* of the server that it replicates from; 0: none, or not known */
    const char *position; /* last position in its own binlog */
    const char *received; /* from its source; "" when not replicating */
};

#endif
