/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB 10.6+: what is asked of a server and how its answers read. One packet each, so that an
 * observation costs one round trip. The second look is mariadb_inspect.c; the statements that
 * change something are in mariadb_move.c. */
#include "sql/mariadb.h"

#include "base/invariant.h"

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
            " (SELECT COALESCE(MAX(TIME_MS), 0) FROM information_schema.PROCESSLIST"
            " WHERE STATE LIKE 'Waiting for semi-sync ACK%') AS held_up_ms,"
            " UNIX_TIMESTAMP(SYSDATE(6)) AS clock, @@gtid_binlog_pos AS position,"
            " @@gtid_slave_pos AS applied, @@gtid_binlog_state AS binlog_state;"
            "SHOW ALL SLAVES STATUS;"
            "SHOW GLOBAL STATUS WHERE Variable_name IN"
            " ('Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_status')");
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

/* "For ever" is written as the greatest unsigned number. */
static int64_t timeout(const struct sql_server_state *state, const char *name)
{
    const char *value = variable(state, name);
    unsigned long long number = value ? strtoull(value, NULL, 10) : 0;
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

static void read_semi_sync(struct sql_server_state *state)
{
    state->is_source_semi_sync = sql_true(variable(state, "source_semi_sync"));
    state->is_replica_semi_sync = sql_true(variable(state, "replica_semi_sync"));
    state->semi_sync_timeout_ms = timeout(state, "semi_sync_timeout");
    const char *held_up = variable(state, "held_up_ms");
    state->held_up_ms = held_up ? (int64_t)strtod(held_up, NULL) : 0; /* it has decimals */
    state->waits_without_ackers = sql_true(variable(state, "wait_no_slave"));
    const char *point = variable(state, "wait_point");
    state->waits_after_sync = point && strcasecmp(point, "AFTER_SYNC") == 0;
    state->ackers = sql_number(status_value(&state->raw, "Rpl_semi_sync_master_clients"), 0);
    state->is_semi_sync_active = sql_true(status_value(&state->raw, "Rpl_semi_sync_master_status"));
}

static const char *replication(const struct sql_server_state *state, const char *column)
{
    return text_of(sql_named(&state->raw, SET_REPLICATION, 0, column));
}

const char *mariadb_link_value(const struct sql_server_state *state, const char *column)
{
    INVARIANT(!state->texts); /* a compact one has no more of the link than stands in its fields */
    return replication(state, column);
}

static const char *replica_filters(const struct sql_server_state *state)
{
    static const char *const columns[] = {
        "Replicate_Do_DB",        "Replicate_Ignore_DB",     "Replicate_Do_Table",
        "Replicate_Ignore_Table", "Replicate_Wild_Do_Table", "Replicate_Wild_Ignore_Table",
        "Replicate_Rewrite_DB",   "Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids",
    };
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        if (replication(state, columns[i])[0])
            return columns[i];
    return "";
}

static void read_replication(struct sql_server_state *state)
{
    state->channels = sql_rows(&state->raw, SET_REPLICATION);
    state->channel_name = replication(state, "Connection_name");
    state->source_host = replication(state, "Master_Host");
    state->source_user = replication(state, "Master_User");
    state->source_port = sql_number(replication(state, "Master_Port"), 0);
    state->source_id = sql_number(replication(state, "Master_Server_Id"), 0);
    state->is_link_tls = sql_true(replication(state, "Master_SSL_Allowed"));
    state->verifies_link = sql_true(replication(state, "Master_SSL_Verify_Server_Cert"));
    state->delay_s = sql_number(replication(state, "SQL_Delay"), 0);
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
    *ret = (struct sql_server_state){.raw = *take};
    *take = (struct sql_result){0};
    read_identity(ret);
    read_durability(ret);
    read_semi_sync(ret);
    read_replication(ret);
    return ST_OK;
}

static void ask_process(struct buf *sql)
{
    buf_add(sql, "SELECT @@global.read_only, @@pid_file, @@datadir, @@hostname");
}

static enum status read_process(const struct sql_result *result, struct sql_process *ret,
                                struct err *err)
{
    if (sql_rows(result, 0) != 1)
        return err_set(err, ST_INVALID, "the server did not answer what it was asked");
    *ret = (struct sql_process){.is_read_only = sql_true(sql_value(result, 0, 0, 0)),
                                .pid_file = text_of(sql_value(result, 0, 0, 1)),
                                .data_folder = text_of(sql_value(result, 0, 0, 2)),
                                .machine = text_of(sql_value(result, 0, 0, 3))};
    return ST_OK;
}

static void ask_whereabouts(struct buf *sql)
{
    buf_add(sql, "SELECT @@server_id, @@read_only, @@gtid_binlog_pos;SHOW ALL SLAVES STATUS");
}

static enum status read_whereabouts(const struct sql_result *result, struct sql_whereabouts *ret,
                                    struct err *err)
{
    if (sql_rows(result, 0) != 1 || result->count < 2)
        return err_set(err, ST_INVALID, "the server did not answer what it was asked");
    *ret = (struct sql_whereabouts){
        .server_id = sql_number(sql_value(result, 0, 0, 0), 0),
        .is_read_only = sql_true(sql_value(result, 0, 0, 1)),
        .is_replica = sql_rows(result, 1) > 0,
        .source_id = sql_number(sql_named(result, 1, 0, "Master_Server_Id"), 0),
        .position = text_of(sql_value(result, 0, 0, 2)),
        .received = text_of(sql_named(result, 1, 0, "Gtid_IO_Pos")),
    };
    return ST_OK;
}

const struct sql_flavour sql_mariadb = {
    .name = "mariadb",
    .gtid = GTID_MARIADB,
    .observe = observe,
    .read_observation = read_observation,
    .ask_process = ask_process,
    .read_process = read_process,
    .ask_whereabouts = ask_whereabouts,
    .read_whereabouts = read_whereabouts,
    .list_grants = mariadb_list_grants,
    .inspect = mariadb_inspect,
    .read_inspection = mariadb_read_inspection,
    .list_replicas = mariadb_list_replicas,
    .wait_for = mariadb_wait_for,
    .read_position = mariadb_read_position,
    .try_freeze_lock = mariadb_try_freeze_lock,
    .refuse_writes = mariadb_refuse_writes,
    .freeze = mariadb_freeze,
    .promote = mariadb_promote,
    .start_source = mariadb_start_source,
    .open = mariadb_open,
    .close = mariadb_close,
    .list_events = mariadb_list_events,
    .list_silent_events = mariadb_list_silent_events,
    .switch_event = mariadb_switch_event,
    .switch_scheduler = mariadb_switch_scheduler,
    .forget_source = mariadb_forget_source,
    .set_strict = mariadb_set_strict,
    .stop_source = mariadb_stop_source,
    .acknowledge = mariadb_acknowledge,
    .restart_replication = mariadb_restart_replication,
    .stop_receiving = mariadb_stop_receiving,
    .start_receiving = mariadb_start_receiving,
    .acknowledge_received = mariadb_acknowledge_received,
    .look_before_follow = mariadb_look_before_follow,
    .read_log_end = mariadb_read_log_end,
    .list_log = mariadb_list_log,
    .read_log_row = mariadb_read_log_row,
    .end_freeze = mariadb_end_freeze,
    .list_held = mariadb_list_held,
    .list_lockers = mariadb_list_lockers,
    .list_prepared = mariadb_list_prepared,
    .refuse_source_password = mariadb_refuse_source_password,
    .keep_link = mariadb_keep_link,
    .renew_link = mariadb_renew_link,
    .follow = mariadb_follow,
    .lock = mariadb_lock,
    .unlock = mariadb_unlock,
    .lock_holder = mariadb_lock_holder,
    .kill = mariadb_kill,
};
