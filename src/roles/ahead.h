/* SPDX-License-Identifier: Apache-2.0
 * What servers have of each other's transactions. */
#ifndef HOLDFAST_ROLES_AHEAD_H
#define HOLDFAST_ROLES_AHEAD_H

#include "base/buf.h"
#include "fleet/observation.h"

/* Has the server anything, applied, logged or only received, that the primary lacks? Say what. What
 * cannot be read may be anything. */
bool roles_is_ahead(const struct shard_observation *shard, const struct server_observation *primary,
                    const struct server_observation *server, struct buf *words);

/* What it wrote itself and the primary lacks: "0-1-105 to 0-1-107". False: nothing. */
bool roles_find_tail(const struct server_observation *primary,
                     const struct server_observation *server, struct buf *words);

/* Has it from everybody else only what the primary has, and follows nobody? */
bool roles_has_only_tail(const struct server_observation *primary,
                         const struct server_observation *server);

/* All that the server has, from sources and of its own: per domain whichever is further. Owned by
 * the caller; NULL: it does not read. */
char *roles_whole_position(const struct server_observation *server);

#endif
