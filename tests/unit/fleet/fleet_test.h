/* SPDX-License-Identifier: Apache-2.0
 * A shard made by hand for the units of fleet/: three servers in each of west and east, in their
 * designed roles, with nothing wrong. Tests spoil one thing each. */
#ifndef HOLDFAST_TESTS_FLEET_TEST_H
#define HOLDFAST_TESTS_FLEET_TEST_H

#include "base/scope.h"
#include "fleet/checkup.h"
#include "fleet/internal.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { W1, W2, W3, E1, E2, E3, SERVERS };
enum { SAMPLE_NOW_S = 1767225600 }; /* 2026-01-01 */

#define CONTROL_GRANTS                                                                             \
    "GRANT RELOAD, PROCESS, BINLOG MONITOR, EVENT, SET USER, CONNECTION ADMIN, READ_ONLY ADMIN, "  \
    "REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, BINLOG ADMIN, SLAVE MONITOR ON *.* TO "    \
    "`holdfast`@`%` IDENTIFIED BY PASSWORD '*41ABF2D1BBA25D71BDF6A20B372BF81A2D47C4C9'"

static const char *const control_lines[] = {
    CONTROL_GRANTS,
    "GRANT SELECT ON `mysql`.* TO `holdfast`@`%`",
    "GRANT ALL PRIVILEGES ON `holdfast`.* TO `holdfast`@`%`",
};
static const char *const replication_lines[] = {
    "GRANT REPLICATION SLAVE ON *.* TO `repl`@`%` IDENTIFIED BY PASSWORD '*00'"};
static const char *const probe_lines[] = {
    "GRANT USAGE ON *.* TO `probe`@`%` IDENTIFIED BY PASSWORD '*00'",
    "GRANT SELECT, INSERT, UPDATE ON `holdfast`.`probe` TO `probe`@`%`"};
static const char *const own_tables[] = {"heartbeat", "load_row", "probe"};
static const struct sql_setting sound_settings[] = {
    {"MAX_ALLOWED_PACKET", "16777216", "CONFIG", "/etc/my.cnf"},
    {"READ_ONLY", "ON", "CONFIG", "/etc/my.cnf"},
    {"SQL_MODE", "STRICT_TRANS_TABLES", "COMPILE-TIME", ""},
};

struct sample {
    struct inventory fleet;
    struct inventory_shard shard;
    struct inventory_server servers[SERVERS];
    struct server_observation seen[SERVERS];
    struct server_look looks[SERVERS];
    struct sql_setting settings[SERVERS][ARRAY_SIZE(sound_settings)];
    struct shard_observation observation;
    struct route route;
    bool has_route;
    struct store_list revoked;
    int to_region;
    struct readiness found;
};

static inline void sample_login(struct login *login, const char *const *lines, size_t count)
{
    *login = (struct login){.was_tried = true, .lines = (const char **)lines, .line_count = count};
}

static inline void sample_state(struct sample *sample, size_t index)
{
    static const size_t sources[SERVERS] = {W1, W1, W1, W1, E1, E1};
    struct server_observation *seen = &sample->seen[index];
    bool is_primary = index == W1;
    seen->server = &sample->servers[index];
    seen->flavour = &sql_mariadb;
    seen->lag_ms = is_primary ? -1 : 1;
    seen->clock_ahead_s = 1000;
    seen->state = (struct sql_server_state){
        .version = "10.11.6-MariaDB-log",
        .server_id = (int64_t)(101 + index),
        .domain_id = 7,
        .is_read_only = !is_primary,
        .is_source_semi_sync = is_primary,
        .is_replica_semi_sync = index != W1 && index != E1,
        .is_semi_sync_active = is_primary,
        .waits_without_ackers = true,
        .waits_after_sync = true,
        .semi_sync_timeout_ms = INT64_MAX,
        .ackers = is_primary || index == E1 ? 2 : 0,
        .has_binlog = true,
        .logs_replica_updates = true,
        .is_gtid_strict = true,
        .binlog_format = "ROW",
        .isolation = "READ-COMMITTED",
        .sync_binlog = 1,
        .flush_at_commit = 1,
        .source_host = is_primary ? "" : sample->servers[sources[index]].host,
        .source_port = is_primary ? 0 : 3306,
        .channels = !is_primary,
        .is_io_running = !is_primary,
        .is_sql_running = !is_primary,
        .uses_gtid = true,
        .io_error = "",
        .sql_error = "",
        .replica_filters = "",
        .channel_name = "",
        .received = "7-101-500",
        .applied = is_primary ? "" : "7-101-500",
        .position = "7-101-500",
        .binlog_state = "7-101-500",
    };
}

static inline void sample_look(struct sample *sample, size_t index)
{
    struct server_look *look = &sample->looks[index];
    sample_login(&look->logins[ACCOUNT_CONTROL], control_lines, ARRAY_SIZE(control_lines));
    sample_login(&look->logins[ACCOUNT_REPLICATION], replication_lines, 1);
    sample_login(&look->logins[ACCOUNT_PROBE], probe_lines, ARRAY_SIZE(probe_lines));
    memcpy(sample->settings[index], sound_settings, sizeof(sound_settings));
    look->is_inspected = true;
    look->inspection = (struct sql_inspection){
        .settings = sample->settings[index],
        .setting_count = ARRAY_SIZE(sound_settings),
        .tables = (const char **)own_tables,
        .table_count = ARRAY_SIZE(own_tables),
        .binlog_do = "",
        .binlog_ignore = "",
        .certificate_end = "Jan 16 00:00:00 2026 GMT",
    };
}

static inline void sample_init(struct sample *sample)
{
    static char hosts[SERVERS][8] = {"w1", "w2", "w3", "e1", "e2", "e3"};
    static char names[SERVERS][8] = {"w1:3306", "w2:3306", "w3:3306",
                                     "e1:3306", "e2:3306", "e3:3306"};
    static char west[] = "west", east[] = "east", shard[] = "s0";
    static char holdfast[] = "holdfast", repl[] = "repl", probe[] = "probe";
    *sample = (struct sample){0};
    sample->fleet = (struct inventory){.regions = {west, east}, .region_count = 2};
    sample->fleet.policy.max_lag_ms = 1000;
    sample->fleet.credentials.user = holdfast;
    sample->fleet.replication.user = repl;
    sample->fleet.probe.user = probe;
    sample->shard = (struct inventory_shard){
        .name = shard, .deployment = shard, .servers = sample->servers, .server_count = SERVERS};
    sample->to_region = -1;
    for (size_t i = 0; i < SERVERS; i++)
        sample->servers[i] = (struct inventory_server){
            .index = i, .name = names[i], .host = hosts[i], .port = 3306, .region = i >= E1};
    for (size_t i = 0; i < SERVERS; i++) {
        sample_state(sample, i);
        sample_look(sample, i);
    }
    static char later[] = "7-101-510";
    sample->observation = (struct shard_observation){
        .shard = &sample->shard, .servers = sample->seen, .later_position = later};
}

static inline void sample_ignore_e3(struct sample *sample)
{
    sample->shard.server_count = E3;
    sample->shard.ignored_count = 1;
}

static inline void sample_derive(struct sample *sample)
{
    shard_observation_derive(&sample->observation);
}

/* Runs all checks of the shard. */
static inline void sample_check(struct sample *sample)
{
    sample_derive(sample);
    struct checkup checkup = {
        .fleet = &sample->fleet,
        .ret = &sample->found,
        .shard = &sample->observation,
        .looks = sample->looks,
        .now_s = SAMPLE_NOW_S,
        .route = sample->has_route ? &sample->route : NULL,
        .revoked = &sample->revoked,
    };
    checkup_run(&checkup, sample->to_region);
}

static inline void sample_release(struct sample *sample)
{
    readiness_release(&sample->found);
    secret_release(&sample->fleet.replication.password);
}

#endif
