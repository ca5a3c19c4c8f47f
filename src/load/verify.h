/* SPDX-License-Identifier: Apache-2.0
 * Shared by verify.c (who is to be judged, and when) and compare.c (the judgement). */
#ifndef HOLDFAST_LOAD_VERIFY_H
#define HOLDFAST_LOAD_VERIFY_H

#include "load/internal.h"
#include "sql/flavour.h"

enum { SUM_MS = 120000 }; /* counting the rows of a long run */

/* One server under examination. */
struct subject {
    struct load_shard *shard;
    size_t server;
    struct load_server_report *report;
    struct sql_conn *conn;
    const struct sql_flavour *flavour;
    char *position, *sql;
    bool is_primary;
    uint64_t outside[LOAD_FAULTS]; /* faults whose number no writer of this run ever used */
};

/* An exception of unknown outcome that one server has. */
struct sighting {
    size_t writer;
    uint64_t number;
    size_t server;
};

struct shard_memory {
    unsigned char *
        *seen; /* per writer and fault: a bit a number, so that each counts once a shard */
    struct sighting *sightings;
    size_t count, capacity;
};

struct verify {
    struct load *load;
    struct subject *subjects;
    size_t count;
    struct shard_memory *memories; /* one a shard */
    nsec deadline;
};

typedef void answer_fn(struct verify *verify, struct subject *subject, struct sql_result *result);

/* Each subject's own 'sql' (NULL only connects), of all that are not given up. Who fails is. */
void load__ask(struct verify *verify, nsec deadline, answer_fn *on_answer);
/* Not verified, and why. */
void load__give_up(struct subject *subject, const char *reason);
void load__set_sql(struct subject *subject, struct buf *take);
size_t load__shard_index(const struct subject *subject);

/* compare.c: count the faults of all that are not given up, anew each time. */
void load__compare(struct verify *verify);
void load__memories_init(struct verify *verify);
void load__memories_free(struct verify *verify);

#endif
