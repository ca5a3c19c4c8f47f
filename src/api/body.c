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

enum status body_number(const json_t *body, const char *key, int64_t low, int64_t high,
                        int64_t *ret, struct err *err)
{
    const json_t *value = json_object_get(body, key);
    json_int_t number = json_integer_value(value);
    if (!value || json_is_null(value))
        return ST_OK;
    if (json_is_integer(value) && number >= low && number <= high) {
        *ret = number;
        return ST_OK;
    }
    err_set(err, ST_INVALID, "'%s' is no whole number from %lld to %lld", key, (long long)low,
            (long long)high);
    return hint(err);
}

enum status body_flag(const json_t *body, const char *key, bool *ret, struct err *err)
{
    const json_t *value = json_object_get(body, key);
    if (!value || json_is_null(value))
        return ST_OK;
    if (json_is_boolean(value)) {
        *ret = json_is_true(value);
        return ST_OK;
    }
    err_set(err, ST_INVALID, "'%s' is neither true nor false", key);
    return hint(err);
}

/* 'seen' has those before it: a list may be long. */
static bool is_good_name(const json_t *name, size_t max, json_t *seen)
{
    const char *text = json_string_value(name);
    size_t length = json_string_length(name);
    if (!text || length == 0 || length > max || strlen(text) != length ||
        json_object_get(seen, text))
        return false;
    return json_object_set_new(seen, text, json_true()) == 0;
}

enum status body_names(const json_t *body, const char *key, size_t max, const json_t **ret,
                       struct err *err)
{
    const json_t *list = json_object_get(body, key);
    *ret = NULL;
    if (!list || json_is_null(list))
        return ST_OK;
    json_t *seen = json_object();
    size_t good = 0, count = json_array_size(list); /* 0: no list */
    while (good < count && is_good_name(json_array_get(list, good), max, seen))
        good++;
    json_decref(seen);
    if (good == count && count > 0) {
        *ret = list;
        return ST_OK;
    }
    if (count == 0)
        err_set(err, ST_INVALID, "'%s' is no list of names, or an empty one", key);
    else
        err_set(err, ST_INVALID,
                "'%s': item %zu is no name of 1 to %zu bytes, or comes for the second time", key,
                good + 1, max);
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
