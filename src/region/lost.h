/* SPDX-License-Identifier: Apache-2.0
 *
 * A region that somebody says is lost: whether it is alive, by the permission that its conductors
 * give, and the fence that keeps it from serving. Blocking; the rules are in permit/fence.h.
 */
#ifndef HOLDFAST_REGION_LOST_H
#define HOLDFAST_REGION_LOST_H

#include "base/clock.h"
#include "base/err.h"
#include "conductor/run.h"
#include "permit/fence.h"
#include "permit/pulse.h"

struct store;

/* X(id, name): what is known of it. */
#define REGION_STANDING_TABLE(X)                                                                   \
    X(REGION_UNWATCHED,                                                                            \
      "unwatched")             /* nobody ever gave permission there: nothing ends by itself */     \
    X(REGION_ALIVE, "alive")   /* its conductors give permission to serve */                       \
    X(REGION_SILENT, "silent") /* what they gave is over */                                        \
    X(REGION_FENCED, "fenced") /* it may not serve until it is given back */

enum region_standing { REGION_STANDING_TABLE(TABLE_ID) REGION_STANDINGS };
const char *region_standing_name(enum region_standing standing);

struct region_look {
    enum region_standing standing;
    struct permit_term term;
    struct permit_pulse pulse;
    struct permit_fence fence;   /* when it is fenced */
    char *beat;                  /* what the last one says; NULL: there is none */
    char by[PERMIT_GRANTER_MAX]; /* whose beat was the last; "": not known */
};
void region_look_release(struct region_look *look);

/* Look until it is known: a wait of the term, and at once when it beats; a beat that was long on
 * its way tells nothing, and makes it a wait longer. Does not release what 'ret' had. */
MUST_CHECK enum status region_look(struct store *store, const char *region, struct region_look *ret,
                                   struct err *err);
/* permit_fence(), and what it ends: whoever holds the run lock may be lost with the region, and his
 * lease may live on for long, so he goes, whoever he is. A run whose lock is gone changes nothing
 * any more; it is set aside with that, or whoever leads would go on with it. That one is in
 * ret_left, whatever came of the fence; "": there was none. 'gone' is filled in here. */
MUST_CHECK enum status region_fence(struct store *store, const struct permit_fencing *fencing,
                                    nsec deadline, char ret_left[static RUN_ID_MAX],
                                    int64_t *ret_revision, struct err *err);

#endif
