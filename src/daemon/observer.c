/* SPDX-License-Identifier: Apache-2.0
 * See observer.h. */
#include "daemon/observer.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "fleet/observation.h"
#include "monitor/monitor.h"

#include <pthread.h>
#include <stdlib.h>

enum { PACE_MS = 1000, LOOK_MS = 900 /* twice: the states, then the lag */ };

struct observer {
    const struct inventory *fleet;
    observer_take *take;
    void *context;
    struct daemon_bell bell;
    pthread_t thread;
};

static void *observe(void *context)
{
    struct observer *observer = context;
    struct monitor *monitor = monitor_new(observer->fleet);
    while (!daemon_bell_has_rung(&observer->bell)) {
        AUTO(fleet_observation_release) struct fleet_observation seen = {0};
        nsec began = clock_now();
        monitor_look(monitor, LOOK_MS * NSEC_PER_MS, &seen);
        observer->take(observer->context, &seen, began);
        mem_trim();
        daemon_bell_wait(&observer->bell, began + PACE_MS * NSEC_PER_MS);
    }
    monitor_free(monitor);
    return NULL;
}

struct observer *observer_start(const struct inventory *fleet, observer_take *take, void *context)
{
    struct observer *observer = mem_zalloc(sizeof(*observer));
    *observer = (struct observer){.fleet = fleet, .take = take, .context = context};
    daemon_bell_init(&observer->bell);
    INVARIANT(pthread_create(&observer->thread, NULL, observe, observer) == 0);
    return observer;
}

void observer_stop(struct observer *observer)
{
    if (!observer)
        return;
    daemon_bell_ring(&observer->bell);
    pthread_join(observer->thread, NULL);
    daemon_bell_release(&observer->bell);
    free(observer);
}
