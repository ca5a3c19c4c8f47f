/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness: would a switchover work now? The checks are one table in checkup.h, explained in
 * docs/readiness.md. Each finding names the shard and the server, says what is wrong and what to do
 * about it. Changes nothing anywhere.
 */
#ifndef HOLDFAST_FLEET_READINESS_H
#define HOLDFAST_FLEET_READINESS_H

#include "fleet/observation.h"
#include "fleet/route.h"

struct store;

enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_NO_GO };

struct finding {
    const char *check; /* id: "semi-sync-degraded" */
    enum severity severity;
    bool is_accepted;       /* a no-go that policy.accept turned into a warning */
    const char *shard;      /* name; NULL: the whole fleet */
    const char *server;     /* "host:port"; NULL: the shard as a whole */
    char *problem, *advice; /* owned; sentences without a full stop */
};

struct readiness {
    struct finding *findings; /* no-go first, then by shard */
    size_t count, capacity;
    size_t no_go_count;
    struct fleet_observation observation; /* what it is based on */
};

struct readiness_request {
    const struct inventory *fleet;
    const struct inventory_shard *const *shards; /* NULL: all */
    size_t shard_count;
    size_t group;              /* how many shards at the same time; 0: FLEET_GROUP */
    struct store *store;       /* for routes and unfinished runs; NULL: not looked at */
    const char *store_problem; /* why it could not be opened; NULL: nothing is wrong with it */
    const char *store_advice;  /* what to do about that; NULL: what the table says */
    const char *paused;        /* by whom and why; NULL: it is not */
    int to_region;             /* index; -1: the region where a shard's primary is not */
    const char *resuming;      /* id of the run that is being resumed: its traces are no findings */
};

/* Observes, inspects and checks, under one deadline (for every group). The states are compact. */
void readiness_check(const struct readiness_request *request, nsec deadline, struct readiness *ret);
void readiness_release(struct readiness *readiness);

const char *severity_name(enum severity severity); /* "info", "warning", "no-go" */
/* Is there a check of that id? For policy.accept. */
bool readiness_has_check(const char *id);
/* What the check means, in a line; the id must be of a finding. */
const char *readiness_check_title(const char *id);
/* The ids, ended by NULL. */
const char *const *readiness_check_ids(void);

#endif
