/* SPDX-License-Identifier: Apache-2.0
 * System variables: most are what a sound server says, some are the model's. */
#include "sim/statement.h"

#include "base/scope.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum outcome set_fn(struct session *session, const struct arg *value);

static set_fn set_read_only, set_applied;

enum from { CONSTANT, FLAG, NUMBER, LOGGED, APPLIED, WRITTEN, DOMAIN };

/* clang-format off */
static const struct variable {
    const char *name;
    enum from from;
    const char *text; /* of a constant */
    size_t at;        /* of a flag or number in struct sim_server */
    set_fn *set;      /* NULL: flags can be set, constants only to what they are */
} variables[] = {
    {"version", CONSTANT, "10.11.19-MariaDB-simfleet", 0, NULL},
    {"server_id", NUMBER, NULL, offsetof(struct sim_server, server_id), NULL},
    {"gtid_domain_id", DOMAIN, NULL, 0, NULL},
    {"read_only", FLAG, NULL, offsetof(struct sim_server, read_only), set_read_only},
    {"rpl_semi_sync_master_enabled", FLAG, NULL, offsetof(struct sim_server, semi_source), NULL},
    {"rpl_semi_sync_slave_enabled", FLAG, NULL, offsetof(struct sim_server, semi_replica), NULL},
    {"rpl_semi_sync_master_timeout", CONSTANT, "18446744073709551615", 0, NULL},
    {"rpl_semi_sync_master_wait_no_slave", CONSTANT, "1", 0, NULL},
    {"rpl_semi_sync_master_wait_point", CONSTANT, "AFTER_SYNC", 0, NULL},
    {"log_bin", CONSTANT, "1", 0, NULL},
    {"log_slave_updates", CONSTANT, "1", 0, NULL},
    {"gtid_strict_mode", FLAG, NULL, offsetof(struct sim_server, strict), NULL},
    {"binlog_format", CONSTANT, "ROW", 0, NULL},
    {"tx_isolation", CONSTANT, "READ-COMMITTED", 0, NULL},
    {"sync_binlog", CONSTANT, "1", 0, NULL},
    {"innodb_flush_log_at_trx_commit", CONSTANT, "1", 0, NULL},
    {"binlog_expire_logs_seconds", CONSTANT, "259200", 0, NULL},
    {"event_scheduler", FLAG, NULL, offsetof(struct sim_server, scheduler), NULL},
    {"wait_timeout", CONSTANT, "28800", 0, NULL},
    {"sql_mode", CONSTANT, "STRICT_TRANS_TABLES", 0, NULL},
    {"gtid_binlog_pos", LOGGED, NULL, 0, NULL},
    {"gtid_slave_pos", APPLIED, NULL, 0, set_applied},
    {"gtid_binlog_state", WRITTEN, NULL, 0, NULL},
};
/* clang-format on */

static const struct variable *find(const struct arg *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        if (arg_is(name, variables[i].name))
            return &variables[i];
    return NULL;
}

static bool *flag_of(const struct sim_server *server, const struct variable *variable)
{
    return (bool *)((uintptr_t)server + variable->at);
}

bool variable_get(const struct sim_server *server, const struct arg *name, struct buf *ret)
{
    const struct variable *variable = find(name);
    if (!variable)
        return false;
    switch (variable->from) {
    case CONSTANT:
        buf_add(ret, variable->text);
        break;
    case FLAG:
        buf_add(ret, *flag_of(server, variable) ? "1" : "0");
        break;
    case NUMBER:
        buf_printf(ret, "%u", *(const uint32_t *)((const char *)server + variable->at));
        break;
    case DOMAIN:
        buf_printf(ret, "%zu", server->shard->index);
        break;
    case LOGGED:
        gtid_format(server, server->logged, ret);
        break;
    case APPLIED:
        gtid_format(server, server->applied, ret);
        break;
    case WRITTEN:
        for (unsigned i = 0; i < SIM_SERVERS; i++)
            gtid_format(server, (struct sim_gtid){i, server->written[i]}, ret);
        break;
    }
    return true;
}

static bool read_flag(const struct arg *value, bool *ret)
{
    *ret = arg_is(value, "1") || arg_is(value, "ON");
    return *ret || arg_is(value, "0") || arg_is(value, "OFF");
}

static enum outcome set_read_only(struct session *session, const struct arg *value)
{
    bool on = false;
    if (!read_flag(value, &on))
        return session_unknown(session, session->statement);
    if (on)
        return hold_close(session);
    sim_server_open(session->server);
    return session_ok(session, 0);
}

static enum outcome set_applied(struct session *session, const struct arg *value)
{
    struct sim_server *server = session->server;
    char text[ARG_MAX_SIZE];
    struct sim_gtid wanted;
    bool has_other = false;
    if (!arg_string(value, text) || !gtid_parse(server->shard, text, &wanted, &has_other) ||
        has_other)
        return session_unknown(session, session->statement);
    if (server->link.io || server->link.sql)
        return session_fail(session, 1198, "HY000", "run STOP SLAVE first");
    if (server->strict && wanted.seq < server->logged.seq)
        return session_fail(session, 1948, "HY000",
                            "Specified value for @@gtid_slave_pos "
                            "conflicts with the binlog, which is further");
    server->applied = wanted;
    return session_ok(session, 0);
}

enum outcome variable_set_global(struct session *session, const struct args *args)
{
    const struct variable *variable = find(&args->items[0]);
    const struct arg *value = &args->items[1];
    if (!variable)
        return session_unknown(session, session->statement);
    if (variable->set)
        return variable->set(session, value);
    bool on = false;
    if (variable->from == FLAG && read_flag(value, &on)) {
        *flag_of(session->server, variable) = on;
        sim_server_changed(session->server);
        return session_ok(session, 0);
    }
    if (variable->from == CONSTANT && arg_is(value, variable->text))
        return session_ok(session, 0);
    return session_unknown(session, session->statement);
}

/* Settings of a session change nothing that is simulated. */
enum outcome variable_set_session(struct session *session, const struct args *args)
{
    static const char *const known[] = {"wait_timeout", "sql_mode", "sql_log_bin",
                                        "slow_query_log"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (arg_is(&args->items[0], known[i]))
            return session_ok(session, 0);
    return session_unknown(session, session->statement);
}
