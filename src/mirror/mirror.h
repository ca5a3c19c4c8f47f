/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store holds, kept in memory by watching it: routes, runs, the pause, drained hosts.
 * Answers need no round trip, and who wants to hear of changes is told at once. A thread of its own
 * writes; any may read. When the store is silent, what was known stays, and the problem says so.
 */
#ifndef HOLDFAST_MIRROR_MIRROR_H
#define HOLDFAST_MIRROR_MIRROR_H

#include "base/clock.h"
#include "base/err.h"
#include "permit/permit.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct daemon_store;
struct drain_list;
struct http_request;
struct inventory;
struct mirror;
struct route;
struct route_list;
struct run_record;

struct mirror *mirror_start(struct daemon_store *store, const struct inventory *fleet);
void mirror_stop(struct mirror *mirror); /* who still listens is let go; NULL is fine */
void mirror_free(struct mirror *mirror);

/* Until the store was read, or then. */
void mirror_wait(struct mirror *mirror, nsec deadline);
/* Why what is known may be old; false: it is not. */
bool mirror_has_problem(struct mirror *mirror, struct err *ret);
/* A copy. False: it was never read. */
bool mirror_copy_routes(struct mirror *mirror, struct route_list *ret);
/* The route of one shard. ST_NOT_FOUND: there is none, as far as is known. */
MUST_CHECK enum status mirror_get_route(struct mirror *mirror, const char *shard, struct route *ret,
                                        struct err *err);
/* The same, if it is as the store had it at that revision, or later. */
bool mirror_get_route_of(struct mirror *mirror, const char *shard, int64_t revision,
                         struct route *ret);
/* Hosts that shall have no role; empty when it was never read. */
void mirror_copy_drained(struct mirror *mirror, struct drain_list *ret);
/* "paused by ..."; NULL: it is not. The caller frees. */
char *mirror_pause_text(struct mirror *mirror);

/* A region, by its beats and its fence (permit/permit.h). */
struct mirror_region {
    int64_t beat;            /* revision of the newest; 0: there is none */
    nsec sent_by;            /* it was sent before */
    nsec heard;              /* it was seen then, as late as the store told of it */
    nsec end;                /* the region may be fenced then; NSEC_NEVER: it is not known when */
    int64_t fence;           /* revision of its fence; 0: it may serve */
    struct permit_term term; /* that the end counts with */
};
/* False: the store was never read, or the fleet has no such region. */
bool mirror_get_region(struct mirror *mirror, const char *region, struct mirror_region *ret);

/* Called, under a lock, whenever a permission was withdrawn or given back. */
typedef void mirror_note(void *context);
void mirror_on_revoked(struct mirror *mirror, mirror_note *note, void *context);

/* "region west is fenced since ..."; NULL: none is. The caller frees. */
char *mirror_fenced_text(struct mirror *mirror);

/* Is there a run that is not finished? True when it is not known. */
bool mirror_has_run(struct mirror *mirror);
/* The run that is not finished and that no process carries out; false: there is none. */
bool mirror_get_left(struct mirror *mirror, struct run_record *ret);
/* A run that nobody goes on with, and what to type; NULL: there is none. The caller frees. */
char *mirror_left_text(struct mirror *mirror);

/* Documents; NULL: the store was never read. */
json_t *mirror_routes(struct mirror *mirror);
json_t *mirror_runs(struct mirror *mirror);
/* Also NULL when there is no such run. */
json_t *mirror_run(struct mirror *mirror, const char *id);

/* Answer with the routes as soon as they are newer than 'after', at the latest at 'deadline'. */
void mirror_answer_routes_after(struct mirror *mirror, struct http_request *request, int64_t after,
                                nsec deadline);
/* Answer with events: all routes, then each that changes. */
void mirror_stream_routes(struct mirror *mirror, struct http_request *request);
/* The same of one run: itself, its shards' routes and what came of them, until it ends. */
void mirror_stream_run(struct mirror *mirror, struct http_request *request, const char *id);

#endif
