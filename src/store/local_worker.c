/* SPDX-License-Identifier: Apache-2.0
 *
 * The only writer of a store: its thread takes what has queued up, applies it in one SQLite
 * transaction and commits once. Decides the outcome class of every write.
 *
 * Which error means what (WAL mode, synchronous=FULL, power-safe overwrite on):
 *   BEGIN IMMEDIATE  nothing is written before it succeeds: any error is "surely not". BUSY is
 *                    tried again until no transaction in the queue is within its deadline.
 *   statements       a statement may spill pages into the WAL, but without the commit mark, which
 *                    only COMMIT writes: after ROLLBACK they can never count. Any error: surely
 * not. COMMIT           writes the frames, the one with the commit mark last, then flushes the
 * disk, then publishes in shared memory. BUSY           comes before the first frame: surely not.
 *     FULL           a frame was not written whole; the commit frame is the last and carries a
 *                    checksum over all before it, so no recovery accepts it: surely not.
 *     anything else  (a failed flush above all) the whole commit frame may be in the file. No
 *                    process sees it now, but a recovery after a crash would: doubt.
 *
 * Doubt. After such a COMMIT the next successful commit overwrites the doubtful frames (the WAL
 * goes on from the last *published* frame, and what stays behind fails the checksum chain), so it
 * settles that the doubtful transaction did not happen. The worker tries that at once: if it works,
 * the answer is ST_IO, surely not; else ST_UNKNOWN, and while 'doubt' is set every batch writes
 * something, and a read first sends a barrier through the queue: a read-back is conclusive.
 * The same barrier orders reads behind a transaction whose waiter gave up while it was running.
 */
#include "store/local.h"

#include "base/mem.h"
#include "base/scope.h"

#include <fcntl.h>
#include <signal.h>

enum {
    BATCH_MAX = 64,
    HISTORY_SLACK = 512,
    WAL_PAGES_MAX = 16384, /* 64 MiB: checkpoint unasked, so that it never grows without bound */
    RETRY_MIN_US = 100,    /* between tries while another process holds SQLite's write lock */
    RETRY_MAX_US = 1000
};

/* ---- the queue ---- */

static void push(struct local_store *local, struct store_pending *pending)
{
    pending->next = NULL;
    *local->last = pending;
    local->last = &pending->next;
    pthread_cond_signal(&local->queue_changed);
}

void local__submit(struct store *store, struct store_pending *pending)
{
    struct local_store *local = local__of(store);
    pending->abandoned_count = &local->abandoned_count;
    pending->lock_busy = &local->lock_busy;
    pthread_mutex_lock(&local->queue_lock);
    push(local, pending);
    pthread_mutex_unlock(&local->queue_lock);
}

static bool wait_for_work(struct local_store *local)
{
    pthread_mutex_lock(&local->queue_lock);
    while (!local->first && !local->stopping)
        pthread_cond_wait(&local->queue_changed, &local->queue_lock);
    bool work = !local->stopping;
    pthread_mutex_unlock(&local->queue_lock);
    return work;
}

/* Up to 'limit' transactions that may still begin; the others are let go. */
static struct store_pending *take_work(struct local_store *local, size_t limit)
{
    struct store_pending *taken = NULL, **last = &taken;
    pthread_mutex_lock(&local->queue_lock);
    for (size_t count = 0; local->first && count < limit;) {
        struct store_pending *pending = local->first;
        local->first = pending->next;
        pending->next = NULL;
        if (!store__pending_begin(pending)) {
            store__pending_unref(pending);
            continue;
        }
        *last = pending;
        last = &pending->next;
        count++;
    }
    if (!local->first)
        local->last = &local->first;
    pthread_mutex_unlock(&local->queue_lock);
    return taken;
}

static void fail_all(struct store_pending *pending, const struct err *err)
{
    while (pending) {
        struct store_pending *next = pending->next;
        store__pending_fail(pending, err->status, err);
        pending = next;
    }
}

/* ---- one batch ---- */

/* Tells watches of other processes. Opening for writing and closing is an inotify event and, unlike
 * a write, leaves nothing for the file system's journal to flush. A miss costs a watch its
 * re-check. */
static void wake_watches(const struct local_store *local)
{
    AUTO_CLOSE int fd = open(local->wake_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    (void)fd;
}

static bool commit_surely_failed(int rc)
{
    return (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_FULL;
}

static int apply_all(struct batch *batch, struct store_pending *work)
{
    int rc = local__begin(batch);
    for (; work && !rc; work = work->next)
        rc = local__apply(batch, work);
    if (!rc && batch->changed)
        rc = local__trim(batch, HISTORY_SLACK);
    if (!rc && atomic_load(&batch->local->doubt))
        batch->changed = true;
    if (!rc && batch->changed)
        rc = local__save(batch);
    return rc;
}

static void roll_back(struct db *db)
{
    if (!sqlite3_get_autocommit(db->handle)) /* some errors have rolled back by themselves */
        db_exec(db, SQL_ROLLBACK);
}

/* Overwrite what a failed COMMIT left in the WAL. True: it surely did not happen. */
static bool settle(struct local_store *local)
{
    struct batch batch = {.local = local, .db = local->writer, .now = clock_now()};
    int rc = db_exec(batch.db, SQL_BEGIN_WRITE);
    rc = rc ? rc : local__begin(&batch);
    rc = rc ? rc : local__save(&batch);
    rc = rc ? rc : db_exec(batch.db, SQL_COMMIT);
    roll_back(batch.db);
    return !rc;
}

/* The statuses that stand in 'work' were drawn inside a transaction that is gone: those that wrote
 * get 'err', and so do the answers that rest on what others wrote, but never as unknown. */
static void fail_batch(struct store_pending *work, const struct err *err)
{
    struct err untouched = *err;
    if (err->status == ST_UNKNOWN)
        untouched.status = ST_IO;
    while (work) {
        struct store_pending *next = work->next;
        const struct err *mine = work->status ? &untouched : err;
        store__pending_fail(work, mine->status, mine);
        work = next;
    }
}

static void run_batch(struct local_store *local, struct store_pending *work)
{
    struct batch batch = {.local = local, .db = local->writer, .now = clock_now()};
    struct err err = ERR_INIT;
    int rc = apply_all(&batch, work);
    if (rc)
        db_fail(batch.db, rc, "write to", &err);
    bool committing = !rc && batch.changed;
    if (committing && (rc = db_exec(batch.db, SQL_COMMIT))) {
        db_fail(batch.db, rc, "commit to", &err);
        roll_back(batch.db);
        if (!commit_surely_failed(rc) && !settle(local)) {
            err.status = ST_UNKNOWN;
            atomic_store(&local->doubt, true);
        }
    }
    roll_back(batch.db);
    if (rc) {
        fail_batch(work, &err);
        return;
    }
    if (committing) {
        atomic_store(&local->doubt, false);
        wake_watches(local);
    }
    while (work) {
        struct store_pending *next = work->next;
        store__pending_complete(work);
        work = next;
    }
}

/* ---- the thread ---- */

static void pause_for_lock(struct local_store *local, long *pause_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec + *pause_us * 1000;
    until = (struct timespec){at / NSEC_PER_SEC, at % NSEC_PER_SEC};
    pthread_mutex_lock(&local->queue_lock);
    if (!local->stopping)
        pthread_cond_timedwait(&local->queue_changed, &local->queue_lock, &until);
    pthread_mutex_unlock(&local->queue_lock);
    *pause_us = *pause_us * 2 < RETRY_MAX_US ? *pause_us * 2 : RETRY_MAX_US;
}

static void checkpoint_if_long(struct local_store *local)
{
    pthread_mutex_lock(&local->queue_lock);
    bool idle = !local->first;
    pthread_mutex_unlock(&local->queue_lock);
    if (!idle || local->writer->wal_pages < WAL_PAGES_MAX)
        return;
    sqlite3_wal_checkpoint_v2(local->writer->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    local->writer->wal_pages = 0;
}

static void *work(void *argument)
{
    struct local_store *local = argument;
    long pause_us = RETRY_MIN_US;
    while (wait_for_work(local)) {
        int rc = db_exec(local->writer, SQL_BEGIN_WRITE);
        bool busy = (rc & 0xff) == SQLITE_BUSY;
        atomic_store(&local->lock_busy, busy);
        if (busy) {
            pause_for_lock(local, &pause_us);
            continue;
        }
        pause_us = RETRY_MIN_US;
        struct store_pending *taken = take_work(local, BATCH_MAX);
        struct err err = ERR_INIT;
        if (rc) {
            db_fail(local->writer, rc, "begin to write to", &err);
            fail_all(taken, &err);
        } else {
            run_batch(local, taken);
        }
        checkpoint_if_long(local);
    }
    return NULL;
}

enum status local__worker_start(struct local_store *local, struct err *err)
{
    sqlite3_busy_timeout(local->writer->handle, 0); /* work() waits, with an eye on deadlines */
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&local->worker, NULL, work, local);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? err_set_errno(err, error, "start thread", "store") : ST_OK;
}

void local__worker_stop(struct local_store *local)
{
    pthread_mutex_lock(&local->queue_lock);
    local->stopping = true;
    pthread_cond_signal(&local->queue_changed);
    pthread_mutex_unlock(&local->queue_lock);
    pthread_join(local->worker, NULL);
    struct err err = ERR_INIT;
    err_set(&err, ST_ABORTED, "the store was closed");
    fail_all(take_work(local, SIZE_MAX), &err);
}

enum status local__barrier(struct local_store *local, nsec deadline, struct err *err)
{
    struct store_request request = {.kind = STORE_REQ_BARRIER};
    struct store_pending *pending = store__pending_new(&request, deadline);
    local__submit(&local->base, pending);
    enum status status = store__pending_wait(pending, deadline, err);
    store__pending_unref(pending);
    if (status == ST_UNKNOWN) /* nothing of its own is at stake: the reader just did not learn */
        err->status = status = clock_now() < deadline ? ST_IO : ST_TIMEOUT;
    return status;
}
