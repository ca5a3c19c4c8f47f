/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB 10.6+: the second look at a server, for readiness: what runs there, who may do what, how
 * it is set. What a privilege hides is simply not among the rows. */
#include "sql/mariadb.h"

#include "base/mem.h"

#include <string.h>

/* In the order of the packet. */
enum inspect_set {
    SET_ACTIVITY,
    SET_WAITER,
    SET_DDL,
    SET_XA,
    SET_RIGHT,
    SET_EVENT,
    SET_SETTING,
    SET_TABLE,
    SET_BINLOG,
    SET_CERTIFICATE,
    INSPECT_SETS
};

void mariadb_list_grants(struct buf *sql)
{
    buf_add(sql, "SHOW GRANTS");
}

void mariadb_list_replicas(struct buf *sql)
{
    buf_add(sql, "SHOW SLAVE HOSTS;"
                 "SELECT DISTINCT LEFT(HOST, LENGTH(HOST) - LOCATE(':', REVERSE(HOST))) AS host"
                 " FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'");
}

/* What may stand before the first word of a statement: blanks, parentheses, comments, and the start
 * of a comment that the server executes. Without backslashes, which sql_mode could make plain; and
 * possessive, so that a long comment costs no backtracking. */
#define BEGINS                                                                                     \
    "^(?-s)(?:[[:space:](]|/[*](?!M?!)[^*]*+(?:[*](?!/)[^*]*+)*+[*]/|/[*]M?![0-9]*+"               \
    "|--(?=[[:space:]]).*|[#].*)*+"

/* What only reads holds no freeze up: not when it writes to a file, nor when it locks rows IN SHARE
 * MODE. What begins like a read holds it up when it locks for a write or takes from a sequence,
 * which its text says; and when it calls a function that writes, which only the rows tell that its
 * transaction has changed. A transaction that changed rows and now only reads looks the same, and
 * counts as well, unless what runs uses no table.
 *
 * InnoDB knows the start of a transaction in whole seconds of the system's time zone, hence the SET
 * STATEMENT and the extra second. */
static void activities(struct buf *sql, int long_ms)
{
    buf_printf(sql,
               "SET STATEMENT time_zone='SYSTEM' FOR"
               " SELECT p.ID AS id, p.USER AS user, p.HOST AS host, COALESCE(p.STATE, '') AS state,"
               " LEFT(COALESCE(p.INFO, ''), 80) AS text, p.COMMAND <> 'Sleep' AS is_statement,"
               " CAST(GREATEST(p.TIME_MS, COALESCE(TIMESTAMPDIFF(SECOND, t.trx_started,"
               " SYSDATE()) * 1000, 0)) AS SIGNED) AS ms,"
               " COALESCE(t.trx_rows_modified, -1) AS rows_changed"
               " FROM information_schema.PROCESSLIST p LEFT JOIN information_schema.INNODB_TRX t"
               " ON t.trx_mysql_thread_id = p.ID"
               " WHERE p.ID <> CONNECTION_ID() AND p.USER NOT IN ('system user', 'event_scheduler')"
               " AND ((p.COMMAND IN ('Query', 'Execute', 'Bulk_execute') AND p.TIME_MS >= %d"
               " AND (p.INFO NOT RLIKE '" BEGINS "(SELECT|SHOW|WITH|DESC|EXPLAIN|KILL)'"
               " OR p.INFO RLIKE '(FOR[[:space:]]+UPDATE|NEXT[[:space:]]+VALUE|NEXTVAL|SETVAL)'"
               " OR (t.trx_rows_modified > 0 AND t.trx_tables_in_use > 0)))"
               " OR (p.COMMAND = 'Sleep' AND t.trx_rows_modified > 0"
               " AND t.trx_started <= SYSDATE() - INTERVAL %d MICROSECOND))"
               " ORDER BY ms DESC LIMIT 20;",
               long_ms, (long_ms + 1000) * 1000);
}

static void waiters_and_ddl(struct buf *sql, int long_ms)
{
    buf_printf(sql,
               "SELECT ID AS id, USER AS user, HOST AS host, STATE AS state,"
               " LEFT(COALESCE(INFO, ''), 80) AS text, 1 AS is_statement,"
               " CAST(TIME_MS AS SIGNED) AS ms, -1 AS rows_changed"
               " FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table %%lock'"
               " AND TIME_MS >= %d ORDER BY ms DESC LIMIT 20;",
               long_ms / 2);
    buf_printf(sql,
               "SELECT ID AS id, USER AS user, HOST AS host, COALESCE(STATE, '') AS state,"
               " LEFT(INFO, 80) AS text, 1 AS is_statement, CAST(TIME_MS AS SIGNED) AS ms,"
               " -1 AS rows_changed FROM information_schema.PROCESSLIST WHERE INFO RLIKE"
               " '" BEGINS "(ALTER|CREATE|DROP|TRUNCATE|RENAME|OPTIMIZE|REPAIR)[[:space:]/]'"
               " AND ID <> CONNECTION_ID() AND USER <> 'system user' AND TIME_MS >= %d"
               " ORDER BY ms DESC LIMIT 20;",
               long_ms / 2);
}

void mariadb_inspect(struct buf *sql, int long_ms)
{
    activities(sql, long_ms);
    waiters_and_ddl(sql, long_ms);
    buf_add(sql,
            "XA RECOVER;"
            "SELECT GRANTEE AS account, PRIVILEGE_TYPE AS privilege"
            " FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN"
            " ('SUPER', 'READ_ONLY ADMIN', 'READ ONLY ADMIN', 'REPLICATION SLAVE')"
            " ORDER BY 1, 2 LIMIT 500;"
            "SELECT EVENT_SCHEMA AS db, EVENT_NAME AS name, STATUS = 'ENABLED' AS is_enabled"
            " FROM information_schema.EVENTS ORDER BY 1, 2;"
            "SELECT VARIABLE_NAME AS name, GLOBAL_VALUE AS value, GLOBAL_VALUE_ORIGIN AS origin,"
            " COALESCE(GLOBAL_VALUE_PATH, '') AS path FROM information_schema.SYSTEM_VARIABLES"
            " WHERE VARIABLE_NAME IN ('READ_ONLY', 'SQL_MODE', 'CHARACTER_SET_SERVER',"
            " 'COLLATION_SERVER', 'LOWER_CASE_TABLE_NAMES', 'MAX_ALLOWED_PACKET', 'TIME_ZONE',"
            " 'SYSTEM_TIME_ZONE', 'EXPLICIT_DEFAULTS_FOR_TIMESTAMP', 'INNODB_STRICT_MODE',"
            " 'MAX_CONNECTIONS', 'INNODB_BUFFER_POOL_SIZE') ORDER BY 1;"
            "SELECT TABLE_NAME AS name FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = 'holdfast';"
            "SHOW MASTER STATUS;"
            "SHOW STATUS LIKE 'Ssl_server_not_after'");
}

/* --- Reading ---------------------------------------------------------------------------------- */

static const char *text_at(const struct sql_result *raw, size_t set, size_t row, const char *column)
{
    const char *value = sql_named(raw, set, row, column);
    return value ? value : "";
}

static struct sql_activity *read_activities(const struct sql_result *raw, size_t set,
                                            size_t *ret_count)
{
    *ret_count = sql_rows(raw, set);
    struct sql_activity *list = mem_zalloc((*ret_count + 1) * sizeof(*list));
    for (size_t row = 0; row < *ret_count; row++)
        list[row] = (struct sql_activity){
            .id = sql_number(sql_named(raw, set, row, "id"), 0),
            .ms = sql_number(sql_named(raw, set, row, "ms"), 0),
            .user = text_at(raw, set, row, "user"),
            .host = text_at(raw, set, row, "host"),
            .state = text_at(raw, set, row, "state"),
            .text = text_at(raw, set, row, "text"),
            .is_statement = sql_true(sql_named(raw, set, row, "is_statement")),
            .rows_changed = sql_number(sql_named(raw, set, row, "rows_changed"), -1),
        };
    return list;
}

static void read_settings(struct sql_inspection *ret)
{
    const struct sql_result *raw = &ret->raw;
    ret->setting_count = sql_rows(raw, SET_SETTING);
    ret->settings = mem_zalloc((ret->setting_count + 1) * sizeof(*ret->settings));
    for (size_t row = 0; row < ret->setting_count; row++)
        ret->settings[row] = (struct sql_setting){
            .name = text_at(raw, SET_SETTING, row, "name"),
            .value = text_at(raw, SET_SETTING, row, "value"),
            .origin = text_at(raw, SET_SETTING, row, "origin"),
            .path = text_at(raw, SET_SETTING, row, "path"),
        };
}

static void read_rights(struct sql_inspection *ret)
{
    ret->right_count = sql_rows(&ret->raw, SET_RIGHT);
    ret->rights = mem_zalloc((ret->right_count + 1) * sizeof(*ret->rights));
    for (size_t row = 0; row < ret->right_count; row++)
        ret->rights[row] = (struct sql_right){
            .account = text_at(&ret->raw, SET_RIGHT, row, "account"),
            .privilege = text_at(&ret->raw, SET_RIGHT, row, "privilege"),
        };
}

static void read_schema(struct sql_inspection *ret)
{
    const struct sql_result *raw = &ret->raw;
    ret->event_count = sql_rows(raw, SET_EVENT);
    ret->events = mem_zalloc((ret->event_count + 1) * sizeof(*ret->events));
    for (size_t row = 0; row < ret->event_count; row++)
        ret->events[row] = (struct sql_event_seen){
            .database = text_at(raw, SET_EVENT, row, "db"),
            .name = text_at(raw, SET_EVENT, row, "name"),
            .is_enabled = sql_true(sql_named(raw, SET_EVENT, row, "is_enabled")),
        };
    ret->table_count = sql_rows(raw, SET_TABLE);
    ret->tables = mem_zalloc((ret->table_count + 1) * sizeof(*ret->tables));
    for (size_t row = 0; row < ret->table_count; row++)
        ret->tables[row] = text_at(raw, SET_TABLE, row, "name");
}

enum status mariadb_read_inspection(struct sql_result *take, struct sql_inspection *ret,
                                    struct err *err)
{
    if (take->count != INSPECT_SETS)
        return err_set(err, ST_INVALID, "the server did not answer what it was asked");
    *ret = (struct sql_inspection){.raw = *take};
    *take = (struct sql_result){0};
    ret->activities = read_activities(&ret->raw, SET_ACTIVITY, &ret->activity_count);
    ret->waiters = read_activities(&ret->raw, SET_WAITER, &ret->waiter_count);
    ret->ddl = read_activities(&ret->raw, SET_DDL, &ret->ddl_count);
    ret->xa_count = sql_rows(&ret->raw, SET_XA);
    read_rights(ret);
    read_settings(ret);
    read_schema(ret);
    ret->certificate_end = text_at(&ret->raw, SET_CERTIFICATE, 0, "Value");
    ret->binlog_do = text_at(&ret->raw, SET_BINLOG, 0, "Binlog_Do_DB");
    ret->binlog_ignore = text_at(&ret->raw, SET_BINLOG, 0, "Binlog_Ignore_DB");
    return ST_OK;
}
