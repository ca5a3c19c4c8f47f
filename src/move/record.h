/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a shard's route while a run has it in hand: what a move and a failover have in common.
 * Every write compares the run lock's creation revision (the fencing token) and the route's own
 * revision. Only the holder of the lock writes routes, so when the token still holds, a revision
 * that differs from ours is an earlier write of ours whose outcome we did not learn: adopt it and
 * go on.
 */
#ifndef HOLDFAST_MOVE_RECORD_H
#define HOLDFAST_MOVE_RECORD_H

#include "fleet/route.h"
#include "move/calls.h"
#include "permit/opening.h"
#include "store/store.h"

struct inventory_shard;
struct mandate;

/* A route in hand: where its holder keeps it. */
struct held_route {
    const struct mandate *mandate;
    const struct inventory_shard *shard;
    struct route *route;
    bool *is_doubtful; /* a write's outcome is unknown: read it back before the next */
    enum shard_state *state;
};

/* Learn what the store holds. ST_FENCED when the token is gone; else the route in memory is what
 * the store says. */
MUST_CHECK enum status held_route_read_back(const struct held_route *held, nsec deadline,
                                            struct err *err);

/* The compares and writes of one attempt; texts are owned here. */
struct attempt {
    struct route wanted;
    char *key, *value;
    struct store_compare compares[2 + PERMIT_PART_MAX];
    struct store_op ops[1 + PERMIT_PART_MAX];
    struct store_txn txn; /* points into this struct: it stays where it is */
    bool is_claim;        /* the state stays as it is: nobody is told of it again */
};

/* 'part' (may be NULL) is written beside the route, and outlives the attempt. */
void attempt_init(struct attempt *attempt, const struct held_route *held,
                  const struct route *wanted, const struct permit_part *part);
void attempt_release(struct attempt *attempt);
/* Past the crash points of 'call'. ST_BUSY: make another attempt, with what was read back.
 * ST_CONFLICT, ST_NO_GO: what the part demands is not so. Other failures surely did not happen, or
 * the route is doubtful. */
MUST_CHECK enum status attempt_write(struct attempt *attempt, const struct held_route *held,
                                     enum call call, nsec deadline, struct err *err);
/* The end of one whose transaction came to 'status', at 'revision'; the same results. */
MUST_CHECK enum status attempt_settle(struct attempt *attempt, const struct held_route *held,
                                      enum status status, int64_t revision, nsec deadline,
                                      struct err *err);

#endif
