/* SPDX-License-Identifier: Apache-2.0
 *
 * MariaDB 10.6+: the statements that move a shard. What looks odd here was measured; the reasons
 * are in docs/switchover.md under "Facts". */
#include "sql/mariadb.h"

#include "base/scope.h"
#include "sql/conn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SOURCE_PASSWORD_MAX = 96 /* bytes, of CHANGE MASTER */ };

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

void mariadb_read_log_end(struct buf *sql)
{
    buf_add(sql, "SHOW MASTER STATUS");
}

/* 'log_end': "binlog.000012:4711". What a freeze lets through is little: the limit is a guard. */
void mariadb_list_log(struct buf *sql, const char *log_end)
{
    const char *colon = strrchr(log_end, ':');
    AUTO_FREE char *file = colon ? strndup(log_end, (size_t)(colon - log_end)) : strdup("");
    buf_add(sql, "SHOW BINLOG EVENTS IN ");
    sql_quote(sql, file);
    buf_printf(sql, " FROM %lld LIMIT %d", colon ? strtoll(colon + 1, NULL, 10) : 4,
               SQL_LOG_ROWS_MAX);
}

/* Does the text of a statement begin so, after the "use `db`; " that the server shows? */
static bool begins_with(const char *text, const char *word)
{
    const char *semicolon = strncmp(text, "use `", 5) == 0 ? strstr(text, "`; ") : NULL;
    return strncasecmp(semicolon ? semicolon + 3 : text, word, strlen(word)) == 0;
}

void mariadb_read_log_event(const char *type, const char *info, struct sql_log_row *ret)
{
    static const char *const harmless[] = {"FLUSH ", "ANALYZE "};
    *ret = (struct sql_log_row){.text = info ? info : ""};
    const char *gtid = type && strcmp(type, "Gtid") == 0 ? strstr(ret->text, "GTID ") : NULL;
    ret->begins = gtid ? gtid + strlen("GTID ") : NULL;
    ret->is_change = !gtid;
    for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
        if (begins_with(ret->text, harmless[i]))
            ret->is_change = false;
}

void mariadb_read_log_row(const struct sql_result *result, size_t row, struct sql_log_row *ret)
{
    mariadb_read_log_event(sql_named(result, 0, row, "Event_type"),
                           sql_named(result, 0, row, "Info"), ret);
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

void mariadb_refuse_writes(struct buf *sql, int timeout_ms)
{
    bounded(sql, timeout_ms);
    buf_add(sql, "SET GLOBAL read_only=1");
}

/* Four statements. read_only must be complete before the stage: the other order deadlocks under
 * load, and read_only cannot be set inside a stage. A failing statement ends the packet. Events
 * need nothing of their own: what they write waits like every other commit. */
void mariadb_freeze(struct buf *sql, int timeout_ms)
{
    mariadb_refuse_writes(sql, timeout_ms);
    buf_add(sql, "; ");
    bounded(sql, timeout_ms);
    buf_add(sql, "BACKUP STAGE START; ");
    bounded(sql, timeout_ms);
    buf_add(sql, "BACKUP STAGE BLOCK_COMMIT; SELECT @@gtid_binlog_pos");
}

static void strict_order(struct buf *sql, bool is_strict)
{
    buf_printf(sql, "SET GLOBAL gtid_strict_mode=%d", is_strict);
}

/* One statement. The guard on the server's own clock makes a packet that a paused server finds
 * when it wakes up harmless; an IF of its own, because with --sysdate-is-now a statement's clock
 * stands still. Semi-sync first: no write is ever acknowledged without an acker. Strict order of
 * GTIDs: what a privileged session may still write at the old primary after its freeze cannot come
 * in behind the first write here (until the new primary forgets its source). */
void mariadb_promote(struct buf *sql, const struct sql_promotion *promotion)
{
    buf_add(sql, "BEGIN NOT ATOMIC DECLARE opened INT DEFAULT 0; IF (SELECT VARIABLE_VALUE FROM"
                 " information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME ="
                 " 'RPL_SEMI_SYNC_MASTER_CLIENTS') < 1 THEN SET opened = -1;"
                 " ELSEIF MASTER_GTID_WAIT(");
    sql_quote(sql, promotion->position);
    buf_printf(sql, ", %d.%03d) = 0 THEN IF UNIX_TIMESTAMP(SYSDATE(6)) < %.6f THEN",
               promotion->wait_ms / 1000, promotion->wait_ms % 1000, promotion->until_clock_s);
    buf_add(sql, " SET GLOBAL gtid_strict_mode=1; SET GLOBAL rpl_semi_sync_master_enabled=1;"
                 " SET GLOBAL read_only=0;"
                 " SET opened = 1; END IF; END IF; SELECT opened; END");
}

void mariadb_start_source(struct buf *sql)
{
    buf_add(sql, "SET GLOBAL rpl_semi_sync_slave_enabled=0;"
                 "SET GLOBAL rpl_semi_sync_master_enabled=1");
}

void mariadb_open(struct buf *sql, double until_clock_s)
{
    buf_printf(sql, "BEGIN NOT ATOMIC IF UNIX_TIMESTAMP(SYSDATE(6)) < %.6f THEN ", until_clock_s);
    mariadb_start_source(sql);
    buf_add(sql, "; SET GLOBAL read_only=0; END IF; SELECT @@global.read_only; END");
}

void mariadb_close(struct buf *sql, bool is_strict)
{
    buf_add(sql, "SET GLOBAL read_only=1; SET GLOBAL rpl_semi_sync_master_enabled=0; ");
    strict_order(sql, is_strict);
}

void mariadb_list_events(struct buf *sql)
{
    buf_add(sql, "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS"
                 " WHERE STATUS = 'ENABLED'");
}

void mariadb_list_silent_events(struct buf *sql)
{
    buf_add(sql, "SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER FROM information_schema.EVENTS"
                 " WHERE STATUS = 'SLAVESIDE_DISABLED'");
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

/* gtid_slave_pos outlives the RESET: also whoever does this again learns where the source ended. */
void mariadb_forget_source(struct buf *sql, bool is_strict)
{
    buf_add(sql, "STOP ALL SLAVES; RESET SLAVE ALL; ");
    strict_order(sql, is_strict);
    buf_add(sql, "; SELECT @@gtid_slave_pos");
}

void mariadb_set_strict(struct buf *sql, bool is_strict)
{
    strict_order(sql, is_strict);
    buf_add(sql, "; START ALL SLAVES");
}

/* It acknowledges what waits: only ever where nobody's commit can. A server does not get read-only
 * before those have ended. */
void mariadb_stop_source(struct buf *sql)
{
    buf_add(sql, "BEGIN NOT ATOMIC IF @@GLOBAL.read_only=1 THEN "
                 "SET GLOBAL rpl_semi_sync_master_enabled=0; END IF; END");
}

/* START SLAVE does not wake one that waits between two attempts to connect; STOP does. */
void mariadb_restart_replication(struct buf *sql)
{
    buf_add(sql, "STOP SLAVE IO_THREAD; START SLAVE");
}

/* One that seeks its source is neither "Yes" nor "No", and would find it when that comes back. An
 * acker that stops calls its source to end its session there, which takes two seconds when that is
 * frozen, or up to 24: less patience makes it one. */
size_t mariadb_stop_receiving(struct buf *sql, const struct sql_server_state *state)
{
    bool is_still = strcasecmp(mariadb_link_value(state, "Slave_IO_Running"), "No") == 0;
    bool must_apply = !is_still && !state->is_sql_running;
    if (must_apply)
        buf_add(sql, "START SLAVE SQL_THREAD; ");
    buf_add(sql, "SET @patience=@@GLOBAL.rpl_semi_sync_slave_kill_conn_timeout;"
                 " SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout=1; STOP SLAVE IO_THREAD;"
                 " SET GLOBAL rpl_semi_sync_slave_kill_conn_timeout=@patience");
    return must_apply ? 5 : 4;
}

void mariadb_start_receiving(struct buf *sql)
{
    buf_add(sql, "START SLAVE IO_THREAD");
}

void mariadb_acknowledge(struct buf *sql, bool is_on)
{
    buf_printf(sql, "SET GLOBAL rpl_semi_sync_slave_enabled=%d; ", is_on);
    mariadb_restart_replication(sql);
}

/* A replica acknowledges what it receives, never what it has. But one that asks for a file and an
 * offset has, for its source, all before: so it connects once without GTIDs, and applies nothing
 * that way, because after a crash that offset may be an old one. One packet, that leaves nothing in
 * between unless the server dies; the wait for the connection is bounded. */
void mariadb_acknowledge_received(struct buf *sql)
{
    buf_add(sql, "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=no; START SLAVE IO_THREAD;"
                 " BEGIN NOT ATOMIC DECLARE n INT DEFAULT 0; WHILE n < 200 AND NOT EXISTS"
                 " (SELECT 1 FROM information_schema.PROCESSLIST WHERE COMMAND = 'Slave_IO'"
                 " AND STATE = 'Waiting for master to send event')"
                 " DO SET n = n + 1; DO SLEEP(0.01); END WHILE; END;"
                 " STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE");
}

void mariadb_list_held(struct buf *sql)
{
    buf_add(sql, "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for backup"
                 " lock' AND ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'");
}

/* INNODB_TRX repeats what it said while the last question was less than 100 ms ago, whoever asked:
 * it is of now if it knows the transaction that was begun for this. A dump that only reads a
 * snapshot holds no locks. */
void mariadb_list_lockers(struct buf *sql, int after_ms)
{
    buf_printf(sql,
               "DO SLEEP(%d.%03d); START TRANSACTION WITH CONSISTENT SNAPSHOT;"
               " SELECT p.ID FROM information_schema.INNODB_TRX t JOIN"
               " information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id"
               " WHERE p.ID = CONNECTION_ID() OR (t.trx_lock_structs > 0"
               " AND p.USER <> 'system user' AND p.COMMAND NOT LIKE 'Slave%%'); ROLLBACK",
               after_ms / 1000, after_ms % 1000);
}

void mariadb_list_prepared(struct buf *sql)
{
    buf_add(sql, "XA RECOVER");
}

void mariadb_end_freeze(struct buf *sql)
{
    buf_add(sql, "BACKUP STAGE END; SELECT @@gtid_binlog_pos");
}

void mariadb_look_before_follow(struct buf *sql)
{
    buf_add(sql, "SET GLOBAL read_only=1; STOP SLAVE; SELECT @@gtid_slave_pos, @@gtid_binlog_pos");
}

/* CHANGE MASTER takes plain literals only. In a session where a backslash is a backslash, doubling
 * the quotes is all that a literal needs. */
static void literal(struct buf *sql, const char *text)
{
    buf_add(sql, "'");
    for (; *text; text++) {
        buf_add_bytes(sql, text, 1);
        if (*text == '\'')
            buf_add(sql, "'");
    }
    buf_add(sql, "'");
}

/* Bytes of the UTF-8 character at 'at' that CHANGE MASTER would keep; 0: it makes a '?' of it. */
static size_t kept_bytes(const char *at)
{
    unsigned char lead = (unsigned char)*at;
    size_t bytes = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 0;
    for (size_t i = 1; i < bytes; i++)
        if (((unsigned char)at[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

/* A replica keeps its source's password on a line of a file, as utf8mb3. */
const char *mariadb_refuse_source_password(const struct secret *password)
{
    const char *at = secret_reveal(password);
    if (strlen(at) > SOURCE_PASSWORD_MAX)
        return "it is longer than 96 bytes";
    while (*at && *at != '\n' && kept_bytes(at) > 0)
        at += kept_bytes(at);
    if (*at == '\n')
        return "it has a line break";
    return *at ? "it has a character that is not UTF-8 of at most three bytes" : NULL;
}

static void link_option(struct buf *text, const char *name, const char *value)
{
    buf_printf(text, ", %s=", name);
    literal(text, value ? value : "");
}

/* Every option of TLS, because one that is not named keeps what it was once set to. */
static void link_tls(struct buf *text, const struct sql_server_state *state,
                     const struct sql_tls *tls)
{
    static const struct {
        const char *option, *column;
    } files[] = {
        {"MASTER_SSL_CA", "Master_SSL_CA_File"},      {"MASTER_SSL_CERT", "Master_SSL_Cert"},
        {"MASTER_SSL_KEY", "Master_SSL_Key"},         {"MASTER_SSL_CAPATH", "Master_SSL_CA_Path"},
        {"MASTER_SSL_CIPHER", "Master_SSL_Cipher"},   {"MASTER_SSL_CRL", "Master_SSL_Crl"},
        {"MASTER_SSL_CRLPATH", "Master_SSL_Crlpath"},
    };
    const char *const given[ARRAY_SIZE(files)] = {tls ? tls->ca : NULL, tls ? tls->cert : NULL,
                                                  tls ? tls->key : NULL};
    bool is_on = tls || (state && state->is_link_tls);
    bool verify = tls ? tls->verify : state && state->verifies_link;
    buf_printf(text, "MASTER_SSL=%d, MASTER_SSL_VERIFY_SERVER_CERT=%d", is_on, verify);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        link_option(text, files[i].option,
                    tls || !state ? given[i] : mariadb_link_value(state, files[i].column));
}

/* A server that never was a replica has defaults: what its relay was set to would be lost. */
void mariadb_keep_link(struct buf *text, const struct sql_server_state *state,
                       const struct sql_tls *tls)
{
    int64_t retry_s = state ? sql_number(mariadb_link_value(state, "Connect_Retry"), 0) : 0;
    const char *heartbeat = state ? mariadb_link_value(state, "Slave_heartbeat_period") : "";
    link_tls(text, state, tls);
    buf_printf(text, ", MASTER_CONNECT_RETRY=%d", retry_s > 0 ? (int)retry_s : 1);
    if (heartbeat[0] && !heartbeat[strspn(heartbeat, "0123456789.")])
        buf_printf(text, ", MASTER_HEARTBEAT_PERIOD=%s", heartbeat);
}

/* The options of TLS come first in a link; they may hold any text, what follows them holds none. */
void mariadb_renew_link(struct buf *text, const char *link, const struct sql_tls *tls)
{
    const char *rest = "";
    for (const char *at = link; (at = strstr(at, ", MASTER_CONNECT_RETRY=")); at++)
        rest = at;
    link_tls(text, NULL, tls);
    buf_add(text, rest);
}

/* Semi-sync source off. Who acknowledges does so before it receives: what it got without is never
 * acknowledged, and holds every commit of the source up behind it. The position is said, not taken
 * from its own binlog (MASTER_DEMOTE_TO_SLAVE): that may have got something since. Setting it fails
 * in strict mode when it did, which is how a late write that nobody saw is noticed. RESET first: a
 * server that was killed within CHANGE MASTER left half-written files, and answers everything else
 * with error 1201. It does not forget gtid_slave_pos. Until a restart it also keeps TLS, but not
 * that certificates are verified; so each option of the link is said. */
void mariadb_follow(struct buf *sql, const struct sql_source *source)
{
    buf_add(sql, "SET SESSION slow_query_log=0;" /* which would keep the password */
                 "SET GLOBAL read_only=1; STOP SLAVE; RESET SLAVE ALL;"
                 "SET GLOBAL rpl_semi_sync_master_enabled=0;");
    buf_printf(sql, "SET GLOBAL rpl_semi_sync_slave_enabled=%d; ", source->acknowledges);
    if (source->is_order_relaxed)
        buf_add(sql, "SET GLOBAL gtid_strict_mode=0; ");
    if (source->position) {
        buf_add(sql, "SET GLOBAL gtid_slave_pos=");
        sql_quote(sql, source->position);
        buf_add(sql, "; ");
    }
    buf_add(sql, "SET @holdfast_mode=@@session.sql_mode; SET SESSION sql_mode="
                 "'NO_BACKSLASH_ESCAPES'; CHANGE MASTER TO MASTER_HOST=");
    literal(sql, source->host);
    buf_printf(sql, ", MASTER_PORT=%d, MASTER_USER=", (int)source->port);
    literal(sql, source->user);
    buf_add(sql, ", MASTER_PASSWORD=");
    literal(sql, secret_reveal(source->password));
    buf_printf(sql,
               ", %s, MASTER_DELAY=0, IGNORE_SERVER_IDS=(), DO_DOMAIN_IDS=(),"
               " IGNORE_DOMAIN_IDS=(), MASTER_USE_GTID=slave_pos;",
               source->link);
    buf_add(sql, "SET SESSION sql_mode=@holdfast_mode; START SLAVE");
}

void mariadb_lock(struct buf *sql, const char *name, int wait_ms)
{
    buf_add(sql, "SET SESSION wait_timeout=30; SELECT GET_LOCK(");
    sql_quote(sql, name);
    buf_printf(sql, ", %d.%03d)", wait_ms / 1000, wait_ms % 1000);
}

void mariadb_unlock(struct buf *sql)
{
    buf_add(sql, "DO RELEASE_ALL_LOCKS()");
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
