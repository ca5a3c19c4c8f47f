/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness: does every server get all that the primary writes, and can it pass that on? Is one
 * behind, or has it what the primary never had? The states of all servers were read before the
 * primary's later_position, so that a healthy replica under load never looks ahead. */
#include "fleet/checkup.h"

#include "base/buf.h"
#include "base/scope.h"

#include <string.h>
#include <strings.h>

/* --- Replication and binlogs ------------------------------------------------------------------ */

enum { DAY_S = 24 * 3600 };

static void check_threads(struct checkup *checkup, const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (!state->is_io_running)
        checkup_add(checkup, CHECK_REPLICATION_BROKEN, server,
                    "it does not receive from %s:%lld%s%s", state->source_host,
                    (long long)state->source_port,
                    state->io_error[0] ? ": " : " (IO thread stopped)", state->io_error);
    if (!state->is_sql_running)
        checkup_add(checkup, CHECK_REPLICATION_BROKEN, server, "it does not apply%s%s",
                    state->sql_error[0] ? ": " : " what it receives (SQL thread stopped)",
                    state->sql_error);
}

static void check_replica(struct checkup *checkup, const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    check_threads(checkup, server);
    if (!state->uses_gtid)
        checkup_add(checkup, CHECK_NO_GTID, server, "it replicates without GTID");
    if (state->channels > 1)
        checkup_add(checkup, CHECK_SEVERAL_SOURCES, server, "it replicates from %zu sources",
                    state->channels);
    if (state->channels == 1 && state->channel_name[0])
        checkup_add(checkup, CHECK_NAMED_SOURCE, server, "its connection has the name '%s'",
                    state->channel_name);
    if (state->replica_filters[0])
        checkup_add(checkup, CHECK_REPLICATION_FILTER, server, "it has a filter: %s is set",
                    state->replica_filters);
    if (server == checkup->new_primary && state->delay_s > 0)
        checkup_add(checkup, CHECK_DELAYED_RELAY, server, "it is kept %lld s behind",
                    (long long)state->delay_s);
}

static void check_binlog(struct checkup *checkup, const struct server_observation *server,
                         const struct server_look *look)
{
    const struct sql_server_state *state = &server->state;
    if (!state->has_binlog || !state->logs_replica_updates)
        checkup_add(checkup,
                    checkup_is_end(checkup, server) ? CHECK_BINLOG_OFF
                                                    : CHECK_REPLICA_WITHOUT_BINLOG,
                    server, "%s is off", state->has_binlog ? "log_slave_updates" : "log_bin");
    if (strcasecmp(state->binlog_format, "ROW") != 0)
        checkup_add(checkup, CHECK_BINLOG_FORMAT, server, "binlog_format is %s",
                    state->binlog_format);
    if (state->binlog_expiry_s > 0 && state->binlog_expiry_s < DAY_S)
        checkup_add(checkup, CHECK_BINLOG_RETENTION, server, "it keeps binlogs for %lld s",
                    (long long)state->binlog_expiry_s);
    if (!look->is_inspected || !checkup_is_end(checkup, server))
        return;
    const struct sql_inspection *seen = &look->inspection;
    if (seen->binlog_do[0] || seen->binlog_ignore[0])
        checkup_add(checkup, CHECK_BINLOG_FILTER, server, "%s is '%s'",
                    seen->binlog_do[0] ? "binlog_do_db" : "binlog_ignore_db",
                    seen->binlog_do[0] ? seen->binlog_do : seen->binlog_ignore);
}

static void check_domain(struct checkup *checkup, const struct server_observation *server)
{
    const struct server_observation *primary = checkup->old_primary;
    if (primary && server->state.domain_id != primary->state.domain_id)
        checkup_add(checkup, CHECK_DOMAIN_DIFFERS, server,
                    "its gtid_domain_id is %lld, the primary's is %lld",
                    (long long)server->state.domain_id, (long long)primary->state.domain_id);
}

static void check_strict(struct checkup *checkup)
{
    size_t on = 0, off = 0;
    const struct server_observation *example = NULL;
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        on += at && at->state.is_gtid_strict;
        if (!at || at->state.is_gtid_strict)
            continue;
        off++;
        example = example ? example : at;
    }
    if (on && off)
        checkup_add(checkup, CHECK_GTID_STRICT_DIFFERS, example,
                    "gtid_strict_mode is off here; it is on at %zu servers, off at %zu", on, off);
    else if (off)
        checkup_add(checkup, CHECK_GTID_STRICT_OFF, NULL, "gtid_strict_mode is off");
}

void check_replication(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        if (!at)
            continue;
        if (at != checkup->old_primary && at->state.channels > 0)
            check_replica(checkup, at);
        check_binlog(checkup, at, &checkup->looks[i]);
        check_domain(checkup, at);
    }
    check_strict(checkup);
}

/* --- Positions -------------------------------------------------------------------------------- */

enum { BACKLOG_MAX = 10000 }; /* transactions */

static bool parse(const struct server_observation *server, const char *text, struct gtid_set *ret)
{
    struct err err = ERR_INIT;
    enum gtid_flavour flavour = server->flavour ? server->flavour->gtid : GTID_MARIADB;
    return gtid_set_parse_text(flavour, text, ret, &err) == ST_OK;
}

/* What is cut off, but alive, serves its own clients until its permission ends: that comes on top
 * of what is on its way, unless it must not. Without agents nobody makes it end. */
static void check_promise(struct checkup *checkup)
{
    const struct inventory *fleet = checkup->fleet;
    const struct server_observation *relay = checkup->new_primary;
    double lag = relay && relay->status == ST_OK && relay->lag_ms >= 0 ? relay->lag_ms : 0;
    double ttl = fleet->is_rpo_guarded ? 0 : (double)fleet->permission_ttl_ms;
    if (fleet->host_count == 0 || !checkup->old_primary ||
        lag + ttl <= (double)fleet->promise_rpo_ms)
        return;
    if (fleet->is_rpo_guarded)
        checkup_add(checkup, CHECK_RPO, relay,
                    "it is %.0f ms behind, and the promise is %lld ms: writes wait (rpo_guard)",
                    lag, (long long)fleet->promise_rpo_ms);
    else
        checkup_add(
            checkup, CHECK_RPO, NULL,
            "a cut would cost up to %.0f ms (a lag of %.0f ms, and permission.ttl %lld ms), "
            "and the promise is %lld ms",
            lag + ttl, lag, (long long)fleet->permission_ttl_ms, (long long)fleet->promise_rpo_ms);
    if (fleet->is_rpo_guarded)
        checkup_advise(checkup, "see what holds the relay up, or promise less");
}

static void check_lag(struct checkup *checkup, const struct server_observation *server)
{
    long long limit = checkup->fleet->policy.max_lag_ms;
    if (!checkup->shard->later_position || !server->state.is_sql_running ||
        !server->state.is_io_running)
        return; /* said elsewhere */
    if (server->lag_ms >= 0 && server->lag_ms <= (double)limit)
        return;
    enum check_id check = server == checkup->new_primary ? CHECK_LAG : CHECK_REPLICA_LAG;
    if (server->lag_ms >= 0)
        checkup_add(checkup, check, server, "it is %.0f ms behind the primary", server->lag_ms);
    else
        checkup_add(checkup, check, server,
                    "it did not reach the primary's position within %lld ms%s", limit,
                    server->state.delay_s > 0 ? " (it is delayed on purpose)" : "");
}

static void check_backlog(struct checkup *checkup, const struct server_observation *server)
{
    AUTO(gtid_set_release) struct gtid_set received = {0};
    AUTO(gtid_set_release) struct gtid_set applied = {0};
    if (!parse(server, server->state.received, &received) ||
        !parse(server, server->state.applied, &applied))
        return;
    uint64_t backlog = gtid_set_count_missing(&applied, &received);
    if (backlog > BACKLOG_MAX)
        checkup_add(checkup, CHECK_APPLY_BACKLOG, server,
                    "it has received about %llu transactions that it has not applied",
                    (unsigned long long)backlog);
}

/* MASTER_GTID_WAIT looks at what was applied: a domain that is not there is waited for for ever. */
static void check_domains(struct checkup *checkup)
{
    const struct server_observation *relay = checkup->new_primary;
    AUTO(gtid_set_release) struct gtid_set primary = {0};
    AUTO(gtid_set_release) struct gtid_set applied = {0};
    if (!relay || !checkup->old_primary ||
        !parse(checkup->old_primary, checkup->old_primary->state.position, &primary) ||
        !parse(relay, relay->state.applied, &applied))
        return;
    for (size_t i = 0; i < primary.count && primary.flavour == GTID_MARIADB; i++)
        if (!gtid_set_find_domain(&applied, primary.items[i].domain))
            checkup_add(checkup, CHECK_UNKNOWN_DOMAIN, relay,
                        "it does not know GTID domain %u, in which the primary has written",
                        (unsigned)primary.items[i].domain);
}

/* Ahead of the primary: plain to see. */
static bool check_ahead(struct checkup *checkup, const struct server_observation *server)
{
    AUTO(gtid_set_release) struct gtid_set primary = {0};
    AUTO(gtid_set_release) struct gtid_set own = {0};
    AUTO(gtid_set_release) struct gtid_set applied = {0};
    AUTO(buf_release) struct buf words = {0};
    if (!checkup->shard->later_position ||
        !parse(server, checkup->shard->later_position, &primary) ||
        !parse(server, server->state.position, &own) ||
        !parse(server, server->state.applied, &applied))
        return false;
    bool is_ahead = gtid_set_find_errant(&own, &primary, GTID_BY_DOMAIN, &words) ||
                    gtid_set_find_errant(&applied, &primary, GTID_BY_DOMAIN, &words);
    if (is_ahead)
        checkup_add(checkup, CHECK_ERRANT_TRANSACTIONS, server, "the primary never had %s",
                    buf_text(&words));
    return is_ahead;
}

static const struct gtid_entry *find_entry(const struct gtid_set *state, uint32_t domain,
                                           uint32_t server)
{
    for (size_t i = 0; i < state->count; i++)
        if (state->items[i].domain == domain && state->items[i].server == server)
            return &state->items[i];
    return NULL;
}

/* Does 'server' get its transactions, directly or not, from 'from'? */
static bool is_downstream(const struct checkup *checkup, const struct server_observation *server,
                          const struct server_observation *from)
{
    size_t hops = checkup->shard->shard->server_count;
    for (; server && hops > 0; hops--, server = server->source)
        if (server == from)
            return true;
    return false;
}

/* The writer was once a primary whose writes went everywhere, if a server that is not behind it
 * has that write as well; the primary then lost the memory of it when it was rebuilt. */
static bool is_known_elsewhere(const struct checkup *checkup,
                               const struct server_observation *writer,
                               const struct gtid_entry *entry)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        if (!at || is_downstream(checkup, at, writer))
            continue;
        AUTO(gtid_set_release) struct gtid_set state = {0};
        if (!parse(at, at->state.binlog_state, &state))
            continue;
        const struct gtid_entry *same = find_entry(&state, entry->domain, entry->server);
        if (same && same->last >= entry->last)
            return true;
    }
    return false;
}

/* Below the primary's sequence number: only the binlog's state shows what a server wrote itself. */
static void check_hidden(struct checkup *checkup, const struct server_observation *server)
{
    AUTO(gtid_set_release) struct gtid_set own = {0};
    AUTO(gtid_set_release) struct gtid_set primary = {0};
    if (!checkup->old_primary || !parse(server, server->state.binlog_state, &own) ||
        !parse(server, checkup->old_primary->state.binlog_state, &primary))
        return;
    for (size_t i = 0; i < own.count; i++) {
        const struct gtid_entry *entry = &own.items[i];
        if (entry->server != (uint32_t)server->state.server_id)
            continue;
        const struct gtid_entry *known = find_entry(&primary, entry->domain, entry->server);
        if ((known && known->last >= entry->last) || is_known_elsewhere(checkup, server, entry))
            continue;
        checkup_add(checkup, CHECK_ERRANT_TRANSACTIONS, server,
                    "it wrote %u-%u-%llu itself, which the primary never had",
                    (unsigned)entry->domain, (unsigned)entry->server,
                    (unsigned long long)entry->last);
    }
}

void check_positions(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        if (!at || at == checkup->old_primary || !checkup->old_primary)
            continue;
        if (at->state.channels > 0) {
            check_lag(checkup, at);
            check_backlog(checkup, at);
        }
        if (!check_ahead(checkup, at))
            check_hidden(checkup, at);
    }
    check_domains(checkup);
    check_promise(checkup);
}
