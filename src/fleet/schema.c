/* SPDX-License-Identifier: Apache-2.0
 * Holdfast's own schema; see schema.h. */
#include "fleet/schema.h"

#include "base/scope.h"

const struct schema_table schema_tables[] = {
    {"probe", "(slot INT UNSIGNED NOT NULL PRIMARY KEY, n BIGINT UNSIGNED NOT NULL,"
              " at_us BIGINT NOT NULL)"},
    {"heartbeat", "(shard VARCHAR(64) NOT NULL PRIMARY KEY, run VARCHAR(64) NOT NULL,"
                  " n BIGINT UNSIGNED NOT NULL)"},
    {"load_row", "(id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
                 " load_run VARCHAR(40) NOT NULL, writer INT UNSIGNED NOT NULL,"
                 " seq BIGINT UNSIGNED NOT NULL, KEY (load_run, writer, seq))"},
};

const size_t schema_table_count = ARRAY_SIZE(schema_tables);

void schema_create_sql(struct buf *sql)
{
    buf_add(sql, "CREATE DATABASE IF NOT EXISTS " SCHEMA_NAME ";\n");
    for (size_t i = 0; i < schema_table_count; i++)
        buf_printf(sql, "CREATE TABLE IF NOT EXISTS " SCHEMA_NAME ".%s %s ENGINE=InnoDB;\n",
                   schema_tables[i].name, schema_tables[i].columns);
}
