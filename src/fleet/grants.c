/* SPDX-License-Identifier: Apache-2.0
 * Holdfast's accounts and their privileges; see grants.h. Each was found by leaving it out. And its
 * own schema, which they are for; see schema.h. */
#include "fleet/grants.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/schema.h"
#include "sql/conn.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define OWN SCHEMA_NAME ".*"
#define OWN_PROBE SCHEMA_NAME ".probe"
#define OWN_LOAD SCHEMA_NAME ".load_row"

/* clang-format off */
const struct grant grants[] = {
    {ACCOUNT_CONTROL, "*.*", "BINLOG ADMIN", NULL, false, "switch events without writing that to the binlog"},
    {ACCOUNT_CONTROL, "*.*", "BINLOG MONITOR", "REPLICATION CLIENT", false, "see binlogs and their filters"},
    {ACCOUNT_CONTROL, "*.*", "CONNECTION ADMIN", NULL, false, "end sessions that a freeze holds up"},
    {ACCOUNT_CONTROL, "*.*", "EVENT", NULL, false, "see and switch events"},
    {ACCOUNT_CONTROL, "*.*", "PROCESS", NULL, false, "see long statements and transactions of others"},
    {ACCOUNT_CONTROL, "*.*", "READ_ONLY ADMIN", "READ ONLY ADMIN", false, "freeze and open servers"},
    {ACCOUNT_CONTROL, "*.*", "RELOAD", NULL, false, "block commits of privileged sessions (BACKUP STAGE)"},
    {ACCOUNT_CONTROL, "*.*", "REPLICATION MASTER ADMIN", NULL, false, "semi-sync of a primary, its replicas"},
    {ACCOUNT_CONTROL, "*.*", "REPLICATION SLAVE ADMIN", NULL, false, "point servers at the new primary"},
    {ACCOUNT_CONTROL, "*.*", "SET USER", NULL, false, "keep the definer of a switched event"},
    {ACCOUNT_CONTROL, "*.*", "SLAVE MONITOR", "REPLICA MONITOR", false, "see the state of replication"},
    {ACCOUNT_CONTROL, OWN, "SELECT", NULL, false, "Holdfast's own tables"},
    {ACCOUNT_CONTROL, OWN, "INSERT", NULL, false, "Holdfast's own tables"},
    {ACCOUNT_CONTROL, OWN, "UPDATE", NULL, false, "Holdfast's own tables"},
    {ACCOUNT_CONTROL, OWN, "DELETE", NULL, false, "Holdfast's own tables"},
    {ACCOUNT_CONTROL, OWN, "CREATE", NULL, false, "Holdfast's own tables"},
    {ACCOUNT_CONTROL, "mysql.*", "SELECT", NULL, true, "see which accounts may write on a read-only server"},
    {ACCOUNT_CONTROL, "*.*", "SUPER", NULL, true, "switch the event scheduler; only needed where it is on"},
    {ACCOUNT_REPLICATION, "*.*", "REPLICATION SLAVE", "REPLICATION REPLICA", false, "replicate"},
    {ACCOUNT_PROBE, OWN_PROBE, "SELECT", NULL, false, "measure the outage as a client sees it"},
    {ACCOUNT_PROBE, OWN_PROBE, "INSERT", NULL, false, "measure the outage as a client sees it"},
    {ACCOUNT_PROBE, OWN_PROBE, "UPDATE", NULL, false, "measure the outage as a client sees it"},
    {ACCOUNT_PROBE, OWN_LOAD, "SELECT", NULL, true, "for 'holdfast load', which writes rows and verifies them"},
    {ACCOUNT_PROBE, OWN_LOAD, "INSERT", NULL, true, "for 'holdfast load', which writes rows and verifies them"},
    {ACCOUNT_PROBE, OWN_LOAD, "DELETE", NULL, true, "for 'holdfast load', which writes rows and verifies them"},
};
/* clang-format on */

const size_t grant_count = ARRAY_SIZE(grants);

/* --- What is held ----------------------------------------------------------------------------- */

/* Is 'word' one of the comma-separated items in [list, end)? Of "SELECT (a, b), INSERT" the first
 * is only for columns, and does not count. */
static bool list_has(const char *list, const char *end, const char *word)
{
    size_t length = strlen(word);
    while (list < end) {
        while (list < end && (isspace((unsigned char)*list) || *list == ','))
            list++;
        const char *stop = list;
        while (stop < end && *stop != ',' && *stop != '(')
            stop++;
        bool is_of_columns = stop < end && *stop == '(';
        size_t size = (size_t)(stop - list);
        while (size > 0 && isspace((unsigned char)list[size - 1]))
            size--;
        if (size == length && strncasecmp(list, word, length) == 0 && !is_of_columns)
            return true;
        if (is_of_columns)
            while (stop < end && *stop != ')')
                stop++;
        list = stop < end ? stop + 1 : end;
    }
    return false;
}

/* "`holdfast`.*" without the quotes, up to the space. */
static void read_scope(const char *text, struct buf *ret)
{
    bool is_quoted = false;
    for (; *text && (is_quoted || *text != ' '); text++) {
        if (*text == '`')
            is_quoted = !is_quoted;
        else
            buf_add_bytes(ret, text, 1);
    }
}

/* "*.*" covers all, "db.*" its tables. */
static bool scope_covers(const char *held, const char *wanted)
{
    if (strcmp(held, "*.*") == 0 || strcasecmp(held, wanted) == 0)
        return true;
    size_t length = strlen(held);
    return length > 2 && strcmp(held + length - 2, ".*") == 0 &&
           strncasecmp(held, wanted, length - 1) == 0;
}

static bool line_gives(const char *line, const struct grant *grant)
{
    static const char start[] = "GRANT ";
    const char *on = strstr(line, " ON ");
    if (strncmp(line, start, sizeof(start) - 1) != 0 || !on)
        return false;
    AUTO(buf_release) struct buf scope = {0};
    read_scope(on + strlen(" ON "), &scope);
    const char *list = line + sizeof(start) - 1;
    if (!scope_covers(buf_text(&scope), grant->scope))
        return false;
    return list_has(list, on, "ALL PRIVILEGES") || list_has(list, on, grant->privilege) ||
           (grant->alias && list_has(list, on, grant->alias));
}

bool grant_is_held(const struct grant_lines *held, const struct grant *grant)
{
    for (size_t i = 0; i < held->count; i++)
        if (line_gives(held->lines[i], grant))
            return true;
    return false;
}

static bool is_same_scope(const struct grant *a, const struct grant *b)
{
    return a->account == b->account && strcmp(a->scope, b->scope) == 0 &&
           a->is_optional == b->is_optional;
}

bool grants_describe_missing(const struct grant_lines *held, enum account_kind account,
                             struct buf *ret)
{
    const struct grant *last = NULL;
    for (size_t i = 0; i < grant_count; i++) {
        const struct grant *at = &grants[i];
        if (at->account != account || at->is_optional || grant_is_held(held, at))
            continue;
        if (last && !is_same_scope(last, at))
            buf_printf(ret, " on %s; ", last->scope);
        else if (last)
            buf_add(ret, ", ");
        buf_add(ret, at->privilege);
        last = at;
    }
    if (last)
        buf_printf(ret, " on %s", last->scope);
    return last != NULL;
}

bool grants_write_past_read_only(const struct grant_lines *held)
{
    static const struct grant super = {.scope = "*.*", .privilege = "SUPER"};
    static const struct grant admin = {
        .scope = "*.*", .privilege = "READ_ONLY ADMIN", .alias = "READ ONLY ADMIN"};
    return grant_is_held(held, &super) || grant_is_held(held, &admin);
}

/* --- The SQL that gives it -------------------------------------------------------------------- */

static const struct {
    const char *user, *title;
} accounts[ACCOUNT_KINDS] = {
    [ACCOUNT_CONTROL] = {"holdfast", "Holdfast itself ('credentials' in the fleet file)"},
    [ACCOUNT_REPLICATION] = {"repl", "replication between the servers ('replication')"},
    [ACCOUNT_PROBE] = {"probe", "the probe that measures the outage ('probe'); unprivileged"},
};

const struct inventory_account *grants_account(const struct inventory *fleet,
                                               enum account_kind account)
{
    const struct inventory_account *const all[ACCOUNT_KINDS] = {
        [ACCOUNT_CONTROL] = &fleet->credentials,
        [ACCOUNT_REPLICATION] = &fleet->replication,
        [ACCOUNT_PROBE] = &fleet->probe,
    };
    return all[account];
}

static char *account_name(const struct inventory_account *account, enum account_kind kind,
                          const char *host)
{
    struct buf name = {0};
    sql_quote_name(&name, account->user ? account->user : accounts[kind].user);
    buf_add(&name, "@");
    sql_quote_name(&name, host);
    return buf_take(&name);
}

/* Passwords are string literals here: a server takes no expression after IDENTIFIED BY. */
static void write_password(const struct inventory_account *account, struct buf *sql)
{
    buf_add(sql, "'");
    for (const char *at = secret_reveal(&account->password); *at; at++) {
        if (*at == '\'' || *at == '\\')
            buf_add_bytes(sql, at, 1);
        buf_add_bytes(sql, at, 1);
    }
    buf_add(sql, "'");
}

/* As the fleet file has it: what connects under TLS can be made to. */
static const char *requirement(const struct inventory *fleet, enum account_kind kind)
{
    const struct inventory_tls *tls =
        kind == ACCOUNT_REPLICATION ? &fleet->replication.tls : &fleet->tls;
    if (!tls->is_on)
        return "";
    return tls->cert && kind != ACCOUNT_PROBE ? " REQUIRE X509" : " REQUIRE SSL";
}

/* What is optional is commented out, each use of it by itself. */
static void write_grants(enum account_kind kind, const char *name, bool is_optional,
                         struct buf *sql)
{
    const struct grant *last = NULL;
    for (size_t i = 0; i < grant_count; i++) {
        const struct grant *at = &grants[i];
        if (at->account != kind || at->is_optional != is_optional)
            continue;
        bool is_same_use = !is_optional || (last && strcmp(last->why, at->why) == 0);
        if (last && is_same_scope(last, at) && is_same_use) {
            buf_printf(sql, ", %s", at->privilege);
        } else {
            if (last)
                buf_printf(sql, " ON %s TO %s;\n", last->scope, name);
            if (is_optional)
                buf_printf(sql, "-- Optional: %s\n-- ", at->why);
            buf_printf(sql, "GRANT %s", at->privilege);
        }
        last = at;
    }
    if (last)
        buf_printf(sql, " ON %s TO %s;\n", last->scope, name);
}

void grants_write_sql(const struct inventory *fleet, const char *host, bool with_passwords,
                      struct buf *sql)
{
    buf_add(sql,
            "-- Run this on the primary of each shard, as an administrator. It replicates.\n\n");
    schema_create_sql(sql);
    for (int i = 0; i < ACCOUNT_KINDS; i++) {
        const struct inventory_account *account = grants_account(fleet, (enum account_kind)i);
        AUTO_FREE char *name = account_name(account, (enum account_kind)i, host);
        buf_printf(sql, "\n-- %s\nCREATE USER IF NOT EXISTS %s IDENTIFIED BY ", accounts[i].title,
                   name);
        if (with_passwords && secret_is_set(&account->password))
            write_password(account, sql);
        else
            buf_printf(sql, "<password of %s>", account->user ? account->user : accounts[i].user);
        buf_printf(sql, "%s;\n", requirement(fleet, (enum account_kind)i));
        write_grants((enum account_kind)i, name, false, sql);
        write_grants((enum account_kind)i, name, true, sql);
    }
}

/* ---- schema ---- */

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
