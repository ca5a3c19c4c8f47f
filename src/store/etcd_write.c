/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes to etcd: a queue, and up to ETCD_WRITERS threads that each carry one request. Transactions
 * that touch the same keys are done in the order of their start; others travel side by side, and
 * etcd flushes them to its disk together. Two that put the same into a key that neither compares
 * may come in any order.
 *
 * A transaction is sent again only after its guard's end has proved that it never happens. It is
 * not sent again once its caller was told ST_UNKNOWN: a read may have settled it since (claim()).
 * One that is repeatable needs none of this: it has no guard, no place in the order, and goes to
 * one member after the other until one answers.
 */
#include "store/etcd.h"

#include "base/mem.h"
#include "base/scope.h"

#include <signal.h>
#include <string.h>

enum { END_GRACE_MS = 2000, CLOSE_GRACE_MS = 2000 };

/* ---- order ---- */

static bool writes(const struct store_request *request, const char *key)
{
    for (size_t i = 0; i < request->txn.op_count; i++)
        if (strcmp(request->txn.ops[i].key, key) == 0)
            return true;
    return false;
}

/* Does it leave the key other than this put does? */
static bool writes_else(const struct store_request *request, const struct store_op *put)
{
    for (size_t i = 0; i < request->txn.op_count; i++) {
        const struct store_op *op = &request->txn.ops[i];
        bool is_same = op->kind == STORE_PUT && put->kind == STORE_PUT && op->lease == put->lease &&
                       strcmp(op->value, put->value) == 0;
        if (strcmp(op->key, put->key) == 0 && !is_same)
            return true;
    }
    return false;
}

/* What 'earlier' writes, 'later' compares or writes. */
static bool touches(const struct store_request *earlier, const struct store_request *later)
{
    for (size_t i = 0; i < later->txn.compare_count; i++)
        if (writes(earlier, later->txn.compares[i].key))
            return true;
    for (size_t i = 0; i < later->txn.op_count; i++)
        if (writes_else(earlier, &later->txn.ops[i]))
            return true;
    return false;
}

static bool names_lease(const struct store_request *request, int64_t lease)
{
    if (request->kind != STORE_REQ_TXN)
        return request->lease == lease;
    for (size_t i = 0; i < request->txn.op_count; i++)
        if (request->txn.ops[i].lease == lease)
            return true;
    return false;
}

static bool must_follow(const struct store_request *earlier, const struct store_request *later)
{
    if (earlier->prefix || later->prefix)
        return false;
    if (earlier->kind == STORE_REQ_REVOKE || later->kind == STORE_REQ_REVOKE)
        return true; /* it deletes keys that nobody here knows */
    if (earlier->kind != STORE_REQ_TXN)
        return names_lease(later, earlier->lease);
    if (later->kind != STORE_REQ_TXN)
        return names_lease(earlier, later->lease);
    return touches(earlier, later) || touches(later, earlier);
}

static bool is_running(const struct etcd_store *etcd, const struct store_pending *pending)
{
    for (size_t i = 0; i < etcd->writer_count; i++)
        if (etcd->writers[i].pending == pending)
            return true;
    return false;
}

static void unlink_pending(struct etcd_store *etcd, struct store_pending *pending)
{
    struct store_pending **at = &etcd->first;
    while (*at != pending)
        at = &(*at)->next;
    *at = pending->next;
    if (!*at)
        etcd->last = at;
}

/* The first that may begin; those that were withdrawn are let go. With the lock held. */
static struct store_pending *pick_of(struct etcd_store *etcd, bool is_repeatable)
{
    for (struct store_pending *at = etcd->first, *next = NULL; at; at = next) {
        next = at->next;
        if ((at->request.prefix != NULL) != is_repeatable)
            continue;
        const struct store_pending *before = etcd->first;
        while (before != at && !must_follow(&before->request, &at->request))
            before = before->next;
        if (before != at || is_running(etcd, at))
            continue;
        if (store__pending_begin(at))
            return at;
        unlink_pending(etcd, at);
        store__pending_unref(at);
    }
    return NULL;
}

/* Those that are repeatable wait for no other: a region's permission depends on them. */
static struct store_pending *pick(struct etcd_store *etcd, const struct etcd_writer *writer)
{
    struct store_pending *found = pick_of(etcd, true);
    bool is_reserved = writer == &etcd->writers[ETCD_WRITERS];
    return found || is_reserved ? found : pick_of(etcd, false);
}

/* ---- a transaction ---- */

static void add_compare(struct buf *body, const char *key, const char *target, const char *result,
                        int64_t revision)
{
    bool is_mod = strcmp(target, "MOD") == 0;
    buf_printf(body, "{\"target\":\"%s\",\"result\":\"%s\",\"%s\":\"%lld\",", target, result,
               is_mod ? "mod_revision" : "create_revision", (long long)revision);
    etcd_add_bytes(body, "key", key);
    buf_add(body, "}");
}

static void add_compares(const struct etcd_store *etcd, const struct store_txn *txn,
                         bool is_continued, struct buf *body)
{
    for (size_t i = 0; i < txn->compare_count; i++) {
        const struct store_compare *compare = &txn->compares[i];
        AUTO_FREE char *key = etcd__key(etcd, compare->key);
        bool by_revision =
            compare->kind == STORE_MOD_REV_IS || compare->kind == STORE_CREATE_REV_IS;
        buf_add(body, is_continued || i ? "," : "");
        add_compare(body, key, compare->kind == STORE_MOD_REV_IS ? "MOD" : "CREATE",
                    compare->kind == STORE_EXISTS ? "GREATER" : "EQUAL",
                    by_revision ? compare->revision : 0);
    }
}

static void add_put(struct buf *body, const char *key, const char *value, int64_t lease)
{
    buf_add(body, "{\"request_put\":{");
    etcd_add_bytes(body, "key", key);
    buf_add(body, ",");
    etcd_add_bytes(body, "value", value);
    buf_printf(body, ",\"lease\":\"%lld\"}}", (long long)lease);
}

static bool has_put(const struct store_txn *txn)
{
    for (size_t i = 0; i < txn->op_count; i++)
        if (txn->ops[i].kind == STORE_PUT)
            return true;
    return false;
}

/* A deletion of nothing must not make a revision: without a put the guard stays as it is. */
static void add_ops(const struct etcd_store *etcd, const struct store_txn *txn,
                    const struct etcd_guard *guard, struct buf *body)
{
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct store_op *op = &txn->ops[i];
        AUTO_FREE char *key = etcd__key(etcd, op->key);
        buf_add(body, i ? "," : "");
        if (op->kind == STORE_PUT) {
            add_put(body, key, op->value, op->lease);
        } else {
            buf_add(body, "{\"request_delete_range\":{");
            etcd_add_bytes(body, "key", key);
            buf_add(body, "}}");
        }
    }
    if (!guard || !has_put(txn))
        return;
    char sequence[24];
    snprintf(sequence, sizeof(sequence), "%lld", (long long)guard->sequence);
    buf_add(body, ",");
    add_put(body, guard->key, sequence, guard->lease);
}

static void add_range(struct buf *body, const char *key)
{
    buf_add(body, "{\"request_range\":{\"keys_only\":true,");
    etcd_add_bytes(body, "key", key);
    buf_add(body, "}}");
}

/* As of the revision that the puts before it make. */
static void add_listing(const struct etcd_store *etcd, const struct store_request *request,
                        struct buf *body)
{
    AUTO_FREE char *from = etcd__key(etcd, request->prefix);
    AUTO_FREE char *end = etcd__range_end(etcd, request->prefix);
    buf_printf(body, "%s{\"request_range\":{", request->txn.op_count ? "," : "");
    etcd_add_bytes(body, "key", from);
    buf_add(body, ",");
    etcd_add_bytes(body, "range_end", end);
    buf_add(body, "}}");
}

/* 'guard' NULL: it has none. */
static void build_txn(const struct etcd_store *etcd, const struct store_request *request,
                      const struct etcd_guard *guard, struct buf *body)
{
    const struct store_txn *txn = &request->txn;
    buf_add(body, "{\"compare\":[");
    if (guard)
        add_compare(body, guard->key, "CREATE", "GREATER", 0);
    add_compares(etcd, txn, guard != NULL, body);
    buf_add(body, "],\"success\":[");
    add_ops(etcd, txn, guard, body);
    if (request->prefix)
        add_listing(etcd, request, body);
    buf_add(body, "],\"failure\":[");
    if (guard)
        add_range(body, guard->key);
    for (size_t i = 0; i < txn->compare_count; i++) {
        AUTO_FREE char *key = etcd__key(etcd, txn->compares[i].key);
        buf_add(body, guard || i ? "," : "");
        add_range(body, key);
    }
    buf_add(body, "]}");
}

static bool holds(const struct store_compare *compare, const struct etcd_kv *kv)
{
    switch (compare->kind) {
    case STORE_EXISTS:
        return kv;
    case STORE_ABSENT:
        return !kv;
    case STORE_MOD_REV_IS:
        return compare->revision == (kv ? kv->mod_rev : 0);
    case STORE_CREATE_REV_IS:
        return compare->revision == (kv ? kv->create_rev : 0);
    }
    return false;
}

/* It did not lack its guard, so one of the caller's compares did not hold. */
static enum status name_failed(const struct etcd_store *etcd, struct store_pending *pending,
                               const struct etcd_answer *answer)
{
    const struct store_txn *txn = &pending->request.txn;
    for (size_t i = 0; i < txn->compare_count; i++) {
        const struct store_compare *compare = &txn->compares[i];
        AUTO_FREE char *key = etcd__key(etcd, compare->key);
        const struct etcd_kv *kv = etcd_answer_find(answer, key);
        if (holds(compare, kv))
            continue;
        pending->result = (struct store_txn_result){false, answer->revision, i};
        return err_set(&pending->err, ST_CONFLICT, "'%s' was changed (revision %lld)", compare->key,
                       (long long)(kv ? kv->mod_rev : 0));
    }
    return err_set(&pending->err, ST_IO, "etcd refused a transaction and names no reason");
}

/* May it be sent, under this guard? Not when its caller was told that the outcome is unknown: a
 * read after that may already have said that it did not happen. Decided under the lock that
 * etcd__settle() takes to see which guards are in use. */
static bool claim(struct etcd_writer *writer, struct etcd_guard *guard)
{
    pthread_mutex_lock(&writer->etcd->lock);
    bool may = !store__pending_is_abandoned(writer->pending);
    guard->sequence++;
    writer->guard = may ? guard : NULL;
    pthread_mutex_unlock(&writer->etcd->lock);
    return may;
}

enum step { STEP_DONE, STEP_AGAIN };

/* The outcome is in doubt: end the guard. */
static enum step end_doubt(struct etcd_writer *writer, struct etcd_guard *guard)
{
    struct etcd_store *etcd = writer->etcd;
    struct store_pending *pending = writer->pending;
    nsec grace = clock_deadline(END_GRACE_MS);
    int64_t revision = 0;
    enum etcd_verdict verdict = etcd__guard_end(
        writer, guard, grace > pending->deadline ? grace : pending->deadline, &revision);
    if (verdict != ETCD_OPEN && !has_put(&pending->request.txn))
        verdict = ETCD_OVER;
    pthread_mutex_lock(&etcd->lock);
    writer->guard = NULL;
    if (verdict == ETCD_OPEN) {
        guard->next = etcd->doubts;
        etcd->doubts = guard;
        guard = NULL;
    }
    pthread_mutex_unlock(&etcd->lock);
    free(guard);
    if (verdict == ETCD_HAPPENED) {
        pending->result = (struct store_txn_result){true, revision, 0};
        pending->err.status = ST_OK;
        return STEP_DONE;
    }
    if (verdict == ETCD_NEVER) {
        pending->err.status = ST_TIMEOUT;
        return clock_now() < pending->deadline ? STEP_AGAIN : STEP_DONE;
    }
    pending->err.status = ST_UNKNOWN;
    err_hint(&pending->err, "read the key back to see whether it happened");
    return STEP_DONE;
}

static void take_answer(const struct etcd_store *etcd, struct store_pending *pending,
                        const struct etcd_answer *answer)
{
    if (!answer->succeeded) {
        name_failed(etcd, pending, answer);
        return;
    }
    pending->result = (struct store_txn_result){true, answer->revision, 0};
    pending->err.status = ST_OK;
}

static enum step judge_txn(struct etcd_writer *writer, struct etcd_guard *guard,
                           const struct etcd_answer *answer)
{
    struct store_pending *pending = writer->pending;
    bool lost_guard = !answer->succeeded && !etcd_answer_find(answer, guard->key);
    if (lost_guard)
        err_set(&pending->err, ST_TIMEOUT, "the guard of the transaction had ended");
    else
        take_answer(writer->etcd, pending, answer);
    pthread_mutex_lock(&writer->etcd->lock);
    writer->guard = NULL;
    pthread_mutex_unlock(&writer->etcd->lock);
    if (!lost_guard) {
        etcd__guard_give(writer->etcd, guard);
        return STEP_DONE;
    }
    free(guard);
    return clock_now() < pending->deadline ? STEP_AGAIN : STEP_DONE;
}

static enum step try_txn(struct etcd_writer *writer)
{
    struct etcd_store *etcd = writer->etcd;
    struct store_pending *pending = writer->pending;
    struct etcd_guard *guard = NULL;
    if (etcd__guard_take(writer, pending->deadline, &guard, &pending->err))
        return STEP_DONE;
    if (!claim(writer, guard)) {
        etcd__guard_give(etcd, guard);
        err_set(&pending->err, ST_TIMEOUT, "etcd did not answer in time, and it did not happen");
        return STEP_DONE;
    }
    AUTO(buf_release) struct buf body = {0};
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    build_txn(etcd, &pending->request, guard, &body);
    struct etcd_call call = {
        .path = "/v3/kv/txn", .body = buf_text(&body), .deadline = pending->deadline, .once = true};
    enum status status = etcd_ask(etcd->client, writer->line, &call, &answer, NULL, &pending->err);
    if (!status)
        return judge_txn(writer, guard, &answer);
    if (status == ST_UNKNOWN)
        return end_doubt(writer, guard);
    pthread_mutex_lock(&etcd->lock);
    writer->guard = NULL;
    pthread_mutex_unlock(&etcd->lock);
    etcd__guard_give(etcd, guard);
    return STEP_DONE;
}

/* ---- a transaction that is repeatable ---- */

static void repeat_txn(struct etcd_writer *writer)
{
    struct etcd_store *etcd = writer->etcd;
    struct store_pending *pending = writer->pending;
    AUTO(buf_release) struct buf body = {0};
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    build_txn(etcd, &pending->request, NULL, &body);
    struct etcd_call call = {.path = "/v3/kv/txn",
                             .body = buf_text(&body),
                             .deadline = pending->deadline,
                             .is_hasty = true};
    bool doubt = false;
    enum status status =
        etcd_ask(etcd->client, writer->line, &call, &answer, &doubt, &pending->err);
    if (status && doubt)
        pending->err.status = ST_UNKNOWN;
    if (status)
        return;
    take_answer(etcd, pending, &answer);
    if (pending->result.succeeded && etcd__take_list(etcd, &answer, &pending->list, &pending->err))
        pending->err.status = ST_UNKNOWN; /* who knows whose answer that was */
}

/* ---- a lease: doing it twice is the same as once ---- */

static const char *const lease_paths[] = {
    [STORE_REQ_GRANT] = "/v3/lease/grant",
    [STORE_REQ_KEEPALIVE] = "/v3/lease/keepalive",
    [STORE_REQ_REVOKE] = "/v3/lease/revoke",
};

static void remember_revoke(struct etcd_store *etcd, int64_t lease)
{
    pthread_mutex_lock(&etcd->lock);
    VEC_PUSH(etcd->doubtful_leases, etcd->doubtful_count, etcd->doubtful_capacity, lease);
    pthread_mutex_unlock(&etcd->lock);
}

static void do_lease(struct etcd_writer *writer)
{
    struct store_pending *pending = writer->pending;
    const struct store_request *request = &pending->request;
    long long lease = request->lease;
    AUTO_FREE char *body = request->kind == STORE_REQ_GRANT
                               ? mem_printf("{\"ID\":\"%lld\",\"TTL\":\"%lld\"}", lease,
                                            (long long)(request->ttl_ms + 999) / 1000)
                               : mem_printf("{\"ID\":\"%lld\"}", lease);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {
        .path = lease_paths[request->kind], .body = body, .deadline = pending->deadline};
    bool doubt = false;
    enum status status =
        etcd_ask(writer->etcd->client, writer->line, &call, &answer, &doubt, &pending->err);
    bool has_ended = status == ST_NOT_FOUND ||
                     (!status && request->kind == STORE_REQ_KEEPALIVE && !answer.ttl_s);
    if (has_ended && request->kind == STORE_REQ_REVOKE && doubt)
        status = ST_OK; /* an attempt before did it */
    else if (has_ended)
        status = err_set(&pending->err, ST_NOT_FOUND, "lease %lld has ended", lease);
    else if (status == ST_EXISTS && request->kind == STORE_REQ_GRANT)
        status = ST_OK; /* the number was drawn for this request alone */
    else if (status && doubt)
        status = ST_UNKNOWN;
    if (status == ST_UNKNOWN && request->kind == STORE_REQ_REVOKE)
        remember_revoke(writer->etcd, request->lease);
    pending->err.status = status;
}

/* ---- the threads ---- */

static void carry(struct etcd_writer *writer)
{
    struct etcd_store *etcd = writer->etcd;
    struct store_pending *pending = writer->pending;
    if (pending->request.prefix)
        repeat_txn(writer);
    else if (pending->request.kind == STORE_REQ_TXN)
        while (try_txn(writer) == STEP_AGAIN && !etcd_client_is_stopped(etcd->client))
            continue;
    else
        do_lease(writer);
    pending->status = pending->err.status;
    pthread_mutex_lock(&etcd->lock);
    unlink_pending(etcd, pending);
    writer->pending = NULL;
    pthread_mutex_unlock(&etcd->lock);
    store__pending_complete(pending);
}

/* Who is woken may be the one that takes no more than some. */
static void wake_one(struct etcd_store *etcd)
{
    if (etcd->writer_count > ETCD_WRITERS)
        pthread_cond_broadcast(&etcd->work_changed);
    else
        pthread_cond_signal(&etcd->work_changed);
}

static void *work(void *argument)
{
    struct etcd_writer *writer = argument;
    struct etcd_store *etcd = writer->etcd;
    pthread_mutex_lock(&etcd->lock);
    while (!etcd->stopping) {
        writer->pending = pick(etcd, writer);
        if (!writer->pending) {
            etcd->idle_count++;
            pthread_cond_broadcast(&etcd->writers_idle);
            pthread_cond_wait(&etcd->work_changed, &etcd->lock);
            etcd->idle_count--;
            continue;
        }
        wake_one(etcd); /* another may find more */
        pthread_mutex_unlock(&etcd->lock);
        carry(writer);
        pthread_mutex_lock(&etcd->lock);
    }
    etcd->idle_count++; /* for good */
    pthread_cond_broadcast(&etcd->writers_idle);
    pthread_mutex_unlock(&etcd->lock);
    return NULL;
}

/* With the lock held. */
static bool add_writer(struct etcd_store *etcd)
{
    struct etcd_writer *writer = &etcd->writers[etcd->writer_count];
    *writer = (struct etcd_writer){.etcd = etcd, .line = http_line_new()};
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&writer->thread, NULL, work, writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started)
        http_line_free(writer->line);
    etcd->writer_count += started;
    return started;
}

void etcd__submit(struct store *store, struct store_pending *pending)
{
    struct etcd_store *etcd = (struct etcd_store *)store;
    pending->abandoned_count = &etcd->abandoned_count;
    pending->lock_busy = &etcd->lock_busy;
    pending->next = NULL;
    pthread_mutex_lock(&etcd->lock);
    if (etcd->idle_count)
        wake_one(etcd);
    size_t most = ETCD_WRITERS + (pending->request.prefix ? 1 : 0);
    bool has_writer =
        etcd->idle_count || etcd->writer_count >= most || add_writer(etcd) || etcd->writer_count;
    if (has_writer) {
        *etcd->last = pending;
        etcd->last = &pending->next;
    }
    pthread_mutex_unlock(&etcd->lock);
    if (has_writer)
        return;
    struct err err = ERR_INIT;
    err_set(&err, ST_IO, "no thread could be started for the store");
    store__pending_fail(pending, err.status, &err);
}

static void wait_for_writers(struct etcd_store *etcd)
{
    nsec deadline = clock_deadline(CLOSE_GRACE_MS);
    while (etcd->idle_count < etcd->writer_count && clock_now() < deadline) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec;
        at += clock_ms_left(deadline) * NSEC_PER_MS;
        until = (struct timespec){at / NSEC_PER_SEC, at % NSEC_PER_SEC};
        pthread_cond_timedwait(&etcd->writers_idle, &etcd->lock, &until);
    }
}

void etcd__writers_stop(struct etcd_store *etcd)
{
    pthread_mutex_lock(&etcd->lock);
    etcd->stopping = true;
    pthread_cond_broadcast(&etcd->work_changed);
    wait_for_writers(etcd);
    pthread_mutex_unlock(&etcd->lock);
    etcd_client_stop(etcd->client, true);
    for (size_t i = 0; i < etcd->writer_count; i++) {
        pthread_join(etcd->writers[i].thread, NULL);
        http_line_free(etcd->writers[i].line);
    }
    struct err err = ERR_INIT;
    err_set(&err, ST_ABORTED, "the store was closed");
    while (etcd->first) {
        struct store_pending *pending = etcd->first;
        etcd->first = pending->next;
        if (store__pending_begin(pending))
            store__pending_fail(pending, err.status, &err);
        else
            store__pending_unref(pending);
    }
}
