/* SPDX-License-Identifier: Apache-2.0
 *
 * What earlier runs tell: how long a run will take, with its error, and how long clients will wait;
 * and how many runs are kept. The estimate is pure; it knows nothing of the machine but what runs
 * on it took.
 */
#ifndef HOLDFAST_CONDUCTOR_HISTORY_H
#define HOLDFAST_CONDUCTOR_HISTORY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* How a run is laid out: what its length depends on. */
struct run_shape {
    size_t shards; /* that move */
    size_t waves;
    int64_t settle_ms;
};

/* A run that one process carried out whole. */
struct history_run {
    struct run_shape shape;
    double took_ms;
    double shard_ms;                     /* half of its shards took more; -1: not known */
    double outage_p50_ms, outage_p99_ms; /* of its shards; -1: not measured */
};

struct history {
    struct history_run *runs; /* newest first, at most HISTORY_RUNS_MAX */
    size_t count, capacity;
};

enum { HISTORY_RUNS_MAX = 40 };

MUST_CHECK enum status history_load(struct store *store, struct history *ret, struct err *err);
void history_release(struct history *history);
/* A head of a report counts when its run ended well, moved something, was not resumed, and no hook
 * that it waited for hung. */
void history_add(struct history *history, const char *head_json);

struct estimate {
    size_t runs;                     /* that it is made from; 0: there is none, and the rest is 0 */
    double took_ms, low_ms, high_ms; /* four of five runs end between the two */
    double shard_ms; /* of a shard, from its first step to its last; -1: not known */
    double outage_p50_ms, outage_p99_ms; /* of a shard; -1: never measured */
};

struct estimate history_estimate(const struct history *history, const struct run_shape *shape);

/* Remove what is kept of the oldest finished runs until 'keep' runs are left. In
 * 'journal_directory' (may be NULL) as many journals are left, and those of unfinished runs; other
 * machines may have removed their runs. The first trouble ends it; the next call goes on. */
MUST_CHECK enum status history_trim(struct store *store, size_t keep, const char *journal_directory,
                                    struct err *err);

#endif
