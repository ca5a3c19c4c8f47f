/* SPDX-License-Identifier: Apache-2.0
 * See body.h. */
#include "api/body.h"

#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"

#include <string.h>

static enum status hint(struct err *err)
{
    return err_hint(err, "docs/api/openapi.yaml says what it takes");
}

enum status body_parse(const char *text, size_t length, json_t **ret, struct err *err)
{
    json_error_t why = {0};
    json_t *json =
        length > 0 ? json_loadb(text, length, JSON_REJECT_DUPLICATES, &why) : json_object();
    if (!json) {
        AUTO_FREE char *clean = text_clean_line(why.text);
        err_set(err, ST_INVALID, "the body is no JSON: line %d, column %d: %s", why.line,
                why.column, clean);
        return hint(err);
    }
    if (!json_is_object(json)) {
        json_decref(json);
        err_set(err, ST_INVALID, "the body is no JSON object");
        return hint(err);
    }
    *ret = json;
    return ST_OK;
}

enum status body_text(const json_t *body, const char *key, size_t max, const char **ret,
                      struct err *err)
{
    const json_t *value = json_object_get(body, key);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (value && !json_is_null(value) && !text)
        err_set(err, ST_INVALID, "'%s' is no text", key);
    else if (text && (length > max || strlen(text) != length))
        err_set(err, ST_INVALID, "'%s' is longer than %zu bytes, or has a NUL in it", key, max);
    else {
        *ret = text;
        return ST_OK;
    }
    return hint(err);
}

static bool is_known(const char *key, const char *const *known)
{
    while (*known && strcmp(*known, key) != 0)
        known++;
    return *known;
}

enum status body_check_keys(const json_t *body, const char *const *known, struct err *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)body, key, value)
    {
        if (is_known(key, known))
            continue;
        AUTO_FREE char *clean = text_clean_line(key);
        err_set(err, ST_INVALID, "'%.80s' is no key of this request", clean);
        return hint(err);
    }
    return ST_OK;
}
