/* SPDX-License-Identifier: Apache-2.0
 * See errors.h. */
#include "etcd/errors.h"

#include <string.h>

#define ROW(code, begins, reach, status, meaning, hint)                                            \
    {code, begins, ETCD_##reach, status, meaning, hint},

static const struct etcd_error errors[] = {ETCD_ERROR_TABLE(ROW)};

const struct etcd_error *etcd_error_find(const struct etcd_answer *answer)
{
    for (const struct etcd_error *error = errors;; error++) /* the last fits everything */
        if ((!error->code || error->code == answer->error) &&
            strncmp(answer->message, error->begins, strlen(error->begins)) == 0)
            return error;
}

enum status etcd_error_set(const struct etcd_answer *answer, struct err *err)
{
    const struct etcd_error *error = etcd_error_find(answer);
    err_set(err, error->status, "%s", answer->message);
    if (answer->error == ETCD_PLAIN && *error->begins)
        err_set(err, error->status, "%s (%s)", error->meaning, answer->message);
    return *error->hint ? err_hint(err, "%s", error->hint) : error->status;
}
