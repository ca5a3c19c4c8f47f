/* SPDX-License-Identifier: Apache-2.0
 *
 * Who waits to hear of changes: requests that are answered when there is something new, and streams
 * of events. Owned by the mirror, used under its lock.
 */
#ifndef HOLDFAST_MIRROR_LISTENERS_H
#define HOLDFAST_MIRROR_LISTENERS_H

#include "base/clock.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct http_request;
struct listener;

struct listeners {
    struct listener *first;
};

void listeners_release(struct listeners *listeners);

/* Answered with all routes when they are newer than 'after', at the latest at 'deadline'. */
void listeners_add_waiting(struct listeners *listeners, struct http_request *request, int64_t after,
                           nsec deadline);
/* Streams; each begins with what there is. */
void listeners_add_routes(struct listeners *listeners, struct http_request *request,
                          const char *routes, int64_t revision);
void listeners_add_run(struct listeners *listeners, struct http_request *request, const char *id,
                       const json_t *run);

/* What happened; texts are JSON on one line. */
void listeners_tell_routes(struct listeners *listeners, const char *routes, int64_t revision);
void listeners_tell_route(struct listeners *listeners, const char *shard, const char *route,
                          int64_t revision);
void listeners_tell_run(struct listeners *listeners, const char *id, const json_t *run);
void listeners_tell_end(struct listeners *listeners, const char *id, const char *shard,
                        const char *outcome);

/* Does anybody who waits want the routes by now? Then answer those. */
bool listeners_are_due(const struct listeners *listeners, nsec now);
void listeners_answer_due(struct listeners *listeners, const char *routes, nsec now);

#endif
