/* SPDX-License-Identifier: Apache-2.0
 * Reports in the store; see report_store.h. */
#include "conductor/report_store.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run_record.h"
#include "conductor/run_write.h"
#include "move/mandate.h"
#include "store/store.h"

#include <string.h>

static char *head_key(const char *id)
{
    return mem_printf("reports/%s", id);
}

/* With "" as the shard: what all of them begin with. */
static char *shard_key(const char *id, const char *shard)
{
    return mem_printf("report-shards/%s/%s", id, shard);
}

static enum status put(const struct mandate *mandate, enum call call, const char *key,
                       const char *json, struct err *err)
{
    struct store_op op = {STORE_PUT, key, json, 0};
    struct store_compare compare = {STORE_CREATE_REV_IS, MANDATE_LOCK_KEY, mandate->token};
    struct store_txn txn = {&compare, 1, &op, 1};
    struct run_evidence evidence = {key, json, 0};
    enum status status = run__write(mandate->store, call, &txn, &evidence, err);
    if (status == ST_CONFLICT)
        return err_set(err, ST_FENCED, "another process took over run %s", mandate->run);
    return status ? err_wrap(err, "store the report") : ST_OK;
}

enum status report_store_head(const struct mandate *mandate, enum call call, const char *json,
                              struct err *err)
{
    AUTO_FREE char *key = head_key(mandate->run);
    return put(mandate, call, key, json, err);
}

enum status report_store_shard(const struct mandate *mandate, const char *shard, const char *json,
                               struct err *err)
{
    AUTO_FREE char *key = shard_key(mandate->run, shard);
    return put(mandate, CALL_REPORT_SHARD, key, json, err);
}

static enum status load(struct store *store, const char *key, char **ret_json, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status = store_get(store, key, store_deadline(store, STORE_WORK), &entry, err);
    if (!status)
        *ret_json = take_pointer(entry.value);
    return status;
}

enum status report_load_shard(const struct mandate *mandate, const char *shard, char **ret_json,
                              struct err *err)
{
    AUTO_FREE char *key = shard_key(mandate->run, shard);
    return load(mandate->store, key, ret_json, err);
}

static const char *find(const struct store_list *list, const char *key)
{
    size_t low = 0, high = list->count; /* it is ordered by key */
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(list->entries[middle].key, key);
        if (order == 0)
            return list->entries[middle].value;
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    return NULL;
}

/* The head's object with one more member; both texts are our own, compact. */
static void join(struct buf *out, const char *head, const struct run_record *record,
                 const struct store_list *shards)
{
    buf_add_bytes(out, head, strlen(head) - 1);
    buf_add(out, ",\"shards\":[");
    const char *comma = "";
    for (size_t i = 0; i < record->shard_count; i++) {
        AUTO_FREE char *key = shard_key(record->id, record->shards[i]);
        const char *shard = find(shards, key);
        if (!shard)
            continue;
        buf_printf(out, "%s%s", comma, shard);
        comma = ",";
    }
    buf_add(out, "]}");
}

static bool is_object(const char *text)
{
    size_t length = strlen(text);
    return length > 2 && text[0] == '{' && text[length - 1] == '}';
}

enum status report_load(struct store *store, const char *id, char **ret_json, struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    AUTO(store_list_release) struct store_list shards = {0};
    AUTO(buf_release) struct buf whole = {0};
    AUTO_FREE char *head = NULL;
    AUTO_FREE char *key = head_key(id);
    AUTO_FREE char *prefix = shard_key(id, "");
    enum status status = run_record_load(store, id, &record, err);
    if (!status)
        status = load(store, key, &head, err);
    if (status == ST_NOT_FOUND) {
        err_set(err, ST_NOT_FOUND, "run '%s' has no report", id);
        return err_hint(err, "holdfast run list shows the runs");
    }
    if (!status)
        status = store_list(store, prefix, store_deadline(store, STORE_WORK), &shards, err);
    if (status)
        return status;
    if (!is_object(head))
        return err_set(err, ST_INVALID, "the report of run %s does not read: %.100s", id, head);
    join(&whole, head, &record, &shards);
    *ret_json = buf_take(&whole);
    return ST_OK;
}

static enum status delete_some(struct store *store, const struct store_list *list, size_t first,
                               struct err *err)
{
    struct store_op ops[STORE_TXN_MAX];
    size_t count = 0;
    for (size_t i = first; i < list->count && count < STORE_TXN_MAX; i++)
        ops[count++] = (struct store_op){STORE_DELETE, list->entries[i].key, NULL, 0};
    struct store_txn txn = {NULL, 0, ops, count};
    struct store_txn_result result;
    return store_txn(store, &txn, store_deadline(store, STORE_WORK), &result, err);
}

enum status report_remove(struct store *store, const char *id, struct err *err)
{
    AUTO(store_list_release) struct store_list shards = {0};
    AUTO_FREE char *key = head_key(id);
    AUTO_FREE char *prefix = shard_key(id, "");
    enum status status = store_list(store, prefix, store_deadline(store, STORE_WORK), &shards, err);
    for (size_t i = 0; i < shards.count && !status; i += STORE_TXN_MAX)
        status = delete_some(store, &shards, i, err);
    struct store_op op = {STORE_DELETE, key, NULL, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    return status ? status
                  : store_txn(store, &txn, store_deadline(store, STORE_WORK), &result, err);
}
