/* SPDX-License-Identifier: Apache-2.0
 * The statements that make a server a replica, and what they show. */
#include "sim/statement.h"

#include "base/scope.h"
#include "base/secret.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int find_server(const struct sim_shard *shard, const char *host, int port)
{
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) != 1 || port != shard->sim->port)
        return -1;
    for (int i = 0; i < SIM_SERVERS; i++)
        if (shard->servers[i].address.s_addr == address.s_addr)
            return i;
    return -1;
}

static bool is_replication_account(const struct sim *sim, const char *user, const char *password)
{
    struct wire_key key;
    wire_key_init(&key, password);
    for (int i = 0; i < SIM_ACCOUNTS; i++)
        if (i != 2 && strcmp(sim->accounts[i].user, user) == 0) /* the probe may not replicate */
            return memcmp(key.twice, sim->accounts[i].key.twice, WIRE_DIGEST) == 0;
    return false;
}

enum outcome replica_change(struct session *session, const struct args *args)
{
    struct sim_server *server = session->server;
    struct sim_link *link = &server->link;
    char host[ARG_MAX_SIZE], user[ARG_MAX_SIZE], password[ARG_MAX_SIZE];
    if (link->io || link->sql)
        return session_fail(session, 1198, "HY000",
                            "This operation cannot be performed as you "
                            "have a running replica; run STOP SLAVE first");
    if (!arg_string(&args->items[0], host) || !arg_string(&args->items[2], user) ||
        !arg_string(&args->items[3], password) || strlen(host) >= sizeof(link->host) ||
        strlen(user) >= sizeof(link->user))
        return session_unknown(session, "CHANGE MASTER with names that are too long");
    link->is_configured = true;
    link->port = (int)arg_number(&args->items[1]);
    link->source = find_server(server->shard, host, link->port);
    snprintf(link->host, sizeof(link->host), "%s", host);
    snprintf(link->user, sizeof(link->user), "%s", user);
    link->io_error = link->source < 0 ? "error connecting to master (2003)"
                     : is_replication_account(sim_of(server), user, password)
                         ? NULL
                         : "error connecting to master: Access denied (1045)";
    return session_ok(session, 0);
}

/* "", " IO_THREAD" or " SQL_THREAD"; false for anything else. */
static bool read_threads(const struct args *args, bool *ret_io, bool *ret_sql)
{
    bool is_io = args->count > 0 && arg_is(&args->items[0], " IO_THREAD");
    bool is_sql = args->count > 0 && arg_is(&args->items[0], " SQL_THREAD");
    *ret_io = !is_sql;
    *ret_sql = !is_io;
    return args->count == 0 || is_io || is_sql;
}

enum outcome replica_start(struct session *session, const struct args *args)
{
    bool io = false, sql = false;
    if (!read_threads(args, &io, &sql))
        return session_unknown(session, session->statement);
    if (session->server->link.is_configured)
        sim_link_start(session->server, io, sql);
    return session_ok(session, 0);
}

enum outcome replica_stop(struct session *session, const struct args *args)
{
    bool io = false, sql = false;
    if (!read_threads(args, &io, &sql))
        return session_unknown(session, session->statement);
    sim_link_stop(session->server, io, sql);
    return session_ok(session, 0);
}

enum outcome replica_reset(struct session *session, const struct args *args UNUSED)
{
    const struct sim_link *link = &session->server->link;
    if (link->io || link->sql)
        return session_fail(session, 1198, "HY000", "run STOP SLAVE first");
    sim_link_reset(session->server);
    return session_ok(session, 0);
}

static const char *yes(bool is_running)
{
    return is_running ? "Yes" : "No";
}

/* The columns that src/sql reads. */
enum outcome replica_show(struct session *session, const struct args *args UNUSED)
{
    static const char *const columns[] = {
        "Connection_name",       "Master_Host",   "Master_User",       "Master_Port",
        "Slave_IO_Running",      "Last_IO_Error", "Slave_SQL_Running", "Last_SQL_Error",
        "Master_Server_Id",      "Using_Gtid",    "Gtid_IO_Pos",       "SQL_Delay",
        "Seconds_Behind_Master",
    };
    const struct sim_server *server = session->server;
    const struct sim_link *link = &server->link;
    AUTO(buf_release) struct buf port = {0}, id = {0}, position = {0};
    session_columns(session, columns, ARRAY_SIZE(columns));
    if (!link->is_configured)
        return session_rows_end(session);
    bool receives = sim_link_receives(server);
    buf_printf(&port, "%d", link->port);
    buf_printf(&id, "%u",
               link->source < 0 ? 0U : (unsigned)server->shard->servers[link->source].server_id);
    gtid_format(server, server->applied, &position);
    const char *lost = receives || !link->io ? "" : "error reconnecting to master (2003)";
    const char *values[] = {
        "",
        link->host,
        link->user,
        buf_text(&port),
        receives || !link->io ? yes(receives) : "Connecting",
        link->io_error ? link->io_error : lost,
        yes(link->sql),
        link->sql_error ? link->sql_error : "",
        buf_text(&id),
        "Slave_Pos",
        buf_text(&position),
        "0",
        receives && link->sql ? "0" : NULL,
    };
    session_row(session, values, ARRAY_SIZE(values));
    return session_rows_end(session);
}

enum outcome replica_hosts(struct session *session, const struct args *args UNUSED)
{
    static const char *const columns[] = {"Server_id", "Host", "Port", "Master_id"};
    const struct sim_server *server = session->server;
    session_columns(session, columns, ARRAY_SIZE(columns));
    for (int i = 0; i < SIM_SERVERS; i++) {
        const struct sim_server *at = &server->shard->servers[i];
        if (at->link.source != (int)server->index || !sim_link_receives(at))
            continue;
        char id[16], port[16], own[16], host[INET_ADDRSTRLEN];
        snprintf(id, sizeof(id), "%u", (unsigned)at->server_id);
        snprintf(port, sizeof(port), "%d", sim_of(server)->port);
        snprintf(own, sizeof(own), "%u", (unsigned)server->server_id);
        inet_ntop(AF_INET, &at->address, host, sizeof(host));
        const char *values[] = {id, host, port, own};
        session_row(session, values, ARRAY_SIZE(values));
    }
    return session_rows_end(session);
}
