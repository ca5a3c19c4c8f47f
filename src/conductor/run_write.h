/* SPDX-License-Identifier: Apache-2.0
 * Inside conductor/ only: one write of a run to the store, under its name of move/calls.h, so that
 * tests stop the conductor before and after it. */
#ifndef HOLDFAST_CONDUCTOR_RUN_WRITE_H
#define HOLDFAST_CONDUCTOR_RUN_WRITE_H

#include "base/err.h"
#include "move/calls.h"

#include <stdint.h>

struct store;
struct store_txn;

/* How to see, after an unknown outcome, whether the write is there. A lock is ours only when it
 * hangs on our lease: another process that resumes the same run writes the same value. */
struct run_evidence {
    const char *key, *value;
    int64_t lease; /* 0: any */
};

/* ST_CONFLICT: a compare did not hold. Other failures surely did not happen. */
MUST_CHECK enum status run__write(struct store *store, enum call call, const struct store_txn *txn,
                                  const struct run_evidence *evidence, struct err *err);

#endif
