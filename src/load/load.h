/* SPDX-License-Identifier: Apache-2.0
 *
 * The load: writers that put numbered rows into every shard, follow its primary, remember what was
 * acknowledged, and at the end hold every server against that memory. It is the judge of a move,
 * so it must not flatter: an acknowledged row that any server lacks is lost, a row that is there
 * twice is duplicated, time without an acknowledgement is a gap, to the end of the run.
 *
 * One thread, the caller's, drives all writers through sql/'s event interface. A number is sent
 * once; only a write that the server refused, and that surely did not happen, gives it back.
 */
#ifndef HOLDFAST_LOAD_LOAD_H
#define HOLDFAST_LOAD_LOAD_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inventory;
struct secret;
struct store;

#define LOAD_DATABASE "holdfast"
#define LOAD_TABLE "load_row"

enum {
    LOAD_WRITERS_MAX = 256, /* of a shard */
    LOAD_RATE_MAX = 10000,  /* writes a second of one writer */
    LOAD_RUN_MAX = 40,
    LOAD_FINDINGS_MAX = 100, /* kept of a run; more are only counted */
};

/* X(id, name): why a write, or an attempt to connect, came to nothing. */
#define LOAD_ERROR_TABLE(X)                                                                        \
    X(LOAD_READ_ONLY, "read_only")  /* refused: the server is not (any more) the primary */        \
    X(LOAD_REFUSED, "refused")      /* refused for another reason; surely not done */              \
    X(LOAD_LOST, "lost_connection") /* after sending: outcome unknown */                           \
    X(LOAD_LATE, "no_answer")       /* within the deadline: outcome unknown */                     \
    X(LOAD_DOUBTFUL, "doubtful")    /* an error that leaves the outcome open */                    \
    X(LOAD_CONNECT, "connect")

enum load_error {
#define X(id, name) id,
    LOAD_ERROR_TABLE(X)
#undef X
        LOAD_ERRORS
};

/* X(id, name): what a server may have that it should not, or lack. */
#define LOAD_FAULT_TABLE(X)                                                                        \
    X(LOAD_LOST_ROW, "lost")             /* acknowledged, and not there */                         \
    X(LOAD_DUPLICATED_ROW, "duplicated") /* there more than once */                                \
    X(LOAD_UNEXPECTED_ROW, "unexpected") /* there, though refused or never sent */                 \
    X(LOAD_DIVERGED_ROW, "diverged")     /* outcome unknown, there on some servers only */

enum load_fault {
#define X(id, name) id,
    LOAD_FAULT_TABLE(X)
#undef X
        LOAD_FAULTS
};

const char *load_error_name(enum load_error error);
const char *load_fault_name(enum load_fault fault);

struct load_progress {
    nsec elapsed, duration; /* elapsed > duration: verifying */
    uint64_t acknowledged;
    double rate;                      /* writes a second since the last progress */
    size_t shard_count, silent_count; /* shards, and those without a write for 250 ms */
};

struct load_request {
    const struct inventory *fleet;
    struct store *store;
    const char *const *shards; /* names; none means all */
    size_t shard_count;
    const char *user; /* unprivileged: it must not be able to write on a read-only server */
    const struct secret *password;
    const char *database;
    int64_t duration_ms;
    size_t writers;    /* a shard */
    long rate;         /* of each writer, writes a second; 0: as fast as they are acknowledged */
    int64_t verify_ms; /* how long replicas may take to catch up at the end */
    bool (*is_interrupted)(void); /* end the writing early, and verify; may be NULL */
    void (*on_progress)(const struct load_progress *progress); /* may be NULL */
};

struct load_server_report {
    const char *name; /* "host:port"; in the inventory */
    bool is_verified;
    char reason[160]; /* why not */
    uint64_t rows, faults[LOAD_FAULTS];
};

struct load_finding { /* one faulty row */
    enum load_fault fault;
    const char *shard, *server;
    size_t writer;
    uint64_t number, copies;
};

struct load_shard_report {
    const char *name;
    uint64_t acknowledged, unknown, faults[LOAD_FAULTS], errors[LOAD_ERRORS];
    double rate, longest_gap_ms, p50_ms, p99_ms;
    int64_t gap_at_us;    /* wall time at which the gap began */
    size_t moves;         /* how often writing went on at another server */
    char last_error[200]; /* of class refused, doubtful or connect; "" when there was none */
    struct load_server_report *servers;
    size_t server_count;
};

struct load_report {
    char run[LOAD_RUN_MAX];
    double seconds; /* of writing, as measured */
    size_t writers;
    bool was_interrupted;
    uint64_t acknowledged, unknown, faults[LOAD_FAULTS];
    double rate;
    size_t verified_count, unverified_count; /* servers */
    struct load_shard_report *shards;
    size_t shard_count;
    struct load_finding *findings; /* the first LOAD_FINDINGS_MAX */
    size_t finding_count, finding_capacity;
};

/* Write, then verify. ST_OK: it was done, and the report says what was found; see load_verdict().
 * Other: it could not begin (no such shard, no table, no primary), nothing was written. */
MUST_CHECK enum status load_run(const struct load_request *request, struct load_report *ret,
                                struct err *err);
void load_report_release(struct load_report *report);

/* ST_OK when nothing is wrong and every server was verified; else the error says which it is. */
MUST_CHECK enum status load_verdict(const struct load_report *report, struct err *err);
void load_report_format(const struct load_report *report, struct buf *text); /* for people */
void load_report_encode(const struct load_report *report, struct buf *json);

/* Remove the rows of load runs that are not running now, through each shard's primary. */
MUST_CHECK enum status load_clean(const struct load_request *request, uint64_t *ret_rows,
                                  struct err *err);

#endif
