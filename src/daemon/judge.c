/* SPDX-License-Identifier: Apache-2.0
 * Readiness in the background: it takes seconds over a large fleet, and nobody who asks for it is
 * to wait for that; see internal.h. */
#include "api/readiness.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "mirror/mirror.h"

#include <stdlib.h>

enum { CHECK_MS = 8000, PACE_MS = 15000 /* from the end of one to the beginning of the next */ };

/* Nobody waits for it, so it may take less memory and longer. */
enum { GROUP = FLEET_GROUP / 5 };

struct judge {
    const struct inventory *fleet;
    struct daemon_store *store;
    struct mirror *mirror;
    struct daemon_bell bell;
    pthread_t thread;
    pthread_mutex_t lock;
    struct judgement newest; /* under the lock */
};

static void publish(struct judge *judge, const struct readiness *readiness, nsec began)
{
    json_t *json = readiness_encode(readiness, readiness->observation.count);
    AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    struct judgement made = {.began = began, .json = mem_strdup(text + 1)};
    for (size_t i = 0; i < readiness->count; i++) {
        made.no_go += readiness->findings[i].severity == SEVERITY_NO_GO;
        made.warnings += readiness->findings[i].severity == SEVERITY_WARNING;
        made.infos += readiness->findings[i].severity == SEVERITY_INFO;
    }
    pthread_mutex_lock(&judge->lock);
    struct judgement old = judge->newest;
    judge->newest = made;
    pthread_mutex_unlock(&judge->lock);
    judgement_release(&old);
}

static void check(struct judge *judge)
{
    AUTO(readiness_release) struct readiness readiness = {0};
    AUTO_FREE char *paused = mirror_pause_text(judge->mirror);
    struct err problem = ERR_INIT;
    bool has_problem = mirror_has_problem(judge->mirror, &problem);
    struct readiness_request request = {
        .fleet = judge->fleet,
        .group = GROUP,
        .store = has_problem ? NULL : daemon_store_get(judge->store),
        .store_problem = has_problem ? problem.text : NULL,
        .store_advice = has_problem && problem.hint[0] ? problem.hint : NULL,
        .paused = paused,
        .to_region = -1,
    };
    nsec began = clock_now();
    readiness_check(&request, clock_deadline(CHECK_MS), &readiness);
    publish(judge, &readiness, began);
    mem_trim();
}

static void *judge_on(void *context)
{
    struct judge *judge = context;
    while (!daemon_bell_has_rung(&judge->bell)) {
        check(judge);
        daemon_bell_wait(&judge->bell, clock_deadline(PACE_MS));
    }
    return NULL;
}

struct judge *judge_start(const struct inventory *fleet, struct daemon_store *store,
                          struct mirror *mirror)
{
    struct judge *judge = mem_zalloc(sizeof(*judge));
    judge->fleet = fleet;
    judge->store = store;
    judge->mirror = mirror;
    daemon_bell_init(&judge->bell);
    pthread_mutex_init(&judge->lock, NULL);
    INVARIANT(pthread_create(&judge->thread, NULL, judge_on, judge) == 0);
    return judge;
}

void judge_stop(struct judge *judge)
{
    if (!judge)
        return;
    daemon_bell_ring(&judge->bell);
    pthread_join(judge->thread, NULL);
    judgement_release(&judge->newest);
    daemon_bell_release(&judge->bell);
    pthread_mutex_destroy(&judge->lock);
    free(judge);
}

struct judgement judge_get(struct judge *judge)
{
    pthread_mutex_lock(&judge->lock);
    struct judgement copy = judge->newest;
    copy.json = mem_strdup(copy.json);
    pthread_mutex_unlock(&judge->lock);
    return copy;
}

void judgement_release(struct judgement *judgement)
{
    free(judgement->json);
    judgement->json = NULL;
}
