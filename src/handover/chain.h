/* SPDX-License-Identifier: Apache-2.0
 *
 * Before a primary is handed over within its region: one replica follows the heir instead of the
 * primary, and acknowledges, so that the heir can open as a relay does in a switchover. Nobody is
 * closed by that: the primary is acknowledged by the heir meanwhile.
 */
#ifndef HOLDFAST_HANDOVER_CHAIN_H
#define HOLDFAST_HANDOVER_CHAIN_H

#include "handover/heir.h"

struct mandate;

/* The acker follows the heir. What it had received is applied there first, and the heir has it. */
MUST_CHECK enum status chain_make(const struct mandate *mandate, const struct heirs *heirs,
                                  struct err *err);
/* Whoever follows another replica of the primary's region follows the primary again. */
MUST_CHECK enum status chain_undo(const struct mandate *mandate,
                                  const struct shard_observation *shard, struct err *err);

#endif
