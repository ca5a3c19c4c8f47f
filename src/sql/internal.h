/* SPDX-License-Identifier: Apache-2.0
 * Shared inside sql/ only: where libmariadb's types are known. */
#ifndef HOLDFAST_SQL_INTERNAL_H
#define HOLDFAST_SQL_INTERNAL_H

#include <mysql.h>

/* The rows of one statement, copied close together: libmariadb's own form takes tens of kilobytes
 * for a single row. 'cells' is one allocation: the names of the columns, then row after row, then
 * the texts that they point to; SQL NULL is NULL. */
struct sql_set {
    char **cells; /* NULL for a statement without rows */
    size_t rows, columns;
};

/* Frees 'take', which may be NULL. */
struct sql_set sql__set_of(MYSQL_RES *take);

struct sql_conn;

/* The socket of an open, idle connection in clear text, which is closed here without a word to the
 * server; the caller's. -1: it is not such a one. */
int sql__conn_give_socket(struct sql_conn *conn);

#endif
