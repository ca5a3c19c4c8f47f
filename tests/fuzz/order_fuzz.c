/* SPDX-License-Identifier: Apache-2.0
 * Fuzz orders/order: an order that is accepted is within its caps, and written and read again it
 * is the same. */
#include "api/body.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "orders/order.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *read_and_write(const char *text, size_t length)
{
    AUTO(run_record_release) struct run_record record = {0};
    AUTO_FREE char *caller = NULL;
    struct err err = ERR_INIT;
    json_t *body = NULL;
    enum status status = body_parse(text, length, &body, &err);
    if (!status)
        status = order_decode(body, &record, &caller, &err);
    json_decref(body);
    if (status) {
        INVARIANT(status == ST_INVALID && err.text[0] && err.hint[0]);
        return NULL;
    }
    INVARIANT(record.kind == RUN_SWITCHOVER ? record.target[0] != '\0' : record.shard_count > 0);
    INVARIANT(strlen(record.id) == strlen("20261126-220657-0421f"));
    INVARIANT(record.settle_ms >= 0 && record.settle_ms <= ORDER_SETTLE_MAX_S * 1000LL);
    return order_encode(&record, caller);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *once = read_and_write((const char *)data, size);
    if (!once)
        return 0;
    AUTO_FREE char *twice = read_and_write(once, strlen(once));
    INVARIANT(twice && strcmp(once, twice) == 0);
    return 0;
}
