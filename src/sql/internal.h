/* SPDX-License-Identifier: Apache-2.0
 * Shared inside sql/ only: where libmariadb's types are known. */
#ifndef HOLDFAST_SQL_INTERNAL_H
#define HOLDFAST_SQL_INTERNAL_H

#include <mysql.h>

struct sql_set {
    MYSQL_RES *rows; /* NULL for a statement without rows */
};

#endif
