/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of daemon/ only: the conductor as its handlers see it.
 */
#ifndef HOLDFAST_DAEMON_INTERNAL_H
#define HOLDFAST_DAEMON_INTERNAL_H

#include "api/status.h"
#include "base/clock.h"
#include "base/err.h"
#include "fleet/observation.h"
#include "mirror/bell.h"
#include "mirror/source.h"
#include "net/server.h"

#include <pthread.h>
#include <stdatomic.h>

struct daemon;
struct election;
struct healer;
struct hearing;
struct mirror;
struct runner;
struct steward;
struct store;
struct surveyor;

/* ---- picture.c: what was seen last, and what follows from it; immutable ---- */
struct picture {
    atomic_uint references;
    nsec began; /* what it shows was true after that */
    double took_ms;
    struct fleet_observation seen;
    struct fleet_status status;
    char *status_json; /* without the brace at its beginning */
    struct pictured_server {
        const struct shard_observation *shard;
        const struct server_observation *server;
    } * servers; /* by name */
    size_t server_count;
};
/* Takes 'seen'. */
struct picture *picture_new(const struct daemon *daemon, struct fleet_observation *seen,
                            nsec began);
const struct pictured_server *picture_find(const struct picture *picture, const char *server);
void picture_unref(struct picture *picture); /* NULL is fine */

/* ---- judge.c: readiness, computed again and again ---- */
struct judge;
struct judgement {
    nsec began; /* 0: there is none yet */
    size_t no_go, warnings, infos;
    char *json; /* owned copy, without the brace at its beginning */
};
struct judge *judge_start(const struct inventory *fleet, struct daemon_store *store,
                          struct mirror *mirror);
void judge_stop(struct judge *judge); /* NULL is fine */
struct judgement judge_get(struct judge *judge);
void judgement_release(struct judgement *judgement);

/* ---- the conductor as its handlers see it ---- */
enum { STALE_MS = 5000 /* an older picture is none for load balancers */ };
struct daemon {
    const struct inventory *fleet;
    const struct inventory_conductor *self;
    nsec began;
    struct daemon_store *store;
    struct mirror *mirror;
    struct election *election;
    struct judge *judge;
    struct surveyor *surveyor; /* what the loss of a region would cost now */
    struct steward *steward;   /* NULL: the fleet file has no hosts */
    struct hearing *hearing;   /* NULL: like the steward */
    struct healer *healer;     /* NULL: nothing heals by itself */
    struct runner *runner;
    atomic_bool is_ordering; /* somebody's order is being checked */
    struct http_server *server;
    pthread_mutex_t lock;
    struct picture *picture; /* the newest; under the lock; NULL: none yet */
};
struct picture *daemon_picture(struct daemon *daemon); /* a reference; NULL: none yet */
double daemon_age_ms(nsec began);

/* ---- answers.c, metrics.c: what it answers ---- */
extern const struct http_route daemon_routes[];
/* Without this daemon's server: the text of /metrics. */
void daemon_metrics(struct daemon *daemon, struct buf *out);

#endif
