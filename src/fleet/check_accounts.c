/* SPDX-License-Identifier: Apache-2.0
 * Readiness: may Holdfast, replication and the probe do what they must, and who may do too much?
 * And for how long will the certificates be good, with which they and the servers show who they
 * are? */
#include "fleet/checkup.h"

#include "base/buf.h"
#include "base/scope.h"
#include "fleet/schema.h"
#include "net/certificate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct grant super_grant = {.scope = "*.*", .privilege = "SUPER"};
static const struct grant mysql_grant = {.scope = "mysql.*", .privilege = "SELECT"};
static const struct grant replicate_grant = {
    .scope = "*.*", .privilege = "REPLICATION SLAVE", .alias = "REPLICATION REPLICA"};

/* "'repl'@'10.%'" is an account of 'repl'. */
static bool is_account_of(const char *account, const char *user)
{
    size_t length = strlen(user);
    return user[0] && account[0] == '\'' && strncmp(account + 1, user, length) == 0 &&
           strncmp(account + 1 + length, "'@", 2) == 0;
}

static void check_control(struct checkup *checkup, size_t index)
{
    const struct server_observation *server = &checkup->shard->servers[index];
    const struct login *own = &checkup->looks[index].logins[ACCOUNT_CONTROL];
    if (!own->was_tried || own->status)
        return;
    struct grant_lines lines = login_lines(own);
    AUTO(buf_release) struct buf missing = {0};
    if (grants_describe_missing(&lines, ACCOUNT_CONTROL, &missing)) {
        checkup_add(checkup, CHECK_GRANTS_MISSING, server, "the account '%s' lacks %s",
                    checkup->fleet->credentials.user, buf_text(&missing));
        return;
    }
    size_t events = checkup_enabled_events(&checkup->looks[index].inspection, NULL);
    if (server == checkup->old_primary && server->state.is_event_scheduler_on && events > 0 &&
        !grant_is_held(&lines, &super_grant))
        checkup_add(checkup, CHECK_SCHEDULER_GRANT, server,
                    "its event scheduler is on, with %zu enabled events, and '%s' lacks SUPER",
                    events, checkup->fleet->credentials.user);
}

/* Accounts replicate: the primary's are the shard's. Since 10.11 SUPER alone no longer passes
 * read_only, but it may give itself the privilege. */
static void check_privileged(struct checkup *checkup, size_t index)
{
    const struct server_look *look = &checkup->looks[index];
    const struct sql_inspection *seen = &look->inspection;
    const struct login *own = &look->logins[ACCOUNT_CONTROL];
    if (!own->was_tried || own->status)
        return;
    struct grant_lines lines = login_lines(own);
    if (!grant_is_held(&lines, &mysql_grant)) {
        checkup_add(checkup, CHECK_ACCOUNTS_HIDDEN, checkup->old_primary,
                    "'%s' may not read the list of accounts", checkup->fleet->credentials.user);
        return;
    }
    AUTO(buf_release) struct buf names = {0};
    const char *last = "";
    for (size_t i = 0; i < seen->right_count; i++) {
        const struct sql_right *right = &seen->rights[i];
        if (strcmp(right->privilege, "REPLICATION SLAVE") == 0 ||
            strcmp(right->account, last) == 0 || is_account_of(right->account, "mariadb.sys") ||
            is_account_of(right->account, checkup->fleet->credentials.user))
            continue;
        buf_printf(&names, "%s%s", names.length ? ", " : "", right->account);
        last = right->account;
    }
    if (names.length)
        checkup_add(checkup, CHECK_PRIVILEGED_ACCOUNTS, checkup->old_primary,
                    "may write on a read-only server: %s", buf_text(&names));
}

/* Refused from here, but perhaps let in from the servers, where it is used. */
static bool has_other_host(const struct sql_inspection *seen, const char *user)
{
    for (size_t i = 0; i < seen->right_count; i++) {
        const char *account = seen->rights[i].account;
        if (strcmp(seen->rights[i].privilege, "REPLICATION SLAVE") == 0 &&
            is_account_of(account, user) && !strstr(account, "'@'%'"))
            return true;
    }
    return false;
}

static void check_replication_account(struct checkup *checkup, size_t index)
{
    const struct server_observation *server = &checkup->shard->servers[index];
    const struct login *login = &checkup->looks[index].logins[ACCOUNT_REPLICATION];
    const char *user = checkup->fleet->replication.user;
    if (!login->was_tried || !checkup_is_end(checkup, server))
        return;
    const char *problem =
        server->flavour->refuse_source_password(&checkup->fleet->replication.password);
    if (problem && server == checkup->old_primary)
        checkup_add(checkup, CHECK_REPLICATION_PASSWORD, server,
                    "it could not follow the new primary with the password of '%s': %s", user,
                    problem);
    struct grant_lines lines = login_lines(login);
    if (login->status == ST_DENIED && has_other_host(&checkup->looks[index].inspection, user))
        checkup_add(checkup, CHECK_REPLICATION_UNSEEN, server,
                    "'%s' may not log in from this machine", user);
    else if (login->status)
        checkup_add(checkup, CHECK_REPLICATION_LOGIN, server, "'%s' cannot log in: %s", user,
                    login->err.text);
    else if (!grant_is_held(&lines, &replicate_grant))
        checkup_add(checkup, CHECK_REPLICATION_GRANT, server, "'%s' lacks REPLICATION SLAVE", user);
}

static void check_probe(struct checkup *checkup, size_t index)
{
    const struct server_observation *server = &checkup->shard->servers[index];
    const struct login *login = &checkup->looks[index].logins[ACCOUNT_PROBE];
    const char *user = checkup->fleet->probe.user;
    if (!login->was_tried || !checkup_is_end(checkup, server))
        return;
    struct grant_lines lines = login_lines(login);
    AUTO(buf_release) struct buf missing = {0};
    if (login->status)
        checkup_add(checkup, CHECK_PROBE_LOGIN, server, "'%s' cannot log in: %s", user,
                    login->err.text);
    else if (grants_write_past_read_only(&lines))
        checkup_add(checkup, CHECK_PROBE_PRIVILEGED, server, "'%s' may write on a read-only server",
                    user);
    else if (grants_describe_missing(&lines, ACCOUNT_PROBE, &missing))
        checkup_add(checkup, CHECK_PROBE_GRANTS, server, "'%s' lacks %s", user, buf_text(&missing));
}

static bool has_table(const struct sql_inspection *seen, const char *name)
{
    for (size_t i = 0; i < seen->table_count; i++)
        if (strcmp(seen->tables[i], name) == 0)
            return true;
    return false;
}

static void check_schema(struct checkup *checkup, size_t index)
{
    AUTO(buf_release) struct buf names = {0};
    for (size_t i = 0; i < schema_table_count; i++)
        if (!has_table(&checkup->looks[index].inspection, schema_tables[i].name))
            buf_printf(&names, "%s" SCHEMA_NAME ".%s", names.length ? ", " : "",
                       schema_tables[i].name);
    if (names.length)
        checkup_add(checkup, CHECK_SCHEMA_MISSING, checkup->old_primary, "it lacks %s",
                    buf_text(&names));
}

void check_accounts(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        check_control(checkup, i);
        check_replication_account(checkup, i);
        check_probe(checkup, i);
        if (&checkup->shard->servers[i] != checkup->old_primary || !checkup->looks[i].is_inspected)
            continue;
        check_privileged(checkup, i);
        check_schema(checkup, i);
    }
}

/* --- Certificates ----------------------------------------------------------------------------- */

enum { ENDS_SOON_S = 14 * 24 * 3600 };

static void judge_end(struct checkup *checkup, const struct server_observation *server,
                      const char *whose, int64_t end_s)
{
    if (end_s - checkup->now_s > ENDS_SOON_S)
        return;
    bool is_over = end_s <= checkup->now_s;
    char day[sizeof("2026-12-31 23:59 UTC")];
    struct tm at;
    time_t end = end_s;
    if (!gmtime_r(&end, &at) || !strftime(day, sizeof(day), "%Y-%m-%d %H:%M UTC", &at))
        day[0] = '\0';
    checkup_add(checkup, is_over ? CHECK_CERTIFICATE_EXPIRED : CHECK_CERTIFICATE_ENDS, server,
                "%s %s on %s", whose, is_over ? "expired" : "expires", day);
}

/* What the checkup's fleet says of replication, for a replica that is not connected like that. */
static void check_link(struct checkup *checkup, const struct server_observation *server)
{
    const struct inventory_tls *wanted = &checkup->fleet->replication.tls;
    if (!wanted->is_on || server->state.channels == 0)
        return;
    if (!server->state.is_link_tls)
        checkup_add(checkup, CHECK_REPLICATION_TLS, server, "it replicates in clear text");
    else if (wanted->verify && !server->state.verifies_link)
        checkup_add(checkup, CHECK_REPLICATION_TLS, server,
                    "it does not verify the certificate of its source");
}

void check_certificates(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *server = checkup_answered(checkup, i);
        const char *end = checkup->looks[i].inspection.certificate_end;
        int64_t end_s = 0;
        if (!server)
            continue;
        check_link(checkup, server);
        if (checkup->looks[i].is_inspected && end && certificate_parse_time(end, &end_s))
            judge_end(checkup, server, "its certificate", end_s);
    }
}

void check_certificate_end(struct checkup *checkup, const char *whose, int64_t end_s)
{
    if (end_s)
        judge_end(checkup, NULL, whose, end_s);
}

void check_own_certificate(struct checkup *checkup)
{
    const struct {
        const struct inventory_tls *tls;
        const char *of;
    } own[] = {{&checkup->fleet->tls, ""}, {&checkup->fleet->store_tls, " for etcd"}};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        AUTO(buf_release) struct buf whose = {0};
        if (!own[i].tls->cert)
            continue;
        buf_printf(&whose, "our own certificate%s '%s'", own[i].of, own[i].tls->cert);
        check_certificate_end(checkup, buf_text(&whose), own[i].tls->cert_end_s);
    }
}
