/* SPDX-License-Identifier: Apache-2.0
 *
 * The order to drain a host, or to give its roles back, as its mark in the store. Written under the
 * run lock before the first role moves, and after the last. */
#ifndef HOLDFAST_HANDOVER_ORDER_H
#define HOLDFAST_HANDOVER_ORDER_H

#include "drain/mark.h"
#include "fleet/observation.h"

struct mandate;

struct handover_order {
    const char *host; /* a host of the fleet file, or the address that its servers have there */
    const char *by, *origin, *reason;
    int64_t since_us;
    bool is_return;
};

/* Its servers; false: there is no such host. */
bool handover_find_host(const struct inventory *fleet, const char *host, struct drain_names *ret);
/* Does the shard have one of them? */
bool handover_is_on(const struct inventory_shard *shard, const struct drain_names *servers);

/* The host's mark in 'list', as it is when the order begins: what it was drained from before stays
 * in it, and what is seen of its roles now is added. ST_INVALID: no such host. NULL: of a
 * return, it is not drained any more. Pure. */
MUST_CHECK enum status handover_make_mark(const struct inventory *fleet,
                                          const struct handover_order *order,
                                          const struct fleet_observation *seen,
                                          struct drain_list *list, struct drain_mark **ret,
                                          struct err *err);
/* The mark is in the store before the first role moves: from then on nothing gives the host one. A
 * mandate that is only to bring shards to one side has what the process before it wrote. 'ret_mark'
 * is set in any case. ST_FENCED: another process took over. */
MUST_CHECK enum status handover_begin(const struct mandate *mandate,
                                      const struct handover_order *order,
                                      const struct fleet_observation *seen, struct drain_list *list,
                                      const struct drain_mark **ret_mark, struct err *err);
/* All roles of these shards are where they should be: the host may go down, or is like any other
 * again. ST_NO_GO: one is not, or nobody would acknowledge a shard's writes; the mark stays. */
MUST_CHECK enum status handover_end(const struct mandate *mandate,
                                    const struct fleet_observation *shards, struct drain_list *list,
                                    struct err *err);

#endif
