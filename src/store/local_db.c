/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to the embedded store's database: opening, statements, error classes, and making a
 * new one. Decides which databases are ours; knows nothing of transactions of the store.
 */
#include "store/local.h"

#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

/* A commit that overwrites allocated blocks costs one disk flush; one that extends the file costs
 * two. So the WAL is born with room that checkpoints let it use again and again. */
enum { WAL_ROOM_BYTES = 4 * 1024 * 1024 };

static const char *const sql_texts[SQL_COUNT] = {LOCAL_SQL(TABLE_TEXT)};

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE meta(revision INTEGER NOT NULL, compacted INTEGER NOT NULL,"
    " history_bytes INTEGER NOT NULL, settled INTEGER NOT NULL);"
    "INSERT INTO meta VALUES(1, 1, 0, 0);"
    "CREATE TABLE entry(key TEXT PRIMARY KEY, value BLOB NOT NULL, create_rev INTEGER NOT NULL,"
    " mod_rev INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX entry_lease ON entry(lease) WHERE lease <> 0;"
    "CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl_ns INTEGER NOT NULL,"
    " expires_ns INTEGER NOT NULL, boot_id TEXT NOT NULL, pid INTEGER NOT NULL,"
    " start INTEGER NOT NULL, space INTEGER NOT NULL);"
    "CREATE TABLE change(id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB,"
    " create_rev INTEGER NOT NULL, lease INTEGER NOT NULL);"
    "PRAGMA application_id = 1215261796;"
    "PRAGMA user_version = 1;"
    "COMMIT;";

_Static_assert(LOCAL_APPLICATION_ID == 1215261796 && LOCAL_FORMAT == 1, "numbers in the schema");

/* ---- statements ---- */

sqlite3_stmt *db_use(struct db *db, enum sql_id id)
{
    sqlite3_stmt **slot = &db->statements[id];
    if (!*slot)
        sqlite3_prepare_v3(db->handle, sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT, slot, NULL);
    return *slot;
}

int db_row(sqlite3_stmt *statement)
{
    return statement ? sqlite3_step(statement) : SQLITE_ERROR;
}

int db_run(sqlite3_stmt *statement)
{
    if (!statement)
        return SQLITE_ERROR;
    int rc = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int db_exec(struct db *db, enum sql_id id)
{
    return db_run(db_use(db, id));
}

void db_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
    sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

void db_bind_value(sqlite3_stmt *statement, int index, const char *value)
{
    if (value)
        sqlite3_bind_blob(statement, index, value, (int)strlen(value), SQLITE_STATIC);
    else
        sqlite3_bind_null(statement, index);
}

char *db_value(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return NULL;
    const void *bytes = sqlite3_column_blob(statement, column);
    size_t length = (size_t)sqlite3_column_bytes(statement, column);
    char *value = mem_zalloc(length + 1);
    if (length)
        memcpy(value, bytes, length);
    return value;
}

/* ---- errors ---- */

struct error_row {
    int rc; /* primary result code */
    enum status status;
    const char *hint;
};

static const struct error_row error_rows[] = {
    {SQLITE_BUSY, ST_BUSY, "another process writes to the store; try again"},
    {SQLITE_LOCKED, ST_BUSY, "another process writes to the store; try again"},
    {SQLITE_PROTOCOL, ST_BUSY, "another process writes to the store; try again"},
    {SQLITE_FULL, ST_FULL, "free space on the store's file system"},
    {SQLITE_CORRUPT, ST_IO,
     "stop Holdfast, keep a copy of the directory, then remove it or "
     "restore it from a backup"},
    {SQLITE_NOTADB, ST_INVALID, "name a directory of its own for the store"},
    {SQLITE_READONLY, ST_DENIED, "run as the user who owns the directory"},
    {SQLITE_PERM, ST_DENIED, "run as the user who owns the directory"},
    {SQLITE_AUTH, ST_DENIED, "run as the user who owns the directory"},
    {SQLITE_CANTOPEN, ST_IO, "check that the directory and its files belong to this user"},
    {SQLITE_IOERR, ST_IO, "look at the kernel's log for this disk"},
    {SQLITE_INTERRUPT, ST_TIMEOUT, "try again"},
};

enum status db_fail(const struct db *db, int rc, const char *what, struct err *err)
{
    if (rc == SQLITE_ERROR) /* a statement could not be prepared; the connection knows why */
        rc = sqlite3_extended_errcode(db->handle);
    struct error_row row = {rc, ST_INTERNAL, "this is a bug in Holdfast"};
    for (size_t i = 0; i < ARRAY_SIZE(error_rows); i++)
        if (error_rows[i].rc == (rc & 0xff))
            row = error_rows[i];
    int error = sqlite3_system_errno(db->handle);
    if ((rc & 0xff) == SQLITE_CANTOPEN && (error == EACCES || error == EPERM))
        row.status = ST_DENIED;
    err_set(err, row.status, "%s '%s': %s", what, sqlite3_db_filename(db->handle, "main"),
            sqlite3_errstr(rc));
    return err_hint(err, "%s", row.hint);
}

/* ---- connections ---- */

static int on_wal_commit(void *context, sqlite3 *handle UNUSED, const char *name UNUSED, int pages)
{
    struct db *db = context;
    db->wal_pages = pages;
    return SQLITE_OK;
}

enum status db_open(const char *path, nsec deadline, struct db **ret_db, struct err *err)
{
    struct db *db = mem_zalloc(sizeof(*db));
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int keep_wal = 1;
    int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    sqlite3_busy_timeout(db->handle, clock_ms_left(deadline)); /* the last one to close locks */
    if (!rc)
        rc = sqlite3_exec(db->handle, "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF",
                          NULL, NULL, NULL);
    if (!rc)
        rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_wal);
    if (rc) {
        db_fail(db, rc, "open", err);
        db_close(db);
        return err->status;
    }
    sqlite3_wal_hook(db->handle, on_wal_commit, db); /* also replaces checkpoints inside COMMIT */
    *ret_db = db;
    return ST_OK;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    free(db);
}

/* ---- a new database, or the check of an old one ---- */

static void scope_db(struct db **db)
{
    db_close(*db);
}

static int query_int(struct db *db, const char *sql, int64_t *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL);
    if (!rc)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *ret_value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int give_wal_room(const char *path)
{
    static const char zeros[64 * 1024];
    AUTO_FREE char *wal = mem_printf("%s-wal", path);
    AUTO_CLOSE int fd = open(wal, O_WRONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status))
        return errno;
    for (off_t at = status.st_size; at < WAL_ROOM_BYTES; at += (off_t)sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
            return ENOSPC;
    return fsync(fd) ? errno : 0;
}

static enum status create(struct db *db, const char *path, struct err *err)
{
    int rc = sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    if (!rc)
        rc = sqlite3_exec(db->handle, schema, NULL, NULL, NULL);
    if (rc) {
        db_fail(db, rc, "create", err);
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
        return err->status;
    }
    int error = give_wal_room(path);
    return error ? err_set_errno(err, error, "make room beside", path) : ST_OK;
}

static enum status check(struct db *db, const char *path, struct err *err)
{
    int64_t application = 0, format = 0, tables = 0, revision = 0;
    int rc = query_int(db, "PRAGMA application_id", &application);
    rc = rc ? rc : query_int(db, "PRAGMA user_version", &format);
    rc = rc ? rc : query_int(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc)
        return db_fail(db, rc, "open", err);
    if (!application && !format && !tables)
        return create(db, path, err);
    if (application != LOCAL_APPLICATION_ID) {
        err_set(err, ST_INVALID, "'%s' is a database of another program", path);
        return err_hint(err, "name a directory of its own for the store");
    }
    if (format > LOCAL_FORMAT) {
        err_set(err, ST_INVALID, "'%s' was written by a newer Holdfast (format %lld, this is %d)",
                path, (long long)format, LOCAL_FORMAT);
        return err_hint(err, "run the newer Holdfast");
    }
    rc = query_int(db, "SELECT revision FROM meta", &revision);
    if (rc || !revision)
        return db_fail(db, rc ? rc : SQLITE_CORRUPT, "open", err);
    if (sqlite3_db_readonly(db->handle, "main"))
        return db_fail(db, SQLITE_READONLY, "open", err);
    return ST_OK;
}

static enum status sync_directory(const char *directory, struct err *err)
{
    AUTO_CLOSE int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) ? err_set_errno(err, errno, "sync directory", directory) : ST_OK;
}

static enum status make_directory(const char *directory, struct err *err)
{
    struct stat status;
    if (!stat(directory, &status) && S_ISDIR(status.st_mode))
        return ST_OK;
    if (mkdir(directory, 0700) && errno != EEXIST) {
        err_set_errno(err, errno, "create directory", directory);
        return err_hint(err, "create the directory that should hold it, writable for this user");
    }
    if (!stat(directory, &status) && !S_ISDIR(status.st_mode)) {
        err_set(err, ST_INVALID, "'%s' is not a directory", directory);
        return err_hint(err, "name a directory of its own for the store");
    }
    AUTO_FREE char *parent = mem_printf("%s/..", directory);
    return sync_directory(parent, err);
}

/* Only one process at a time checks and creates. The lock is tried, not waited for, because
 * flock() knows no deadline. */
static enum status lock_file(int fd, const char *path, nsec deadline, struct err *err)
{
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_set_errno(err, errno, "lock", path);
        if (clock_now() >= deadline)
            return err_set(err, ST_BUSY, "another process is opening '%s'", path);
        nanosleep(&(struct timespec){0, 500 * 1000}, NULL);
    }
    return ST_OK;
}

enum status local__prepare(const char *directory, nsec deadline, struct err *err)
{
    if (make_directory(directory, err))
        return err->status;
    AUTO_FREE char *wake = mem_printf("%s/wake", directory);
    AUTO_FREE char *path = mem_printf("%s/store.db", directory);
    AUTO_CLOSE int fd = open(wake, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_set_errno(err, errno, "write to directory: open", wake);
        return err_hint(err, "run as the user who owns the directory");
    }
    if (lock_file(fd, wake, deadline, err))
        return err->status;
    AUTO(scope_db) struct db *db = NULL;
    if (db_open(path, deadline, &db, err))
        return err->status;
    return check(db, path, err) ? err->status : sync_directory(directory, err);
}
