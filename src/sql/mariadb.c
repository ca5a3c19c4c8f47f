/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB 10.6+: what is asked of a server and how its answers read. One packet each, so that an
 * observation costs one round trip. The statements that change something are in mariadb_move.c. */
#include "sql/mariadb.h"

#include <stdlib.h>
#include <string.h>

enum observe_set { SET_VARIABLES, SET_REPLICATION, SET_STATUS };

static void observe(struct buf *sql)
{
    buf_add(sql,
            "SELECT @@version AS version, @@server_id AS server_id, @@gtid_domain_id AS domain_id,"
            " @@read_only AS read_only, @@rpl_semi_sync_master_enabled AS source_semi_sync,"
            " @@rpl_semi_sync_slave_enabled AS replica_semi_sync,"
            " @@rpl_semi_sync_master_timeout AS semi_sync_timeout,"
            " @@rpl_semi_sync_master_wait_no_slave AS wait_no_slave,"
            " @@rpl_semi_sync_master_wait_point AS wait_point, @@log_bin AS log_bin,"
            " @@log_slave_updates AS log_slave_updates, @@gtid_strict_mode AS strict,"
            " @@binlog_format AS binlog_format, @@global.tx_isolation AS isolation,"
            " @@sync_binlog AS sync_binlog, @@innodb_flush_log_at_trx_commit AS flush_at_commit,"
            " @@global.binlog_expire_logs_seconds AS binlog_expiry,"
            " @@global.event_scheduler AS event_scheduler, @@global.wait_timeout AS idle_timeout,"
            " UNIX_TIMESTAMP(SYSDATE(6)) AS clock, @@gtid_binlog_pos AS position,"
            " @@gtid_slave_pos AS applied, @@gtid_binlog_state AS binlog_state;"
            "SHOW ALL SLAVES STATUS;"
            "SHOW GLOBAL STATUS WHERE Variable_name IN"
            " ('Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_status', 'Binlog_Do_DB')");
}

static const char *text_of(const char *value)
{
    return value ? value : "";
}

static const char *status_value(const struct sql_result *result, const char *name)
{
    for (size_t row = 0; row < sql_rows(result, SET_STATUS); row++) {
        const char *at = sql_value(result, SET_STATUS, row, 0);
        if (at && strcasecmp(at, name) == 0)
            return sql_value(result, SET_STATUS, row, 1);
    }
    return NULL;
}

static const char *variable(const struct sql_server_state *state, const char *name)
{
    return sql_named(&state->raw, SET_VARIABLES, 0, name);
}

static int64_t number(const struct sql_server_state *state, const char *name)
{
    return sql_number(variable(state, name), -1);
}

static void read_identity(struct sql_server_state *state)
{
    state->version = text_of(variable(state, "version"));
    state->server_id = number(state, "server_id");
    state->domain_id = number(state, "domain_id");
    state->is_read_only = sql_true(variable(state, "read_only"));
    state->is_event_scheduler_on = sql_true(variable(state, "event_scheduler"));
    state->idle_timeout_s = number(state, "idle_timeout");
    const char *clock = variable(state, "clock");
    state->clock_s = clock ? strtod(clock, NULL) : 0;
    state->position = text_of(variable(state, "position"));
    state->applied = text_of(variable(state, "applied"));
    state->binlog_state = text_of(variable(state, "binlog_state"));
}

static void read_durability(struct sql_server_state *state)
{
    state->has_binlog = sql_true(variable(state, "log_bin"));
    state->logs_replica_updates = sql_true(variable(state, "log_slave_updates"));
    state->is_gtid_strict = sql_true(variable(state, "strict"));
    state->binlog_format = text_of(variable(state, "binlog_format"));
    state->isolation = text_of(variable(state, "isolation"));
    state->sync_binlog = number(state, "sync_binlog");
    state->flush_at_commit = number(state, "flush_at_commit");
    state->binlog_expiry_s = number(state, "binlog_expiry");
}

static void read_semi_sync(struct sql_server_state *state)
{
    state->is_source_semi_sync = sql_true(variable(state, "source_semi_sync"));
    state->is_replica_semi_sync = sql_true(variable(state, "replica_semi_sync"));
    state->semi_sync_timeout_ms = number(state, "semi_sync_timeout");
    state->waits_without_ackers = sql_true(variable(state, "wait_no_slave"));
    const char *point = variable(state, "wait_point");
    state->waits_after_sync = point && strcasecmp(point, "AFTER_SYNC") == 0;
    state->ackers = sql_number(status_value(&state->raw, "Rpl_semi_sync_master_clients"), 0);
    state->is_semi_sync_active =
        sql_true(status_value(&state->raw, "Rpl_semi_sync_master_status"));
}

static const char *replication(const struct sql_server_state *state, const char *column)
{
    return text_of(sql_named(&state->raw, SET_REPLICATION, 0, column));
}

static const char *replica_filters(const struct sql_server_state *state)
{
    static const char *const columns[] = {
        "Replicate_Do_DB",        "Replicate_Ignore_DB",         "Replicate_Do_Table",
        "Replicate_Ignore_Table", "Replicate_Wild_Do_Table",     "Replicate_Wild_Ignore_Table",
        "Replicate_Rewrite_DB",   "Replicate_Do_Domain_Ids",     "Replicate_Ignore_Domain_Ids",
    };
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (replication(state, columns[i])[0])
            return columns[i];
    return "";
}

static void read_replication(struct sql_server_state *state)
{
    state->channels = sql_rows(&state->raw, SET_REPLICATION);
    state->source_host = replication(state, "Master_Host");
    state->source_port = sql_number(replication(state, "Master_Port"), 0);
    state->is_io_running = strcasecmp(replication(state, "Slave_IO_Running"), "Yes") == 0;
    state->is_sql_running = strcasecmp(replication(state, "Slave_SQL_Running"), "Yes") == 0;
    state->uses_gtid = strcasecmp(replication(state, "Using_Gtid"), "No") != 0;
    state->io_error = replication(state, "Last_IO_Error");
    state->sql_error = replication(state, "Last_SQL_Error");
    state->received = replication(state, "Gtid_IO_Pos");
    state->behind_s = sql_number(replication(state, "Seconds_Behind_Master"), -1);
    state->replica_filters = replica_filters(state);
}

static enum status read_observation(struct sql_result *take, struct sql_server_state *ret,
                                    struct err *err)
{
    if (sql_rows(take, SET_VARIABLES) != 1 || take->count < 3)
        return err_set(err, ST_INVALID, "the server did not answer what it was asked");
    *ret = (struct sql_server_state){.raw = *take, .binlog_filters = ""};
    *take = (struct sql_result){0};
    read_identity(ret);
    read_durability(ret);
    read_semi_sync(ret);
    read_replication(ret);
    return ST_OK;
}

/* Sets of an inspection, in the order of the packet. */
enum inspect_set {
    SET_LONG,
    SET_LOCK,
    SET_XA,
    SET_ACCOUNT,
    SET_EVENT,
    SET_VARIABLE,
    SET_DDL,
    SET_GRANT,
    SET_SCHEMA,
    SET_MASTER,
    INSPECT_SETS
};

/* Accounts: the bits of SUPER (1<<15) and READ ONLY ADMIN (1<<29 << 7 = 1<<36) in global_priv. */
static void inspect(struct buf *sql, int long_ms)
{
    buf_printf(sql,
               "SELECT p.ID AS id, p.USER AS user, p.HOST AS host, p.COMMAND AS command,"
               " COALESCE(p.STATE, '') AS state, LEFT(COALESCE(p.INFO, ''), 60) AS text,"
               " CAST(GREATEST(p.TIME_MS,"
               " COALESCE(TIMESTAMPDIFF(SECOND, t.trx_started, SYSDATE()) * 1000, 0)) AS SIGNED)"
               " AS ms, COALESCE(t.trx_rows_modified, -1) AS changed"
               " FROM information_schema.PROCESSLIST p"
               " LEFT JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID"
               " WHERE p.ID <> CONNECTION_ID() AND p.COMMAND NOT IN ('Binlog Dump', 'Daemon',"
               " 'Slave_IO', 'Slave_SQL', 'Slave_worker') AND p.USER <> 'system user'"
               " AND p.USER <> 'event_scheduler' AND ((p.COMMAND <> 'Sleep' AND p.TIME_MS >= %d)"
               " OR t.trx_started <= SYSDATE() - INTERVAL %d MICROSECOND)"
               " ORDER BY ms DESC LIMIT 20;",
               long_ms, long_ms * 1000);
    buf_add(sql,
            "SELECT p.ID AS id, p.USER AS user, p.STATE AS state,"
            " LEFT(COALESCE(p.INFO, ''), 60) AS text"
            " FROM information_schema.PROCESSLIST p WHERE p.STATE LIKE 'Waiting for %lock%'"
            " AND p.TIME_MS >= 500 LIMIT 20;"
            "XA RECOVER;"
            "SELECT CONCAT(User, '@', Host) AS account FROM mysql.global_priv"
            " WHERE (JSON_VALUE(Priv, '$.access') & ((1 << 15) | (1 << 36))) <> 0"
            " AND COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = 0"
            " AND User NOT IN ('mariadb.sys', SUBSTRING_INDEX(CURRENT_USER(), '@', 1)) LIMIT 20;"
            "SELECT EVENT_SCHEMA AS db, EVENT_NAME AS name, DEFINER AS definer, STATUS AS status,"
            " ORIGINATOR AS originator FROM information_schema.EVENTS LIMIT 1000;"
            "SELECT VARIABLE_NAME AS name, GLOBAL_VALUE AS value, GLOBAL_VALUE_ORIGIN AS origin,"
            " COALESCE(GLOBAL_VALUE_PATH, '') AS path FROM information_schema.SYSTEM_VARIABLES"
            " WHERE VARIABLE_NAME IN ('READ_ONLY', 'SKIP_SLAVE_START', 'SQL_MODE',"
            " 'CHARACTER_SET_SERVER', 'COLLATION_SERVER', 'LOWER_CASE_TABLE_NAMES',"
            " 'MAX_ALLOWED_PACKET', 'TIME_ZONE', 'SYSTEM_TIME_ZONE',"
            " 'EXPLICIT_DEFAULTS_FOR_TIMESTAMP', 'INNODB_STRICT_MODE', 'MAX_CONNECTIONS');"
            "SELECT p.ID AS id, p.USER AS user, LEFT(p.INFO, 60) AS text, CAST(p.TIME_MS AS SIGNED)"
            " AS ms FROM information_schema.PROCESSLIST p"
            " WHERE p.INFO RLIKE '^[[:space:]]*(ALTER|CREATE|DROP|TRUNCATE|RENAME|OPTIMIZE)[[:space:]]'"
            " AND p.ID <> CONNECTION_ID() AND p.USER <> 'system user' LIMIT 20;"
            "SHOW GRANTS;"
            "SELECT TABLE_NAME AS name FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = 'holdfast';"
            "SHOW MASTER STATUS");
}

static enum status read_inspection(struct sql_result *take, struct sql_inspection *ret,
                                   struct err *err)
{
    if (take->count != INSPECT_SETS)
        return err_set(err, ST_INVALID, "the server did not answer what it was asked");
    *ret = (struct sql_inspection){
        .raw = *take,
        .long_set = SET_LONG,
        .lock_set = SET_LOCK,
        .xa_set = SET_XA,
        .account_set = SET_ACCOUNT,
        .event_set = SET_EVENT,
        .variable_set = SET_VARIABLE,
        .ddl_set = SET_DDL,
        .grant_set = SET_GRANT,
        .schema_set = SET_SCHEMA,
        .binlog_set = SET_MASTER,
    };
    *take = (struct sql_result){0};
    return ST_OK;
}

const struct sql_flavour sql_mariadb = {
    .name = "mariadb",
    .gtid = GTID_MARIADB,
    .observe = observe,
    .read_observation = read_observation,
    .inspect = inspect,
    .read_inspection = read_inspection,
    .wait_for = mariadb_wait_for,
    .read_position = mariadb_read_position,
    .try_freeze_lock = mariadb_try_freeze_lock,
    .freeze = mariadb_freeze,
    .promote = mariadb_promote,
    .open = mariadb_open,
    .close = mariadb_close,
    .list_events = mariadb_list_events,
    .switch_event = mariadb_switch_event,
    .switch_scheduler = mariadb_switch_scheduler,
    .forget_source = mariadb_forget_source,
    .end_freeze = mariadb_end_freeze,
    .list_held = mariadb_list_held,
    .follow = mariadb_follow,
    .lock = mariadb_lock,
    .lock_holder = mariadb_lock_holder,
    .kill = mariadb_kill,
};
