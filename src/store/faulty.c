/* SPDX-License-Identifier: Apache-2.0
 *
 * A driver that stands before another one and lets a callback decide, before and after each
 * operation, how it seems to fail. Watches and maintenance pass through untouched.
 */
#include "base/mem.h"
#include "base/scope.h"
#include "store/driver.h"

struct faulty_store {
    struct store base;
    struct store *inner;
    store_fault_fn *callback;
    void *context;
};

static const char *const operations[] = {
    [STORE_REQ_TXN] = "txn",
    [STORE_REQ_GRANT] = "lease_grant",
    [STORE_REQ_KEEPALIVE] = "lease_keepalive",
    [STORE_REQ_REVOKE] = "lease_revoke",
    [STORE_REQ_BARRIER] = "barrier",
};

static const enum status fault_statuses[] = {
    [STORE_FAULT_NONE] = ST_OK,
    [STORE_FAULT_BUSY] = ST_BUSY,
    [STORE_FAULT_FULL] = ST_FULL,
    [STORE_FAULT_IO] = ST_IO,
    [STORE_FAULT_UNKNOWN_DONE] = ST_UNKNOWN,
    [STORE_FAULT_UNKNOWN_NOT_DONE] = ST_UNKNOWN,
};

static struct faulty_store *faulty_of(struct store *store)
{
    return (struct faulty_store *)store;
}

static enum store_fault ask(const struct faulty_store *faulty, enum store_fault_point point,
                            const char *operation)
{
    return faulty->callback(faulty->context, point, operation);
}

static enum status inject(enum store_fault fault, const char *operation, struct err *err)
{
    return err_set(err, fault_statuses[fault], "injected fault in store %s", operation);
}

/* A read has no unknown outcome: it fails, and nothing was learned. */
static enum status inject_read(enum store_fault fault, const char *operation, struct err *err)
{
    inject(fault, operation, err);
    if (err->status == ST_UNKNOWN)
        err->status = ST_TIMEOUT;
    return err->status;
}

static enum status get(struct store *store, const char *key, nsec deadline,
                       struct store_entry *ret_entry, struct err *err)
{
    struct faulty_store *faulty = faulty_of(store);
    enum store_fault fault = ask(faulty, STORE_BEFORE, "get");
    if (fault)
        return inject_read(fault, "get", err);
    enum status status = faulty->inner->driver->get(faulty->inner, key, deadline, ret_entry, err);
    fault = ask(faulty, STORE_AFTER, "get");
    if (fault && !status)
        store_entry_release(ret_entry);
    return fault ? inject_read(fault, "get", err) : status;
}

static enum status list(struct store *store, const char *prefix, nsec deadline,
                        struct store_list *ret_list, struct err *err)
{
    struct faulty_store *faulty = faulty_of(store);
    enum store_fault fault = ask(faulty, STORE_BEFORE, "list");
    if (fault)
        return inject_read(fault, "list", err);
    enum status status =
        faulty->inner->driver->list(faulty->inner, prefix, deadline, ret_list, err);
    fault = ask(faulty, STORE_AFTER, "list");
    if (fault && !status)
        store_list_release(ret_list);
    return fault ? inject_read(fault, "list", err) : status;
}

/* After the fact only "unknown" is an honest fault: the write is there. */
static void on_complete(struct store_pending *pending)
{
    const char *operation = operations[pending->request.kind];
    enum store_fault fault = ask(pending->on_complete_context, STORE_AFTER, operation);
    if (fault == STORE_FAULT_UNKNOWN_DONE)
        pending->status = inject(fault, operation, &pending->err);
}

static void on_complete_unknown(struct store_pending *pending)
{
    on_complete(pending);
    pending->status =
        inject(STORE_FAULT_UNKNOWN_DONE, operations[pending->request.kind], &pending->err);
}

static void submit(struct store *store, struct store_pending *pending)
{
    struct faulty_store *faulty = faulty_of(store);
    const char *operation = operations[pending->request.kind];
    enum store_fault fault = ask(faulty, STORE_BEFORE, operation);
    if (fault && fault != STORE_FAULT_UNKNOWN_DONE) {
        struct err err = ERR_INIT;
        inject(fault, operation, &err);
        store__pending_fail(pending, err.status, &err);
        return;
    }
    pending->on_complete = fault ? on_complete_unknown : on_complete;
    pending->on_complete_context = faulty;
    faulty->inner->driver->submit(faulty->inner, pending);
}

static enum status maintain(struct store *store, nsec deadline, struct err *err)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->driver->maintain(inner, deadline, err);
}

static enum status check(struct store *store, nsec deadline, struct store_health *ret,
                         struct err *err)
{
    return store_check(faulty_of(store)->inner, deadline, ret, err);
}

/* The result carries the inner driver's table: the watch calls go straight to it. */
static enum status watch_open(struct store *store, const char *prefix, int64_t after_rev,
                              struct store_watch **ret_watch, struct err *err)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->driver->watch_open(inner, prefix, after_rev, ret_watch, err);
}

static void close_store(struct store *store)
{
    store_close(faulty_of(store)->inner);
    free(store);
}

static const struct store_driver driver = {
    .close = close_store,
    .maintain = maintain,
    .check = check,
    .get = get,
    .list = list,
    .submit = submit,
    .watch_open = watch_open,
};

struct store *store_wrap_faults(struct store *store, store_fault_fn *callback, void *context)
{
    struct faulty_store *faulty = mem_zalloc(sizeof(*faulty));
    *faulty = (struct faulty_store){{&driver, store->elects}, store, callback, context};
    return &faulty->base;
}
