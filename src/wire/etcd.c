/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads what etcd's gateway says. One reader for all answers: the fields mean the same wherever
 * they stand.
 */
#include "wire/etcd.h"

#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- base64 ---- */

static void add_base64(struct buf *out, const unsigned char *bytes, size_t length)
{
    char piece[4 * 256];
    size_t filled = 0;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        unsigned triple = (unsigned)bytes[i] << 16;
        triple |= left > 1 ? (unsigned)bytes[i + 1] << 8 : 0;
        triple |= left > 2 ? bytes[i + 2] : 0;
        piece[filled++] = alphabet[triple >> 18];
        piece[filled++] = alphabet[triple >> 12 & 63];
        piece[filled++] = '=';
        piece[filled++] = '=';
        if (left > 1)
            piece[filled - 2] = alphabet[triple >> 6 & 63];
        if (left > 2)
            piece[filled - 1] = alphabet[triple & 63];
        if (filled == sizeof(piece)) {
            buf_add_bytes(out, piece, filled);
            filled = 0;
        }
    }
    buf_add_bytes(out, piece, filled);
}

static int digit_of(char symbol)
{
    if (symbol >= 'A' && symbol <= 'Z')
        return symbol - 'A';
    if (symbol >= 'a' && symbol <= 'z')
        return symbol - 'a' + 26;
    if (symbol >= '0' && symbol <= '9')
        return symbol - '0' + 52;
    return symbol == '+' ? 62 : symbol == '/' ? 63 : -1;
}

/* Text, or NULL when it is no base64 or holds a NUL. */
static char *text_of_base64(const char *encoded, size_t length)
{
    size_t digits = length;
    while (digits && length - digits < 2 && encoded[digits - 1] == '=')
        digits--;
    if (length % 4)
        return NULL;
    AUTO_FREE char *text = mem_zalloc(length / 4 * 3 + 1);
    unsigned bits = 0, count = 0;
    size_t filled = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = digit_of(encoded[i]);
        if (digit < 0)
            return NULL;
        bits = (bits << 6 | (unsigned)digit) & 0xffffff;
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        text[filled] = (char)(bits >> count & 255);
        if (!text[filled++])
            return NULL;
    }
    return take_pointer(text);
}

void etcd_add_bytes(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "\"%s\":\"", name);
    add_base64(out, (const unsigned char *)text, strlen(text));
    buf_add(out, "\"");
}

/* ---- fields ---- */

/* False when it is there and no number that fits. */
static bool read_number(const json_t *object, const char *name, int64_t *ret_number)
{
    const json_t *field = json_object_get(object, name);
    *ret_number = 0;
    if (!field)
        return true;
    if (json_is_integer(field)) {
        *ret_number = json_integer_value(field);
        return true;
    }
    const char *text = json_string_value(field);
    char *end = NULL;
    errno = 0;
    if (!text || !*text)
        return false;
    *ret_number = strtoll(text, &end, 10);
    return !errno && !*end;
}

static bool is_set(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static char *read_text(const json_t *object, const char *name)
{
    const json_t *field = json_object_get(object, name);
    if (!field)
        return mem_strdup("");
    return json_is_string(field)
               ? text_of_base64(json_string_value(field), json_string_length(field))
               : NULL;
}

static bool add_kv(struct etcd_answer *answer, size_t *capacity, const json_t *object,
                   bool is_deleted)
{
    struct etcd_kv kv = {.key = read_text(object, "key"),
                         .value = read_text(object, "value"),
                         .is_deleted = is_deleted};
    bool is_good =
        kv.key && *kv.key && kv.value && read_number(object, "create_revision", &kv.create_rev) &&
        read_number(object, "mod_revision", &kv.mod_rev) && read_number(object, "lease", &kv.lease);
    VEC_PUSH(answer->kvs, answer->count, *capacity, kv); /* released with the rest */
    return is_good;
}

static bool add_kvs(struct etcd_answer *answer, size_t *capacity, const json_t *kvs)
{
    size_t index = 0;
    const json_t *kv = NULL;
    json_array_foreach(kvs, index, kv)
    {
        if (!add_kv(answer, capacity, kv, false))
            return false;
    }
    return true;
}

static bool read_kvs(struct etcd_answer *answer, const json_t *body)
{
    size_t index = 0, capacity = 0;
    const json_t *item = NULL;
    if (!add_kvs(answer, &capacity, json_object_get(body, "kvs")))
        return false;
    json_array_foreach(json_object_get(body, "responses"), index, item)
    {
        const json_t *range = json_object_get(item, "response_range");
        if (!add_kvs(answer, &capacity, json_object_get(range, "kvs")))
            return false;
    }
    json_array_foreach(json_object_get(body, "events"), index, item)
    {
        const char *type = json_string_value(json_object_get(item, "type"));
        bool is_deleted = type && strcmp(type, "DELETE") == 0;
        if (!add_kv(answer, &capacity, json_object_get(item, "kv"), is_deleted))
            return false;
    }
    return true;
}

/* {"error":"text","code":5}, in streams {"error":{"message":"text","grpc_code":5}} */
static bool read_error(struct etcd_answer *answer, const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    bool is_inside = json_is_object(error);
    const json_t *from = is_inside ? error : root;
    const char *message = json_string_value(json_object_get(from, "message"));
    int64_t code = 0;
    if (!message || !read_number(from, is_inside ? "grpc_code" : "code", &code) || code < 1 ||
        code > 16)
        return false;
    answer->error = (int)code;
    snprintf(answer->message, sizeof(answer->message), "%s", message);
    return true;
}

/* "rpc error: code = PermissionDenied desc = etcdserver: permission denied"; older members leave
 * out what is before the text. */
static void read_cancel_reason(struct etcd_answer *answer, const json_t *body)
{
    static const char before[] = "rpc error: code = ", between[] = " desc = ";
    static const struct {
        const char *name;
        int code;
    } codes[] = {{"InvalidArgument", 3},
                 {"PermissionDenied", 7},
                 {"Unauthenticated", 16},
                 {"OutOfRange", 11},
                 {"Unavailable", 14}};
    const char *reason = json_string_value(json_object_get(body, "cancel_reason"));
    const char *text = reason ? strstr(reason, between) : NULL;
    if (!reason || !*reason)
        return;
    answer->error = 2; /* unknown */
    if (text && strncmp(reason, before, sizeof(before) - 1) == 0)
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
            if (strncmp(reason + sizeof(before) - 1, codes[i].name, strlen(codes[i].name)) == 0)
                answer->error = codes[i].code;
    snprintf(answer->message, sizeof(answer->message), "%s",
             text ? text + sizeof(between) - 1 : reason);
    if (!text && strcmp(reason, "etcdserver: permission denied") == 0)
        answer->error = 7;
}

static bool read_token(struct etcd_answer *answer, const json_t *body)
{
    const json_t *token = json_object_get(body, "token");
    const char *text = json_string_value(token);
    if (!token)
        return true;
    for (const char *at = text; at && *at; at++)
        if (*at < '!' || *at > '~') /* it becomes part of a header */
            return false;
    answer->token = mem_strdup(text);
    return text && *text;
}

/* Numbers of members do not fit into an int64_t. */
static bool is_of_leader(const json_t *header, const json_t *body)
{
    const char *member = json_string_value(json_object_get(header, "member_id"));
    const char *leader = json_string_value(json_object_get(body, "leader"));
    return member && leader && strcmp(member, leader) == 0;
}

static bool read_body(struct etcd_answer *answer, const json_t *body)
{
    const json_t *header = json_object_get(body, "header");
    answer->succeeded = is_set(body, "succeeded");
    answer->has_more = is_set(body, "more");
    answer->is_canceled = is_set(body, "canceled");
    answer->is_fragment = is_set(body, "fragment");
    answer->is_of_leader = is_of_leader(header, body);
    if (answer->is_canceled)
        read_cancel_reason(answer, body);
    return json_is_object(header) && read_token(answer, body) &&
           read_number(header, "revision", &answer->revision) &&
           read_number(body, "TTL", &answer->ttl_s) &&
           read_number(body, "compact_revision", &answer->compact_revision) &&
           read_kvs(answer, body);
}

enum status etcd_answer_parse(const char *text, size_t length, struct etcd_answer *ret_answer,
                              struct err *err)
{
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    json_error_t where;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
    const json_t *result = json_object_get(root, "result");
    bool is_good = json_is_object(root) &&
                   (json_object_get(root, "error") ? read_error(&answer, root)
                                                   : read_body(&answer, result ? result : root));
    json_decref(root);
    if (!is_good)
        return err_set(err, ST_IO, "an answer that etcd does not give (%zu bytes)", length);
    *ret_answer = answer;
    answer = (struct etcd_answer){0};
    return ST_OK;
}

void etcd_answer_release(struct etcd_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++) {
        free(answer->kvs[i].key);
        free(answer->kvs[i].value);
    }
    free(answer->kvs);
    if (answer->token)
        explicit_bzero(answer->token, strlen(answer->token));
    free(answer->token);
    *answer = (struct etcd_answer){0};
}

const struct etcd_kv *etcd_answer_find(const struct etcd_answer *answer, const char *key)
{
    for (size_t i = 0; i < answer->count; i++)
        if (strcmp(answer->kvs[i].key, key) == 0)
            return &answer->kvs[i];
    return NULL;
}
