/* SPDX-License-Identifier: Apache-2.0
 *
 * How an unknown outcome becomes a known one. A request whose connection broke, or that was not
 * answered in time, may lie in a frozen member or a slow network and be done minutes later: no
 * single read can say that it will not.
 *
 * So every transaction carries a guard: a key of this store that only one transaction at a time
 * uses. The transaction demands that the guard exists, and when it puts anything it also puts its
 * sequence number there. A guard's key is drawn at random, created by one request that is never
 * repeated, and after it was deleted nobody creates that key again. Hence:
 *   deleting the guard, as a transaction of its own, is ordered by etcd before or after the one in
 *   doubt. After: what it finds in the guard says whether that happened (ETCD_HAPPENED), and at
 *   which revision. Before: that one finds no guard and changes nothing, whenever it arrives
 *   (ETCD_NEVER), so that it may be sent again, with another guard.
 * Only when the answer to the deletion was itself lost, or when a transaction put nothing, is it
 * not known which of both it was (ETCD_OVER); a read shows it, for it cannot change any more. When
 * no member answers at all (ETCD_OPEN), the guard becomes a doubt, and a read must first delete it
 * (etcd__settle()). It also deletes the guards of transactions that still run although their
 * callers were told ST_UNKNOWN; such a one is not sent again (etcd_write.c, claim()).
 *
 * Guards hang on a lease, so that those of a process that died go away. A guard that ends that way
 * only makes the next transaction take another: the argument rests on no clock.
 */
#include "store/etcd.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"

#include <sys/random.h>

enum { DOUBTS_AT_ONCE = 64, CLOSE_MS = 500 };

static uint64_t draw(void)
{
    uint64_t drawn = 0;
    INVARIANT(getrandom(&drawn, sizeof(drawn), 0) == sizeof(drawn));
    return drawn;
}

/* ---- creation ---- */

static enum status grant(struct etcd_store *etcd, struct http_line *line, nsec deadline,
                         int64_t *ret_lease, struct err *err)
{
    int64_t lease = (int64_t)(draw() >> 1) | 1;
    AUTO_FREE char *body =
        mem_printf("{\"ID\":\"%lld\",\"TTL\":\"%d\"}", (long long)lease, ETCD_GUARD_TTL_S);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {.path = "/v3/lease/grant", .body = body, .deadline = deadline};
    enum status status = etcd_ask(etcd->client, line, &call, &answer, NULL, err);
    if (status && status != ST_EXISTS) /* it does when an answer was lost */
        return status;
    *ret_lease = lease;
    return ST_OK;
}

/* The lease of the guards, granted when there is none yet. */
static enum status find_lease(struct etcd_store *etcd, struct http_line *line, nsec deadline,
                              int64_t *ret_lease, struct err *err)
{
    pthread_mutex_lock(&etcd->lock);
    int64_t lease = etcd->lease;
    pthread_mutex_unlock(&etcd->lock);
    if (!lease) {
        if (grant(etcd, line, deadline, &lease, err))
            return err->status;
        pthread_mutex_lock(&etcd->lock);
        etcd->lease = lease; /* when two granted one, the other ends unused */
        pthread_mutex_unlock(&etcd->lock);
    }
    *ret_lease = lease;
    return ST_OK;
}

static void forget_lease(struct etcd_store *etcd, int64_t lease)
{
    pthread_mutex_lock(&etcd->lock);
    if (etcd->lease == lease)
        etcd->lease = 0;
    pthread_mutex_unlock(&etcd->lock);
}

/* Once for each key: after an unknown outcome it is left to its lease, and another is drawn. */
static enum status create(struct etcd_store *etcd, struct http_line *line, nsec deadline,
                          struct etcd_guard *guard, struct err *err)
{
    int64_t lease = 0;
    if (find_lease(etcd, line, deadline, &lease, err))
        return err->status;
    snprintf(guard->key, sizeof(guard->key), "%s%016llx", etcd->guard_prefix,
             (unsigned long long)draw());
    guard->lease = lease;
    guard->sequence = 0;
    AUTO(buf_release) struct buf body = {0};
    buf_add(&body, "{");
    etcd_add_bytes(&body, "key", guard->key);
    buf_printf(&body, ",\"lease\":\"%lld\"}", (long long)lease);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {
        .path = "/v3/kv/put", .body = buf_text(&body), .deadline = deadline, .once = true};
    enum status status = etcd_ask(etcd->client, line, &call, &answer, NULL, err);
    if (status == ST_NOT_FOUND)
        forget_lease(etcd, lease);
    return status;
}

enum status etcd__guard_take(struct etcd_writer *writer, nsec deadline,
                             struct etcd_guard **ret_guard, struct err *err)
{
    struct etcd_store *etcd = writer->etcd;
    pthread_mutex_lock(&etcd->lock);
    struct etcd_guard *guard = etcd->guards;
    if (guard)
        etcd->guards = guard->next;
    pthread_mutex_unlock(&etcd->lock);
    enum status status = ST_OK;
    if (!guard) {
        guard = mem_zalloc(sizeof(*guard));
        do
            status = create(etcd, writer->line, deadline, guard, err);
        while ((status == ST_UNKNOWN || status == ST_NOT_FOUND) && clock_now() < deadline &&
               !etcd_client_is_stopped(etcd->client));
        if (status == ST_UNKNOWN || status == ST_NOT_FOUND) /* of a guard that nobody will use */
            status = err->status = ST_TIMEOUT;
    }
    if (status) {
        free(guard);
        return status;
    }
    guard->next = NULL;
    *ret_guard = guard;
    return ST_OK;
}

void etcd__guard_give(struct etcd_store *etcd, struct etcd_guard *guard)
{
    pthread_mutex_lock(&etcd->lock);
    guard->next = etcd->guards;
    etcd->guards = guard;
    pthread_mutex_unlock(&etcd->lock);
}

/* ---- the end ---- */

enum etcd_verdict etcd__guard_end(struct etcd_writer *writer, const struct etcd_guard *guard,
                                  nsec deadline, int64_t *ret_revision)
{
    AUTO(buf_release) struct buf body = {0};
    buf_add(&body, "{\"compare\":[{\"target\":\"CREATE\",\"result\":\"GREATER\","
                   "\"create_revision\":\"0\",");
    etcd_add_bytes(&body, "key", guard->key);
    buf_add(&body, "}],\"success\":[{\"request_range\":{");
    etcd_add_bytes(&body, "key", guard->key);
    buf_add(&body, "}},{\"request_delete_range\":{");
    etcd_add_bytes(&body, "key", guard->key);
    buf_add(&body, "}}]}");
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {.path = "/v3/kv/txn", .body = buf_text(&body), .deadline = deadline};
    struct err err = ERR_INIT;
    if (etcd_ask(writer->etcd->client, writer->line, &call, &answer, NULL, &err))
        return ETCD_OPEN;
    const struct etcd_kv *kv = etcd_answer_find(&answer, guard->key);
    if (!answer.succeeded || !kv)
        return ETCD_OVER;
    *ret_revision = kv->mod_rev;
    return strtoll(kv->value, NULL, 10) == guard->sequence ? ETCD_HAPPENED : ETCD_NEVER;
}

/* ---- before a read ---- */

struct doubts {
    struct etcd_guard guards[DOUBTS_AT_ONCE];
    size_t count;
    int64_t lease; /* one whose end was asked for, 0: none */
    bool has_more;
};

static void collect(struct etcd_store *etcd, struct doubts *doubts)
{
    *doubts = (struct doubts){0};
    pthread_mutex_lock(&etcd->lock);
    for (size_t i = 0; i < etcd->writer_count; i++) {
        const struct etcd_writer *writer = &etcd->writers[i];
        if (!writer->pending || !store__pending_is_abandoned(writer->pending))
            continue;
        if (writer->guard)
            doubts->guards[doubts->count++] = *writer->guard;
        else if (writer->pending->request.kind == STORE_REQ_REVOKE)
            doubts->lease = writer->pending->request.lease;
    }
    const struct etcd_guard *guard = etcd->doubts;
    for (; guard && doubts->count < DOUBTS_AT_ONCE; guard = guard->next)
        doubts->guards[doubts->count++] = *guard;
    if (!doubts->lease && etcd->doubtful_count)
        doubts->lease = etcd->doubtful_leases[etcd->doubtful_count - 1];
    doubts->has_more = guard || etcd->doubtful_count > 1;
    pthread_mutex_unlock(&etcd->lock);
}

static void forget(struct etcd_store *etcd, const struct doubts *doubts)
{
    pthread_mutex_lock(&etcd->lock);
    for (struct etcd_guard **at = &etcd->doubts; *at;) {
        size_t i = 0;
        while (i < doubts->count && strcmp(doubts->guards[i].key, (*at)->key) != 0)
            i++;
        struct etcd_guard *guard = *at;
        if (i == doubts->count) {
            at = &guard->next;
            continue;
        }
        *at = guard->next;
        free(guard);
    }
    for (size_t i = 0; i < etcd->doubtful_count;)
        if (etcd->doubtful_leases[i] == doubts->lease)
            etcd->doubtful_leases[i] = etcd->doubtful_leases[--etcd->doubtful_count];
        else
            i++;
    pthread_mutex_unlock(&etcd->lock);
}

static enum status delete_guards(struct etcd_store *etcd, struct http_line *line,
                                 const struct doubts *doubts, nsec deadline, struct err *err)
{
    if (!doubts->count)
        return ST_OK;
    AUTO(buf_release) struct buf body = {0};
    buf_add(&body, "{\"success\":[");
    for (size_t i = 0; i < doubts->count; i++) {
        buf_add(&body, i ? ",{\"request_delete_range\":{" : "{\"request_delete_range\":{");
        etcd_add_bytes(&body, "key", doubts->guards[i].key);
        buf_add(&body, "}}");
    }
    buf_add(&body, "]}");
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {.path = "/v3/kv/txn", .body = buf_text(&body), .deadline = deadline};
    return etcd_ask(etcd->client, line, &call, &answer, NULL, err);
}

/* A lease whose revoking is in doubt is revoked for sure. */
static enum status end_lease(struct etcd_store *etcd, struct http_line *line, int64_t lease,
                             nsec deadline, struct err *err)
{
    if (!lease)
        return ST_OK;
    AUTO_FREE char *body = mem_printf("{\"ID\":\"%lld\"}", (long long)lease);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {.path = "/v3/lease/revoke", .body = body, .deadline = deadline};
    enum status status = etcd_ask(etcd->client, line, &call, &answer, NULL, err);
    return status == ST_NOT_FOUND ? ST_OK : status;
}

enum status etcd__settle(struct etcd_store *etcd, struct http_line *line, nsec deadline,
                         struct err *err)
{
    struct doubts doubts;
    do {
        collect(etcd, &doubts);
        if (!doubts.count && !doubts.lease)
            return ST_OK;
        if (delete_guards(etcd, line, &doubts, deadline, err) ||
            end_lease(etcd, line, doubts.lease, deadline, err))
            return err_wrap(err, "read-back");
        forget(etcd, &doubts);
    } while (doubts.has_more);
    return ST_OK;
}

/* ---- the store's life ---- */

static void free_guards(struct etcd_guard *guard)
{
    while (guard) {
        struct etcd_guard *next = guard->next;
        free(guard);
        guard = next;
    }
}

/* All writers have ended. */
void etcd__guards_close(struct etcd_store *etcd)
{
    struct http_line *line = http_line_new();
    struct err err = ERR_INIT;
    etcd_client_stop(etcd->client, false);
    status_ignore(end_lease(etcd, line, etcd->lease, clock_deadline(CLOSE_MS), &err),
                  "then it ends by itself");
    http_line_free(line);
    free_guards(etcd->guards);
    free_guards(etcd->doubts);
    free(etcd->doubtful_leases);
}

enum status etcd__guards_refresh(struct etcd_store *etcd, struct http_line *line, nsec deadline,
                                 struct err *err)
{
    int64_t lease = 0;
    if (find_lease(etcd, line, deadline, &lease, err))
        return err->status;
    AUTO_FREE char *body = mem_printf("{\"ID\":\"%lld\"}", (long long)lease);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {.path = "/v3/lease/keepalive", .body = body, .deadline = deadline};
    enum status status = etcd_ask(etcd->client, line, &call, &answer, NULL, err);
    if (!status && !answer.ttl_s)
        forget_lease(etcd, lease);
    return status;
}
