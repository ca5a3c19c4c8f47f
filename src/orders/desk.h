/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes an order: it is read, checked against the fleet as it is now, and begun. Nothing is changed
 * before it was found good. May block for some seconds.
 */
#ifndef HOLDFAST_ORDERS_DESK_H
#define HOLDFAST_ORDERS_DESK_H

#include "base/err.h"
#include "conductor/run_record.h"

struct inventory;
struct runner;
struct store;

struct desk {
    const struct inventory *fleet;
    struct store *store;
    struct runner *runner;
    const char *paused;    /* by whom and why; NULL: it is not */
    const char *who;       /* the name of the token that came with the order */
    const char *conductor; /* whose API it came by */
};

/* 'text' is the body of POST /v1/runs. ST_OK also when this run was begun before; ST_CONFLICT:
 * another one is not finished. */
MUST_CHECK enum status desk_take(const struct desk *desk, const char *text, size_t length,
                                 char ret_id[static RUN_ID_MAX], struct err *err);

#endif
