/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches of the embedded store: the history table, read from where the watch stands. It wakes by
 * inotify when any process has committed, and by a timer: at the next end of a lease, and every
 * RECHECK_MS for what makes no noise (an owner's death, a writer killed before it could wake
 * others). A watch that sees a dead lease has it swept, which writes the deletions that everybody
 * then reads.
 */
#include "store/local.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

enum {
    RECHECK_MS = 100,
    READ_MS = 5000, /* for one look at the database; it never waits for writers */
    BATCH_CHANGES = 1024,
    BATCH_BYTES = 4 * 1024 * 1024
};

struct local_watch {
    struct store_watch base;
    struct local_store *local;
    char *prefix, *end;
    int64_t after; /* everything up to this revision was given out */
    nsec sweep_asked;
    int epoll, inotify, timer;
};

static struct local_watch *watch_of(const struct store_watch *watch)
{
    return (struct local_watch *)(uintptr_t)watch;
}

void local__watch_close(struct store_watch *base)
{
    struct local_watch *watch = watch_of(base);
    int fds[] = {watch->epoll, watch->inotify, watch->timer};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(watch->prefix);
    free(watch->end);
    free(watch);
}

static bool open_fds(struct local_watch *watch)
{
    struct epoll_event readable = {.events = EPOLLIN};
    watch->epoll = epoll_create1(EPOLL_CLOEXEC);
    watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return watch->epoll >= 0 && watch->inotify >= 0 && watch->timer >= 0 &&
           inotify_add_watch(watch->inotify, watch->local->wake_path, IN_CLOSE_WRITE) >= 0 &&
           !epoll_ctl(watch->epoll, EPOLL_CTL_ADD, watch->inotify, &readable) &&
           !epoll_ctl(watch->epoll, EPOLL_CTL_ADD, watch->timer, &readable);
}

static void set_timer(struct local_watch *watch, nsec at)
{
    struct itimerspec when = {.it_value = {at / NSEC_PER_SEC, at % NSEC_PER_SEC}};
    INVARIANT(timerfd_settime(watch->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

enum status local__watch_open(struct store *store, const char *prefix, int64_t after_rev,
                              struct store_watch **ret_watch, struct err *err)
{
    struct local_watch *watch = mem_zalloc(sizeof(*watch));
    *watch = (struct local_watch){.base = {store->driver},
                                  .local = local__of(store),
                                  .prefix = mem_strdup(prefix),
                                  .end = local__prefix_end(prefix),
                                  .after = after_rev,
                                  .epoll = -1,
                                  .inotify = -1,
                                  .timer = -1};
    if (!open_fds(watch)) {
        err_set_errno(err, errno, "watch", watch->local->wake_path);
        err_hint(err, "check fs.inotify.max_user_instances and the limit of open files");
        local__watch_close(&watch->base);
        return err->status;
    }
    set_timer(watch, clock_now()); /* there may be something already */
    *ret_watch = &watch->base;
    return ST_OK;
}

int local__watch_fd(const struct store_watch *watch)
{
    return watch_of(watch)->epoll;
}

/* Before looking, so that what comes while looking is heard. */
static void drain(struct local_watch *watch)
{
    char events[4096];
    while (read(watch->inotify, events, sizeof(events)) > 0)
        continue;
    status_ignore(read(watch->timer, events, sizeof(uint64_t)) < 0 ? ST_IO : ST_OK, "not expired");
}

/* ---- leases ---- */

/* When something may next change by itself, or 0 when a lease is dead and not yet swept. */
static int next_lease_end(struct local_watch *watch, struct db *db, nsec *ret_end)
{
    nsec now = clock_now(), end = now + RECHECK_MS * NSEC_PER_MS;
    sqlite3_stmt *row = db_use(db, SQL_LEASES);
    int rc = SQLITE_DONE;
    while ((rc = db_row(row)) == SQLITE_ROW) {
        if (!owner_lease_is_live(watch->local, row, 0, now))
            end = 0;
        else if (sqlite3_column_int64(row, 1) < end)
            end = sqlite3_column_int64(row, 1);
    }
    sqlite3_reset(row);
    *ret_end = end;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Every batch of the worker begins with a sweep, so an empty one is enough; its commit wakes us. */
static void ask_for_sweep(struct local_watch *watch)
{
    nsec now = clock_now();
    if (now - watch->sweep_asked < RECHECK_MS * NSEC_PER_MS)
        return;
    watch->sweep_asked = now;
    struct store_request request = {.kind = STORE_REQ_BARRIER};
    struct store_pending *pending = store__pending_new(&request, now + RECHECK_MS * NSEC_PER_MS);
    local__submit(&watch->local->base, pending);
    store__pending_unref(pending);
}

/* ---- changes ---- */

static struct store_change change_of(sqlite3_stmt *row)
{
    struct store_entry entry = {.key = db_value(row, 1),
                                .value = db_value(row, 2),
                                .create_rev = sqlite3_column_int64(row, 3),
                                .mod_rev = sqlite3_column_int64(row, 0) >> LOCAL_CHANGE_BITS,
                                .lease = sqlite3_column_int64(row, 4)};
    return (struct store_change){entry.value ? STORE_PUT : STORE_DELETE, entry};
}

/* Whole revisions until a batch is full. SQLITE_ROW: there is more; SQLITE_DONE: that was all. */
static int read_changes(struct local_watch *watch, struct db *db, struct store_changes *changes)
{
    sqlite3_stmt *row = db_use(db, SQL_CHANGES);
    if (!row)
        return SQLITE_ERROR;
    sqlite3_bind_int64(row, 1, (watch->after + 1) << LOCAL_CHANGE_BITS);
    db_bind_text(row, 2, watch->prefix);
    db_bind_text(row, 3, watch->end);
    size_t capacity = 0, bytes = 0;
    int64_t last = 0;
    int rc = SQLITE_ROW;
    while ((rc = db_row(row)) == SQLITE_ROW) {
        int64_t revision = sqlite3_column_int64(row, 0) >> LOCAL_CHANGE_BITS;
        bool full = changes->count >= BATCH_CHANGES || bytes >= BATCH_BYTES;
        if (full && revision != last)
            break;
        last = revision;
        bytes += (size_t)sqlite3_column_bytes(row, 1) + (size_t)sqlite3_column_bytes(row, 2);
        VEC_PUSH(changes->items, changes->count, capacity, change_of(row));
    }
    sqlite3_reset(row);
    if (rc == SQLITE_ROW)
        watch->after = last;
    return rc;
}

static enum status check_position(const struct local_watch *watch, int64_t revision,
                                  int64_t compacted, struct err *err)
{
    if (watch->after < compacted)
        err_set(err, ST_COMPACTED, "changes after revision %lld are no longer kept (from %lld on)",
                (long long)watch->after, (long long)compacted + 1);
    else if (watch->after > revision)
        err_set(err, ST_COMPACTED, "the store is at revision %lld, before %lld: it was replaced",
                (long long)revision, (long long)watch->after);
    else
        return ST_OK;
    return err_hint(err, "list the keys again and watch from that revision");
}

/* Inside a read transaction. */
static int look(struct local_watch *watch, struct db *db, struct store_changes *changes,
                struct err *err)
{
    sqlite3_stmt *row = db_use(db, SQL_META_LOAD);
    int rc = db_row(row);
    int64_t revision = rc == SQLITE_ROW ? sqlite3_column_int64(row, 0) : 0;
    int64_t compacted = rc == SQLITE_ROW ? sqlite3_column_int64(row, 1) : 0;
    sqlite3_reset(row);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
    if (check_position(watch, revision, compacted, err))
        return SQLITE_OK;
    rc = revision == watch->after ? SQLITE_DONE : read_changes(watch, db, changes);
    if (rc == SQLITE_DONE)
        watch->after = revision;
    nsec end = 0;
    if (rc == SQLITE_DONE)
        rc = next_lease_end(watch, db, &end);
    if (rc == SQLITE_OK && !end)
        ask_for_sweep(watch);
    if (rc == SQLITE_OK || rc == SQLITE_ROW) /* with more to read, be readable at once */
        set_timer(watch,
                  end ? end : clock_now() + (rc == SQLITE_OK ? RECHECK_MS * NSEC_PER_MS : 0));
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static enum status collect(struct local_watch *watch, struct store_changes *changes,
                           struct err *err)
{
    struct db *db = NULL;
    if (local__take(watch->local, clock_deadline(READ_MS), &db, err))
        return err->status;
    struct err found = ERR_INIT;
    int rc = db_exec(db, SQL_BEGIN_READ);
    rc = rc ? rc : look(watch, db, changes, &found);
    db_exec(db, SQL_ROLLBACK);
    if (rc)
        db_fail(db, rc, "watch", &found);
    local__give(watch->local, db, !rc);
    if (found.status)
        *err = found;
    return found.status;
}

enum status local__watch_next(struct store_watch *base, nsec deadline,
                              struct store_changes *ret_changes, struct err *err)
{
    struct local_watch *watch = watch_of(base);
    for (;;) {
        AUTO(store_changes_release) struct store_changes changes = {0};
        drain(watch);
        if (collect(watch, &changes, err))
            return err->status;
        if (changes.count) {
            *ret_changes = changes;
            changes = (struct store_changes){0};
            return ST_OK;
        }
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "nothing changed below '%s'", watch->prefix);
        struct pollfd readable = {.fd = watch->epoll, .events = POLLIN};
        if (poll(&readable, 1, clock_ms_left(deadline)) < 0 && errno != EINTR)
            return err_set_errno(err, errno, "wait for", watch->local->wake_path);
    }
}
