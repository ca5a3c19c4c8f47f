/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/readiness: each check of settings, activity and accounts (fleet/check_server.c,
 * check_accounts.c) finds what it is for and nothing else. */
#include "readiness_cases.h"

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
static struct sql_event_seen events[] = {{"app", "e", true},
                                         {"app", "f", false},
                                         {"app", "g", false},
                                         {"app", "h", false},
                                         {"b", "e", false}};
static struct sql_event_seen replicated[] = {{"b", "E", false}, {"app", "e", false}};
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
SPOIL(backup_uninspected)
{
    s->looks[W1].is_freeze_held_up = true;
    s->looks[W1].is_inspected = false;
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
    s->looks[E1].inspection.events = events;
    s->looks[E1].inspection.event_count = 2;
}
SPOIL(event_off_on_relay)
{
    s->looks[E1].inspection.events = &events[1];
    s->looks[E1].inspection.event_count = 2;
}
SPOIL(event_missing)
{
    s->looks[W1].inspection.events = events;
    s->looks[W1].inspection.event_count = 2;
    s->looks[E1].inspection.events = replicated;
    s->looks[E1].inspection.event_count = 2;
}
SPOIL(event_replicated)
{
    event_missing(s);
    s->looks[W1].inspection.event_count = 1;
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
    event_replicated(s);
}
SPOIL(scheduler_on_for_nothing)
{
    scheduler_on(s);
    s->looks[W1].inspection.events = &replicated[1];
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
SPOIL(repl_emoji)
{
    secret_set(&s->fleet.replication.password, "\xf0\x9f\x98\x80", 4);
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

static void wants_tls(struct sample *s)
{
    s->fleet.replication.tls.is_on = s->fleet.replication.tls.verify = true;
    for (size_t i = W2; i < SERVERS; i++)
        s->seen[i].state.is_link_tls = s->seen[i].state.verifies_link = true;
}
SPOIL(clear_links)
{
    wants_tls(s);
    s->seen[E1].state.is_link_tls = s->seen[E1].state.verifies_link = false;
}
SPOIL(unverified_links)
{
    wants_tls(s);
    s->seen[W3].state.verifies_link = false;
}

static const struct check_case rows[] = {
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
    {backup_uninspected, "not-inspected@w1:3306 freeze-lock@w1:3306"},
    {event_on_relay, "events-on-replica@e1:3306"},
    {event_off_on_relay, ""},
    {event_missing, "missing-event@e1:3306"},
    {event_replicated, ""},
    {poor_holdfast, "grants-missing@e2:3306"},
    {scheduler_on, "scheduler-grant@w1:3306"},
    {scheduler_on_for_nothing, ""},
    {hidden_accounts, "accounts-hidden@w1:3306"},
    {root_is_there, "privileged-accounts@w1:3306"},
    {repl_refused, "replication-login@e1:3306"},
    {repl_elsewhere, "replication-unseen@e1:3306"},
    {repl_poor, "replication-grant@e1:3306"},
    {repl_emoji, "replication-password@w1:3306"},
    {clear_links, "replication-tls@e1:3306"},
    {unverified_links, "replication-tls@w3:3306"},
    {probe_refused, "probe-login@w1:3306"},
    {probe_poor, "probe-grants@w1:3306"},
    {probe_strong, "probe-privileged@w1:3306"},
    {table_missing, "schema-missing@w1:3306"},
};

static const struct check_cases cases = {rows, ARRAY_SIZE(rows)};

static void each_check_finds_what_it_is_for_and_nothing_else(void **state UNUSED)
{
    assert_cases_pass(&cases);
}

static void every_check_has_a_case(void **state UNUSED)
{
    assert_cases_cover(&cases, CHECK_DURABILITY, CHECKS);
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

static void missing_events_are_named_up_to_a_few(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    event_missing(&sample);
    sample.looks[W1].inspection.event_count = ARRAY_SIZE(events);
    sample.looks[E1].inspection.event_count = 0;
    sample_check(&sample);
    assert_string_equal(sample.found.findings[0].problem,
                        "it lacks app.e, app.f, app.g and 2 more");
    sample_release(&sample);
}

/* With it every move would write rows on the relay that the primary never had. */
static void a_probe_that_writes_on_a_read_only_server_is_a_no_go(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    probe_strong(&sample);
    sample_check(&sample);
    assert_int_equal(sample.found.no_go_count, 1);
    sample_release(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_check_finds_what_it_is_for_and_nothing_else),
        cmocka_unit_test(every_check_has_a_case),
        cmocka_unit_test(missing_privileges_are_named),
        cmocka_unit_test(missing_events_are_named_up_to_a_few),
        cmocka_unit_test(a_probe_that_writes_on_a_read_only_server_is_a_no_go),
    };
    return cmocka_run_group_tests_name("fleet/readiness_servers", tests, NULL, NULL);
}
