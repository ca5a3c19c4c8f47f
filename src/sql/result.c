/* SPDX-License-Identifier: Apache-2.0
 * Result sets of one packet; see result.h. */
#include "sql/result.h"

#include "sql/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void sql_result_release(struct sql_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        mysql_free_result(result->sets[i].rows);
    free(result->sets);
    *result = (struct sql_result){0};
}

void sql_result_drop_first(struct sql_result *result)
{
    if (result->count == 0)
        return;
    mysql_free_result(result->sets[0].rows);
    result->count--;
    memmove(result->sets, result->sets + 1, result->count * sizeof(*result->sets));
}

static MYSQL_RES *rows_of(const struct sql_result *result, size_t set)
{
    return set < result->count ? result->sets[set].rows : NULL;
}

size_t sql_rows(const struct sql_result *result, size_t set)
{
    MYSQL_RES *rows = rows_of(result, set);
    return rows ? (size_t)mysql_num_rows(rows) : 0;
}

const char *sql_value(const struct sql_result *result, size_t set, size_t row, size_t column)
{
    MYSQL_RES *rows = rows_of(result, set);
    if (!rows || row >= mysql_num_rows(rows) || column >= mysql_num_fields(rows))
        return NULL;
    mysql_data_seek(rows, row);
    MYSQL_ROW values = mysql_fetch_row(rows);
    return values ? values[column] : NULL;
}

const char *sql_named(const struct sql_result *result, size_t set, size_t row, const char *column)
{
    MYSQL_RES *rows = rows_of(result, set);
    if (!rows)
        return NULL;
    unsigned count = mysql_num_fields(rows);
    const MYSQL_FIELD *fields = mysql_fetch_fields(rows);
    for (unsigned i = 0; i < count; i++)
        if (strcasecmp(fields[i].name, column) == 0)
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
