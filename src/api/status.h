/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of the fleet as it is told: of each shard where its home is, what is plainly wrong with
 * it, and its servers. Made from an observation and the routes, by whoever looked: the CLI, or a
 * conductor, which sends it as JSON. Owns all its texts; points nowhere.
 */
#ifndef HOLDFAST_API_STATUS_H
#define HOLDFAST_API_STATUS_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct drain_list;
struct exposure;
struct fleet_observation;
struct inventory;
struct route_list;

struct status_server {
    char *server, *region, *role;
    char *source, *error; /* NULL: none */
    double lag_ms;        /* -1: not known */
};

/* What the loss of a region now would cost a shard, at most. */
struct status_loss {
    char *region;         /* NULL: not known, as without a conductor */
    double ms;            /* acknowledged writes of so long; -1: not known */
    int64_t transactions; /* about; -1: not known */
};

struct status_shard {
    char *name, *deployment, *state;
    char *home, *primary; /* NULL: no server, or several, accept writes */
    char *semi_sync;      /* "on", "no acker", "degraded", "off"; NULL: no primary */
    double lag_ms;        /* of the relay; -1: not known */
    struct status_loss loss;
    int64_t ackers;
    uint64_t epoch; /* 0: it was never moved */
    char **problems;
    size_t problem_count, problem_capacity;
    struct status_server *servers;
    size_t server_count;
};

struct fleet_status {
    char *paused;      /* by whom and why; NULL: it is not */
    char *fenced;      /* regions that may not serve, by whom and why; NULL: none */
    json_t *drained;   /* an array of the marks of hosts (drain/mark.h), with their words */
    char *run_left;    /* a run that nobody goes on with, and what to type; NULL: none */
    char *store_error; /* why nothing is known of the store; NULL: nothing is wrong */
    struct status_shard *shards;
    size_t count;
};

struct status_request {
    const struct inventory *fleet;
    const struct fleet_observation *seen;
    const struct route_list *routes; /* NULL: there is no store, or an error says why */
    const char *store_error;         /* it could not be opened; NULL: nothing is wrong */
    const char *routes_error;        /* it could not be read; NULL: nothing is wrong */
    const char *paused;
    const char *fenced;
    const char *run_left;
    const struct drain_list *drained; /* NULL: no host is */
    const struct exposure *exposures; /* as seen->shards; NULL: not known */
    int64_t now;                      /* on the boot clock, for them */
};

/* "host db-w1 drained since ..."; NULL: there are not so many. */
const char *fleet_status_drained(const struct fleet_status *status, size_t index);
void status_make(const struct status_request *request, struct fleet_status *ret);
/* Is the shard in the middle of a move, and nobody goes on with it? */
bool status_is_left(const struct fleet_status *status, const struct status_shard *shard);
void fleet_status_release(struct fleet_status *status);

/* A new object. */
json_t *status_encode(const struct fleet_status *status);
/* Of one that came from somewhere. */
MUST_CHECK enum status status_decode(const json_t *json, struct fleet_status *ret, struct err *err);

/* Only these shards, in this order. ST_NOT_FOUND names one that is not there; nothing changed. */
MUST_CHECK enum status status_choose(struct fleet_status *status, const char *const *names,
                                     size_t count, struct err *err);

#endif
