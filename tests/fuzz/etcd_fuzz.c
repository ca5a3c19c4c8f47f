/* SPDX-License-Identifier: Apache-2.0
 * Fuzz wire/etcd: whatever is accepted has keys that are text, and keys come back the same when
 * they are written and read again. */
#include "base/invariant.h"
#include "base/scope.h"
#include "wire/etcd.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct etcd_kv *kv)
{
    AUTO(buf_release) struct buf json = {0};
    AUTO(etcd_answer_release) struct etcd_answer again = {0};
    buf_add(&json, "{\"header\":{},\"kvs\":[{");
    etcd_add_bytes(&json, "key", kv->key);
    buf_add(&json, ",");
    etcd_add_bytes(&json, "value", kv->value);
    buf_add(&json, "}]}");
    INVARIANT(etcd_answer_parse(json.data, json.length, &again, NULL) == ST_OK);
    INVARIANT(again.count == 1 && strcmp(again.kvs[0].key, kv->key) == 0);
    INVARIANT(strcmp(again.kvs[0].value, kv->value) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    if (etcd_answer_parse((const char *)data, size, &answer, NULL))
        return 0;
    INVARIANT(answer.error >= 0 && answer.error <= 16);
    for (size_t i = 0; i < answer.count; i++) {
        INVARIANT(*answer.kvs[i].key);
        check_round_trip(&answer.kvs[i]);
    }
    return 0;
}
