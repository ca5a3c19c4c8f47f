/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/readiness: each check finds what it is for and nothing else; a sound shard has no
 * finding. One table of spoiled shards; every check of the table must be in it. */
#include "fleet_test.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

#include <stdio.h>

#define SPOIL(name) static void name(struct sample *s)

/* --- Roles --- */
SPOIL(e3_down)
{
    s->seen[E3].status = ST_TIMEOUT;
    s->seen[E3].err = (struct err){ST_TIMEOUT, "timed out", ""};
}
SPOIL(w2_refuses)
{
    s->seen[W2].status = ST_DENIED;
    s->looks[W2].logins[ACCOUNT_CONTROL].was_tried = false;
    s->seen[E3].state.ackers = 0;
}
SPOIL(w2_is_mysql)
{
    s->seen[W2].status = ST_INVALID;
    s->seen[W2].err = (struct err){ST_INVALID, "is not MariaDB", ""};
}
SPOIL(no_writable)
{
    s->seen[W1].state.is_read_only = true;
}
SPOIL(two_writable)
{
    s->seen[W2].state.is_read_only = false;
    s->seen[W2].state.channels = 0;
}
SPOIL(primary_replicates)
{
    s->seen[W1].state.channels = 1;
    s->seen[W1].state.source_host = "e1";
    s->seen[W1].state.source_port = 3306;
}
SPOIL(relay_follows_replica)
{
    s->seen[E1].state.source_host = "w2";
}
SPOIL(e3_follows_stranger)
{
    s->seen[E3].state.source_host = "elsewhere";
}
SPOIL(e3_follows_primary)
{
    s->seen[E3].state.source_host = "w1";
}
SPOIL(e3_follows_nobody)
{
    s->seen[E3].state.channels = 0;
}
SPOIL(to_home)
{
    s->to_region = 0;
}
SPOIL(two_in_east)
{
    s->shard.server_count = 5;
}
SPOIL(same_id)
{
    s->seen[E3].state.server_id = 101;
}
SPOIL(other_route)
{
    s->has_route = true;
    snprintf(s->route.primary, ROUTE_NAME_MAX, "e1:3306");
}
/* --- Replication --- */
SPOIL(io_stopped)
{
    s->seen[W3].state.is_io_running = false;
    s->seen[W3].state.io_error = "error connecting";
}
SPOIL(sql_stopped)
{
    s->seen[E1].state.is_sql_running = false;
    s->seen[E1].state.sql_error = "Duplicate entry";
    s->seen[E1].lag_ms = -1;
}
SPOIL(without_gtid)
{
    s->seen[E2].state.uses_gtid = false;
}
SPOIL(two_sources)
{
    s->seen[E1].state.channels = 2;
}
SPOIL(delayed_relay)
{
    s->seen[E1].state.delay_s = 60;
}
SPOIL(other_domain)
{
    s->seen[E2].state.domain_id = 0;
}
static char two_domains[] = "3-101-4,7-101-510";
SPOIL(unknown_domain)
{
    s->seen[W1].state.position = "3-101-4,7-101-500";
    s->observation.later_position = two_domains;
}
SPOIL(ahead)
{
    s->seen[W3].state.position = "7-103-600";
}
SPOIL(hidden_errant)
{
    s->seen[E2].state.binlog_state = "7-105-31,7-101-500";
}
SPOIL(errant_from_relay)
{
    hidden_errant(s);
    s->seen[E2].state.binlog_state = "7-101-500";
    s->seen[E1].state.binlog_state = "7-104-31,7-101-500";
    s->seen[E2].state.binlog_state = s->seen[E3].state.binlog_state =
        s->seen[E1].state.binlog_state;
}
SPOIL(relay_late)
{
    s->seen[E1].lag_ms = 1500;
}
SPOIL(relay_never)
{
    s->seen[E1].lag_ms = -1;
}
SPOIL(replica_late)
{
    s->seen[W2].lag_ms = -1;
}
SPOIL(backlog)
{
    s->seen[E2].state.received = "7-101-50000";
}
SPOIL(filtered)
{
    s->seen[E3].state.replica_filters = "Replicate_Do_DB";
}
SPOIL(binlog_filtered)
{
    s->looks[W1].inspection.binlog_ignore = "tmp";
}
SPOIL(relay_binlog_off)
{
    s->seen[E1].state.logs_replica_updates = false;
}
SPOIL(replica_binlog_off)
{
    s->seen[W2].state.has_binlog = false;
}
SPOIL(strict_off)
{
    for (size_t i = 0; i < SERVERS; i++)
        s->seen[i].state.is_gtid_strict = false;
}
SPOIL(strict_differs)
{
    s->seen[W2].state.is_gtid_strict = false;
}
SPOIL(statement_format)
{
    s->seen[W1].state.binlog_format = "MIXED";
}
SPOIL(short_retention)
{
    s->seen[W1].state.binlog_expiry_s = 600;
}
/* --- Semi-sync --- */
SPOIL(semi_off)
{
    s->seen[W1].state.is_source_semi_sync = false;
    s->seen[W1].state.is_semi_sync_active = false;
}
SPOIL(semi_degraded)
{
    s->seen[W1].state.is_semi_sync_active = false;
}
SPOIL(no_ackers)
{
    s->seen[W1].state.ackers = 0;
}
SPOIL(only_relay_acks)
{
    s->seen[W1].state.ackers = 1;
    s->seen[E1].state.is_replica_semi_sync = true;
}
SPOIL(no_ackers_east)
{
    s->seen[E1].state.ackers = 0;
}
SPOIL(finite_timeout)
{
    s->seen[W1].state.semi_sync_timeout_ms = 10000;
}
SPOIL(after_commit)
{
    s->seen[E1].state.waits_after_sync = false;
}
SPOIL(no_slave_off)
{
    s->seen[W1].state.waits_without_ackers = false;
}
SPOIL(w3_not_semi)
{
    s->seen[W3].state.is_replica_semi_sync = false;
}
SPOIL(relay_acks)
{
    s->seen[E1].state.is_replica_semi_sync = true;
    s->seen[W1].state.ackers = 3;
}
SPOIL(flag_on_relay)
{
    s->seen[E1].state.is_source_semi_sync = true;
}
/* --- Settings --- */
SPOIL(not_durable)
{
    s->seen[E2].state.sync_binlog = 0;
}
SPOIL(repeatable_read)
{
    s->seen[W1].state.isolation = "REPEATABLE-READ";
}
SPOIL(config_writable)
{
    s->settings[W1][1] = (struct sql_setting){"READ_ONLY", "OFF", "CONFIG", "/etc/my.cnf"};
}
SPOIL(option_writable)
{
    s->settings[W1][1] = (struct sql_setting){"READ_ONLY", "OFF", "COMMAND-LINE", ""};
}
SPOIL(default_writable)
{
    s->settings[W1][1] = (struct sql_setting){"READ_ONLY", "OFF", "COMPILE-TIME", ""};
}
SPOIL(older_relay)
{
    s->seen[E1].state.version = "10.6.16-MariaDB";
}
SPOIL(newer_relay)
{
    s->seen[E1].state.version = "11.4.2-MariaDB";
}
SPOIL(other_sql_mode)
{
    s->settings[E1][2].value = "";
}
SPOIL(clock_off)
{
    s->seen[E2].clock_ahead_s = 1003;
}
/* --- Activity --- */
static struct sql_activity activity = {.id = 42,
                                       .ms = 5000,
                                       .user = "app",
                                       .host = "h",
                                       .state = "Updating",
                                       .text = "UPDATE t",
                                       .is_statement = true};
static struct sql_activity idle = {
    .id = 43, .ms = 5000, .user = "app", .host = "h", .state = "", .text = "", .rows_changed = 1};
static struct sql_event event = {"app", "e", "root@localhost"};
SPOIL(long_update)
{
    s->looks[W1].inspection.activities = &activity;
    s->looks[W1].inspection.activity_count = 1;
}
SPOIL(idle_transaction)
{
    s->looks[W1].inspection.activities = &idle;
    s->looks[W1].inspection.activity_count = 1;
}
SPOIL(lock_waiter)
{
    s->looks[W1].inspection.waiters = &activity;
    s->looks[W1].inspection.waiter_count = 1;
    long_update(s);
}
SPOIL(backup)
{
    s->looks[W1].is_freeze_held_up = true;
}
SPOIL(xa)
{
    s->looks[W1].inspection.xa_count = 2;
}
SPOIL(ddl)
{
    s->looks[W1].inspection.ddl = &activity;
    s->looks[W1].inspection.ddl_count = 1;
    long_update(s);
}
SPOIL(event_on_relay)
{
    s->looks[E1].inspection.events = &event;
    s->looks[E1].inspection.event_count = 1;
}
/* --- Accounts --- */
static const char *const poor_lines[] = {"GRANT RELOAD, PROCESS ON *.* TO `holdfast`@`%`",
                                         "GRANT SELECT ON `mysql`.* TO `holdfast`@`%`"};
static struct sql_right rights[] = {{"'holdfast'@'%'", "SUPER"},
                                    {"'mariadb.sys'@'localhost'", "SUPER"},
                                    {"'root'@'localhost'", "SUPER"},
                                    {"'repl'@'10.%'", "REPLICATION SLAVE"}};
SPOIL(poor_holdfast)
{
    sample_login(&s->looks[E2].logins[ACCOUNT_CONTROL], poor_lines, 2);
}
SPOIL(scheduler_on)
{
    s->seen[W1].state.is_event_scheduler_on = true;
    s->looks[W1].inspection.events = &event;
    s->looks[W1].inspection.event_count = 1;
}
SPOIL(hidden_accounts)
{
    static const char *lines[2];
    lines[0] = control_lines[0];
    lines[1] = control_lines[2];
    sample_login(&s->looks[W1].logins[ACCOUNT_CONTROL], lines, 2);
}
SPOIL(root_is_there)
{
    s->looks[W1].inspection.rights = rights;
    s->looks[W1].inspection.right_count = 3;
}
SPOIL(repl_refused)
{
    s->looks[E1].logins[ACCOUNT_REPLICATION] =
        (struct login){.was_tried = true, .status = ST_DENIED};
}
SPOIL(repl_elsewhere)
{
    repl_refused(s);
    s->looks[E1].inspection.rights = &rights[3];
    s->looks[E1].inspection.right_count = 1;
}
SPOIL(repl_poor)
{
    sample_login(&s->looks[E1].logins[ACCOUNT_REPLICATION], probe_lines, 1);
}
SPOIL(probe_refused)
{
    s->looks[W1].logins[ACCOUNT_PROBE] = (struct login){.was_tried = true, .status = ST_DENIED};
}
SPOIL(probe_poor)
{
    sample_login(&s->looks[W1].logins[ACCOUNT_PROBE], probe_lines, 1);
}
SPOIL(probe_strong)
{
    sample_login(&s->looks[W1].logins[ACCOUNT_PROBE], control_lines, 1);
}
SPOIL(table_missing)
{
    s->looks[W1].inspection.table_count = 1;
}

struct check_case {
    void (*spoil)(struct sample *sample);
    const char *found; /* ids, in the order found, each once; a server or not after '@' */
};

static const struct check_case cases[] = {
    {e3_down, "unreachable@e3:3306"},
    {w2_refuses, "login-refused@w2:3306"},
    {w2_is_mysql, "unsupported-server@w2:3306"},
    {no_writable, "no-primary semi-sync-flag@w1:3306"},
    {two_writable, "several-primaries@w1:3306 several-primaries@w2:3306 semi-sync-flag@w1:3306"},
    {primary_replicates, "primary-replicates@w1:3306"},
    {relay_follows_replica, "no-relay"},
    {e3_follows_stranger, "stranger-source@e3:3306"},
    {e3_follows_primary, "wrong-source@e3:3306"},
    {e3_follows_nobody, "not-replicating@e3:3306"},
    {to_home, "already-there@w1:3306"},
    {two_in_east, "shape"},
    {same_id, "duplicate-server-id@e3:3306"},
    {other_route, "route-differs@w1:3306"},
    {io_stopped, "replication-broken@w3:3306"},
    {sql_stopped, "replication-broken@e1:3306"},
    {without_gtid, "no-gtid@e2:3306"},
    {two_sources, "several-sources@e1:3306"},
    {delayed_relay, "delayed-relay@e1:3306"},
    {other_domain, "domain-differs@e2:3306"},
    {unknown_domain, "unknown-domain@e1:3306"},
    {ahead, "errant-transactions@w3:3306"},
    {hidden_errant, "errant-transactions@e2:3306"},
    {errant_from_relay, "errant-transactions@e1:3306"},
    {relay_late, "lag@e1:3306"},
    {relay_never, "lag@e1:3306"},
    {replica_late, "replica-lag@w2:3306"},
    {backlog, "apply-backlog@e2:3306"},
    {filtered, "replication-filter@e3:3306"},
    {binlog_filtered, "binlog-filter@w1:3306"},
    {relay_binlog_off, "binlog-off@e1:3306"},
    {replica_binlog_off, "replica-without-binlog@w2:3306"},
    {strict_off, "gtid-strict-off"},
    {strict_differs, "gtid-strict-differs@w2:3306"},
    {statement_format, "binlog-format@w1:3306"},
    {short_retention, "binlog-retention@w1:3306"},
    {semi_off, "semi-sync-off@w1:3306"},
    {semi_degraded, "semi-sync-degraded@w1:3306"},
    {no_ackers, "no-acker@w1:3306"},
    {only_relay_acks, "no-acker@w1:3306 relay-acknowledges@e1:3306"},
    {no_ackers_east, "no-acker-new-side@e1:3306"},
    {finite_timeout, "semi-sync-timeout@w1:3306"},
    {after_commit, "semi-sync-wait-point@e1:3306"},
    {no_slave_off, "semi-sync-no-slave@w1:3306"},
    {w3_not_semi, "replica-not-semi-sync@w3:3306"},
    {relay_acks, "relay-acknowledges@e1:3306"},
    {flag_on_relay, "semi-sync-flag@e1:3306"},
    {not_durable, "durability@e2:3306"},
    {repeatable_read, "isolation@w1:3306"},
    {config_writable, "config-read-only@w1:3306"},
    {option_writable, "config-read-only@w1:3306"},
    {default_writable, "default-read-only@w1:3306"},
    {older_relay, "version-older@e1:3306"},
    {newer_relay, "version-differs@e1:3306"},
    {other_sql_mode, "settings-differ@e1:3306"},
    {clock_off, "clock-differs@e2:3306"},
    {long_update, "long-statement@w1:3306"},
    {idle_transaction, "open-transaction@w1:3306"},
    {lock_waiter, "table-lock@w1:3306"},
    {backup, "freeze-lock@w1:3306"},
    {xa, "prepared-xa@w1:3306"},
    {ddl, "running-ddl@w1:3306"},
    {event_on_relay, "events-on-replica@e1:3306"},
    {poor_holdfast, "grants-missing@e2:3306"},
    {scheduler_on, "scheduler-grant@w1:3306"},
    {hidden_accounts, "accounts-hidden@w1:3306"},
    {root_is_there, "privileged-accounts@w1:3306"},
    {repl_refused, "replication-login@e1:3306"},
    {repl_elsewhere, "replication-unseen@e1:3306"},
    {repl_poor, "replication-grant@e1:3306"},
    {probe_refused, "probe-login@w1:3306"},
    {probe_poor, "probe-grants@w1:3306"},
    {probe_strong, "probe-privileged@w1:3306"},
    {table_missing, "schema-missing@w1:3306"},
};

/* Found by looking at the store or the fleet file, not at a shard: tests/system. */
static const char *const fleet_checks[] = {"store-unavailable", "run-in-progress", "unfinished-run",
                                           "no-probe"};

static void describe(const struct readiness *found, struct buf *ret)
{
    for (size_t i = 0; i < found->count; i++) {
        const struct finding *at = &found->findings[i];
        buf_printf(ret, "%s%s%s%s", i ? " " : "", at->check, at->server ? "@" : "",
                   at->server ? at->server : "");
    }
}

static void sound_shard_has_no_finding(void **state UNUSED)
{
    struct sample sample;
    AUTO(buf_release) struct buf found = {0};
    sample_init(&sample);
    sample_check(&sample);
    describe(&sample.found, &found);
    assert_string_equal(buf_text(&found), "");
    sample_release(&sample);
}

static bool check_one(const struct check_case *at)
{
    struct sample sample;
    AUTO(buf_release) struct buf found = {0};
    sample_init(&sample);
    at->spoil(&sample);
    sample_check(&sample);
    describe(&sample.found, &found);
    bool is_right = strcmp(buf_text(&found), at->found) == 0;
    if (!is_right)
        print_error("wanted '%s', found '%s'\n", at->found, buf_text(&found));
    for (size_t i = 0; i < sample.found.count; i++)
        is_right =
            is_right && sample.found.findings[i].problem[0] && sample.found.findings[i].advice[0];
    sample_release(&sample);
    return is_right;
}

static void each_check_finds_what_it_is_for_and_nothing_else(void **state UNUSED)
{
    size_t wrong = 0;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        wrong += !check_one(&cases[i]);
    assert_int_equal(wrong, 0);
}

static bool is_in_cases(const char *id)
{
    size_t length = strlen(id);
    for (size_t i = 0; i < ARRAY_SIZE(fleet_checks); i++)
        if (strcmp(fleet_checks[i], id) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        for (const char *at = strstr(cases[i].found, id); at; at = strstr(at + 1, id))
            if ((at == cases[i].found || at[-1] == ' ') && strchr("@ ", at[length]))
                return true;
    return false;
}

static void every_check_has_a_case(void **state UNUSED)
{
    for (const char *const *id = readiness_check_ids(); *id; id++)
        if (!is_in_cases(*id))
            fail_msg("no case for the check '%s'", *id);
}

static void accepted_no_go_is_a_warning_that_says_so(void **state UNUSED)
{
    struct sample sample;
    char lag[] = "lag", *accept[] = {lag};
    sample_init(&sample);
    sample.fleet.policy.accept = accept;
    sample.fleet.policy.accept_count = 1;
    relay_late(&sample);
    sample_check(&sample);
    assert_int_equal(sample.found.count, 1);
    assert_int_equal(sample.found.findings[0].severity, SEVERITY_WARNING);
    assert_true(sample.found.findings[0].is_accepted);
    assert_int_equal(sample.found.no_go_count, 0);
    sample_release(&sample);
}

/* W1 was primary, then E1; E1 was rebuilt without history and is primary now. Everyone but E1
 * remembers what W1 wrote then. */
static void history_that_the_primary_lost_is_not_errant(void **state UNUSED)
{
    struct sample sample;
    AUTO(buf_release) struct buf found = {0};
    sample_init(&sample);
    for (size_t i = 0; i < SERVERS; i++)
        sample.seen[i].state.binlog_state = i == W1 ? "7-101-500" : "7-104-31,7-101-500";
    sample_check(&sample);
    describe(&sample.found, &found);
    assert_string_equal(buf_text(&found), "");
    sample_release(&sample);
}

static void missing_privileges_are_named(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    poor_holdfast(&sample);
    sample_check(&sample);
    assert_string_equal(
        sample.found.findings[0].problem,
        "the account 'holdfast' lacks BINLOG ADMIN, BINLOG MONITOR, CONNECTION ADMIN, EVENT, "
        "READ_ONLY ADMIN, REPLICATION MASTER ADMIN, REPLICATION SLAVE ADMIN, SET USER, SLAVE "
        "MONITOR on *.*; SELECT, INSERT, UPDATE, DELETE, CREATE on holdfast.*");
    sample_release(&sample);
}

static void grants_are_read_as_servers_print_them(void **state UNUSED)
{
    static const struct {
        const char *line, *scope, *privilege;
        bool is_held;
    } lines[] = {
        {"GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION", "*.*", "RELOAD", true},
        {"GRANT USAGE ON *.* TO `a`@`%`", "*.*", "RELOAD", false},
        {"GRANT SELECT (`a`, `b`), INSERT ON `holdfast`.`probe` TO `a`@`%`", "holdfast.probe",
         "INSERT", true},
        {"GRANT SELECT (`a`, `b`), INSERT ON `holdfast`.`probe` TO `a`@`%`", "holdfast.probe",
         "SELECT", false},
        {"GRANT SELECT ON `holdfast`.* TO `a`@`%`", "holdfast.probe", "SELECT", true},
        {"GRANT SELECT ON `holdfast2`.* TO `a`@`%`", "holdfast.probe", "SELECT", false},
        {"GRANT `role` TO `a`@`%`", "*.*", "RELOAD", false},
        {"GRANT REPLICATION SLAVE ADMIN ON *.* TO `a`@`%`", "*.*", "REPLICATION SLAVE", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct grant grant = {.scope = lines[i].scope, .privilege = lines[i].privilege};
        struct grant_lines held = {&lines[i].line, 1};
        assert_int_equal(grant_is_held(&held, &grant), lines[i].is_held);
    }
}

static void accounts_are_created_with_their_grants_only(void **state UNUSED)
{
    struct inventory fleet = {0};
    AUTO(buf_release) struct buf sql = {0};
    char user[] = "o`brien";
    fleet.probe.user = user;
    secret_set(&fleet.probe.password, "it's", 4);
    grants_write_sql(&fleet, "10.%", true, &sql);
    assert_non_null(strstr(buf_text(&sql), "CREATE USER IF NOT EXISTS `o``brien`@`10.%` IDENTIFIED "
                                           "BY 'it''s';\nGRANT SELECT, INSERT, UPDATE ON "
                                           "holdfast.probe TO `o``brien`@`10.%`;\n"));
    assert_non_null(strstr(buf_text(&sql), "`repl`@`10.%` IDENTIFIED BY <password of repl>;\n"));
    secret_release(&fleet.probe.password);
}

#define ROW(name, id, severity, title, advice) {id, #severity, title},

static void every_check_is_documented_as_it_is(void **state UNUSED)
{
    static const struct {
        const char *id, *severity, *title;
    } rows[] = {CHECK_TABLE(ROW)};
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(file_read("docs/readiness.md", 1 << 20, &page, &err), ST_OK);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *severity = strcmp(rows[i].severity, "NO_GO") == 0  ? "no-go"
                               : strcmp(rows[i].severity, "INFO") == 0 ? "info"
                                                                       : "warning";
        AUTO_FREE char *row =
            mem_printf("\n| `%s` | %s | %s |", rows[i].id, severity, rows[i].title);
        if (!strstr(buf_text(&page), row))
            fail_msg("docs/readiness.md lacks the row:%s", row);
    }
}

static void every_privilege_is_documented(void **state UNUSED)
{
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(file_read("docs/grants.md", 1 << 20, &page, &err), ST_OK);
    for (size_t i = 0; i < grant_count; i++) {
        AUTO_FREE char *row = mem_printf("| `%s` | `%s` | ", grants[i].privilege, grants[i].scope);
        if (!strstr(buf_text(&page), row))
            fail_msg("docs/grants.md lacks the row: %s", row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_shard_has_no_finding),
        cmocka_unit_test(each_check_finds_what_it_is_for_and_nothing_else),
        cmocka_unit_test(every_check_has_a_case),
        cmocka_unit_test(accepted_no_go_is_a_warning_that_says_so),
        cmocka_unit_test(history_that_the_primary_lost_is_not_errant),
        cmocka_unit_test(missing_privileges_are_named),
        cmocka_unit_test(grants_are_read_as_servers_print_them),
        cmocka_unit_test(accounts_are_created_with_their_grants_only),
        cmocka_unit_test(every_check_is_documented_as_it_is),
        cmocka_unit_test(every_privilege_is_documented),
    };
    return cmocka_run_group_tests_name("fleet/readiness", tests, NULL, NULL);
}
