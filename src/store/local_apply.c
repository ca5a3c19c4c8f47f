/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store's writes do to the tables, inside a SQLite transaction that the worker began and
 * will commit: compares and ops, leases, the end of dead leases, the history that watches read.
 * Functions return SQLite codes; an error means that the whole batch is rolled back.
 */
#include "store/local.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"

struct revisions {
    int64_t created, modified; /* both 0: the key is absent */
};

static int load_key(struct batch *batch, const char *key, struct revisions *ret_revisions)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_KEY_LOAD);
    if (!statement)
        return SQLITE_ERROR;
    db_bind_text(statement, 1, key);
    int rc = db_row(statement);
    *ret_revisions = (struct revisions){0};
    if (rc == SQLITE_ROW)
        *ret_revisions = (struct revisions){sqlite3_column_int64(statement, 0),
                                            sqlite3_column_int64(statement, 1)};
    sqlite3_reset(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* One change of the revision that batch->revision already names. 'entry->value' NULL: a deletion.
 */
static int add_change(struct batch *batch, int64_t position, const struct store_entry *entry)
{
    INVARIANT(position < (1 << LOCAL_CHANGE_BITS));
    sqlite3_stmt *statement = db_use(batch->db, SQL_CHANGE_ADD);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, (batch->revision << LOCAL_CHANGE_BITS) | position);
    db_bind_text(statement, 2, entry->key);
    db_bind_value(statement, 3, entry->value);
    sqlite3_bind_int64(statement, 4, entry->create_rev);
    sqlite3_bind_int64(statement, 5, entry->lease);
    batch->history_bytes += (int64_t)strlen(entry->key);
    batch->history_bytes += entry->value ? (int64_t)strlen(entry->value) : 0;
    batch->changed = true;
    return db_run(statement);
}

static int delete_key(struct batch *batch, int64_t position, const char *key, int64_t created)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_DELETE);
    if (!statement)
        return SQLITE_ERROR;
    db_bind_text(statement, 1, key);
    int rc = db_run(statement);
    struct store_entry gone = {.key = (char *)(uintptr_t)key, .create_rev = created};
    return rc ? rc : add_change(batch, position, &gone);
}

static int put_key(struct batch *batch, int64_t position, const struct store_op *op,
                   int64_t created)
{
    struct store_entry entry = {.key = (char *)(uintptr_t)op->key,
                                .value = (char *)(uintptr_t)op->value,
                                .create_rev = created ? created : batch->revision,
                                .lease = op->lease};
    sqlite3_stmt *statement = db_use(batch->db, SQL_PUT);
    if (!statement)
        return SQLITE_ERROR;
    db_bind_text(statement, 1, entry.key);
    db_bind_value(statement, 2, entry.value);
    sqlite3_bind_int64(statement, 3, entry.create_rev);
    sqlite3_bind_int64(statement, 4, batch->revision);
    sqlite3_bind_int64(statement, 5, entry.lease);
    int rc = db_run(statement);
    return rc ? rc : add_change(batch, position, &entry);
}

/* ---- leases ---- */

static int find_lease(struct batch *batch, int64_t lease, bool *ret_found)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_LEASE_FIND);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, lease);
    int rc = db_row(statement);
    sqlite3_reset(statement);
    *ret_found = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Takes one key of the lease away, in a revision of its own (so that no revision is larger than a
 * transaction may be). SQLITE_DONE: it has none left. */
static int drop_one_key(struct batch *batch, int64_t lease)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_LEASE_KEY);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, lease);
    int rc = db_row(statement);
    AUTO_FREE char *key = rc == SQLITE_ROW ? db_value(statement, 0) : NULL;
    int64_t created = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 1) : 0;
    sqlite3_reset(statement);
    if (!key)
        return rc;
    batch->revision++;
    return delete_key(batch, 0, key, created);
}

static int end_lease(struct batch *batch, int64_t lease)
{
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK)
        rc = drop_one_key(batch, lease);
    sqlite3_stmt *statement = db_use(batch->db, SQL_LEASE_DELETE);
    if (rc != SQLITE_DONE || !statement)
        return rc;
    sqlite3_bind_int64(statement, 1, lease);
    batch->changed = true;
    return db_run(statement);
}

static int end_dead_leases(struct batch *batch)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_LEASES);
    AUTO_FREE int64_t *dead = NULL;
    size_t count = 0, capacity = 0;
    int rc = SQLITE_ROW;
    while ((rc = db_row(statement)) == SQLITE_ROW)
        if (!owner_lease_is_live(batch->local, statement, 0, batch->now))
            VEC_PUSH(dead, count, capacity, sqlite3_column_int64(statement, 0));
    sqlite3_reset(statement);
    rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    for (size_t i = 0; i < count && !rc; i++)
        rc = end_lease(batch, dead[i]);
    return rc;
}

static int grant_lease(struct batch *batch, const struct store_request *request)
{
    const struct local_store *local = batch->local;
    nsec ttl = request->ttl_ms * NSEC_PER_MS;
    sqlite3_stmt *statement = db_use(batch->db, SQL_LEASE_ADD);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, request->lease);
    sqlite3_bind_int64(statement, 2, ttl);
    sqlite3_bind_int64(statement, 3, batch->now + ttl);
    db_bind_text(statement, 4, local->boot_id);
    sqlite3_bind_int64(statement, 5, local->self.pid);
    sqlite3_bind_int64(statement, 6, local->self.start);
    sqlite3_bind_int64(statement, 7, local->self.space);
    batch->changed = true;
    return db_run(statement);
}

static int apply_lease(struct batch *batch, struct store_pending *pending)
{
    const struct store_request *request = &pending->request;
    bool found = false;
    if (request->kind == STORE_REQ_GRANT)
        return grant_lease(batch, request);
    int rc = find_lease(batch, request->lease, &found);
    if (!found)
        pending->status =
            err_set(&pending->err, ST_NOT_FOUND, "lease %lld has ended", (long long)request->lease);
    if (rc || !found)
        return rc;
    if (request->kind == STORE_REQ_REVOKE)
        return end_lease(batch, request->lease);
    sqlite3_stmt *statement = db_use(batch->db, SQL_LEASE_EXTEND);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, request->lease);
    sqlite3_bind_int64(statement, 2, batch->now);
    batch->changed = true;
    return db_run(statement);
}

/* ---- transactions ---- */

static bool compare_holds(const struct store_compare *compare, struct revisions found)
{
    switch (compare->kind) {
    case STORE_EXISTS:
        return found.modified != 0;
    case STORE_ABSENT:
        return found.modified == 0;
    case STORE_MOD_REV_IS:
        return found.modified == compare->revision;
    case STORE_CREATE_REV_IS:
        return found.created == compare->revision;
    }
    return false;
}

static int check_compares(struct batch *batch, struct store_pending *pending)
{
    const struct store_txn *txn = &pending->request.txn;
    for (size_t i = 0; i < txn->compare_count; i++) {
        const struct store_compare *compare = &txn->compares[i];
        struct revisions found;
        int rc = load_key(batch, compare->key, &found);
        if (rc)
            return rc;
        if (compare_holds(compare, found))
            continue;
        pending->result = (struct store_txn_result){false, batch->revision, i};
        pending->status = ST_CONFLICT;
        if (found.modified)
            err_set(&pending->err, ST_CONFLICT, "'%s' was changed (revision %lld)", compare->key,
                    (long long)found.modified);
        else
            err_set(&pending->err, ST_CONFLICT, "'%s' does not exist", compare->key);
        return SQLITE_OK;
    }
    return SQLITE_OK;
}

static int check_leases(struct batch *batch, struct store_pending *pending)
{
    const struct store_txn *txn = &pending->request.txn;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct store_op *op = &txn->ops[i];
        bool found = op->kind != STORE_PUT || op->lease == 0;
        int rc = found ? SQLITE_OK : find_lease(batch, op->lease, &found);
        if (rc)
            return rc;
        if (found)
            continue;
        pending->status = err_set(&pending->err, ST_NOT_FOUND, "put '%s': lease %lld has ended",
                                  op->key, (long long)op->lease);
        return SQLITE_OK;
    }
    return SQLITE_OK;
}

static int apply_ops(struct batch *batch, struct store_pending *pending)
{
    const struct store_txn *txn = &pending->request.txn;
    int64_t before = batch->revision++, changes = 0;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct store_op *op = &txn->ops[i];
        struct revisions found;
        int rc = load_key(batch, op->key, &found);
        if (!rc && op->kind == STORE_PUT)
            rc = put_key(batch, changes++, op, found.created);
        else if (!rc && found.modified)
            rc = delete_key(batch, changes++, op->key, found.created);
        if (rc)
            return rc;
    }
    if (!changes) /* a revision without a change would never reach a watch */
        batch->revision = before;
    pending->result = (struct store_txn_result){true, batch->revision, 0};
    return SQLITE_OK;
}

int local__apply(struct batch *batch, struct store_pending *pending)
{
    pending->status = ST_OK;
    if (pending->request.kind == STORE_REQ_BARRIER)
        return SQLITE_OK;
    if (pending->request.kind != STORE_REQ_TXN)
        return apply_lease(batch, pending);
    int rc = check_compares(batch, pending);
    if (!rc && !pending->status)
        rc = check_leases(batch, pending);
    if (!rc && !pending->status)
        rc = apply_ops(batch, pending);
    return rc;
}

/* ---- the frame round a batch ---- */

int local__begin(struct batch *batch)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_META_LOAD);
    int rc = db_row(statement);
    if (rc == SQLITE_ROW) {
        batch->revision = sqlite3_column_int64(statement, 0);
        batch->compacted = sqlite3_column_int64(statement, 1);
        batch->history_bytes = sqlite3_column_int64(statement, 2);
    }
    sqlite3_reset(statement);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
    return end_dead_leases(batch);
}

static int trim_to(struct batch *batch, int64_t compacted)
{
    int64_t first_kept = (compacted + 1) << LOCAL_CHANGE_BITS;
    sqlite3_stmt *statement = db_use(batch->db, SQL_CHANGE_BYTES);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, first_kept);
    int rc = db_row(statement);
    if (rc == SQLITE_ROW)
        batch->history_bytes -= sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    statement = db_use(batch->db, SQL_CHANGE_TRIM);
    if (rc != SQLITE_ROW || !statement)
        return rc;
    sqlite3_bind_int64(statement, 1, first_kept);
    batch->compacted = compacted;
    batch->changed = true;
    return db_run(statement);
}

/* Forget the oldest history beyond the limits. With slack it happens seldom and in steps: a
 * transaction in a critical section should not pay for thousands of others. */
int local__trim(struct batch *batch, int64_t slack_revisions)
{
    enum { STEP = 256 };
    int64_t limit = atomic_load(&batch->local->history_revisions);
    int64_t kept = batch->revision - batch->compacted;
    if (kept > limit + slack_revisions)
        return trim_to(batch, slack_revisions ? batch->compacted + STEP : batch->revision - limit);
    if (batch->history_bytes > LOCAL_HISTORY_BYTES && kept > 1)
        return trim_to(batch, batch->compacted + (kept > STEP ? STEP : kept / 2));
    return SQLITE_OK;
}

int local__save(struct batch *batch)
{
    sqlite3_stmt *statement = db_use(batch->db, SQL_META_SAVE);
    if (!statement)
        return SQLITE_ERROR;
    sqlite3_bind_int64(statement, 1, batch->revision);
    sqlite3_bind_int64(statement, 2, batch->compacted);
    sqlite3_bind_int64(statement, 3, batch->history_bytes);
    return db_run(statement);
}
