/* SPDX-License-Identifier: Apache-2.0
 * Result sets of one packet; see result.h. */
#include "sql/result.h"

#include "base/mem.h"
#include "sql/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Copy a text to '*at' and step over it. */
static char *put(char **at, const char *text, size_t length)
{
    char *copy = *at;
    memcpy(copy, text, length);
    copy[length] = '\0';
    *at += length + 1;
    return copy;
}

static size_t size_of(MYSQL_RES *from, const struct sql_set *set)
{
    size_t size = (set->rows + 1) * set->columns * sizeof(*set->cells);
    const MYSQL_FIELD *fields = mysql_fetch_fields(from);
    for (size_t i = 0; i < set->columns; i++)
        size += fields[i].name_length + 1;
    while (mysql_fetch_row(from)) {
        const unsigned long *lengths = mysql_fetch_lengths(from);
        for (size_t i = 0; i < set->columns; i++)
            size += lengths[i] + 1;
    }
    mysql_data_seek(from, 0);
    return size;
}

static void copy_cells(MYSQL_RES *from, struct sql_set *set)
{
    char **cell = set->cells, *text = (char *)(cell + (set->rows + 1) * set->columns);
    const MYSQL_FIELD *fields = mysql_fetch_fields(from);
    for (size_t i = 0; i < set->columns; i++)
        *cell++ = put(&text, fields[i].name, fields[i].name_length);
    for (MYSQL_ROW row = mysql_fetch_row(from); row; row = mysql_fetch_row(from)) {
        const unsigned long *lengths = mysql_fetch_lengths(from);
        for (size_t i = 0; i < set->columns; i++)
            *cell++ = row[i] ? put(&text, row[i], lengths[i]) : NULL;
    }
}

struct sql_set sql__set_of(MYSQL_RES *take)
{
    struct sql_set set = {0};
    if (!take)
        return set;
    set.rows = (size_t)mysql_num_rows(take);
    set.columns = mysql_num_fields(take);
    set.cells = mem_zalloc(size_of(take, &set));
    copy_cells(take, &set);
    mysql_free_result(take);
    return set;
}

void sql_result_release(struct sql_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        free(result->sets[i].cells);
    free(result->sets);
    *result = (struct sql_result){0};
}

void sql_result_drop_first(struct sql_result *result)
{
    if (result->count == 0)
        return;
    free(result->sets[0].cells);
    result->count--;
    memmove(result->sets, result->sets + 1, result->count * sizeof(*result->sets));
}

static const struct sql_set *set_at(const struct sql_result *result, size_t set)
{
    static const struct sql_set none = {0};
    return set < result->count ? &result->sets[set] : &none;
}

size_t sql_rows(const struct sql_result *result, size_t set)
{
    return set_at(result, set)->rows;
}

const char *sql_value(const struct sql_result *result, size_t set, size_t row, size_t column)
{
    const struct sql_set *in = set_at(result, set);
    return row < in->rows && column < in->columns ? in->cells[(row + 1) * in->columns + column]
                                                  : NULL;
}

const char *sql_named(const struct sql_result *result, size_t set, size_t row, const char *column)
{
    const struct sql_set *in = set_at(result, set);
    for (size_t i = 0; i < in->columns; i++)
        if (strcasecmp(in->cells[i], column) == 0)
            return sql_value(result, set, row, i);
    return NULL;
}

int64_t sql_number(const char *value, int64_t otherwise)
{
    if (!value || !value[0])
        return otherwise;
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    return errno || (*end && *end != '.') ? otherwise : number;
}

bool sql_true(const char *value)
{
    return value && (strcasecmp(value, "1") == 0 || strcasecmp(value, "ON") == 0 ||
                     strcasecmp(value, "YES") == 0 || strcasecmp(value, "TRUE") == 0);
}
