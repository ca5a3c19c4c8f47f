/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness: would the new primary behave like the old one, and a restarted server stay what it
 * is? What runs on the primary right now that would hold a freeze up or be hurt by it? */
#include "fleet/checkup.h"

#include "base/buf.h"
#include "base/scope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- Settings --------------------------------------------------------------------------------- */

static const double clock_limit_s = 1.0;

struct version {
    int major, minor, patch;
};

static struct version read_version(const char *text)
{
    struct version version = {0};
    if (sscanf(text, "%d.%d.%d", &version.major, &version.minor, &version.patch) < 2)
        return (struct version){0};
    return version;
}

/* Of the release series: replication to an older one is not supported. */
static int compare_series(struct version a, struct version b)
{
    return a.major != b.major ? a.major - b.major : a.minor - b.minor;
}

static void check_versions(struct checkup *checkup)
{
    const struct server_observation *old_primary = checkup->old_primary;
    struct version wanted = read_version(old_primary->state.version);
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        if (!at || at == old_primary || strcmp(at->state.version, old_primary->state.version) == 0)
            continue;
        struct version own = read_version(at->state.version);
        bool is_older = compare_series(own, wanted) < 0 && at == checkup->new_primary;
        if (is_older || compare_series(own, wanted) != 0 || own.patch != wanted.patch)
            checkup_add(checkup, is_older ? CHECK_VERSION_OLDER : CHECK_VERSION_DIFFERS, at,
                        "it is %s, the primary is %s", at->state.version,
                        old_primary->state.version);
    }
}

static const char *setting(const struct sql_inspection *inspection, const char *name)
{
    for (size_t i = 0; i < inspection->setting_count; i++)
        if (strcasecmp(inspection->settings[i].name, name) == 0)
            return inspection->settings[i].value;
    return NULL;
}

static const struct server_look *look_of(const struct checkup *checkup,
                                         const struct server_observation *server)
{
    return &checkup->looks[server - checkup->shard->servers];
}

static void check_difference(struct checkup *checkup)
{
    const struct server_look *old_look = look_of(checkup, checkup->old_primary);
    const struct server_look *new_look = look_of(checkup, checkup->new_primary);
    if (!old_look->is_inspected || !new_look->is_inspected)
        return;
    for (size_t i = 0; i < old_look->inspection.setting_count; i++) {
        const struct sql_setting *old_setting = &old_look->inspection.settings[i];
        const char *value = setting(&new_look->inspection, old_setting->name);
        if (strcasecmp(old_setting->name, "READ_ONLY") == 0 || !value ||
            strcasecmp(value, old_setting->value) == 0)
            continue;
        checkup_add(checkup, CHECK_SETTINGS_DIFFER, checkup->new_primary,
                    "%s is '%s' here, '%s' on the primary", old_setting->name, value,
                    old_setting->value);
    }
}

/* Only what a server was started with can be judged: once SET GLOBAL was used, it no longer says
 * what is in its configuration. */
static void check_read_only(struct checkup *checkup, const struct server_observation *server,
                            const struct server_look *look)
{
    for (size_t i = 0; i < look->inspection.setting_count; i++) {
        const struct sql_setting *at = &look->inspection.settings[i];
        if (strcasecmp(at->name, "READ_ONLY") != 0 || sql_true(at->value))
            continue;
        if (strcasecmp(at->origin, "CONFIG") == 0)
            checkup_add(checkup, CHECK_CONFIG_READ_ONLY, server, "read_only=0 is in %s",
                        at->path[0] ? at->path : "its configuration");
        else if (strcasecmp(at->origin, "COMMAND-LINE") == 0)
            checkup_add(checkup, CHECK_CONFIG_READ_ONLY, server,
                        "it was started with --read-only=0");
        else if (strcasecmp(at->origin, "COMPILE-TIME") == 0)
            checkup_add(checkup, CHECK_DEFAULT_READ_ONLY, server,
                        "its configuration does not set read_only");
    }
}

static void check_durability(struct checkup *checkup, const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (state->sync_binlog != 1 || state->flush_at_commit != 1)
        checkup_add(checkup, CHECK_DURABILITY, server,
                    "sync_binlog is %lld, innodb_flush_log_at_trx_commit is %lld",
                    (long long)state->sync_binlog, (long long)state->flush_at_commit);
}

static void check_isolation(struct checkup *checkup, const struct server_observation *server)
{
    if (strcasecmp(server->state.isolation, "READ-COMMITTED") != 0)
        checkup_add(checkup, CHECK_ISOLATION, server, "transaction_isolation is %s",
                    server->state.isolation);
}

static void check_clock(struct checkup *checkup, const struct server_observation *server)
{
    double ahead = server->clock_ahead_s - checkup->old_primary->clock_ahead_s;
    double doubt = (server->answer_ms + checkup->old_primary->answer_ms) / 1000;
    if (fabs(ahead) > clock_limit_s + doubt)
        checkup_add(checkup, CHECK_CLOCK_DIFFERS, server, "its clock is %.1f s %s the primary's",
                    fabs(ahead), ahead > 0 ? "ahead of" : "behind");
}

void check_settings(struct checkup *checkup)
{
    if (checkup->old_primary)
        check_versions(checkup);
    if (checkup->old_primary && checkup->new_primary)
        check_difference(checkup);
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        if (!at)
            continue;
        if (checkup->looks[i].is_inspected)
            check_read_only(checkup, at, &checkup->looks[i]);
        if (checkup->old_primary && at != checkup->old_primary)
            check_clock(checkup, at);
        check_durability(checkup, at);
        if (checkup_is_end(checkup, at))
            check_isolation(checkup, at);
    }
}

/* --- Activity --------------------------------------------------------------------------------- */

enum { SHOWN = 3 }; /* findings of one kind for one server; the rest is counted */

static bool is_listed(const struct sql_activity *list, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id)
            return true;
    return false;
}

static void add_activity(struct checkup *checkup, enum check_id check,
                         const struct server_observation *server, const struct sql_activity *at)
{
    checkup_add(checkup, check, server, "connection %lld of '%s'@'%s', for %lld ms%s%s%s%s",
                (long long)at->id, at->user, at->host, (long long)at->ms, at->text[0] ? ": " : "",
                at->text, at->state[0] ? ", " : "", at->state);
}

static void check_statements(struct checkup *checkup, const struct sql_inspection *seen)
{
    size_t shown = 0;
    for (size_t i = 0; i < seen->activity_count && shown < SHOWN; i++) {
        const struct sql_activity *at = &seen->activities[i];
        if (is_listed(seen->ddl, seen->ddl_count, at->id) ||
            is_listed(seen->waiters, seen->waiter_count, at->id))
            continue;
        shown++;
        add_activity(checkup, at->is_statement ? CHECK_LONG_STATEMENT : CHECK_OPEN_TRANSACTION,
                     checkup->old_primary, at);
        checkup_advise(checkup, "wait for it, or end it there: KILL %s%lld",
                       at->is_statement ? "QUERY " : "", (long long)at->id);
    }
}

static void check_running(struct checkup *checkup, const struct sql_inspection *seen)
{
    check_statements(checkup, seen);
    for (size_t i = 0; i < seen->ddl_count && i < SHOWN; i++)
        add_activity(checkup, CHECK_RUNNING_DDL, checkup->old_primary, &seen->ddl[i]);
    for (size_t i = 0; i < seen->waiter_count && i < SHOWN; i++)
        if (!is_listed(seen->ddl, seen->ddl_count, seen->waiters[i].id))
            add_activity(checkup, CHECK_TABLE_LOCK, checkup->old_primary, &seen->waiters[i]);
}

/* --- Events ----------------------------------------------------------------------------------- */

size_t checkup_enabled_events(const struct sql_inspection *seen,
                              const struct sql_event_seen **ret_first)
{
    size_t count = 0;
    for (size_t i = 0; i < seen->event_count; i++) {
        if (!seen->events[i].is_enabled)
            continue;
        if (count++ == 0 && ret_first)
            *ret_first = &seen->events[i];
    }
    return count;
}

static const struct sql_event_seen *find_event(const struct sql_inspection *seen,
                                               const struct sql_event_seen *event)
{
    for (size_t i = 0; i < seen->event_count; i++)
        if (strcmp(seen->events[i].database, event->database) == 0 &&
            strcasecmp(seen->events[i].name, event->name) == 0)
            return &seen->events[i];
    return NULL;
}

/* Not their states: a replica does not show which of them the primary has enabled. */
static void check_events(struct checkup *checkup)
{
    const struct server_look *old_look = look_of(checkup, checkup->old_primary);
    const struct server_look *new_look = look_of(checkup, checkup->new_primary);
    if (!old_look->is_inspected || !new_look->is_inspected)
        return;
    AUTO(buf_release) struct buf names = {0};
    size_t missing = 0;
    for (size_t i = 0; i < old_look->inspection.event_count; i++) {
        const struct sql_event_seen *at = &old_look->inspection.events[i];
        if (find_event(&new_look->inspection, at))
            continue;
        if (missing++ < SHOWN)
            buf_printf(&names, "%s%s.%s", names.length ? ", " : "", at->database, at->name);
    }
    if (missing > SHOWN)
        buf_printf(&names, " and %zu more", missing - SHOWN);
    if (missing)
        checkup_add(checkup, CHECK_MISSING_EVENT, checkup->new_primary, "it lacks %s",
                    buf_text(&names));
}

/* --- All of it -------------------------------------------------------------------------------- */

static void check_left_over(struct checkup *checkup, const struct server_observation *server,
                            const struct sql_inspection *seen)
{
    if (seen->xa_count > 0 && checkup_is_end(checkup, server))
        checkup_add(checkup, CHECK_PREPARED_XA, server, "it has %zu prepared XA transactions",
                    seen->xa_count);
    const struct sql_event_seen *first = NULL;
    size_t enabled = checkup_enabled_events(seen, &first);
    if (server != checkup->old_primary && server->state.is_read_only && enabled > 0)
        checkup_add(checkup, CHECK_EVENTS_ON_REPLICA, server,
                    "%zu events are enabled on it, the first is %s.%s", enabled, first->database,
                    first->name);
}

void check_activity(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        const struct server_look *look = &checkup->looks[i];
        bool is_explained = at && at->state.held_up_ms >= SQL_HELD_UP_MS; /* by waiting commits */
        if (at && at == checkup->old_primary && look->is_freeze_held_up && !is_explained)
            checkup_add(checkup, CHECK_FREEZE_LOCK, at,
                        "a backup or LOCK TABLES ... WRITE is under way there");
        if (!at || !look->is_inspected)
            continue;
        if (at == checkup->old_primary)
            check_running(checkup, &look->inspection);
        check_left_over(checkup, at, &look->inspection);
    }
    if (checkup->old_primary && checkup->new_primary)
        check_events(checkup);
}
