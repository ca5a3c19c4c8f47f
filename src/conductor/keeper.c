/* SPDX-License-Identifier: Apache-2.0
 * The keeper of a run; see keeper.h. It never decides: a lost lease shows itself when the next
 * route write fails on the fencing token. */
#include "conductor/keeper.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run.h"
#include "hooks/waiting.h"
#include "move/fault.h"
#include "store/store.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { LOOK_MS = 200, STORE_MS = 2000 };

struct keeper {
    struct run *run;
    int lease_ms;
    int stop_fd;
    pthread_t thread;
};

char *keeper_abort_key(const char *id)
{
    return mem_printf("run-abort/%s", id);
}

static void look_for_abort(struct keeper *keeper, const char *key)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    struct err ignored = ERR_INIT;
    if (store_get(keeper->run->mandate.store, key, clock_deadline(STORE_MS), &entry, &ignored) ==
        ST_OK)
        run_abort_for(keeper->run, entry.value);
}

static void keep_lease(struct keeper *keeper)
{
    struct err ignored = ERR_INIT;
    fault_point(CALL_LEASE_KEEP, FAULT_BEFORE);
    status_ignore(store_lease_keepalive(keeper->run->mandate.store, keeper->run->lease,
                                        clock_deadline(STORE_MS), &ignored),
                  "the fencing token decides");
    fault_point(CALL_LEASE_KEEP, FAULT_AFTER);
}

static void *keep(void *context)
{
    struct keeper *keeper = context;
    AUTO_FREE char *key = keeper_abort_key(keeper->run->record.id);
    nsec next = clock_now();
    struct pollfd stop = {.fd = keeper->stop_fd, .events = POLLIN};
    do {
        look_for_abort(keeper, key);
        waiting_tell(keeper->run->waiting, keeper->run->mandate.store, keeper->run->record.id,
                     keeper->run->lease);
        if (clock_now() < next)
            continue;
        keep_lease(keeper);
        next = clock_deadline(keeper->lease_ms / 4);
    } while (poll(&stop, 1, LOOK_MS) <= 0);
    return NULL;
}

struct keeper *keeper_start(struct run *run, int lease_ms)
{
    struct keeper *keeper = mem_zalloc(sizeof(*keeper));
    keeper->run = run;
    keeper->lease_ms = lease_ms;
    keeper->stop_fd = eventfd(0, EFD_CLOEXEC);
    INVARIANT(keeper->stop_fd >= 0);
    INVARIANT(pthread_create(&keeper->thread, NULL, keep, keeper) == 0);
    return keeper;
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper)
        return;
    eventfd_write(keeper->stop_fd, 1);
    pthread_join(keeper->thread, NULL);
    close(keeper->stop_fd);
    free(keeper);
}

enum status keeper_request_abort_for(struct store *store, const char *id, const char *order,
                                     struct err *err)
{
    AUTO_FREE char *key = keeper_abort_key(id);
    struct store_op op = {STORE_PUT, key, order, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    return store_txn(store, &txn, store_deadline(store, STORE_WORK), &result, err);
}

enum status keeper_request_abort(struct store *store, const char *id, struct err *err)
{
    AUTO(run_record_release) struct run_record order = {0};
    run_record_add_order(&order, "asked the run to abort");
    return keeper_request_abort_for(store, id, order.audit, err);
}
