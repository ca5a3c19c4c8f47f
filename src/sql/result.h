/* SPDX-License-Identifier: Apache-2.0
 *
 * What a packet of SQL statements gave back: one set a statement, in order; a statement without
 * rows (SET, INSERT) leaves an empty set. Owned by the caller; values live as long as the result.
 * Look-ups outside the result give NULL, like SQL NULL: the parser of a status row needs no
 * bounds of its own, and a column that a server version does not have reads as absent.
 */
#ifndef HOLDFAST_SQL_RESULT_H
#define HOLDFAST_SQL_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql_set;

struct sql_result {
    struct sql_set *sets;
    size_t count, capacity; /* finished statements */
};

void sql_result_release(struct sql_result *result);
void sql_result_drop_first(struct sql_result *result); /* of the sets; the others move up */
size_t sql_rows(const struct sql_result *result, size_t set);
const char *sql_value(const struct sql_result *result, size_t set, size_t row, size_t column);
const char *sql_named(const struct sql_result *result, size_t set, size_t row, const char *column);
/* As a number; 'otherwise' when NULL or not a number. */
int64_t sql_number(const char *value, int64_t otherwise);
/* "1", "ON", "Yes", "TRUE" in any case. */
bool sql_true(const char *value);

#endif
