/* SPDX-License-Identifier: Apache-2.0
 *
 * An order for a run as it goes from who gives it to the conductor that carries it out: the body of
 * POST /v1/runs. It is the record of a run that has not begun. Pure.
 */
#ifndef HOLDFAST_ORDERS_ORDER_H
#define HOLDFAST_ORDERS_ORDER_H

#include "conductor/run_record.h"

#include <jansson.h>

struct inventory;

enum { ORDER_CALLER_MAX = 600, ORDER_REASON_MAX = 500, ORDER_SETTLE_MAX_S = 86400 };

/* The caller frees. 'caller': who gives it, in his own words. */
char *order_encode(const struct run_record *record, const char *caller);

/* From anybody. ST_INVALID names the key. by, origin and what the fleet decides are left open; an
 * id that was not given is a new one. *ret_caller (owned) is NULL when he said nothing. */
MUST_CHECK enum status order_decode(const json_t *body, struct run_record *ret, char **ret_caller,
                                    struct err *err);

/* Is it one for this fleet? Fills in the shards when none were named: all of them. */
MUST_CHECK enum status order_fit(struct run_record *record, const struct inventory *fleet,
                                 struct err *err);

#endif
