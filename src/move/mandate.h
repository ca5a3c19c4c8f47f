/* SPDX-License-Identifier: Apache-2.0
 *
 * A mandate: the right to move shards, and what all moves under it share. It is held while the key
 * MANDATE_LOCK_KEY of the store exists with the creation revision 'token' (the fencing token that
 * every route write compares). Made by a run, read by its mover threads: only what is atomic, or
 * has its own lock behind its pointer, changes meanwhile.
 */
#ifndef HOLDFAST_MOVE_MANDATE_H
#define HOLDFAST_MOVE_MANDATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drain_list;
struct drain_mark;
struct freeze_gate;
struct inventory;
struct inventory_server;
struct inventory_shard;
struct journal;
struct probe;
struct route;
struct store;

#define MANDATE_LOCK_KEY "run-lock"
#define MANDATE_RUNS "runs/"    /* below it the record of each run, by its id */
#define MANDATE_HOLD "converge" /* instead of a run's id: roles are brought back */
#define MANDATE_READY "ready"   /* a region is silent: a run may begin in a moment */

struct mandate {
    const struct inventory *fleet;
    struct store *store;
    const char *run; /* id of the run */
    int64_t token;
    size_t to_region;
    const struct drain_list *drained; /* hosts that shall have no role; NULL: none */
    /* Of a run that drains a host, or gives its roles back: the goal is a server, not a region. */
    const struct drain_mark *mark; /* NULL: another run */
    bool is_return;
    bool is_resumed;                 /* took over from another process */
    bool is_abort_only;              /* undo or finish what is in flight, start nothing */
    atomic_bool is_aborted;          /* it is to stop: what is in flight is undone or finished */
    atomic_bool is_called_off;       /* by an operator, not by a gate or for failures */
    const atomic_bool *is_unwelcome; /* somebody has more urgent work for the lock; NULL: nobody */
    /* Would the server stay open? NULL: nobody can say. */
    bool (*may_open)(void *asked, const struct inventory_server *server);
    void *asked;
    struct journal *journal;   /* never NULL once moves run */
    struct probe *probe;       /* NULL: outages are not measured */
    struct freeze_gate *gate;  /* the cap on simultaneous freezes */
    _Atomic int *shard_states; /* enum shard_state by index of the shard, for display */
    /* Hears each state that was recorded, from the mover's thread, also while clients wait: must
     * not block. NULL: nobody listens. */
    void (*on_state)(void *listener, const struct inventory_shard *shard,
                     const struct route *route);
    void *listener;
};

/* Who called the run off is not told to go on with it: "holdfast run ...". */
static inline const char *mandate_next(const struct mandate *mandate)
{
    return atomic_load(&mandate->is_called_off) ? "abort" : "resume";
}

static inline bool mandate_must_stop(const struct mandate *mandate)
{
    return mandate->is_abort_only || atomic_load(&mandate->is_aborted) ||
           (mandate->is_unwelcome && atomic_load(mandate->is_unwelcome));
}

/* Is the shard's primary where it is wanted? */
bool mandate_is_there(const struct mandate *mandate, const struct inventory_shard *shard,
                      const struct route *route);

static inline bool mandate_may_open(const struct mandate *mandate,
                                    const struct inventory_server *server)
{
    return !mandate->may_open || mandate->may_open(mandate->asked, server);
}

#endif
