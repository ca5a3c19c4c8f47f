/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/readiness: each check of roles, replication and semi-sync (fleet/check_roles.c,
 * check_replication.c) finds what it is for and nothing else. */
#include "readiness_cases.h"

#include <stdio.h>

/* --- Roles --- */
SPOIL(e3_down)
{
    s->seen[E3].status = ST_TIMEOUT;
    s->seen[E3].problem = (char *)"timed out";
}
SPOIL(w2_refuses)
{
    s->seen[W2].status = ST_DENIED;
    s->looks[W2].logins[ACCOUNT_CONTROL].was_tried = false;
    s->seen[E3].state.ackers = 0;
}
SPOIL(w2_untrusted)
{
    s->seen[W2].status = ST_UNTRUSTED;
    s->seen[W2].problem = (char *)"self-signed certificate";
}
SPOIL(w2_expired)
{
    s->seen[W2].status = ST_UNTRUSTED;
    s->seen[W2].problem = (char *)"certificate has expired";
}
SPOIL(we_are_refused)
{
    s->seen[W2].status = ST_UNTRUSTED;
    s->seen[W2].problem = (char *)"it does not accept our certificate";
}
SPOIL(e3_ended_without_verifying)
{
    s->looks[E3].inspection.certificate_end = "Dec 31 23:59:59 2025 GMT";
}
SPOIL(e2_ends_soon)
{
    s->looks[E2].inspection.certificate_end = "Jan 15 00:00:00 2026 GMT";
}
SPOIL(w2_is_mysql)
{
    s->seen[W2].status = ST_INVALID;
    s->seen[W2].problem = (char *)"is not MariaDB";
}
static const struct err no_answer = {ST_UNKNOWN, "no answer", ""};
SPOIL(primary_uninspected)
{
    s->looks[W1].is_inspected = false;
    s->looks[W1].inspection_err = no_answer;
}
SPOIL(relay_uninspected)
{
    s->looks[E1].is_inspected = false;
}
SPOIL(replica_uninspected)
{
    s->looks[E2].is_inspected = false;
}
SPOIL(grants_unread)
{
    s->looks[E1].logins[ACCOUNT_CONTROL] =
        (struct login){.was_tried = true, .status = ST_UNKNOWN, .err = no_answer};
}
SPOIL(grants_unasked)
{
    s->looks[W1].logins[ACCOUNT_CONTROL] = (struct login){0};
}
SPOIL(freeze_unknown)
{
    s->looks[W1].freeze_err = no_answer;
}
SPOIL(position_unknown)
{
    s->observation.later_position = NULL;
    s->observation.later_err = no_answer;
    s->seen[E1].lag_ms = -1;
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
SPOIL(ignored_in_every_trouble)
{
    sample_ignore_e3(s);
    s->seen[E1].state.ackers = 1;
    s->seen[E3].state.is_read_only = false;
    s->seen[E3].state.is_sql_running = false;
    s->seen[E3].state.is_replica_semi_sync = false;
    s->seen[E3].state.position = "7-106-501";
    s->looks[E3].is_inspected = false;
}
SPOIL(ignored_is_silent)
{
    sample_ignore_e3(s);
    s->seen[E3].status = ST_TIMEOUT;
}
SPOIL(ignored_has_same_id)
{
    ignored_in_every_trouble(s);
    same_id(s);
}
SPOIL(ignored_primary)
{
    sample_ignore_e3(s);
    s->seen[W1].state.is_read_only = true;
    s->seen[E2].state.source_host = "e3";
}
SPOIL(other_route)
{
    s->has_route = true;
    snprintf(s->route.primary, ROUTE_NAME_MAX, "e1:3306");
}
SPOIL(revoked_relay)
{
    static char key[] = "revoked/e1:3306", value[] = "shard s0, run 7";
    static struct store_entry entry = {.key = key, .value = value};
    s->revoked = (struct store_list){&entry, 1, 1};
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
SPOIL(named_source)
{
    s->seen[W3].state.channel_name = "west";
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
/* A cut costs the lag and the TTL, if there are agents who end it at all. */
static void set_promise(struct sample *s, bool is_guarded, int64_t ttl_ms)
{
    s->fleet.host_count = 1;
    s->fleet.is_rpo_guarded = is_guarded;
    s->fleet.permission_ttl_ms = ttl_ms;
    s->fleet.promise_rpo_ms = 3000;
}
SPOIL(promise_is_kept)
{
    set_promise(s, false, 2000);
    s->seen[E1].lag_ms = 1000;
}
SPOIL(promise_is_short)
{
    set_promise(s, false, 2001);
    s->seen[E1].lag_ms = 1000;
}
SPOIL(guard_keeps_it)
{
    set_promise(s, true, 60000);
    s->seen[E1].lag_ms = 1000;
}
SPOIL(guard_closes_it)
{
    set_promise(s, true, 2000);
    s->fleet.policy.max_lag_ms = 9000;
    s->seen[E1].lag_ms = 3001;
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
SPOIL(held_up)
{
    s->seen[W1].state.held_up_ms = SQL_HELD_UP_MS;
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
SPOIL(ignored_acks)
{
    sample_ignore_e3(s);
}
SPOIL(only_ignored_acks)
{
    sample_ignore_e3(s);
    s->seen[E1].state.ackers = 1;
    s->seen[E2].state.is_replica_semi_sync = false;
}
SPOIL(only_a_silent_ignored_acks)
{
    only_ignored_acks(s);
    s->seen[E3].status = ST_TIMEOUT;
}
SPOIL(alone_in_east)
{
    s->shard.server_count = E2;
    s->seen[E1].state.ackers = 0;
}
SPOIL(w3_acks_alone_in_east)
{
    alone_in_east(s);
    s->seen[W3].state.source_host = "e1";
    s->seen[W1].state.ackers = 1;
    s->seen[E1].state.ackers = 1;
}
SPOIL(w3_follows_alone_in_east)
{
    w3_acks_alone_in_east(s);
    s->seen[W3].state.is_replica_semi_sync = false;
    s->seen[E1].state.ackers = 0;
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

static const struct check_case rows[] = {
    {e3_down, "unreachable@e3:3306"},
    {w2_refuses, "login-refused@w2:3306"},
    {w2_untrusted, "tls-failed@w2:3306"},
    {we_are_refused, "tls-failed@w2:3306"},
    {w2_expired, "certificate-expired@w2:3306"},
    {e3_ended_without_verifying, "certificate-expired@e3:3306"},
    {e2_ends_soon, "certificate-ends@e2:3306"},
    {w2_is_mysql, "unsupported-server@w2:3306"},
    {primary_uninspected, "not-inspected@w1:3306"},
    {relay_uninspected, "not-inspected@e1:3306"},
    {replica_uninspected, "replica-not-inspected@e2:3306"},
    {grants_unread, "not-inspected@e1:3306"},
    {grants_unasked, "not-inspected@w1:3306"},
    {freeze_unknown, "not-inspected@w1:3306"},
    {position_unknown, "not-inspected@w1:3306"},
    {no_writable, "no-primary semi-sync-flag@w1:3306"},
    {two_writable, "several-primaries@w1:3306 several-primaries@w2:3306 semi-sync-flag@w1:3306"},
    {primary_replicates, "primary-replicates@w1:3306"},
    {relay_follows_replica, "no-relay"},
    {e3_follows_stranger, "stranger-source@e3:3306"},
    {e3_follows_primary, "wrong-source@e3:3306"},
    {e3_follows_nobody, "not-replicating@e3:3306"},
    {to_home, "already-there@w1:3306"},
    {two_in_east, "shape"},
    {alone_in_east, "shape no-acker-new-side@e1:3306"},
    {w3_acks_alone_in_east, "shape far-acker@e1:3306"},
    {w3_follows_alone_in_east, "wrong-source@w3:3306 shape no-acker-new-side@e1:3306"},
    {ignored_in_every_trouble, "shape"},
    {ignored_is_silent, "shape"},
    {ignored_has_same_id, "duplicate-server-id@e3:3306 shape"},
    {ignored_primary, "no-primary shape semi-sync-flag@w1:3306"},
    {ignored_acks, "shape ignored-acknowledges@e3:3306"},
    {only_ignored_acks, "shape no-acker-new-side@e1:3306 replica-not-semi-sync@e2:3306"
                        " ignored-acknowledges@e3:3306"},
    {only_a_silent_ignored_acks, "shape no-acker-new-side@e1:3306 replica-not-semi-sync@e2:3306"},
    {same_id, "duplicate-server-id@e3:3306"},
    {other_route, "route-differs@w1:3306"},
    {revoked_relay, "not-permitted@e1:3306"},
    {io_stopped, "replication-broken@w3:3306"},
    {sql_stopped, "replication-broken@e1:3306"},
    {without_gtid, "no-gtid@e2:3306"},
    {two_sources, "several-sources@e1:3306"},
    {named_source, "named-source@w3:3306"},
    {delayed_relay, "delayed-relay@e1:3306"},
    {other_domain, "domain-differs@e2:3306"},
    {unknown_domain, "unknown-domain@e1:3306"},
    {ahead, "errant-transactions@w3:3306"},
    {hidden_errant, "errant-transactions@e2:3306"},
    {errant_from_relay, "errant-transactions@e1:3306"},
    {relay_late, "lag@e1:3306"},
    {relay_never, "lag@e1:3306"},
    {promise_is_kept, ""},
    {promise_is_short, "rpo"},
    {guard_keeps_it, ""},
    {guard_closes_it, "rpo@e1:3306"},
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
    {held_up, "writes-held-up@w1:3306"},
    {no_ackers, "no-acker@w1:3306"},
    {only_relay_acks, "no-acker@w1:3306 relay-acknowledges@e1:3306"},
    {no_ackers_east, "no-acker-new-side@e1:3306"},
    {finite_timeout, "semi-sync-timeout@w1:3306"},
    {after_commit, "semi-sync-wait-point@e1:3306"},
    {no_slave_off, "semi-sync-no-slave@w1:3306"},
    {w3_not_semi, "replica-not-semi-sync@w3:3306"},
    {relay_acks, "relay-acknowledges@e1:3306"},
    {flag_on_relay, "semi-sync-flag@e1:3306"},
};

static const struct check_cases cases = {rows, ARRAY_SIZE(rows)};

static void each_check_finds_what_it_is_for_and_nothing_else(void **state UNUSED)
{
    assert_cases_pass(&cases);
}

static void every_check_has_a_case(void **state UNUSED)
{
    assert_cases_cover(&cases, 0, CHECK_DURABILITY);
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
    found_format(&sample.found, &found);
    assert_string_equal(buf_text(&found), "");
    sample_release(&sample);
}

static void what_was_not_answered_is_a_no_go_with_its_error(void **state UNUSED)
{
    struct sample sample;
    sample_init(&sample);
    primary_uninspected(&sample);
    sample_check(&sample);
    assert_int_equal(sample.found.no_go_count, 1);
    assert_string_equal(sample.found.findings[0].problem,
                        "what runs there and how it is set is not known: no answer");
    sample_release(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_check_finds_what_it_is_for_and_nothing_else),
        cmocka_unit_test(every_check_has_a_case),
        cmocka_unit_test(history_that_the_primary_lost_is_not_errant),
        cmocka_unit_test(what_was_not_answered_is_a_no_go_with_its_error),
    };
    return cmocka_run_group_tests_name("fleet/readiness_replication", tests, NULL, NULL);
}
