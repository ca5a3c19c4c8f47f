/* SPDX-License-Identifier: Apache-2.0
 *
 * A switchover run over its shards: a few threads take one shard after the other, freezes are
 * capped by the run's gate. The caller shows progress and takes Ctrl-C meanwhile.
 */
#ifndef HOLDFAST_CONDUCTOR_SWITCHOVER_H
#define HOLDFAST_CONDUCTOR_SWITCHOVER_H

#include "base/clock.h"
#include "conductor/run.h"
#include "conductor/waves.h"
#include "fleet/observation.h"
#include "move/move.h"

/* What came of one shard. */
struct shard_report {
    const struct inventory_shard *shard;
    enum move_result result;
    struct err err;   /* why it did not move, or what it waits for; ST_OK: it moved */
    char *cause;      /* of a stuck one: what it began with; NULL: the same; owned */
    bool is_writable; /* of a stuck one: clients can write, as far as was seen at the end */
    char *notes;      /* lines; owned */
    uint64_t epoch;
    char primary[ROUTE_NAME_MAX];
    double outage_ms;   /* longest gap round the move, by the probe; -1: not measured */
    double at_least_ms; /* how long it surely was closed, where nobody measured; -1: not known */
    int64_t closed_since_us; /* wall time; of a stuck one that nobody can write to; 0: not known */
    int64_t began_us;        /* wall time */
    double baseline_ms;      /* longest gap in as long a time before it; -1: not measured */
    double critical_ms;      /* freeze sent until published; -1: did not get that far */
    size_t critical_statements;
    double phases_ms[MOVE_PHASES];
    struct move_span *spans; /* of all attempts; owned */
    size_t span_count, span_capacity;
    uint64_t late_transactions;
    bool is_loss_timed;   /* of a failover: its outage is from the loss on, else from the order */
    bool is_nothing_lost; /* of a failover: nothing acknowledged, by its election */
    double loss_ms;       /* so much of what was acknowledged, at most; -1: not known */
    int64_t loss_transactions; /* about; -1: not known */
    char *evidence;            /* how that is known, or why not; NULL: nobody was opened; owned */
    bool is_stored;
    /* For whoever looks meanwhile: 0 until then. What came of it may be read once it has ended. */
    _Atomic nsec began_at, ended_at;
};

struct switchover_report {
    char run[RUN_ID_MAX];
    enum run_kind kind;
    enum run_state state;
    char from[RUN_TARGET_MAX], to[RUN_TARGET_MAX];
    struct shard_report *shards; /* wave after wave */
    size_t count;
    char *by;           /* who ordered it; owned */
    char *reason;       /* what for; NULL: not said; owned */
    char *audit;        /* the order, and those that followed: lines; owned */
    int64_t ordered_us; /* wall time; of a resumed run long before it began here */
    int64_t began_us;   /* wall time of 'began' */
    nsec began;         /* where the timelines begin */
    int64_t promise_rto_ms, promise_rpo_ms;
    struct waves waves;
    int64_t settle_ms;
    double usual_shard_ms;       /* what a shard took in earlier runs; -1: not known */
    double estimate_ms;          /* as expected when it was ordered; -1: not known */
    char *hooks;                 /* what came of them, JSON; NULL: none; owned */
    char return_run[RUN_ID_MAX]; /* takes back what moved; "": none does */
    struct err stopped; /* why no further shard was begun; ST_OK: nothing, or an operator */
    double took_ms;
    bool is_resumed;
    bool is_called_off; /* by an operator */
    bool is_measured; /* by the probe; else outages are the critical section as the runner saw it */
};

/* Called by the thread that called switchover_run(), some ten times a second. */
typedef void switchover_progress(void *context, const struct run *run,
                                 const struct switchover_report *report, size_t done);

/* Move the run's shards. 'observation' (of the same shards) says who is who. Always fills the
 * report; the run's end is recorded unless another process took over. */
MUST_CHECK enum status switchover_run(struct run *run, const struct fleet_observation *observation,
                                      switchover_progress *progress, void *context,
                                      struct switchover_report *ret, struct err *err);
void switchover_report_release(struct switchover_report *report);

/* Copy what is told of the shard. */
void shard_report_tell(struct shard_report *report, const struct story *story);

/* As JSON; the caller frees. The whole for people; for the store in parts, compact: the head, and
 * each shard. */
char *switchover_report_json(const struct switchover_report *report);
char *switchover_report_head(const struct switchover_report *report);
char *switchover_report_shard(const struct switchover_report *report, size_t index);
/* Add what an earlier process of the same run wrote of this shard. */
void switchover_report_add_earlier(struct shard_report *shard, const char *json);

#endif
