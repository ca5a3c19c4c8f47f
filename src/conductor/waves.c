/* SPDX-License-Identifier: Apache-2.0
 * Reading the shape of a run; see waves.h. */
#include "conductor/waves.h"

#include "base/scope.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PERCENT = 100, DIGITS_MAX = 9 };

static enum status bad(struct err *err, const char *part, size_t length, const char *what)
{
    err_set(err, ST_INVALID, "--wave: '%.*s' %s", (int)length, part, what);
    return err_hint(err, "for example: --wave canary=1,25%%,100%%");
}

/* "1", "25%". */
struct size {
    size_t number;
    bool is_share;
};

static enum status parse_size(const char *text, size_t length, struct size *ret, struct err *err)
{
    *ret = (struct size){.is_share = length > 0 && text[length - 1] == '%'};
    size_t digits = length - ret->is_share;
    bool is_number = digits > 0 && digits <= DIGITS_MAX;
    for (size_t i = 0; i < digits && is_number; i++)
        is_number = isdigit((unsigned char)text[i]);
    if (!is_number)
        return bad(err, text, length, "is neither a number of shards nor a share like 25%");
    ret->number = strtoul(text, NULL, 10);
    if (ret->number == 0)
        return bad(err, text, length, "moves nothing");
    if (ret->is_share && ret->number > PERCENT)
        return bad(err, text, length, "is more than all shards");
    return ST_OK;
}

/* How many shards are done after a wave of this size. */
static size_t end_of(const struct size *size, size_t shard_count)
{
    size_t end =
        size->is_share ? (shard_count * size->number + PERCENT - 1) / PERCENT : size->number;
    return end < shard_count ? end : shard_count;
}

static void add(struct waves *waves, const char *name, size_t length, size_t end)
{
    size_t first = waves->count ? waves->items[waves->count - 1].end : 0;
    if (end <= first)
        return;
    struct wave *wave = &waves->items[waves->count++];
    *wave = (struct wave){.first = first, .end = end};
    if (length > 0)
        snprintf(wave->name, sizeof(wave->name), "%.*s", (int)length, name);
    else
        snprintf(wave->name, sizeof(wave->name), "wave %zu", waves->count);
}

static bool is_name(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return false;
    return length > 0 && length < WAVE_NAME_MAX;
}

/* 'last' is the size of the wave before, and becomes this one's. */
static enum status parse_part(const char *part, size_t length, struct size *last, size_t *ret_name,
                              struct err *err)
{
    const char *equals = memchr(part, '=', length);
    struct size size;
    *ret_name = equals ? (size_t)(equals - part) : 0;
    if (equals && !is_name(part, *ret_name))
        return bad(err, part, length, "has a name that is not made of letters, digits, - and _");
    const char *text = equals ? equals + 1 : part;
    enum status status = parse_size(text, length - (size_t)(text - part), &size, err);
    if (!status && size.is_share == last->is_share && size.number < last->number)
        status =
            bad(err, part, length, "is less than the wave before it: sizes count from the start");
    *last = size;
    return status;
}

enum status waves_parse(const char *text, size_t shard_count, struct waves *ret, struct err *err)
{
    struct waves waves = {0};
    struct size size = {0};
    size_t parts = 0, name = 0;
    for (const char *at = text ? text : ""; *at;) {
        size_t length = strcspn(at, ",");
        if (++parts > WAVES_MAX)
            return err_set(err, ST_INVALID, "--wave: more than %d waves", WAVES_MAX);
        enum status status = parse_part(at, length, &size, &name, err);
        if (status)
            return status;
        add(&waves, at, name, end_of(&size, shard_count));
        at += length + (at[length] == ',');
    }
    add(&waves, parts ? "rest" : "all", parts ? 4 : 3, shard_count);
    *ret = waves;
    return ST_OK;
}
