/* SPDX-License-Identifier: Apache-2.0
 *
 * The failover of one shard, on one thread: its primary is lost, and one of its replicas takes
 * over; or its whole region is lost, and a server of the other one takes over, without what had not
 * got there. Asks the plan (plan.h) what to do, records the state, does the step, and
 * again. Steps are idempotent and find out by themselves what is done already, so a successor needs
 * nothing but the route and the servers.
 *
 * What keeps the lost primary from acknowledging a write while another one opens, and so what a
 * caller has to know before it begins one: docs/failover.md.
 */
#ifndef HOLDFAST_FAILOVER_FAILOVER_H
#define HOLDFAST_FAILOVER_FAILOVER_H

#include "base/buf.h"
#include "failover/elect.h"
#include "failover/plan.h"
#include "failover/proof.h"
#include "fleet/observation.h"
#include "move/move.h"
#include "move/session.h"
#include "permit/basis.h"
#include "permit/granters.h"
#include "permit/opening.h"

/* What was acknowledged before 'covered' is at the server that takes over; 'transactions' of those
 * that were known when the primary was last seen are not; -1: not known. */
struct failover_bound {
    nsec covered;
    int64_t transactions;
};

/* What the conductors know, beside the store. Any thread. */
struct failover_ears {
    void *context;
    /* What an agent told of a server; false: nothing is known. */
    bool (*hear)(void *context, const char *server, struct permit_heard *ret);
    /* When one of these last granted it permission, or later (INT64_MIN: never); false: one of them
     * is silent, or does not know of the revocation yet. */
    bool (*last_grant)(void *context, const struct permit_granters *granters, const char *server,
                       int64_t revocation, nsec *ret);
    /* The route, as it was at this revision of the store or later; false: it is not known. */
    bool (*route)(void *context, const struct inventory_shard *shard, int64_t revision,
                  struct route *ret);
    /* Since when the route is known to have this revision; false: it is not. */
    bool (*route_since)(void *context, const struct inventory_shard *shard, uint64_t revision,
                        nsec *ret);
    /* Has it no agent, or was that granted permission to it a moment ago? */
    bool (*may_open)(void *context, const struct inventory_server *server);
    /* When its primary was lost: it answered before, and not after. False: not known. */
    bool (*lost_since)(void *context, const struct inventory_shard *shard, nsec *ret);
    /* How much of what 'lost' acknowledged may not be in this position, of whoever takes over.
     * False: not known. */
    bool (*bound)(void *context, const struct inventory_shard *shard,
                  const struct inventory_server *lost, const char *position,
                  struct failover_bound *ret);
};

struct failover {
    /* Given; see failover_init(). */
    const struct mandate *mandate;
    const struct inventory_shard *shard;
    const struct inventory_server *lost;
    char *const *without; /* servers of the region that need not answer: names */
    size_t without_count;
    /* The lost primary's host has an agent: it is revoked, and nobody is opened before it may not
     * serve any more (permit/permit.h). */
    bool is_looked_after;
    bool is_region_lost;
    int64_t fence; /* revision of the fence of the lost region; 0: there is none */
    const struct failover_ears *ears; /* NULL: nobody can be asked */
    bool was_region_silent;           /* a moment ago nobody of the lost region answered */

    /* Where it is. */
    struct route route;
    bool is_route_doubtful; /* a write's outcome is unknown: read it back before the next */
    struct failover_view view;
    struct session *sessions; /* by the index of the server */
    struct fleet_observation seen;
    struct election election;              /* points into what was seen */
    bool was_begun;                        /* by another process, which may have changed servers */
    const struct inventory_server *chosen; /* the candidate */
    double clock_ahead_s;                  /* its wall clock minus our boot clock */
    nsec looked_at;                        /* when it was last seen to be ready to open */
    bool is_strict;                        /* its order of GTIDs, as it was */
    char *position;                        /* that it waits for when it opens */
    char *whole;                           /* all that it has then; NULL: it does not read */

    /* What came of it. */
    enum move_result result;
    struct proof proof; /* of what may be lost */
    struct err failure; /* the last thing that went wrong */
    struct story story;
    struct permit_wait wait;         /* for the end of the lost primary's permission */
    struct permit_granters granters; /* after the revocation */
    enum permit_end end;
    struct permit_list revoked; /* as it was before the servers were looked at */
    nsec lost_at;               /* 0: not known */
    bool has_bound;
    struct failover_bound bound; /* of what is lost with the region */
    nsec began_at, published_at;
};

/* 'lost' is the primary that the route names, or one that the caller found when there is none yet
 * (then the route is given as serving with it). */
void failover_init(struct failover *failover, const struct mandate *mandate,
                   const struct inventory_shard *shard, const struct route *route);
void failover_release(struct failover *failover);
/* When its region is lost: what another run left in the middle becomes this one's, and it is known
 * who is lost. */
void failover_take_from_another_run(struct failover *failover);
/* Is the lost region fenced? Whoever fences it and fails its shards over are two: it may have been
 * given back since. */
MUST_CHECK enum status failover_know_fence(struct failover *failover, nsec deadline,
                                           struct err *err);
/* Until the plan says finish or give up, or another process took over. */
void failover_run(struct failover *failover);

/* Who of this region may be open, by the shard's route: also the new primary of a move to there
 * that got so far, and the one that a failover has given up. NULL: nobody. */
const struct inventory_server *failover_find_end(const struct inventory_shard *shard,
                                                 const struct route *route, size_t region);
/* Is the loss of this region the shard's, too? It is served there, or may be. */
bool failover_is_concerned(const struct inventory *fleet, const struct inventory_shard *shard,
                           const struct route *route, size_t region);

/* The primary by what its replicas say, when it does not answer and the store knows none: the one
 * server of the shard that others of its region follow, or, when these are silent, too, that the
 * relay does. NULL: not to be known. */
const struct inventory_server *failover_find_lost(const struct shard_observation *shard);

#endif
