/* SPDX-License-Identifier: Apache-2.0
 * See http.h. */
#include "wire/http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 'length' bytes of it. */
static bool decode(const char *text, size_t length, bool plus_is_space, char *ret, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int byte = (unsigned char)text[i];
        if (byte == '+' && plus_is_space) {
            byte = ' ';
        } else if (byte == '%') {
            bool is_whole = length - i > 2;
            int high = is_whole ? hex_value(text[i + 1]) : -1;
            int low = is_whole ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            byte = high * 16 + low;
            i += 2;
        }
        if (byte < 0x20 || byte == 0x7f || used + 1 >= capacity)
            return false;
        ret[used++] = (char)byte;
    }
    ret[used] = '\0';
    return true;
}

bool http_decode(const char *text, bool plus_is_space, char *ret, size_t capacity)
{
    return capacity > 0 && decode(text, strlen(text), plus_is_space, ret, capacity);
}

bool http_path_match(const char *path, const char *pattern, struct http_parts *ret)
{
    struct http_parts parts = {.count = 0};
    while (*pattern == '/' && *path == '/') {
        size_t wanted = strcspn(++pattern, "/"), given = strcspn(++path, "/");
        if (pattern[0] == '{') {
            if (given == 0 || parts.count == HTTP_PARTS_MAX ||
                !decode(path, given, false, parts.text[parts.count++], HTTP_PART_MAX + 1))
                return false;
        } else if (wanted != given || memcmp(pattern, path, given) != 0) {
            return false;
        }
        pattern += wanted;
        path += given;
    }
    if (*pattern || *path)
        return false;
    *ret = parts;
    return true;
}

/* RFC 6750's b64token. */
static size_t token_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || (text[length] && strchr("-._~+/", text[length])))
        length++;
    if (length > 0)
        length += strspn(text + length, "=");
    return length;
}

const char *http_bearer_find(const char *header, size_t *ret_length)
{
    static const char scheme[] = "Bearer ";
    if (strncasecmp(header, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    header += sizeof(scheme) - 1;
    header += strspn(header, " ");
    size_t length = token_length(header);
    if (length == 0 || length > HTTP_TOKEN_MAX || header[length])
        return NULL;
    *ret_length = length;
    return header;
}

bool http_token_is_good(const char *token, size_t length)
{
    return length >= HTTP_TOKEN_MIN && length <= HTTP_TOKEN_MAX && strlen(token) == length &&
           token_length(token) == length;
}
