/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the embedded driver: one SQLite database in WAL mode that processes of one machine share.
 * Reads run on the caller's thread, on a pooled connection. All writes go through the queue to the
 * store's worker thread, which alone uses the write connection and commits what has queued up
 * together: one fsync for many transactions, each still with its own revision and outcome.
 */
#ifndef HOLDFAST_STORE_LOCAL_H
#define HOLDFAST_STORE_LOCAL_H

#include "base/table.h"
#include "store/driver.h"

#include <sqlite3.h>

enum {
    LOCAL_FORMAT = 1,                  /* of the tables; kept in user_version */
    LOCAL_APPLICATION_ID = 0x486f6c64, /* "Hold" */
    LOCAL_HISTORY_REVISIONS = 10000,
    LOCAL_HISTORY_BYTES = 64 * 1024 * 1024,
    LOCAL_CHANGE_BITS = 6, /* change.id = revision << 6 | position: at most STORE_TXN_MAX each */
    LOCAL_BOOT_ID_MAX = 40
};

/* clang-format off */
#define LOCAL_ENTRY_COLUMNS "e.key, e.value, e.create_rev, e.mod_rev, e.lease, " LOCAL_LEASE_COLUMNS
#define LOCAL_LEASE_COLUMNS "l.id, l.expires_ns, l.boot_id, l.pid, l.start, l.space"
#define LOCAL_SQL(X)                                                                               \
    X(SQL_BEGIN_READ,   "BEGIN")                                                                   \
    X(SQL_BEGIN_WRITE,  "BEGIN IMMEDIATE")                                                         \
    X(SQL_COMMIT,       "COMMIT")                                                                  \
    X(SQL_ROLLBACK,     "ROLLBACK")                                                                \
    X(SQL_META_LOAD,    "SELECT revision, compacted, history_bytes FROM meta")                     \
    X(SQL_META_SAVE,    "UPDATE meta SET revision = ?1, compacted = ?2, history_bytes = ?3,"       \
                        " settled = settled + 1")                                                  \
    X(SQL_KEY_LOAD,     "SELECT create_rev, mod_rev FROM entry WHERE key = ?1")                    \
    X(SQL_PUT,          "INSERT INTO entry(key, value, create_rev, mod_rev, lease)"                \
                        " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(key) DO UPDATE SET"               \
                        " value = ?2, mod_rev = ?4, lease = ?5")                                   \
    X(SQL_DELETE,       "DELETE FROM entry WHERE key = ?1")                                        \
    X(SQL_CHANGE_ADD,   "INSERT INTO change(id, key, value, create_rev, lease)"                    \
                        " VALUES(?1, ?2, ?3, ?4, ?5)")                                             \
    X(SQL_CHANGE_BYTES, "SELECT total(length(key) + ifnull(length(value), 0))"                     \
                        " FROM change WHERE id < ?1")                                              \
    X(SQL_CHANGE_TRIM,  "DELETE FROM change WHERE id < ?1")                                        \
    X(SQL_CHANGES,      "SELECT id, key, value, create_rev, lease FROM change"                     \
                        " WHERE id >= ?1 AND key >= ?2 AND key < ?3 ORDER BY id")                  \
    X(SQL_LEASES,       "SELECT " LOCAL_LEASE_COLUMNS " FROM lease l")                             \
    X(SQL_LEASE_ADD,    "INSERT INTO lease(id, ttl_ns, expires_ns, boot_id, pid, start, space)"    \
                        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                     \
    X(SQL_LEASE_FIND,   "SELECT id FROM lease WHERE id = ?1")                                      \
    X(SQL_LEASE_EXTEND, "UPDATE lease SET expires_ns = ?2 + ttl_ns WHERE id = ?1")                 \
    X(SQL_LEASE_DELETE, "DELETE FROM lease WHERE id = ?1")                                         \
    X(SQL_LEASE_KEY,    "SELECT key, create_rev FROM entry WHERE lease = ?1 AND lease <> 0"        \
                        " LIMIT 1")                                                                \
    X(SQL_GET,          "SELECT " LOCAL_ENTRY_COLUMNS " FROM entry e LEFT JOIN lease l"            \
                        " ON l.id = e.lease WHERE e.key = ?1")                                     \
    X(SQL_LIST,         "SELECT " LOCAL_ENTRY_COLUMNS " FROM entry e LEFT JOIN lease l"            \
                        " ON l.id = e.lease WHERE e.key >= ?1 AND e.key < ?2 ORDER BY e.key")
/* clang-format on */

enum sql_id { LOCAL_SQL(TABLE_ID) SQL_COUNT };

/* One connection with its statements, prepared when first used. One thread at a time. */
struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[SQL_COUNT];
    int wal_pages; /* in the WAL after this connection's last commit */
    struct db *next;
};

/* A process, for as long as this machine is up. */
struct owner {
    int64_t pid, start; /* start: clock ticks after boot, tells a reused pid */
    int64_t space;      /* its pid namespace: a pid of another one cannot be judged */
};

struct local_store {
    struct store base;
    char *path, *wake_path;
    struct owner self;
    char boot_id[LOCAL_BOOT_ID_MAX];
    atomic_llong history_revisions;

    pthread_mutex_t pool_lock; /* idle, opened */
    pthread_cond_t pool_returned;
    struct db *idle;
    int opened;

    pthread_mutex_t queue_lock; /* first, last, stopping */
    pthread_cond_t queue_changed;
    struct store_pending *first, **last;
    bool stopping;
    pthread_t worker;
    struct db *writer; /* the worker's */

    atomic_int abandoned_count; /* begun, unfinished, and nobody waits any more */
    atomic_bool lock_busy;
    atomic_bool doubt; /* a COMMIT failed and no later one has succeeded: see local_worker.c */
};

/* What one write transaction of SQLite changes; a batch of the store's transactions. */
struct batch {
    struct local_store *local;
    struct db *db;
    nsec now;
    int64_t revision, compacted, history_bytes;
    bool changed;
};

/* local.c */
struct local_store *local__of(struct store *store);
void local__limit_history(struct store *store, int64_t revisions); /* for tests */
enum status local__take(struct local_store *local, nsec deadline, struct db **ret_db,
                        struct err *err);
void local__give(struct local_store *local, struct db *db, bool usable);

/* local_db.c: SQLite's result codes stay inside the driver as 'int rc' */
enum status db_open(const char *path, nsec deadline, struct db **ret_db, struct err *err);
void db_close(struct db *db);
sqlite3_stmt *db_use(struct db *db, enum sql_id id); /* reset, unbound; NULL: see sqlite3_errcode */
int db_row(sqlite3_stmt *statement);                 /* SQLITE_ROW, SQLITE_DONE or an error */
int db_run(sqlite3_stmt *statement);                 /* SQLITE_OK or an error; resets */
int db_exec(struct db *db, enum sql_id id);
void db_bind_text(sqlite3_stmt *statement, int index, const char *text);
void db_bind_value(sqlite3_stmt *statement, int index, const char *value); /* NULL is fine */
char *db_value(sqlite3_stmt *statement, int column);                       /* owned; NULL if NULL */
enum status db_fail(const struct db *db, int rc, const char *what, struct err *err);
enum status local__prepare(const char *directory, nsec deadline, struct err *err);

/* local_worker.c */
enum status local__worker_start(struct local_store *local, struct err *err);
void local__worker_stop(struct local_store *local);
void local__submit(struct store *store, struct store_pending *pending);
/* Ordered after everything submitted before; ends doubt. */
enum status local__barrier(struct local_store *local, nsec deadline, struct err *err);

/* local_apply.c */
int local__begin(struct batch *batch);
int local__apply(struct batch *batch, struct store_pending *pending); /* sets status and result */
int local__trim(struct batch *batch, int64_t slack_revisions);
int local__save(struct batch *batch);

/* local_read.c */
enum status local__get(struct store *store, const char *key, nsec deadline,
                       struct store_entry *ret_entry, struct err *err);
enum status local__list(struct store *store, const char *prefix, nsec deadline,
                        struct store_list *ret_list, struct err *err);
char *local__prefix_end(const char *prefix); /* above every key that begins with it; owned */

/* local_watch.c */
enum status local__watch_open(struct store *store, const char *prefix, int64_t after_rev,
                              struct store_watch **ret_watch, struct err *err);
enum status local__watch_next(struct store_watch *watch, nsec deadline,
                              struct store_changes *ret_changes, struct err *err);
int local__watch_fd(const struct store_watch *watch);
void local__watch_close(struct store_watch *watch);

/* owner.c */
enum status owner_load(struct owner *ret_self, char ret_boot_id[static LOCAL_BOOT_ID_MAX],
                       struct err *err);
/* Does the lease in these columns (LOCAL_LEASE_COLUMNS from 'column') still hold at 'now'? */
bool owner_lease_is_live(const struct local_store *local, sqlite3_stmt *row, int column, nsec now);

#endif
