/* SPDX-License-Identifier: Apache-2.0
 *
 * The front of the store: checks arguments, picks the driver by URL, and builds the blocking calls
 * from the pending ones. Knows nothing of how a driver keeps its data.
 */
#include "store/store.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/driver.h"

#include <sys/random.h>

static const char file_scheme[] = "file://", etcd_scheme[] = "etcd://";

/* Callers may pass no err; below this file there always is one. */
#define ERR_OR_LOCAL(err)                                                                          \
    struct err local_err_ = ERR_INIT;                                                              \
    (err) = (err) ? (err) : &local_err_

/* What follows 'scheme' in 'url', or NULL. */
static const char *after(const char *scheme, const char *url)
{
    size_t length = strlen(scheme);
    return strncmp(url, scheme, length) == 0 ? url + length : NULL;
}

enum status store_url_check(const char *url, struct err *err)
{
    ERR_OR_LOCAL(err);
    const char *directory = after(file_scheme, url), *members = after(etcd_scheme, url);
    if (members)
        return store__etcd_check(members, err) ? err_wrap(err, "store '%s'", url) : ST_OK;
    if (directory && directory[0] == '/' && directory[1])
        return ST_OK;
    err_set(err, ST_INVALID, "store '%s': not a store this Holdfast knows", url);
    return err_hint(err, "use file:///DIRECTORY with an absolute path, or etcd://HOST:PORT,...");
}

enum status store_open(const char *url, const struct store_access *access, nsec deadline,
                       struct store **ret_store, struct err *err)
{
    ERR_OR_LOCAL(err);
    if (store_url_check(url, err))
        return err->status;
    const char *directory = after(file_scheme, url), *members = after(etcd_scheme, url);
    enum status status = directory ? store__local_open(directory, deadline, ret_store, err)
                                   : store__etcd_open(members, access, deadline, ret_store, err);
    return status ? err_wrap(err, "store '%s'", url) : ST_OK;
}

static nsec deadline_of(bool elects, enum store_patience patience)
{
    static const int ms[][2] = {[STORE_GLANCE] = {2000, 4000}, [STORE_WORK] = {5000, 15000}};
    return clock_deadline(ms[patience][elects]);
}

nsec store_deadline(const struct store *store, enum store_patience patience)
{
    return deadline_of(store->elects, patience);
}

nsec store_url_deadline(const char *url, enum store_patience patience)
{
    return deadline_of(after(etcd_scheme, url), patience);
}

void store_close(struct store *store)
{
    if (store)
        store->driver->close(store);
}

enum status store_maintain(struct store *store, nsec deadline, struct err *err)
{
    ERR_OR_LOCAL(err);
    return store->driver->maintain(store, deadline, err);
}

enum status store_check(struct store *store, nsec deadline, struct store_health *ret,
                        struct err *err)
{
    ERR_OR_LOCAL(err);
    *ret = (struct store_health){0};
    return store->driver->check ? store->driver->check(store, deadline, ret, err) : ST_OK;
}

void store_entry_release(struct store_entry *entry)
{
    free(entry->key);
    free(entry->value);
    *entry = (struct store_entry){0};
}

void store_list_release(struct store_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        store_entry_release(&list->entries[i]);
    free(list->entries);
    *list = (struct store_list){0};
}

void store_changes_release(struct store_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        store_entry_release(&changes->items[i].entry);
    free(changes->items);
    *changes = (struct store_changes){0};
}

/* ---- arguments ---- */

static enum status check_key(const char *key, size_t least, struct err *err)
{
    size_t length = strnlen(key, STORE_KEY_MAX + 1);
    if (length < least || length > STORE_KEY_MAX)
        return err_set(err, ST_INVALID, "store key of %zu bytes: must have %zu to %d", length,
                       least, STORE_KEY_MAX);
    for (size_t i = 0; i < length; i++)
        if (key[i] < '!' || key[i] > '~')
            return err_set(err, ST_INVALID, "store key: byte %zu is 0x%02x, not printable ASCII", i,
                           (unsigned char)key[i]);
    return ST_OK;
}

static enum status check_op(const struct store_txn *txn, size_t index, size_t *bytes,
                            struct err *err)
{
    const struct store_op *op = &txn->ops[index];
    if (check_key(op->key, 1, err))
        return err->status;
    for (size_t i = 0; i < index; i++)
        if (strcmp(txn->ops[i].key, op->key) == 0)
            return err_set(err, ST_INVALID, "store transaction changes '%s' twice", op->key);
    *bytes += strlen(op->key);
    if (op->kind != STORE_PUT)
        return ST_OK;
    size_t length = strnlen(op->value, STORE_VALUE_MAX + 1);
    if (length > STORE_VALUE_MAX)
        return err_set(err, ST_INVALID, "value of '%s' is larger than %d bytes", op->key,
                       STORE_VALUE_MAX);
    *bytes += length;
    return ST_OK;
}

static enum status check_txn(const struct store_txn *txn, struct err *err)
{
    if (txn->compare_count > STORE_TXN_MAX || txn->op_count > STORE_TXN_MAX)
        return err_set(err, ST_INVALID, "store transaction of %zu compares and %zu ops: at most %d",
                       txn->compare_count, txn->op_count, STORE_TXN_MAX);
    size_t bytes = 0;
    for (size_t i = 0; i < txn->compare_count; i++) {
        if (check_key(txn->compares[i].key, 1, err))
            return err->status;
        bytes += strlen(txn->compares[i].key);
    }
    for (size_t i = 0; i < txn->op_count; i++)
        if (check_op(txn, i, &bytes, err))
            return err->status;
    if (bytes > STORE_TXN_BYTES)
        return err_set(err, ST_INVALID, "store transaction of %zu bytes: at most %d", bytes,
                       STORE_TXN_BYTES);
    return ST_OK;
}

/* ---- reading ---- */

enum status store_get(struct store *store, const char *key, nsec deadline,
                      struct store_entry *ret_entry, struct err *err)
{
    ERR_OR_LOCAL(err);
    if (check_key(key, 1, err))
        return err->status;
    return store->driver->get(store, key, deadline, ret_entry, err);
}

enum status store_list(struct store *store, const char *prefix, nsec deadline,
                       struct store_list *ret_list, struct err *err)
{
    ERR_OR_LOCAL(err);
    if (check_key(prefix, 0, err))
        return err->status;
    return store->driver->list(store, prefix, deadline, ret_list, err);
}

/* ---- writing ---- */

static void scope_pending_free(struct store_pending **pending)
{
    store__pending_unref(*pending);
}

static struct store_pending *start(struct store *store, const struct store_request *request,
                                   nsec deadline)
{
    struct store_pending *pending = store__pending_new(request, deadline);
    store->driver->submit(store, pending);
    return pending;
}

static enum status run(struct store *store, const struct store_request *request, nsec deadline,
                       struct err *err)
{
    AUTO(scope_pending_free) struct store_pending *pending = start(store, request, deadline);
    return store__pending_wait(pending, deadline, err);
}

enum status store_txn_start(struct store *store, const struct store_txn *txn, nsec deadline,
                            struct store_pending **ret_pending, struct err *err)
{
    ERR_OR_LOCAL(err);
    if (check_txn(txn, err))
        return err->status;
    struct store_request request = {.kind = STORE_REQ_TXN, .txn = *txn};
    *ret_pending = start(store, &request, deadline);
    return ST_OK;
}

enum status store_txn_wait(struct store_pending *pending, nsec deadline,
                           struct store_txn_result *ret_result, struct err *err)
{
    ERR_OR_LOCAL(err);
    enum status status = store__pending_wait(pending, deadline, err);
    if (status == ST_OK || status == ST_CONFLICT)
        *ret_result = pending->result;
    return status;
}

void store_pending_free(struct store_pending *pending)
{
    store__pending_unref(pending);
}

enum status store_txn(struct store *store, const struct store_txn *txn, nsec deadline,
                      struct store_txn_result *ret_result, struct err *err)
{
    AUTO(scope_pending_free) struct store_pending *pending = NULL;
    enum status status = store_txn_start(store, txn, deadline, &pending, err);
    return status ? status : store_txn_wait(pending, deadline, ret_result, err);
}

enum status store_txn_repeatable(struct store *store, const struct store_txn *txn,
                                 const char *prefix, nsec deadline, struct store_repeated *ret,
                                 struct err *err)
{
    ERR_OR_LOCAL(err);
    if (check_txn(txn, err) || check_key(prefix, 0, err))
        return err->status;
    AUTO_FREE char *copy = mem_strdup(prefix);
    struct store_request request = {.kind = STORE_REQ_TXN, .txn = *txn, .prefix = copy};
    AUTO(scope_pending_free) struct store_pending *pending = start(store, &request, deadline);
    enum status status = store_txn_wait(pending, deadline, &ret->result, err);
    if (status)
        return status;
    if (!pending->list.revision) /* it is done, and nobody else touches it now */
        return store->driver->list(store, prefix, deadline, &ret->list, err);
    ret->list = pending->list;
    pending->list = (struct store_list){0};
    return ST_OK;
}

/* ---- leases ---- */

enum status store_lease_grant(struct store *store, int64_t ttl_ms, nsec deadline,
                              int64_t *ret_lease, struct err *err)
{
    ERR_OR_LOCAL(err);
    if (ttl_ms < 1 || ttl_ms > STORE_LEASE_MS_MAX)
        return err_set(err, ST_INVALID, "lease of %lld ms: must be 1 to %d", (long long)ttl_ms,
                       STORE_LEASE_MS_MAX);
    /* The caller's side draws the number, so that it is known even if the answer is lost. */
    uint64_t drawn = 0;
    INVARIANT(getrandom(&drawn, sizeof(drawn), 0) == sizeof(drawn));
    int64_t lease = (int64_t)(drawn >> 1) | 1;
    struct store_request request = {.kind = STORE_REQ_GRANT, .lease = lease, .ttl_ms = ttl_ms};
    enum status status = run(store, &request, deadline, err);
    if (status == ST_OK || status == ST_UNKNOWN)
        *ret_lease = lease;
    return status;
}

enum status store_lease_keepalive(struct store *store, int64_t lease, nsec deadline,
                                  struct err *err)
{
    ERR_OR_LOCAL(err);
    struct store_request request = {.kind = STORE_REQ_KEEPALIVE, .lease = lease};
    return run(store, &request, deadline, err);
}

enum status store_lease_revoke(struct store *store, int64_t lease, nsec deadline, struct err *err)
{
    ERR_OR_LOCAL(err);
    struct store_request request = {.kind = STORE_REQ_REVOKE, .lease = lease};
    return run(store, &request, deadline, err);
}

/* ---- watches ---- */

enum status store_watch_open(struct store *store, const char *prefix, int64_t after_rev,
                             struct store_watch **ret_watch, struct err *err)
{
    ERR_OR_LOCAL(err);
    if (check_key(prefix, 0, err))
        return err->status;
    return store->driver->watch_open(store, prefix, after_rev, ret_watch, err);
}

enum status store_watch_next(struct store_watch *watch, nsec deadline,
                             struct store_changes *ret_changes, struct err *err)
{
    ERR_OR_LOCAL(err);
    return watch->driver->watch_next(watch, deadline, ret_changes, err);
}

int store_watch_fd(const struct store_watch *watch)
{
    return watch->driver->watch_fd(watch);
}

void store_watch_close(struct store_watch *watch)
{
    if (watch)
        watch->driver->watch_close(watch);
}
