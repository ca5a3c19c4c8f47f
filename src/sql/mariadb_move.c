/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB 10.6+: the statements that move a shard. What looks odd here was measured; the reasons
 * are in docs/switchover.md under "Facts". */
#include "sql/mariadb.h"

#include "base/scope.h"
#include "sql/conn.h"

#include <string.h>

void mariadb_wait_for(struct buf *sql, const char *position, int wait_ms)
{
    buf_add(sql, "SELECT MASTER_GTID_WAIT(");
    sql_quote(sql, position);
    buf_printf(sql, ", %d.%03d)", wait_ms / 1000, wait_ms % 1000);
}

void mariadb_read_position(struct buf *sql)
{
    buf_add(sql, "SELECT @@gtid_binlog_pos");
}

static void bounded(struct buf *sql, int timeout_ms)
{
    buf_printf(sql, "SET STATEMENT max_statement_time=%d.%03d FOR ", timeout_ms / 1000,
               timeout_ms % 1000);
}

/* START waits behind another backup and behind LOCK TABLES ... WRITE, and disturbs nobody. */
void mariadb_try_freeze_lock(struct buf *sql, int timeout_ms)
{
    bounded(sql, timeout_ms);
    buf_add(sql, "BACKUP STAGE START; BACKUP STAGE END");
}

/* Four statements. read_only must be complete before the stage: the other order deadlocks under
 * load, and read_only cannot be set inside a stage. A failing statement ends the packet. Events
 * need nothing of their own: what they write waits like every other commit. */
void mariadb_freeze(struct buf *sql, int timeout_ms)
{
    bounded(sql, timeout_ms);
    buf_add(sql, "SET GLOBAL read_only=1; ");
    bounded(sql, timeout_ms);
    buf_add(sql, "BACKUP STAGE START; ");
    bounded(sql, timeout_ms);
    buf_add(sql, "BACKUP STAGE BLOCK_COMMIT; SELECT @@gtid_binlog_pos");
}

/* One statement. The guard on the server's own clock makes a packet that a paused server finds
 * when it wakes up harmless; an IF of its own, because with --sysdate-is-now a statement's clock
 * stands still. Semi-sync first: no write is ever acknowledged without an acker. */
void mariadb_promote(struct buf *sql, const struct sql_promotion *promotion)
{
    buf_add(sql, "BEGIN NOT ATOMIC DECLARE opened INT DEFAULT 0; IF MASTER_GTID_WAIT(");
    sql_quote(sql, promotion->position);
    buf_printf(sql, ", %d.%03d) = 0 THEN IF UNIX_TIMESTAMP(SYSDATE(6)) < %.6f THEN",
               promotion->wait_ms / 1000, promotion->wait_ms % 1000, promotion->until_clock_s);
    buf_add(sql, " SET GLOBAL rpl_semi_sync_master_enabled=1; SET GLOBAL read_only=0;"
                 " SET opened = 1; END IF; END IF; SELECT opened; END");
}

void mariadb_open(struct buf *sql)
{
    buf_add(sql, "SET GLOBAL rpl_semi_sync_slave_enabled=0;"
                 "SET GLOBAL rpl_semi_sync_master_enabled=1;"
                 "SET GLOBAL read_only=0; SELECT @@global.read_only");
}

void mariadb_close(struct buf *sql)
{
    buf_add(sql, "SET GLOBAL read_only=1; SET GLOBAL rpl_semi_sync_master_enabled=0");
}

void mariadb_list_events(struct buf *sql)
{
    buf_add(sql, "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS"
                 " WHERE STATUS = 'ENABLED'");
}

/* ALTER EVENT makes the caller the definer unless it is named. */
void mariadb_switch_event(struct buf *sql, const struct sql_event *event, bool enable)
{
    const char *at = strrchr(event->definer, '@');
    AUTO_FREE char *user = at ? strndup(event->definer, (size_t)(at - event->definer)) : NULL;
    buf_add(sql, "SET SESSION sql_log_bin=0; ALTER DEFINER=");
    sql_quote_name(sql, user ? user : event->definer);
    buf_add(sql, "@");
    sql_quote_name(sql, at ? at + 1 : "%");
    buf_add(sql, " EVENT ");
    sql_quote_name(sql, event->database);
    buf_add(sql, ".");
    sql_quote_name(sql, event->name);
    buf_add(sql, enable ? " ENABLE; " : " DISABLE ON SLAVE; ");
    buf_add(sql, "SET SESSION sql_log_bin=1");
}

void mariadb_switch_scheduler(struct buf *sql, bool on)
{
    buf_printf(sql, "SET GLOBAL event_scheduler=%s", on ? "ON" : "OFF");
}

void mariadb_forget_source(struct buf *sql)
{
    buf_add(sql, "STOP ALL SLAVES; RESET SLAVE ALL");
}

void mariadb_list_held(struct buf *sql)
{
    buf_add(sql, "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for backup"
                 " lock' AND ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'");
}

void mariadb_end_freeze(struct buf *sql)
{
    buf_add(sql, "BACKUP STAGE END; SELECT @@gtid_binlog_pos");
}

/* Semi-sync source off, and never an acker over the WAN. The position: where its own binlog ends,
 * as a former primary has no usable gtid_slave_pos. TLS and the other settings of an earlier
 * CHANGE MASTER stay as they are. */
void mariadb_follow(struct buf *sql, const struct sql_source *source)
{
    buf_add(sql, "SET GLOBAL read_only=1; STOP SLAVE; SET GLOBAL rpl_semi_sync_master_enabled=0;"
                 "SET GLOBAL rpl_semi_sync_slave_enabled=0; CHANGE MASTER TO MASTER_HOST=");
    sql_quote(sql, source->host);
    buf_printf(sql, ", MASTER_PORT=%d, MASTER_USER=", (int)source->port);
    sql_quote(sql, source->user);
    buf_add(sql, ", MASTER_PASSWORD=");
    sql_quote(sql, secret_reveal(source->password));
    buf_add(sql, ", MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos, MASTER_DEMOTE_TO_SLAVE=1;"
                 "START SLAVE");
}

void mariadb_lock(struct buf *sql, const char *name, int wait_ms)
{
    buf_add(sql, "SET SESSION wait_timeout=30; SELECT GET_LOCK(");
    sql_quote(sql, name);
    buf_printf(sql, ", %d.%03d)", wait_ms / 1000, wait_ms % 1000);
}

void mariadb_lock_holder(struct buf *sql, const char *name)
{
    buf_add(sql, "SELECT IS_USED_LOCK(");
    sql_quote(sql, name);
    buf_add(sql, ")");
}

void mariadb_kill(struct buf *sql, int64_t connection_id)
{
    buf_printf(sql, "KILL %lld", (long long)connection_id);
}
