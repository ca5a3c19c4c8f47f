/* SPDX-License-Identifier: Apache-2.0
 * Fuzz wire/http: the first byte chooses what the rest is, a path or an Authorization header. What
 * is accepted is within its caps and has no byte that a log or a file could stumble over. */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "wire/http.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t capacity)
{
    size_t length = strlen(text);
    INVARIANT(length < capacity);
    for (size_t i = 0; i < length; i++)
        INVARIANT((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void check_path(const char *path)
{
    static const char *const patterns[] = {"/{a}", "/v1/{a}/x", "/{a}/{b}/{c}", "/v1/runs"};
    struct http_parts parts;
    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        if (!http_path_match(path, patterns[i], &parts))
            continue;
        INVARIANT(parts.count <= HTTP_PARTS_MAX);
        for (size_t j = 0; j < parts.count; j++) {
            INVARIANT(parts.text[j][0]);
            check_text(parts.text[j], HTTP_PART_MAX + 1);
        }
    }
    char decoded[64];
    if (http_decode(path, true, decoded, sizeof(decoded)))
        check_text(decoded, sizeof(decoded));
}

static void check_header(const char *header)
{
    size_t length = 0;
    const char *token = http_bearer_find(header, &length);
    if (!token)
        return;
    INVARIANT(length > 0 && length <= HTTP_TOKEN_MAX);
    INVARIANT(token >= header + strlen("Bearer ") && token[length] == '\0');
    INVARIANT(!memchr(token, ' ', length));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AUTO_FREE char *text = mem_printf("%.*s", (int)(size - 1), (const char *)data + 1);
    if (data[0] & 1)
        check_path(text);
    else
        check_header(text);
    return 0;
}
