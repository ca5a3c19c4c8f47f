/* SPDX-License-Identifier: Apache-2.0
 *
 * Who takes over from a lost primary: a server of its region, or of another one when the region is
 * lost with it, and the one that the candidate must catch up from first, because that one has more.
 * Pure, over an observation that was made after everybody stopped to receive and applied what it
 * had.
 */
#ifndef HOLDFAST_FAILOVER_ELECT_H
#define HOLDFAST_FAILOVER_ELECT_H

#include "base/err.h"
#include "fleet/observation.h"

struct drain_list;
struct permit_list;

/* Which primary is lost, and where its shard is to have the next one. */
struct vacancy {
    const struct inventory_server *server;
    size_t to_region;
};

/* Is the region lost with it? */
static inline bool vacancy_is_of_region(const struct vacancy *vacancy)
{
    return vacancy->server->region != vacancy->to_region;
}

/* Who takes over only when nobody else can. */
struct unwanted {
    const struct permit_list *revoked; /* has no permission to serve */
    const struct drain_list *drained;  /* NULL: no host is */
    /* Would it stay open, by what its agent is granted? NULL: nobody can say. */
    bool (*may_open)(void *context, const struct inventory_server *server);
    void *context;
};

struct election {
    const struct server_observation *candidate;
    /* Has what the candidate lacks, and everything that anybody has: the relay can be ahead of both
     * replicas, and a replica of the other. NULL: nobody is ahead. */
    const struct server_observation *ahead;
};

/* ST_NO_GO: nobody can, and why; ST_CONFLICT: servers have different histories; ST_TIMEOUT:
 * somebody has not applied what it received yet, and is needed. */
MUST_CHECK enum status elect(const struct shard_observation *shard, const struct vacancy *vacancy,
                             const struct unwanted *unwanted, struct election *ret,
                             struct err *err);

#endif
