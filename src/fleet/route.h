/* SPDX-License-Identifier: Apache-2.0
 *
 * The route of a shard: its record in the coordination store, key "shards/NAME". It says where
 * the shard's writes go and how far a move has got; it is the truth that a successor starts from.
 * Written only by compare-and-set on its own revision and on the run lock (the fencing token).
 */
#ifndef HOLDFAST_FLEET_ROUTE_H
#define HOLDFAST_FLEET_ROUTE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/table.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct store_list;

/* 'writable': the primary accepts writes in this state. */
#define SHARD_STATE_TABLE(X)                                                                       \
    X(SHARD_SERVING, "serving", true)                                                              \
    X(SHARD_PREPARING, "preparing", true)                                                          \
    X(SHARD_FROZEN, "frozen", false)                                                               \
    X(SHARD_PROMOTING, "promoting", false)                                                         \
    X(SHARD_REDIRECTING, "redirecting", true)                                                      \
    X(SHARD_UNDOING, "undoing", false)                                                             \
    /* of a failover: its primary is lost */                                                       \
    X(SHARD_FENCING, "fencing", false) /* nobody may write; another primary is sought */           \
    X(SHARD_OPENING, "opening", false) /* it is found, and may be open */                          \
    X(SHARD_REPOINTING, "repointing", true)

enum shard_state { SHARD_STATE_TABLE(TABLE_ID) SHARD_STATES };

const char *shard_state_name(enum shard_state state);
bool shard_state_is_writable(enum shard_state state);

enum { ROUTE_NAME_MAX = 320, ROUTE_LINK_MAX = 2048 };

struct route {
    enum shard_state state;
    uint64_t epoch;               /* +1 whenever the primary changes */
    char home[ROUTE_NAME_MAX];    /* region */
    char primary[ROUTE_NAME_MAX]; /* "host:port" */
    char run[ROUTE_NAME_MAX]; /* that moves it; while serving: that moved it to this home, or "" */
    char target[ROUTE_NAME_MAX];      /* region it moves to; "" while serving */
    char old_primary[ROUTE_NAME_MAX]; /* both ends of the move; "" while serving */
    char new_primary[ROUTE_NAME_MAX];
    bool runs_events; /* the old primary's event scheduler was on: the new one's shall be */
    bool is_strict;   /* the servers run with a strict order of GTIDs, and shall again */
    char log_end[ROUTE_NAME_MAX]; /* "FILE:POSITION" in the old primary's log before the freeze */
    char new_log_end[ROUTE_NAME_MAX]; /* the same of the new primary */
    char link[ROUTE_LINK_MAX]; /* how the new primary was connected to the old one, for the way back
                                */
    int64_t frozen_us; /* wall time just before the freeze, for reports; 0: never, or long ago */
    int64_t new_id;    /* server id of the new primary when it was prepared; 0: not known */
    uint64_t revision; /* of the record; 0: not in the store yet */
};

/* Read a shard's route. ST_NOT_FOUND when Holdfast never moved it. */
MUST_CHECK enum status route_load(struct store *store, const char *shard, nsec deadline,
                                  struct route *ret, struct err *err);
/* All routes at one moment, to be looked up by shard. */
struct route_list {
    struct store_list *list; /* owned */
};
MUST_CHECK enum status route_list_load(struct store *store, nsec deadline, struct route_list *ret,
                                       struct err *err);
void route_list_release(struct route_list *list);
/* ST_NOT_FOUND: Holdfast never moved it. */
MUST_CHECK enum status route_list_get(const struct route_list *list, const char *shard,
                                      struct route *ret, struct err *err);

/* JSON text of the record; the caller frees. */
char *route_encode(const struct route *route);
MUST_CHECK enum status route_decode(const char *text, struct route *ret, struct err *err);
char *route_key(const char *shard); /* the caller frees */

#endif
