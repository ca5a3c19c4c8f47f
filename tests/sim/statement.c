/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of statements. It is what the conductor says today, and no more: a statement that it
 * learns is unknown here until it has a row. First match wins; the probe's come first, they are
 * most. */
#include "sim/statement.h"

#include "base/scope.h"

#define EMPTY_MAX 8

static statement_fn run_bounded, run_inner, accept_it;

/* clang-format off */
#define ACTIVITY {"id", "user", "host", "state", "text", "is_statement", "ms", "rows_changed"}
#define PROCESSLIST " FROM information_schema.PROCESSLIST "

static const struct {
    const char *pattern;
    statement_fn *run; /* NULL: no rows, of these columns */
    const char *columns[EMPTY_MAX];
} statements[] = {
    {"UPDATE probe SET n = n WHERE FALSE", write_ask, {NULL}},
    {"INSERT INTO probe (slot, n, at_us) VALUES (%n, 1, 0) ON DUPLICATE KEY UPDATE n = n + 1", write_row, {NULL}},
    {"SELECT n FROM probe LIMIT 1", write_read_probe, {NULL}},
    {"INSERT INTO holdfast.heartbeat (shard, run, n) VALUES (%s, %s, 1) ON DUPLICATE KEY UPDATE run = VALUES(run), n = n + 1", write_row, {NULL}},
    {"CREATE DATABASE IF NOT EXISTS holdfast", write_schema, {NULL}},
    {"CREATE TABLE IF NOT EXISTS holdfast.%w (%*", write_schema, {NULL}},

    {"SET STATEMENT max_statement_time=%n FOR %*", run_bounded, {NULL}},
    {"SET STATEMENT time_zone='SYSTEM' FOR %*", run_inner, {NULL}},
    {"SET GLOBAL %w=%*", variable_set_global, {NULL}},
    {"SET SESSION %w=%*", variable_set_session, {NULL}},
    {"SET @%w=%*", accept_it, {NULL}},
    {"SET AUTOCOMMIT = %n", accept_it, {NULL}}, /* other clients' greetings */
    {"SET NAMES %w", accept_it, {NULL}},
    {"DO SLEEP(0.000)", accept_it, {NULL}},
    {"START TRANSACTION WITH CONSISTENT SNAPSHOT", accept_it, {NULL}},
    {"ROLLBACK", accept_it, {NULL}},

    {"BACKUP STAGE START", hold_backup_start, {NULL}},
    {"BACKUP STAGE BLOCK_COMMIT", hold_backup_block, {NULL}},
    {"BACKUP STAGE END", hold_backup_end, {NULL}},
    {"KILL %n", hold_kill, {NULL}},
    {"BEGIN NOT ATOMIC DECLARE opened INT DEFAULT 0; IF (SELECT VARIABLE_VALUE FROM"
     " information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'RPL_SEMI_SYNC_MASTER_CLIENTS') < 1"
     " THEN SET opened = -1; ELSEIF MASTER_GTID_WAIT(%s, %n) = 0"
     " THEN IF UNIX_TIMESTAMP(SYSDATE(6)) < %n THEN SET GLOBAL gtid_strict_mode=1;"
     " SET GLOBAL rpl_semi_sync_master_enabled=1; SET GLOBAL read_only=0; SET opened = 1;"
     " END IF; END IF; SELECT opened; END", hold_promote, {NULL}},
    {"BEGIN NOT ATOMIC IF UNIX_TIMESTAMP(SYSDATE(6)) < %n THEN SET GLOBAL rpl_semi_sync_slave_enabled=0;"
     "SET GLOBAL rpl_semi_sync_master_enabled=1; SET GLOBAL read_only=0; END IF;"
     " SELECT @@global.read_only; END", hold_open, {NULL}},

    {"CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%n, MASTER_USER=%s, MASTER_PASSWORD=%s,"
     " MASTER_SSL=%~, MASTER_USE_GTID=slave_pos", replica_change, {NULL}},
    {"START SLAVE%*", replica_start, {NULL}},
    {"START SLAVE", replica_start, {NULL}},
    {"START ALL SLAVES", replica_start, {NULL}},
    {"STOP SLAVE%*", replica_stop, {NULL}},
    {"STOP SLAVE", replica_stop, {NULL}},
    {"STOP ALL SLAVES", replica_stop, {NULL}},
    {"RESET SLAVE ALL", replica_reset, {NULL}},
    {"SHOW ALL SLAVES STATUS", replica_show, {NULL}},
    {"SHOW SLAVE HOSTS", replica_hosts, {NULL}},

    {"SHOW GLOBAL STATUS WHERE Variable_name IN (%*", table_status, {NULL}},
    {"SHOW GRANTS", table_grants, {NULL}},
    {"SHOW MASTER STATUS", table_binlog, {NULL}},
    {"SHOW BINLOG EVENTS IN %s FROM %n LIMIT %n", NULL, {"Log_name", "Pos", "Event_type", "Server_id", "End_log_pos", "Info"}},
    {"SHOW STATUS LIKE 'Ssl_server_not_after'", NULL, {"Variable_name", "Value"}},
    {"XA RECOVER", NULL, {"formatID", "gtrid_length", "bqual_length", "data"}},

    {"SELECT p.ID AS id, %~" PROCESSLIST "p LEFT JOIN information_schema.INNODB_TRX t %*", NULL, ACTIVITY},
    {"SELECT ID AS id, %~" PROCESSLIST "WHERE STATE LIKE 'Waiting for table %%lock' %*", NULL, ACTIVITY},
    {"SELECT ID AS id, %~" PROCESSLIST "WHERE INFO RLIKE %*", NULL, ACTIVITY},
    {"SELECT ID" PROCESSLIST "WHERE STATE = 'Waiting for backup lock' AND ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'", table_held, {NULL}},
    {"SELECT p.ID FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p %*", table_lockers, {NULL}},
    {"SELECT DISTINCT LEFT(HOST, %~) AS host" PROCESSLIST "WHERE COMMAND LIKE 'Binlog Dump%%'", table_dumps, {NULL}},
    {"SELECT GRANTEE AS account, PRIVILEGE_TYPE AS privilege FROM information_schema.USER_PRIVILEGES %*", table_privileges, {NULL}},
    {"SELECT EVENT_SCHEMA AS db, EVENT_NAME AS name, %~ FROM information_schema.EVENTS %*", NULL, {"db", "name", "is_enabled"}},
    {"SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'", NULL, {"EVENT_SCHEMA", "EVENT_NAME", "DEFINER"}},
    {"SELECT VARIABLE_NAME AS name, GLOBAL_VALUE AS value, %~ FROM information_schema.SYSTEM_VARIABLES %*", table_settings, {NULL}},
    {"SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'holdfast'", table_names, {NULL}},
    {"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'holdfast' AND TABLE_NAME IN (%*", table_count, {NULL}},
    {"SELECT %*", select_list, {NULL}},
};
/* clang-format on */

static enum outcome no_rows(struct session *session, const char *const *columns)
{
    size_t count = 0;
    while (count < EMPTY_MAX && columns[count])
        count++;
    session_columns(session, columns, count);
    return session_rows_end(session);
}

enum outcome statement_run(struct session *session, const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
        struct args args = {.count = 0};
        if (!pattern_matches(statements[i].pattern, text, &args))
            continue;
        return statements[i].run ? statements[i].run(session, &args)
                                 : no_rows(session, statements[i].columns);
    }
    return session_unknown(session, text);
}

static enum outcome run_bounded(struct session *session, const struct args *args)
{
    double seconds = arg_number(&args->items[0]);
    session->bound = session->began + (nsec)(seconds * (double)NSEC_PER_SEC);
    return statement_run(session, args->items[1].text);
}

static enum outcome run_inner(struct session *session, const struct args *args)
{
    return statement_run(session, args->items[0].text);
}

static enum outcome accept_it(struct session *session, const struct args *args UNUSED)
{
    return session_ok(session, 0);
}
