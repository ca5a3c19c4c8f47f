/* SPDX-License-Identifier: Apache-2.0
 *
 * Holdfast's own small schema in each shard: the table that the probe writes, the row that shows
 * the end of a move on every server, and the rows of the load generator. One table here; the lab,
 * 'fleet grants' and the run that creates what is missing all take it from here.
 */
#ifndef HOLDFAST_FLEET_SCHEMA_H
#define HOLDFAST_FLEET_SCHEMA_H

#include "base/buf.h"

#include <stddef.h>

#define SCHEMA_NAME "holdfast"

struct schema_table {
    const char *name;
    const char *columns; /* what stands between CREATE TABLE name and ENGINE */
};

extern const struct schema_table schema_tables[];
extern const size_t schema_table_count;

/* Statements, each ended by ";\n", that create what is missing and keep what is there. */
void schema_create_sql(struct buf *sql);

#endif
