/* SPDX-License-Identifier: Apache-2.0
 *
 * The hooks of a run: programs of the operator's that are told what happens, and asked before it
 * does. A gate (an event '*.before') is called by the thread that waits for it. All else is told:
 * a lane of its own for each hook, a thread with a queue, calls it in the order of what happened,
 * and no move ever waits for that. Nothing that a hook does harms a run, except that a required
 * one may keep a run, a wave or a shard from beginning.
 *
 * Undo: a hook that succeeded in a scope (the run, a wave, a shard) gets its undo called once when
 * that scope ends elsewhere than it was to go. Of a run that is resumed nobody knows what the dead
 * process called: there the undo is called in any case.
 *
 * All functions accept NULL for a run without hooks, and may be called from any thread.
 */
#ifndef HOLDFAST_HOOKS_HOOKS_H
#define HOLDFAST_HOOKS_HOOKS_H

#include "base/clock.h"
#include "base/err.h"
#include "fleet/hook.h"

#include <stdatomic.h>

struct hooks;
struct inventory;
struct journal;
struct route;

enum { HOOK_WAVES_MAX = 32 };

/* What is the same in all calls of a run. Borrowed until hooks_stop(). */
struct hooks_order {
    const struct inventory *fleet;
    struct journal *journal;
    const char *run, *kind, *from, *to, *by, *origin, *reason; /* origin, reason: or NULL */
    bool is_resumed;
    const atomic_bool *is_aborted; /* ends the wait for a gate */
};

/* What a call is about. The scope follows from the event: the run, a wave, or a shard. */
struct hook_news {
    enum hook_event event;
    const struct inventory_shard *shard;         /* of a shard's events */
    const struct inventory_shard *const *shards; /* of a run's and a wave's */
    size_t shard_count;
    const char *wave;           /* name; NULL: of the run as a whole */
    size_t wave_index;          /* below HOOK_WAVES_MAX */
    const struct route *route;  /* of a shard, as far as known */
    const char *result, *error; /* of events '*.after'; NULL: none */
};

/* A gate that keeps somebody waiting. */
struct hook_wait {
    const char *hook, *event; /* NULL: nobody waits; else as long as the hooks live */
    int64_t since_us;         /* wall time */
    int64_t limit_ms;
};

/* NULL when the fleet file has none. */
struct hooks *hooks_start(const struct hooks_order *order);

/* Before something begins: call all that want to know, one after the other. ST_NO_GO: a required
 * one failed, the error says which, how, and what it said; ST_ABORTED: the run was. */
MUST_CHECK enum status hooks_ask(struct hooks *hooks, const struct hook_news *news,
                                 struct err *err);
/* Queue it. Cheap: no system call, no wait. */
void hooks_tell(struct hooks *hooks, const struct hook_news *news);
/* The scope of this event ended elsewhere than it was to go: queue what is to be undone. */
void hooks_undo(struct hooks *hooks, const struct hook_news *news);

/* The gate that is waited for the longest, when that is worth speaking of. */
struct hook_wait hooks_waiting(struct hooks *hooks);
/* Calls that wait in queues, or are under way. */
size_t hooks_pending(struct hooks *hooks);
/* Until none is; false at the deadline. */
bool hooks_wait(struct hooks *hooks, nsec deadline);
/* What is queued still is dropped, and counted; what runs is ended. Then all is final. */
void hooks_close(struct hooks *hooks);
/* What came of the calls: a JSON array, an object a hook; the caller frees. NULL without hooks. */
char *hooks_report(struct hooks *hooks);
void hooks_free(struct hooks *hooks);

#endif
