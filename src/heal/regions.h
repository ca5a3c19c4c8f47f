/* SPDX-License-Identifier: Apache-2.0
 *
 * A region that was fenced is given back: when nothing is served there any more, every server of it
 * follows as a replica, and it has what was acknowledged elsewhere until a moment ago. What it
 * accepted alone keeps it fenced, until that is dealt with.
 */
#ifndef HOLDFAST_HEAL_REGIONS_H
#define HOLDFAST_HEAL_REGIONS_H

#include "base/buf.h"
#include "base/err.h"
#include "fleet/observation.h"

struct exposure_list;
struct inventory;
struct permit_fence;
struct permit_list;
struct route_list;
struct run;
struct store;

/* A fenced region as it was seen. */
struct region_view {
    const struct fleet_observation *seen;
    const struct permit_list *revoked;
    const struct exposure_list *exposures; /* of the shards that were seen */
    nsec since;                            /* what was acknowledged before must be there */
    size_t region;
};
/* Why it is not whole, one line each, as far as can be seen; nothing: it is. Pure. */
void region_find_missing(const struct region_view *view, struct buf *lines);
/* A shard whose home the region still is; NULL: there is none. */
const struct inventory_shard *region_find_homed(const struct inventory *fleet,
                                                const struct route_list *routes,
                                                const char *region);

/* Take the fence away. 'run' is held, or goes on. ST_NO_GO: something is served there, which
 * 'is_forced' does not mind: nobody could take it over. */
MUST_CHECK enum status region_give_back(struct run *run, const struct permit_fence *fence,
                                        bool is_forced, struct err *err);

/* Those that are whole, and were fenced policy.hold_down ago. 'exposures': of what was seen. */
MUST_CHECK enum status regions_give_back(struct store *store, const struct inventory *fleet,
                                         const struct fleet_observation *seen,
                                         const struct exposure_list *exposures, struct err *err);

#endif
