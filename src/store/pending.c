/* SPDX-License-Identifier: Apache-2.0
 *
 * A write on its way: copied request, state, outcome. Shared by the caller and the driver's thread,
 * freed by whoever lets go last. It decides what a passed deadline means: not begun is withdrawn
 * (surely not happened), begun is unknown.
 */
#include "store/driver.h"

#include "base/mem.h"
#include "base/scope.h"

/* Conditions cannot wait on the boot clock; waiting in slices bounds what a suspension adds. */
enum { WAIT_SLICE_MS = 500 };

static void copy_txn(const struct store_txn *txn, struct store_txn *ret_txn)
{
    struct store_compare *compares = mem_zalloc((txn->compare_count + 1) * sizeof(*compares));
    struct store_op *ops = mem_zalloc((txn->op_count + 1) * sizeof(*ops));
    for (size_t i = 0; i < txn->compare_count; i++) {
        compares[i] = txn->compares[i];
        compares[i].key = mem_strdup(compares[i].key);
    }
    for (size_t i = 0; i < txn->op_count; i++) {
        ops[i] = txn->ops[i];
        ops[i].key = mem_strdup(ops[i].key);
        ops[i].value = ops[i].kind == STORE_PUT ? mem_strdup(ops[i].value) : NULL;
    }
    *ret_txn = (struct store_txn){compares, txn->compare_count, ops, txn->op_count};
}

static void release_txn(struct store_txn *txn)
{
    for (size_t i = 0; i < txn->compare_count; i++)
        free((void *)(uintptr_t)txn->compares[i].key);
    for (size_t i = 0; i < txn->op_count; i++) {
        free((void *)(uintptr_t)txn->ops[i].key);
        free((void *)(uintptr_t)txn->ops[i].value);
    }
    free((void *)(uintptr_t)txn->compares);
    free((void *)(uintptr_t)txn->ops);
}

struct store_pending *store__pending_new(const struct store_request *request, nsec deadline)
{
    struct store_pending *pending = mem_zalloc(sizeof(*pending));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pending->done, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&pending->lock, NULL);
    atomic_init(&pending->references, 2);
    pending->made_at = clock_now();
    pending->deadline = deadline;
    pending->request = *request;
    copy_txn(&request->txn, &pending->request.txn);
    pending->request.prefix = mem_strdup(request->prefix);
    return pending;
}

void store__pending_unref(struct store_pending *pending)
{
    if (!pending || atomic_fetch_sub(&pending->references, 1) != 1)
        return;
    release_txn(&pending->request.txn);
    free(pending->request.prefix);
    store_list_release(&pending->list);
    pthread_cond_destroy(&pending->done);
    pthread_mutex_destroy(&pending->lock);
    free(pending);
}

static double waited_s(const struct store_pending *pending)
{
    return clock_ms(clock_now() - pending->made_at) / 1000;
}

/* The outcome of one that never began. Called with the lock held. */
static void withdraw(struct store_pending *pending)
{
    if (pending->lock_busy && atomic_load(pending->lock_busy)) {
        err_set(&pending->err, ST_BUSY, "another process is writing to the store: waited %.1f s",
                waited_s(pending));
        err_hint(&pending->err, "try again; if it lasts, a process with this store open is stopped "
                                "or its disk hangs");
    } else {
        err_set(&pending->err, ST_TIMEOUT, "the store did not get to a write within %.1f s",
                waited_s(pending));
        err_hint(&pending->err, "try again; if it lasts, the store's disk is slow");
    }
    pending->status = pending->err.status;
    pending->state = STORE_DONE;
    pthread_cond_broadcast(&pending->done);
}

bool store__pending_begin(struct store_pending *pending)
{
    pthread_mutex_lock(&pending->lock);
    if (pending->state == STORE_QUEUED && clock_now() >= pending->deadline)
        withdraw(pending);
    bool begun = pending->state == STORE_QUEUED;
    if (begun)
        pending->state = STORE_RUNNING;
    pthread_mutex_unlock(&pending->lock);
    return begun;
}

bool store__pending_is_abandoned(struct store_pending *pending)
{
    pthread_mutex_lock(&pending->lock);
    bool is_abandoned = pending->abandoned;
    pthread_mutex_unlock(&pending->lock);
    return is_abandoned;
}

void store__pending_complete(struct store_pending *pending)
{
    if (pending->on_complete)
        pending->on_complete(pending);
    pthread_mutex_lock(&pending->lock);
    if (pending->abandoned)
        atomic_fetch_sub(pending->abandoned_count, 1);
    pending->state = STORE_DONE;
    pthread_cond_broadcast(&pending->done);
    pthread_mutex_unlock(&pending->lock);
    store__pending_unref(pending);
}

void store__pending_fail(struct store_pending *pending, enum status status, const struct err *err)
{
    pending->status = status;
    pending->err = *err;
    store__pending_complete(pending);
}

static void wait_slice(struct store_pending *pending, nsec deadline)
{
    int ms = clock_ms_left(deadline);
    ms = ms < WAIT_SLICE_MS ? ms : WAIT_SLICE_MS;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec + ms * NSEC_PER_MS;
    until = (struct timespec){at / NSEC_PER_SEC, at % NSEC_PER_SEC};
    pthread_cond_timedwait(&pending->done, &pending->lock, &until);
}

enum status store__pending_wait(struct store_pending *pending, nsec deadline, struct err *err)
{
    pthread_mutex_lock(&pending->lock);
    while (pending->state != STORE_DONE && clock_now() < deadline)
        wait_slice(pending, deadline);
    if (pending->state == STORE_QUEUED)
        withdraw(pending);
    enum status status = pending->status;
    if (pending->state == STORE_RUNNING) {
        if (!pending->abandoned)
            atomic_fetch_add(pending->abandoned_count, 1);
        pending->abandoned = true;
        status =
            err_set(err, ST_UNKNOWN, "the store began to write and has not answered within %.1f s",
                    waited_s(pending));
        err_hint(err, "read the key back to see whether it happened");
    } else if (status) {
        *err = pending->err;
    }
    pthread_mutex_unlock(&pending->lock);
    return status;
}
