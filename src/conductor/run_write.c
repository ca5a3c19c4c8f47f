/* SPDX-License-Identifier: Apache-2.0
 * One write of a run to the store; see run_write.h. */
#include "conductor/run_write.h"

#include "base/scope.h"
#include "move/fault.h"
#include "store/store.h"

#include <string.h>

static enum status look_for(struct store *store, const struct run_evidence *wanted, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status =
        store_get(store, wanted->key, store_deadline(store, STORE_WORK), &entry, err);
    if (status && status != ST_NOT_FOUND)
        return status;
    if (status == ST_OK && strcmp(entry.value, wanted->value) == 0 &&
        (wanted->lease == 0 || entry.lease == wanted->lease))
        return ST_OK;
    return err_set(err, ST_IO, "the store lost the write");
}

enum status run__write(struct store *store, enum call call, const struct store_txn *txn,
                       const struct run_evidence *evidence, struct err *err)
{
    struct store_txn_result result;
    enum fault_effect effect = fault_point(call, FAULT_BEFORE);
    enum status status = ST_OK;
    if (effect == FAULT_NONE || effect == FAULT_UNKNOWN_DONE)
        status = store_txn(store, txn, store_deadline(store, STORE_WORK), &result, err);
    if (effect != FAULT_NONE && !status)
        status = fault_status(effect, err);
    if (status == ST_UNKNOWN)
        status = look_for(store, evidence, err);
    fault_point(call, FAULT_AFTER);
    return status;
}
