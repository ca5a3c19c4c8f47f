/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may take a role over by an operator's order, and who acknowledges writes then. Pure: over
 * what was observed, and over which hosts shall have no role. "Healthy" is a read-only replica that
 * receives and applies.
 */
#ifndef HOLDFAST_HANDOVER_HEIR_H
#define HOLDFAST_HANDOVER_HEIR_H

#include "base/err.h"
#include "drain/mark.h"
#include "fleet/observation.h"

/* The two servers of a handover within a region: the new primary, and who acknowledges its writes
 * from the first one on. */
struct heirs {
    const struct server_observation *primary, *acker;
};

/* In place of the shard's primary, best one that is named (NULL: whoever). ST_NO_GO: nobody, why,
 * and what to do. */
MUST_CHECK enum status heirs_choose(const struct shard_observation *shard,
                                    const struct drain_list *drained, const char *named,
                                    struct heirs *ret, struct err *err);
/* Where the primary stays: can writes be acknowledged without the servers that are drained? */
MUST_CHECK enum status heirs_check_ackers(const struct shard_observation *shard,
                                          const struct drain_list *drained, struct err *err);
/* The same of what is: does one acknowledge now? */
bool heirs_has_acker(const struct shard_observation *shard, const struct drain_list *drained);
/* A healthy one in the region of a relay that is drained; NULL: none. */
const struct server_observation *heirs_find_relay(const struct shard_observation *shard,
                                                  const struct drain_list *drained, size_t region);
/* Why it could not be primary, in words that follow its name; NULL: it could. */
const char *heirs_refusal(const struct server_observation *server);

#endif
