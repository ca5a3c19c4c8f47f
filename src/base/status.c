/* SPDX-License-Identifier: Apache-2.0
 * Look-ups in the status table. */
#include "base/status.h"

struct status_row {
    const char *name, *text;
    int http, exit_code;
    bool retry;
};

static const struct status_row rows[] = {
#define X(name, text, http, exit_code, retry) {#name, text, http, exit_code, retry},
    STATUS_TABLE(X)
#undef X
};

static const struct status_row *row_of(enum status status)
{
    unsigned index = (unsigned)status;
    if (index >= sizeof(rows) / sizeof(rows[0]))
        index = ST_INTERNAL;
    return &rows[index];
}

const char *status_text(enum status status)
{
    return row_of(status)->text;
}

const char *status_name(enum status status)
{
    return row_of(status)->name + sizeof("ST_") - 1;
}

int status_http(enum status status)
{
    return row_of(status)->http;
}

int status_exit_code(enum status status)
{
    return row_of(status)->exit_code;
}

bool status_can_retry(enum status status)
{
    return row_of(status)->retry;
}
