/* SPDX-License-Identifier: Apache-2.0
 *
 * Hands an order over to the fleet's conductors. Blocking, for some seconds.
 */
#ifndef HOLDFAST_ORDERS_SEND_H
#define HOLDFAST_ORDERS_SEND_H

#include "base/err.h"

#include <stdbool.h>

struct inventory;
struct run_record;
struct store;

/* ST_OK: the run is begun, by the conductor *ret_conductor (NULL: whose answer was lost). Else
 * *ret_is_refused says whether one did not like the order; when not, nobody takes orders, and
 * whoever begins the run himself, under the same id, begins it once. */
MUST_CHECK enum status order_send(const struct inventory *fleet, struct store *store,
                                  const struct run_record *record, const char **ret_conductor,
                                  bool *ret_is_refused, struct err *err);

#endif
