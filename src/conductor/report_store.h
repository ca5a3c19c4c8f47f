/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the reports of runs are kept. "reports/ID" is the head: what was ordered and what it came
 * to, written when the run begins and again when it ends. "report-shards/ID/SHARD" is what came of
 * one shard, written as soon as it is known: neither a crash nor a process that goes on with the
 * run loses it, and there is room for thousands of shards.
 */
#ifndef HOLDFAST_CONDUCTOR_REPORT_STORE_H
#define HOLDFAST_CONDUCTOR_REPORT_STORE_H

#include "base/err.h"
#include "move/calls.h"

struct mandate;
struct store;

/* Only whoever holds the run lock may: else ST_FENCED. 'json' is a compact object. */
MUST_CHECK enum status report_store_head(const struct mandate *mandate, enum call call,
                                         const char *json, struct err *err);
MUST_CHECK enum status report_store_shard(const struct mandate *mandate, const char *shard,
                                          const char *json, struct err *err);

/* What was written of a shard of this run before; ST_NOT_FOUND: nothing. The caller frees. */
MUST_CHECK enum status report_load_shard(const struct mandate *mandate, const char *shard,
                                         char **ret_json, struct err *err);
/* The whole report: the head, with the "shards" that are known, in the run's order. ST_NOT_FOUND
 * when there is no such run, or it kept none. The caller frees. */
MUST_CHECK enum status report_load(struct store *store, const char *id, char **ret_json,
                                   struct err *err);
/* Remove what is kept of a run's report. Removing nothing is fine. */
MUST_CHECK enum status report_remove(struct store *store, const char *id, struct err *err);

#endif
