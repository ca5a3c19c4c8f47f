/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of the embedded store, on the caller's thread. What hangs on a dead lease is absent,
 * whether or not anybody has swept it yet.
 */
#include "store/local.h"

#include "base/mem.h"
#include "base/scope.h"

/* A read-back must not overtake a transaction whose outcome is still open. */
static enum status settle(struct local_store *local, nsec deadline, struct err *err)
{
    if (!atomic_load(&local->abandoned_count) && !atomic_load(&local->doubt))
        return ST_OK;
    return local__barrier(local, deadline, err) ? err_wrap(err, "read-back") : ST_OK;
}

static bool is_live(const struct local_store *local, sqlite3_stmt *row, nsec now)
{
    return sqlite3_column_int64(row, 4) == 0 || owner_lease_is_live(local, row, 5, now);
}

static struct store_entry entry_of(sqlite3_stmt *row)
{
    return (struct store_entry){.key = db_value(row, 0),
                                .value = db_value(row, 1),
                                .create_rev = sqlite3_column_int64(row, 2),
                                .mod_rev = sqlite3_column_int64(row, 3),
                                .lease = sqlite3_column_int64(row, 4)};
}

enum status local__get(struct store *store, const char *key, nsec deadline,
                       struct store_entry *ret_entry, struct err *err)
{
    struct local_store *local = local__of(store);
    struct db *db = NULL;
    if (settle(local, deadline, err) || local__take(local, deadline, &db, err))
        return err->status;
    sqlite3_stmt *row = db_use(db, SQL_GET);
    if (row)
        db_bind_text(row, 1, key);
    int rc = db_row(row);
    enum status status = ST_OK;
    if (rc == SQLITE_ROW && is_live(local, row, clock_now()))
        *ret_entry = entry_of(row);
    else if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        status = err_set(err, ST_NOT_FOUND, "'%s' does not exist in the store", key);
    else
        status = db_fail(db, rc, "read from", err);
    sqlite3_reset(row);
    local__give(local, db, rc == SQLITE_ROW || rc == SQLITE_DONE);
    return status;
}

char *local__prefix_end(const char *prefix)
{
    return mem_printf("%s\x7f", prefix); /* keys are printable ASCII: all bytes are below */
}

static int list_rows(const struct local_store *local, struct db *db, const char *prefix,
                     struct store_list *list)
{
    AUTO_FREE char *end = local__prefix_end(prefix);
    nsec now = clock_now();
    size_t capacity = 0;
    sqlite3_stmt *row = db_use(db, SQL_META_LOAD);
    int rc = db_row(row);
    if (rc == SQLITE_ROW)
        list->revision = sqlite3_column_int64(row, 0);
    sqlite3_reset(row);
    row = db_use(db, SQL_LIST);
    if (rc != SQLITE_ROW || !row)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
    db_bind_text(row, 1, prefix);
    db_bind_text(row, 2, end);
    while ((rc = db_row(row)) == SQLITE_ROW && list->count <= STORE_LIST_MAX)
        if (is_live(local, row, now))
            VEC_PUSH(list->entries, list->count, capacity, entry_of(row));
    sqlite3_reset(row);
    sqlite3_clear_bindings(row);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

enum status local__list(struct store *store, const char *prefix, nsec deadline,
                        struct store_list *ret_list, struct err *err)
{
    struct local_store *local = local__of(store);
    struct db *db = NULL;
    if (settle(local, deadline, err) || local__take(local, deadline, &db, err))
        return err->status;
    AUTO(store_list_release) struct store_list list = {0};
    int rc = db_exec(db, SQL_BEGIN_READ);
    rc = rc ? rc : list_rows(local, db, prefix, &list);
    db_exec(db, SQL_ROLLBACK);
    enum status status = rc ? db_fail(db, rc, "read from", err) : ST_OK;
    local__give(local, db, !rc);
    if (!rc && list.count > STORE_LIST_MAX)
        status =
            err_set(err, ST_INVALID, "more than %d keys begin with '%s'", STORE_LIST_MAX, prefix);
    if (status)
        return status;
    *ret_list = list;
    list = (struct store_list){0};
    return ST_OK;
}
