/* SPDX-License-Identifier: Apache-2.0
 * The text forms of GTID sets; see gtid.h. What comes out of the parser is sorted and, for MySQL,
 * without intervals that overlap or touch; gtid.c relies on that. */
#include "wire/gtid.h"

#include "base/mem.h"
#include "base/scope.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { UUID_LENGTH = 36 };

static const uint64_t mysql_number_max = INT64_MAX - 1; /* the server's own limit */

struct cursor {
    const char *text;
    size_t length, at;
    struct err *err;
};

static enum status unexpected(const struct cursor *cursor, const char *expected)
{
    if (cursor->at >= cursor->length)
        return err_set(cursor->err, ST_INVALID, "GTID text, offset %zu: expected %s, found the end",
                       cursor->at, expected);
    unsigned char found = (unsigned char)cursor->text[cursor->at];
    if (isprint(found))
        return err_set(cursor->err, ST_INVALID, "GTID text, offset %zu: expected %s, found '%c'",
                       cursor->at, expected, found);
    return err_set(cursor->err, ST_INVALID, "GTID text, offset %zu: expected %s, found byte 0x%02x",
                   cursor->at, expected, found);
}

static char peek(const struct cursor *cursor)
{
    return cursor->at < cursor->length ? cursor->text[cursor->at] : '\0';
}

static bool take(struct cursor *cursor, char wanted)
{
    if (cursor->at >= cursor->length || cursor->text[cursor->at] != wanted)
        return false;
    cursor->at++;
    return true;
}

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->length && memchr(" \t\r\n", cursor->text[cursor->at], 4))
        cursor->at++;
}

static enum status parse_number(struct cursor *cursor, const char *what, uint64_t max,
                                uint64_t *ret_number)
{
    size_t start = cursor->at;
    uint64_t number = 0;
    for (; isdigit((unsigned char)peek(cursor)); cursor->at++) {
        uint64_t digit = (uint64_t)(peek(cursor) - '0');
        if (number > (max - digit) / 10)
            return err_set(cursor->err, ST_INVALID,
                           "GTID text, offset %zu: %s is larger than %" PRIu64, start, what, max);
        number = number * 10 + digit;
    }
    if (cursor->at == start)
        return unexpected(cursor, what);
    *ret_number = number;
    return ST_OK;
}

static enum status push(struct cursor *cursor, struct gtid_set *set, const struct gtid_entry *entry)
{
    if (set->count >= GTID_ENTRIES_MAX)
        return err_set(cursor->err, ST_INVALID, "GTID text, offset %zu: more than %d entries",
                       cursor->at, GTID_ENTRIES_MAX);
    VEC_PUSH(set->items, set->count, set->capacity, *entry);
    return ST_OK;
}

static enum status parse_mariadb_item(struct cursor *cursor, struct gtid_set *set)
{
    static const struct {
        const char *what;
        uint64_t max;
    } parts[] = {{"a domain id", UINT32_MAX},
                 {"a server id", UINT32_MAX},
                 {"a sequence number", UINT64_MAX}};
    uint64_t values[ARRAY_SIZE(parts)];
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (i > 0 && !take(cursor, '-'))
            return unexpected(cursor, "'-'");
        enum status status = parse_number(cursor, parts[i].what, parts[i].max, &values[i]);
        if (status != ST_OK)
            return status;
    }
    struct gtid_entry entry = {.first = 1, .last = values[2]};
    entry.domain = (uint32_t)values[0];
    entry.server = (uint32_t)values[1];
    return push(cursor, set, &entry);
}

static enum status parse_uuid(struct cursor *cursor, char source[static GTID_SOURCE_SIZE])
{
    for (size_t i = 0; i < UUID_LENGTH; i++, cursor->at++) {
        unsigned char found = (unsigned char)peek(cursor);
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? found != '-' : !isxdigit(found))
            return unexpected(cursor, dash ? "'-' of a server UUID" : "a server UUID");
        source[i] = (char)tolower(found);
    }
    return ST_OK;
}

static bool starts_tag(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

/* "tag:" replaces the tag in 'source'; it holds for all intervals up to the next tag. */
static enum status parse_tag(struct cursor *cursor, char source[static GTID_SOURCE_SIZE])
{
    size_t length = 0;
    source[UUID_LENGTH] = ':';
    for (; starts_tag(peek(cursor)) || isdigit((unsigned char)peek(cursor)); cursor->at++) {
        if (length == GTID_TAG_MAX)
            return err_set(cursor->err, ST_INVALID,
                           "GTID text, offset %zu: a tag is longer than %d characters", cursor->at,
                           GTID_TAG_MAX);
        source[UUID_LENGTH + 1 + length++] = (char)tolower((unsigned char)peek(cursor));
    }
    memset(source + UUID_LENGTH + 1 + length, 0, GTID_TAG_MAX - length);
    skip_space(cursor);
    if (!take(cursor, ':'))
        return unexpected(cursor, "':' after a tag");
    skip_space(cursor);
    return ST_OK;
}

static enum status parse_interval(struct cursor *cursor, struct gtid_entry *entry)
{
    static const char what[] = "a transaction number";
    size_t start = cursor->at;
    enum status status = parse_number(cursor, what, mysql_number_max, &entry->first);
    if (status != ST_OK)
        return status;
    entry->last = entry->first;
    skip_space(cursor);
    if (take(cursor, '-')) {
        skip_space(cursor);
        status = parse_number(cursor, what, mysql_number_max, &entry->last);
        if (status != ST_OK)
            return status;
    }
    if (entry->first == 0 || entry->first > entry->last)
        return err_set(cursor->err, ST_INVALID,
                       "GTID text, offset %zu: '%" PRIu64 "-%" PRIu64 "' is not an interval", start,
                       entry->first, entry->last);
    return ST_OK;
}

static enum status parse_mysql_item(struct cursor *cursor, struct gtid_set *set)
{
    struct gtid_entry entry = {0};
    enum status status = parse_uuid(cursor, entry.source);
    skip_space(cursor);
    if (status == ST_OK && peek(cursor) != ':')
        return unexpected(cursor, "':' after a server UUID");
    while (status == ST_OK && take(cursor, ':')) {
        skip_space(cursor);
        if (starts_tag(peek(cursor)))
            status = parse_tag(cursor, entry.source);
        if (status == ST_OK)
            status = parse_interval(cursor, &entry);
        if (status == ST_OK)
            status = push(cursor, set, &entry);
        skip_space(cursor);
    }
    return status;
}

static enum status parse_items(struct cursor *cursor, struct gtid_set *set)
{
    skip_space(cursor);
    if (cursor->at == cursor->length)
        return ST_OK;
    do {
        skip_space(cursor);
        enum status status = set->flavour == GTID_MYSQL ? parse_mysql_item(cursor, set)
                                                        : parse_mariadb_item(cursor, set);
        if (status != ST_OK)
            return status;
        skip_space(cursor);
    } while (take(cursor, ','));
    return cursor->at == cursor->length ? ST_OK : unexpected(cursor, "',' or the end");
}

static int compare_numbers(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

static int by_server(const void *left, const void *right)
{
    const struct gtid_entry *a = left, *b = right;
    int order = compare_numbers(a->domain, b->domain);
    return order ? order : compare_numbers(a->server, b->server);
}

static int by_interval(const void *left, const void *right)
{
    const struct gtid_entry *a = left, *b = right;
    int order = strcmp(a->source, b->source);
    return order ? order : compare_numbers(a->first, b->first);
}

static bool same_source(const struct gtid_entry *left, const struct gtid_entry *right)
{
    return strcmp(left->source, right->source) == 0;
}

/* Join sorted intervals that overlap or touch. */
static void merge_intervals(struct gtid_set *set)
{
    size_t kept = 0;
    for (size_t i = 1; i < set->count; i++) {
        struct gtid_entry *before = &set->items[kept], *entry = &set->items[i];
        if (!same_source(before, entry) || entry->first > before->last + 1)
            set->items[++kept] = *entry;
        else if (entry->last > before->last)
            before->last = entry->last;
    }
    set->count = set->count ? kept + 1 : 0;
}

static enum status normalise(struct gtid_set *set, struct err *err)
{
    bool mysql = set->flavour == GTID_MYSQL;
    if (set->count > 0)
        qsort(set->items, set->count, sizeof(*set->items), mysql ? by_interval : by_server);
    if (mysql)
        merge_intervals(set);
    for (size_t i = 1; !mysql && i < set->count; i++)
        if (by_server(&set->items[i - 1], &set->items[i]) == 0)
            return err_set(err, ST_INVALID,
                           "GTID text: domain %" PRIu32 " and server %" PRIu32 " appear twice",
                           set->items[i].domain, set->items[i].server);
    return ST_OK;
}

enum status gtid_set_parse(enum gtid_flavour flavour, const char *text, size_t length,
                           struct gtid_set *ret_set, struct err *err)
{
    if (length > GTID_TEXT_MAX)
        return err_set(err, ST_INVALID, "GTID text is %zu bytes long, more than %d", length,
                       GTID_TEXT_MAX);
    AUTO(gtid_set_release) struct gtid_set set = {.flavour = flavour};
    struct cursor cursor = {text, length, 0, err};
    enum status status = parse_items(&cursor, &set);
    if (status == ST_OK)
        status = normalise(&set, err);
    if (status != ST_OK)
        return status;
    *ret_set = set;
    set.items = NULL;
    return ST_OK;
}

enum status gtid_set_parse_text(enum gtid_flavour flavour, const char *text,
                                struct gtid_set *ret_set, struct err *err)
{
    return gtid_set_parse(flavour, text ? text : "", text ? strlen(text) : 0, ret_set, err);
}

static void format_interval(const struct gtid_entry *entry, struct buf *buf)
{
    buf_printf(buf, "%" PRIu64, entry->first);
    if (entry->last != entry->first)
        buf_printf(buf, "-%" PRIu64, entry->last);
}

static void format_mysql_item(const struct gtid_set *set, size_t at, struct buf *buf)
{
    const struct gtid_entry *entry = &set->items[at], *before = at ? entry - 1 : NULL;
    if (!before || strncmp(before->source, entry->source, UUID_LENGTH) != 0)
        buf_printf(buf, "%s%s:", before ? "," : "", entry->source);
    else if (!same_source(before, entry))
        buf_printf(buf, "%s:", entry->source + UUID_LENGTH); /* ":tag" */
    else
        buf_add(buf, ":");
    format_interval(entry, buf);
}

static void format_mariadb_item(const struct gtid_entry *entry, struct buf *buf)
{
    buf_printf(buf, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, entry->domain, entry->server, entry->last);
}

void gtid_set_format(const struct gtid_set *set, struct buf *buf)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->flavour == GTID_MYSQL) {
            format_mysql_item(set, i, buf);
            continue;
        }
        if (i > 0)
            buf_add(buf, ",");
        format_mariadb_item(&set->items[i], buf);
    }
}
