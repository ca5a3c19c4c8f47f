/* SPDX-License-Identifier: Apache-2.0
 * Fuzz the fleet file: a refused one has a message with the file's name; an accepted one comes back
 * the same from what inventory_write() makes of it. */
#include "base/invariant.h"
#include "base/scope.h"
#include "fleet/inventory.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(inventory_freep) struct inventory *first = NULL, *second = NULL;
    AUTO(buf_release) struct buf once = {0}, twice = {0};
    struct err err = ERR_INIT;
    if (inventory_parse((const char *)data, size, "f.yaml", &first, &err)) {
        INVARIANT(!first && err.status == ST_INVALID && strncmp(err.text, "f.yaml:", 7) == 0);
        return 0;
    }
    inventory_write(first, &once);
    INVARIANT(inventory_parse(once.data, once.length, "f.yaml", &second, &err) == ST_OK);
    inventory_write(second, &twice);
    INVARIANT(strcmp(once.data, twice.data) == 0);
    INVARIANT(first->shard_count == second->shard_count);
    INVARIANT(strcmp(first->credentials.user, second->credentials.user) == 0);
    return 0;
}
