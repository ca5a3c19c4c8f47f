/* SPDX-License-Identifier: Apache-2.0
 *
 * The record of a run in the store, key "runs/ID": who ordered what, over which shards, and how it
 * ended. Kept when the run is over; its report is beside it: report_store.h.
 */
#ifndef HOLDFAST_CONDUCTOR_RUN_RECORD_H
#define HOLDFAST_CONDUCTOR_RUN_RECORD_H

#include "base/err.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

#define RUN_STATE_TABLE(X)                                                                         \
    X(RUN_RUNNING, "running")                                                                      \
    X(RUN_DONE, "done")       /* every shard is at the target */                                   \
    X(RUN_ABORTED, "aborted") /* stopped on demand; every shard serves at one side */              \
    X(RUN_FAILED, "failed")   /* some shards did not move; every shard serves at one side */       \
    X(RUN_STUCK, "stuck")     /* some shards wait for an operator */

enum run_state { RUN_STATE_TABLE(TABLE_ID) RUN_STATES };

const char *run_state_name(enum run_state state);
bool run_state_is_over(enum run_state state); /* nobody goes on with it */

#define RUN_KIND_TABLE(X)                                                                          \
    X(RUN_SWITCHOVER, "switchover")                                                                \
    X(RUN_FAILOVER, "failover") /* of shards whose primary is lost, or their region */             \
    X(RUN_DRAIN, "drain")       /* of a host: its roles go to others of its region */              \
    X(RUN_RETURN, "return")     /* they come back */

enum run_kind { RUN_KIND_TABLE(TABLE_ID) RUN_KINDS };

const char *run_kind_name(enum run_kind kind);

enum { RUN_ID_MAX = 40, RUN_TARGET_MAX = 65 };

struct run_record {
    char id[RUN_ID_MAX];
    enum run_kind kind;
    enum run_state state;
    char target[RUN_TARGET_MAX]; /* region */
    char *host;                  /* of a drain, or a return; else NULL */
    char **without;              /* of a failover: servers that need not answer; names */
    size_t without_count, without_capacity;
    bool is_forced;      /* of a failover: also of a primary that answers */
    bool is_region_lost; /* of a failover: the shards leave their region for 'target' */
    char **shards;       /* names */
    size_t shard_count, shard_capacity;
    int64_t started_us;          /* wall time */
    char *by, *origin;           /* who ordered it, and from where; see os/caller.h */
    char *reason;                /* what for; NULL: not said */
    char *audit;                 /* a line for each order: when, who, from where, what, why */
    char *waves;                 /* the shape; NULL: one wave. See waves.h */
    int64_t settle_ms;           /* how long a wave must stay well before the next one */
    int64_t failures_max;        /* more shards that do not move stop the run; -1: however many */
    double usual_shard_ms;       /* what a shard took in earlier runs; -1: not known */
    double estimate_ms;          /* how long it was expected to take; -1: not known */
    bool returns;                /* when it is stopped, what moved goes back */
    bool is_submitted;           /* the conductors carry it out: whichever leads goes on with it */
    char return_run[RUN_ID_MAX]; /* that follows from it, and takes back what moved; "": none */
    char aside[RUN_ID_MAX];      /* the run that yielded to it, and ends after it; "": none */
    char *unreadable; /* in a list only: why it does not read, and only its id is known; or NULL */
    bool is_called_off; /* an operator aborted it: whoever takes it moves nothing on */
};

/* A new id, sortable by time; who orders it filled in. */
void run_record_init(struct run_record *record, const char *target);
void run_record_add_shard(struct run_record *record, const char *name);
void run_record_add_without(struct run_record *record, const char *name);
/* An order of this process's caller, for the audit: "ordered ...", "took the run over". */
void run_record_add_order(struct run_record *record, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A line that is ready. */
void run_record_add_line(struct run_record *record, const char *line);
/* Of a drain, or a return? */
static inline bool run_record_is_of_host(const struct run_record *record)
{
    return record->kind == RUN_DRAIN || record->kind == RUN_RETURN;
}
/* The order that begins the run, of whom the record names: what, over which shards, why. */
void run_record_add_first_order(struct run_record *record);
void run_record_release(struct run_record *record);
MUST_CHECK enum status run_record_load(struct store *store, const char *id, struct run_record *ret,
                                       struct err *err);
/* All runs, oldest first, also those that do not read; free with run_record_list_free(). */
MUST_CHECK enum status run_record_list(struct store *store, struct run_record **ret_records,
                                       size_t *ret_count, struct err *err);
void run_record_list_free(struct run_record *records, size_t count);

/* What to type to bring an unfinished one to its end; the caller frees. */
char *run_record_next(const struct run_record *record);
char *run_record_key(const char *id); /* the caller frees */
char *run_record_encode(const struct run_record *record);
MUST_CHECK enum status run_record_decode(const char *text, struct run_record *ret, struct err *err);
/* Of an entry of a list: one that does not read is marked so. */
void run_record_read(const char *key, const char *text, struct run_record *ret);

#endif
