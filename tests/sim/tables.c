/* SPDX-License-Identifier: Apache-2.0
 * SHOW and information_schema: what readiness asks, answered as by a sound server. */
#include "sim/statement.h"

#include "base/scope.h"
#include "fleet/grants.h"
#include "fleet/schema.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void one(struct session *session, const char *column)
{
    session_columns(session, &column, 1);
}

/* All that Holdfast's own table of grants gives this account. */
enum outcome table_grants(struct session *session, const struct args *args UNUSED)
{
    const char *user = sim_of(session->server)->accounts[session->account].user;
    one(session, "Grants");
    for (size_t i = 0; i < grant_count; i++) {
        if ((int)grants[i].account != session->account)
            continue;
        AUTO(buf_release) struct buf line = {0};
        buf_printf(&line, "GRANT %s ON %s TO `%s`@`%%`", grants[i].privilege, grants[i].scope,
                   user);
        const char *value = buf_text(&line);
        session_row(session, &value, 1);
    }
    return session_rows_end(session);
}

enum outcome table_privileges(struct session *session, const struct args *args UNUSED)
{
    static const char *const columns[] = {"account", "privilege"};
    static const char *const rows[][2] = {
        {"'holdfast'@'%'", "READ_ONLY ADMIN"},
        {"'holdfast'@'%'", "SUPER"},
        {"'repl'@'%'", "REPLICATION SLAVE"},
    };
    session_columns(session, columns, 2);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        session_row(session, rows[i], 2);
    return session_rows_end(session);
}

enum outcome table_status(struct session *session, const struct args *args)
{
    static const char *const columns[] = {"Variable_name", "Value"};
    const struct sim_server *server = session->server;
    unsigned count = sim_ackers(server);
    char ackers[16];
    snprintf(ackers, sizeof(ackers), "%u", count);
    const struct {
        const char *name, *value;
    } known[] = {
        {"Rpl_semi_sync_master_clients", ackers},
        {"Rpl_semi_sync_master_status", server->semi_source ? "ON" : "OFF"},
    };
    session_columns(session, columns, 2);
    size_t found = 0;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!strstr(args->items[0].text, known[i].name))
            continue;
        const char *values[] = {known[i].name, known[i].value};
        session_row(session, values, 2);
        found++;
    }
    size_t wanted = 0;
    for (const char *at = args->items[0].text; *at; at++)
        wanted += *at == '\'';
    return wanted == 2 * found ? session_rows_end(session)
                               : session_unknown(session, session->statement);
}

enum outcome table_binlog(struct session *session, const struct args *args UNUSED)
{
    static const char *const columns[] = {"File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB"};
    char position[32];
    snprintf(position, sizeof(position), "%" PRIu64, 4 + 100 * session->server->logged.seq);
    const char *values[] = {"binlog.000001", position, "", ""};
    session_columns(session, columns, 4);
    session_row(session, values, 4);
    return session_rows_end(session);
}

/* Only read_only is ever set at run time. */
enum outcome table_settings(struct session *session, const struct args *args UNUSED)
{
    static const char *const columns[] = {"name", "value", "origin", "path"};
    static const char *const settings[][2] = {
        {"CHARACTER_SET_SERVER", "utf8mb4"},
        {"COLLATION_SERVER", "utf8mb4_general_ci"},
        {"EXPLICIT_DEFAULTS_FOR_TIMESTAMP", "ON"},
        {"INNODB_BUFFER_POOL_SIZE", "33554432"},
        {"INNODB_STRICT_MODE", "ON"},
        {"LOWER_CASE_TABLE_NAMES", "0"},
        {"MAX_ALLOWED_PACKET", "16777216"},
        {"MAX_CONNECTIONS", "500"},
        {"SQL_MODE", "STRICT_TRANS_TABLES"},
        {"SYSTEM_TIME_ZONE", "UTC"},
        {"TIME_ZONE", "SYSTEM"},
    };
    session_columns(session, columns, 4);
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        const char *values[] = {settings[i][0], settings[i][1], "COMPILE-TIME", ""};
        session_row(session, values, 4);
    }
    bool is_closed = session->server->read_only;
    const char *values[] = {"READ_ONLY", is_closed ? "ON" : "OFF", "SQL", ""};
    session_row(session, values, 4);
    return session_rows_end(session);
}

enum outcome table_names(struct session *session, const struct args *args UNUSED)
{
    one(session, "name");
    for (size_t i = 0; i < schema_table_count; i++)
        session_row(session, &schema_tables[i].name, 1);
    return session_rows_end(session);
}

enum outcome table_count(struct session *session, const struct args *args UNUSED)
{
    char count[16];
    snprintf(count, sizeof(count), "%zu", schema_table_count);
    const char *value = count;
    one(session, "COUNT(*)");
    session_row(session, &value, 1);
    return session_rows_end(session);
}

static void add_id(struct session *session, const struct session *of)
{
    char id[16];
    snprintf(id, sizeof(id), "%u", (unsigned)of->id);
    const char *value = id;
    session_row(session, &value, 1);
}

/* Nobody leaves a transaction open here but who asks. */
enum outcome table_lockers(struct session *session, const struct args *args UNUSED)
{
    one(session, "ID");
    add_id(session, session);
    return session_rows_end(session);
}

/* Sessions whose writes a backup stage holds up. */
enum outcome table_held(struct session *session, const struct args *args UNUSED)
{
    one(session, "ID");
    for (const struct session *at = session->server->sessions; at; at = at->next)
        if (at->is_waiting && at->state == session_waits_for_backup)
            add_id(session, at);
    return session_rows_end(session);
}

enum outcome table_dumps(struct session *session, const struct args *args UNUSED)
{
    const struct sim_server *server = session->server;
    one(session, "host");
    for (int i = 0; i < SIM_SERVERS; i++) {
        const struct sim_server *at = &server->shard->servers[i];
        char host[INET_ADDRSTRLEN];
        if (at->link.source != (int)server->index || !sim_link_receives(at))
            continue;
        const char *value = inet_ntop(AF_INET, &at->address, host, sizeof(host));
        session_row(session, &value, 1);
    }
    return session_rows_end(session);
}
