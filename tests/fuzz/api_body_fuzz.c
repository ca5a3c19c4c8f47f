/* SPDX-License-Identifier: Apache-2.0
 * Fuzz api/body: what is accepted is an object, and its texts are within their caps. */
#include "api/body.h"
#include "base/invariant.h"
#include "base/scope.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const known[] = {"reason", NULL};
    json_t *body = NULL;
    struct err err = ERR_INIT;
    const char *text = NULL;
    if (body_parse((const char *)data, size, &body, &err)) {
        INVARIANT(err.status == ST_INVALID && err.text[0] && err.hint[0]);
        return 0;
    }
    INVARIANT(json_is_object(body));
    if (!body_text(body, "reason", 16, &text, &err) && text)
        INVARIANT(strlen(text) <= 16);
    if (!body_check_keys(body, known, &err))
        INVARIANT(json_object_size(body) == (json_object_get(body, "reason") ? 1U : 0U));
    json_decref(body);
    return 0;
}
