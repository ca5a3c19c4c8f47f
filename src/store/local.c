/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedded driver: its life cycle, its pool of read connections, and its table of functions.
 */
#include "store/local.h"

#include "base/mem.h"
#include "base/scope.h"

enum { POOL_MAX = 16, POOL_SLICE_MS = 500 };

struct local_store *local__of(struct store *store)
{
    return (struct local_store *)store;
}

void local__limit_history(struct store *store, int64_t revisions)
{
    atomic_store(&local__of(store)->history_revisions, revisions);
}

/* ---- pool ---- */

/* An idle connection, or the right to open one (NULL). False: neither until the deadline. */
static bool reserve(struct local_store *local, nsec deadline, struct db **ret_db)
{
    bool got = true;
    pthread_mutex_lock(&local->pool_lock);
    while (!local->idle && local->opened == POOL_MAX && got) {
        int ms = clock_ms_left(deadline);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec;
        at += (ms < POOL_SLICE_MS ? ms : POOL_SLICE_MS) * NSEC_PER_MS;
        until = (struct timespec){at / NSEC_PER_SEC, at % NSEC_PER_SEC};
        got = ms > 0;
        if (got)
            pthread_cond_timedwait(&local->pool_returned, &local->pool_lock, &until);
    }
    struct db *db = local->idle;
    if (db)
        local->idle = db->next;
    else if (got)
        local->opened++;
    pthread_mutex_unlock(&local->pool_lock);
    *ret_db = db;
    return got;
}

enum status local__take(struct local_store *local, nsec deadline, struct db **ret_db,
                        struct err *err)
{
    struct db *db = NULL;
    if (!reserve(local, deadline, &db))
        return err_set(err, ST_TIMEOUT, "all %d connections to the store are in use", POOL_MAX);
    if (!db && db_open(local->path, deadline, &db, err)) {
        local__give(local, NULL, false);
        return err->status;
    }
    sqlite3_busy_timeout(db->handle, clock_ms_left(deadline));
    *ret_db = db;
    return ST_OK;
}

void local__give(struct local_store *local, struct db *db, bool usable)
{
    if (!usable)
        db_close(db);
    pthread_mutex_lock(&local->pool_lock);
    if (usable) {
        db->next = local->idle;
        local->idle = db;
    } else {
        local->opened--;
    }
    pthread_cond_signal(&local->pool_returned);
    pthread_mutex_unlock(&local->pool_lock);
}

/* ---- house-keeping ---- */

static int trim_history(struct local_store *local, struct db *db)
{
    struct batch batch = {.local = local, .db = db, .now = clock_now()};
    int rc = db_exec(db, SQL_BEGIN_WRITE);
    rc = rc ? rc : local__begin(&batch);
    rc = rc ? rc : local__trim(&batch, 0);
    rc = rc ? rc : local__save(&batch);
    rc = rc ? rc : db_exec(db, SQL_COMMIT);
    if (!sqlite3_get_autocommit(db->handle))
        db_exec(db, SQL_ROLLBACK);
    return rc;
}

/* On a connection of its own, so that transactions go on beside the checkpoint. The first commit
 * after a complete checkpoint starts the WAL afresh, which costs a second disk flush: that commit
 * is made here too, not in somebody's critical section. */
static enum status maintain(struct store *store, nsec deadline, struct err *err)
{
    struct local_store *local = local__of(store);
    struct db *db = NULL;
    if (local__take(local, deadline, &db, err))
        return err->status;
    int rc = trim_history(local, db);
    if (!rc)
        rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (!rc)
        rc = trim_history(local, db);
    enum status status = rc ? db_fail(db, rc, "maintain", err) : ST_OK;
    local__give(local, db, !rc);
    return status;
}

/* ---- life cycle ---- */

static void release(struct local_store *local)
{
    while (local->idle) {
        struct db *db = local->idle;
        local->idle = db->next;
        db_close(db);
    }
    db_close(local->writer);
    pthread_cond_destroy(&local->pool_returned);
    pthread_cond_destroy(&local->queue_changed);
    pthread_mutex_destroy(&local->pool_lock);
    pthread_mutex_destroy(&local->queue_lock);
    free(local->path);
    free(local->wake_path);
    free(local);
}

static void close_store(struct store *store)
{
    struct local_store *local = local__of(store);
    local__worker_stop(local);
    release(local);
}

static const struct store_driver driver = {
    .close = close_store,
    .maintain = maintain,
    .get = local__get,
    .list = local__list,
    .submit = local__submit,
    .watch_open = local__watch_open,
    .watch_next = local__watch_next,
    .watch_fd = local__watch_fd,
    .watch_close = local__watch_close,
};

static struct local_store *new_store(const char *directory)
{
    struct local_store *local = mem_zalloc(sizeof(*local));
    local->base.driver = &driver;
    local->path = mem_printf("%s/store.db", directory);
    local->wake_path = mem_printf("%s/wake", directory);
    local->last = &local->first;
    atomic_init(&local->history_revisions, LOCAL_HISTORY_REVISIONS);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&local->pool_returned, &attributes);
    pthread_cond_init(&local->queue_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&local->pool_lock, NULL);
    pthread_mutex_init(&local->queue_lock, NULL);
    return local;
}

enum status store__local_open(const char *directory, nsec deadline, struct store **ret_store,
                              struct err *err)
{
    struct local_store *local = new_store(directory);
    enum status status = owner_load(&local->self, local->boot_id, err);
    status = status ? status : local__prepare(directory, deadline, err);
    status = status ? status : db_open(local->path, deadline, &local->writer, err);
    status = status ? status : local__worker_start(local, err);
    if (status) {
        release(local);
        return status;
    }
    *ret_store = &local->base;
    return ST_OK;
}
