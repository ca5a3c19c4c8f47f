/* SPDX-License-Identifier: Apache-2.0
 * Matching statements; see pattern.h. */
#include "sim/pattern.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEX_BEGIN "CONVERT(0x"
#define HEX_END " USING utf8mb4)"

/* Each gives the length of what stands at 'text', 0 when it is none. */
static size_t string_length(const char *text)
{
    if (strncmp(text, HEX_BEGIN, strlen(HEX_BEGIN)) == 0) {
        const char *end = strstr(text, HEX_END);
        return end ? (size_t)(end - text) + strlen(HEX_END) : 0;
    }
    if (*text != '\'')
        return 0;
    const char *at = text + 1;
    for (; *at && (*at != '\'' || at[1] == '\''); at++)
        at += *at == '\'';
    return *at ? (size_t)(at - text) + 1 : 0;
}

static size_t number_length(const char *text)
{
    return strspn(text, "-.0123456789");
}

static size_t name_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || (text[length] && strchr("_`.", text[length])))
        length++;
    return length;
}

static bool capture(struct args *args, const char *text, size_t length)
{
    if (args->count == PATTERN_ARGS)
        return false;
    args->items[args->count++] = (struct arg){text, length};
    return true;
}

static bool match_any(const char *pattern, const char *text, struct args *args)
{
    size_t count = args->count;
    for (const char *at = text; *at; at++) {
        args->count = count;
        if (capture(args, text, (size_t)(at - text)) && pattern_matches(pattern, at, args))
            return true;
    }
    return false;
}

static size_t placeholder_length(char kind, const char *text)
{
    switch (kind) {
    case 's':
        return string_length(text);
    case 'n':
        return number_length(text);
    case 'w':
        return name_length(text);
    default:
        return strlen(text);
    }
}

static const char *skip_space(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* 'ret' collects on: callers begin with an empty one. */
bool pattern_matches(const char *pattern, const char *text, struct args *ret)
{
    for (; *pattern; pattern++) {
        if (*pattern == '%' && pattern[1] == '~')
            return match_any(pattern + 2, text, ret);
        if (*pattern == '%' && pattern[1] != '%') {
            size_t length = placeholder_length(*++pattern, text);
            if (length == 0 || !capture(ret, text, length))
                return false;
            text += length;
            continue;
        }
        if (*pattern == ' ') {
            if (!isspace((unsigned char)*text))
                return false;
            text = skip_space(text);
            continue;
        }
        pattern += *pattern == '%';
        if (tolower((unsigned char)*pattern) != tolower((unsigned char)*text++))
            return false;
    }
    return *skip_space(text) == '\0';
}

static int hex_digit(char digit)
{
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

bool arg_string(const struct arg *arg, char ret[static ARG_MAX_SIZE])
{
    size_t length = 0;
    if (arg->length >= ARG_MAX_SIZE)
        return false;
    const char *at = arg->text + 1, *end = arg->text + arg->length - 1;
    bool is_hex = arg->text[0] != '\'';
    if (is_hex) {
        at = arg->text + strlen(HEX_BEGIN);
        end = arg->text + arg->length - strlen(HEX_END);
    }
    for (; at < end; at++) {
        if (is_hex) {
            ret[length++] = (char)(hex_digit(at[0]) * 16 + hex_digit(at[1]));
            at++;
        } else {
            at += *at == '\'';
            ret[length++] = *at;
        }
    }
    ret[length] = '\0';
    return true;
}

double arg_number(const struct arg *arg)
{
    return strtod(arg->text, NULL);
}

bool arg_is(const struct arg *arg, const char *word)
{
    return strlen(word) == arg->length && strncasecmp(arg->text, word, arg->length) == 0;
}
