/* SPDX-License-Identifier: Apache-2.0
 *
 * What a call can come to. One list: its text, HTTP status, process exit code, and whether trying
 * the same call again can help. Functions that can fail return 'enum status'; 0 is success.
 * When a human needs more, they also fill a 'struct err' (err.h).
 */
#ifndef HOLDFAST_BASE_STATUS_H
#define HOLDFAST_BASE_STATUS_H

#include "base/table.h"

#include <stdbool.h>

/* clang-format off */
/*        name           text                                     http exit retry */
#define STATUS_TABLE(X)                                                            \
    X(ST_OK,          "ok",                                        200,   0, false) \
    X(ST_INVALID,     "invalid input",                             400,   2, false) \
    X(ST_NOT_FOUND,   "not found",                                 404,   1, false) \
    X(ST_EXISTS,      "already exists",                            409,   1, false) \
    X(ST_CONFLICT,    "changed by somebody else meanwhile",        409,   1, false) \
    X(ST_FENCED,      "another run took over",                     409,   1, false) \
    X(ST_NO_GO,       "not ready",                                 412,   3, false) \
    X(ST_ABORTED,     "aborted",                                   409,   4, false) \
    X(ST_STUCK,       "waits for an operator",                     503,   5, false) \
    X(ST_BUSY,        "busy",                                      503,   1, true)  \
    X(ST_TIMEOUT,     "timed out",                                 504,   1, true)  \
    X(ST_UNREACHABLE, "unreachable",                               503,   1, true)  \
    X(ST_UNKNOWN,     "outcome unknown",                           504,   1, false) \
    X(ST_COMPACTED,   "history no longer kept",                    410,   1, false) \
    X(ST_DENIED,      "access denied",                             403,   1, false) \
    X(ST_UNTRUSTED,   "no TLS connection",                         403,   1, false) \
    X(ST_SQL,         "refused by the SQL server",                 502,   1, false) \
    X(ST_FULL,        "no space left",                             507,   1, false) \
    X(ST_IO,          "input/output error",                        500,   1, false) \
    X(ST_INTERNAL,    "internal error",                            500,  70, false)
/* clang-format on */

enum status { STATUS_TABLE(TABLE_ID) };

#define MUST_CHECK __attribute__((warn_unused_result))

const char *status_text(enum status status);
const char *status_name(enum status status); /* "TIMEOUT", for logs and JSON */
int status_http(enum status status);
int status_exit_code(enum status status);
bool status_can_retry(enum status status);

/* Say in the code why a failure does not matter here. */
#define status_ignore(call, reason)                                                                \
    do {                                                                                           \
        enum status ignored_ = (call);                                                             \
        (void)ignored_;                                                                            \
        (void)sizeof(reason);                                                                      \
    } while (0)

#endif
