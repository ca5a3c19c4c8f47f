/* SPDX-License-Identifier: Apache-2.0
 *
 * The coordination store for all threads of the conductor: opened as soon as it can be. A conductor
 * that starts while the store is gone watches and answers all the same, and says so.
 */
#include "mirror/source.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "mirror/bell.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { OPEN_MS = 2000, AGAIN_MS = 1000 };

struct daemon_store {
    const struct inventory *fleet;
    struct daemon_bell bell;
    pthread_t thread;
    struct store *_Atomic store;
    pthread_mutex_t lock;
    struct err problem;
};

static void set_problem(struct daemon_store *store, const struct err *err)
{
    pthread_mutex_lock(&store->lock);
    store->problem = *err;
    pthread_mutex_unlock(&store->lock); /* the mirror logs it */
}

static void *open_it(void *context)
{
    struct daemon_store *store = context;
    while (!daemon_bell_has_rung(&store->bell)) {
        struct store *opened = NULL;
        struct err err = ERR_INIT;
        if (!inventory_open_store(store->fleet, clock_deadline(OPEN_MS), &opened, &err)) {
            atomic_store(&store->store, opened);
            err = (struct err)ERR_INIT;
            set_problem(store, &err);
            break;
        }
        set_problem(store, &err);
        daemon_bell_wait(&store->bell, clock_deadline(AGAIN_MS));
    }
    return NULL;
}

struct daemon_store *daemon_store_start(const struct inventory *fleet)
{
    struct daemon_store *store = mem_zalloc(sizeof(*store));
    store->fleet = fleet;
    err_set(&store->problem, ST_BUSY, "the store is being opened");
    daemon_bell_init(&store->bell);
    pthread_mutex_init(&store->lock, NULL);
    INVARIANT(pthread_create(&store->thread, NULL, open_it, store) == 0);
    return store;
}

struct store *daemon_store_get(struct daemon_store *store)
{
    return atomic_load(&store->store);
}

void daemon_store_problem(struct daemon_store *store, struct err *ret)
{
    pthread_mutex_lock(&store->lock);
    *ret = store->problem;
    pthread_mutex_unlock(&store->lock);
}

void daemon_store_stop(struct daemon_store *store)
{
    if (!store)
        return;
    daemon_bell_ring(&store->bell);
    pthread_join(store->thread, NULL);
    store_close(atomic_load(&store->store));
    daemon_bell_release(&store->bell);
    pthread_mutex_destroy(&store->lock);
    free(store);
}
