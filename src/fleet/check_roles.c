/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness: are all servers there, each in its role, and is every acknowledged write on two of
 * them, now and after the move? */
#include "fleet/checkup.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <string.h>

/* --- Roles ------------------------------------------------------------------------------------ */

enum { REGION_SERVERS = 3 };

/* The words of OpenSSL and of sql/, and what to do other than the table says. */
static void add_untrusted(struct checkup *checkup, const struct server_observation *server)
{
    static const struct {
        const char *words, *advice;
        enum check_id check;
    } cases[] = {
        {"certificate has expired", NULL, CHECK_CERTIFICATE_EXPIRED},
        {"offers no TLS", "set ssl_cert and ssl_key in its configuration, and restart it",
         CHECK_TLS_FAILED},
        {"accept our certificate",
         "see that 'cert' of 'tls' in the fleet file has not expired, and that the server's ssl_ca"
         " has who signed it",
         CHECK_TLS_FAILED},
    };
    size_t i = 0;
    while (i < ARRAY_SIZE(cases) && !strstr(server_problem(server), cases[i].words))
        i++;
    bool is_known = i < ARRAY_SIZE(cases);
    checkup_add(checkup, is_known ? cases[i].check : CHECK_TLS_FAILED, server, "%s",
                server_problem(server));
    if (is_known && cases[i].advice)
        checkup_advise(checkup, "%s", cases[i].advice);
}

static void check_answers(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        const struct server_observation *at = &checkup->shard->servers[i];
        const struct login *own = &checkup->looks[i].logins[ACCOUNT_CONTROL];
        bool was_let_in = own->was_tried && own->status == ST_OK;
        if (at->status == ST_OK || (at->status == ST_DENIED && was_let_in))
            continue; /* what a missing privilege hides is a finding of check_accounts() */
        if (at->status == ST_DENIED)
            checkup_add(checkup, CHECK_LOGIN_REFUSED, at, "it refuses the account '%s': %s",
                        checkup->fleet->credentials.user, server_problem(at));
        else if (at->status == ST_UNTRUSTED)
            add_untrusted(checkup, at);
        else if (at->status == ST_INVALID || at->status == ST_SQL)
            checkup_add(checkup, CHECK_UNSUPPORTED_SERVER, at, "%s", server_problem(at));
        else
            checkup_add(checkup, CHECK_UNREACHABLE, at, "it does not answer: %s",
                        server_problem(at));
    }
}

static void add_unasked(struct checkup *checkup, const struct server_observation *server,
                        const char *what, const struct err *err)
{
    enum check_id check =
        checkup_is_end(checkup, server) ? CHECK_NOT_INSPECTED : CHECK_REPLICA_NOT_INSPECTED;
    checkup_add(checkup, check, server, "%s not known: %s", what,
                err->text[0] ? err->text : "it was not asked");
}

/* Every check of a later look finds nothing where there was no answer: that must not pass for a
 * go. */
static void check_looks(struct checkup *checkup, size_t index)
{
    const struct server_observation *server = &checkup->shard->servers[index];
    const struct server_look *look = &checkup->looks[index];
    const struct login *own = &look->logins[ACCOUNT_CONTROL];
    if (!own->was_tried || own->status)
        add_unasked(checkup, server, "the privileges of Holdfast's account are", &own->err);
    if (!look->is_inspected)
        add_unasked(checkup, server, "what runs there and how it is set is", &look->inspection_err);
    if (server != checkup->old_primary)
        return;
    if (look->freeze_err.status)
        add_unasked(checkup, server, "whether something holds a freeze up is", &look->freeze_err);
    if (!checkup->shard->later_position)
        add_unasked(checkup, server, "its position, and so who lags or has errant transactions, is",
                    &checkup->shard->later_err);
}

/* In the middle of a move, and while a server is silent that may be the primary, opening another
 * one by hand could make two. */
static void check_closed(struct checkup *checkup)
{
    const struct route *route = checkup->route;
    const struct server_observation *silent = shard_find_silent(checkup->shard);
    bool is_moving = route && route->state != SHARD_SERVING;
    const char *primary = route && !is_moving ? route->primary : "";
    const struct server_observation *ignored = shard_find_ignored_source(checkup->shard);
    if (ignored && !is_moving) {
        checkup_add(checkup, CHECK_NO_PRIMARY, NULL,
                    "no server of it accepts writes, and some replicate from %s, which the fleet "
                    "file says to ignore",
                    ignored->server->name);
        checkup_advise(checkup, "if that is the primary, take it out of 'ignore'; do not open "
                                "another server beside it");
        return;
    }
    if (!silent)
        checkup_add(checkup, CHECK_NO_PRIMARY, NULL, "no server of it accepts writes");
    else if (primary[0])
        checkup_add(checkup, CHECK_NO_PRIMARY, NULL,
                    "no server of it that answers accepts writes; the store says that %s is its "
                    "primary",
                    primary);
    else
        checkup_add(checkup, CHECK_NO_PRIMARY, NULL,
                    "no server of it that answers accepts writes, and %s does not answer",
                    silent->server->name);
    if (silent && !is_moving)
        checkup_advise(checkup,
                       "first find out what %s does: it may be serving; do not open "
                       "another server beside it",
                       silent->server->name);
    if (!silent && primary[0])
        checkup_advise(checkup,
                       "holdfast fleet converge opens %s, the primary that the store knows, when "
                       "nobody else can be it",
                       primary);
    if (is_moving)
        checkup_advise(checkup, "holdfast run %s %s; do not open a server by hand",
                       checkup->is_called_off ? "abort" : "resume", route->run);
}

static void check_writable(struct checkup *checkup)
{
    const struct shard_observation *shard = checkup->shard;
    if (shard->writable_count == 0)
        check_closed(checkup);
    for (size_t i = 0; i < shard->shard->server_count && shard->writable_count > 1; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        if (at && !at->state.is_read_only)
            checkup_add(checkup, CHECK_SEVERAL_PRIMARIES, at,
                        "it accepts writes, and so does another of the shard%s",
                        at->state.channels > 0 ? ", although it replicates" : "");
    }
    if (shard->primary && shard->primary->role == ROLE_CONFLICT)
        checkup_add(checkup, CHECK_PRIMARY_REPLICATES, shard->primary,
                    "it accepts writes although it replicates from %s:%lld",
                    shard->primary->state.source_host,
                    (long long)shard->primary->state.source_port);
}

static bool acknowledges(const struct server_observation *server,
                         const struct server_observation *source)
{
    return server->status == ST_OK && server->source == source &&
           server->state.is_replica_semi_sync && server->state.is_io_running;
}

/* The only server of its region: its acker can but be in the other one. */
static bool is_alone(const struct checkup *checkup, const struct server_observation *server)
{
    size_t count = 0;
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++)
        count += checkup->shard->shard->servers[i].region == server->server->region;
    return count == 1;
}

/* Whom a server of the region should follow. */
static const struct server_observation *right_source(const struct checkup *checkup,
                                                     const struct server_observation *server)
{
    bool is_home = server->server->region == checkup->old_primary->server->region;
    return is_home || server == checkup->new_primary ? checkup->old_primary : checkup->new_primary;
}

static void check_source(struct checkup *checkup, const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (server->role == ROLE_FENCED) {
        if (checkup->shard->writable_count == 0)
            return; /* most likely the primary that is missing, which is said already */
        checkup_add(checkup, CHECK_NOT_REPLICATING, server,
                    "it is read-only and replicates from nobody");
        return;
    }
    if (server == checkup->old_primary || state->channels == 0)
        return;
    if (!server->source) {
        checkup_add(checkup, CHECK_STRANGER_SOURCE, server,
                    "it replicates from %s:%lld, which is not a server of this shard",
                    state->source_host, (long long)state->source_port);
        return;
    }
    if (!checkup->old_primary || !checkup->new_primary)
        return;
    const struct server_observation *right = right_source(checkup, server);
    bool is_far_acker = is_alone(checkup, server->source) && acknowledges(server, server->source);
    if (server->source != right && !is_far_acker)
        checkup_add(checkup, CHECK_WRONG_SOURCE, server, "it replicates from %s instead of %s",
                    server->source->server->name, right->server->name);
}

static void check_relay(struct checkup *checkup)
{
    if (checkup->old_primary && !checkup->new_primary)
        checkup_add(checkup, CHECK_NO_RELAY, NULL, "no server in %s replicates from the primary %s",
                    checkup->fleet->regions[checkup->new_region],
                    checkup->old_primary->server->name);
}

/* Also of ignored ones: a source hangs up on the one when the other connects. */
static void check_server_ids(struct checkup *checkup)
{
    size_t size = inventory_shard_size(checkup->shard->shard);
    for (size_t i = 0; i < size; i++) {
        const struct server_observation *at = checkup_answered(checkup, i);
        for (size_t j = 0; j < i && at; j++) {
            const struct server_observation *other = checkup_answered(checkup, j);
            if (!other || other->state.server_id != at->state.server_id)
                continue;
            checkup_add(checkup, CHECK_DUPLICATE_SERVER_ID, at,
                        "it has server_id %lld, and so has %s", (long long)at->state.server_id,
                        other->server->name);
            break;
        }
    }
}

static void check_shape(struct checkup *checkup)
{
    size_t counts[INVENTORY_REGIONS] = {0};
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++)
        counts[checkup->shard->shard->servers[i].region]++;
    AUTO(buf_release) struct buf words = {0};
    bool is_right = true;
    for (size_t i = 0; i < checkup->fleet->region_count; i++) {
        is_right = is_right && counts[i] == REGION_SERVERS;
        buf_printf(&words, "%s%zu in %s", i ? ", " : "", counts[i], checkup->fleet->regions[i]);
    }
    if (!is_right)
        checkup_add(checkup, CHECK_SHAPE, NULL, "its servers are: %s", buf_text(&words));
}

static void check_route(struct checkup *checkup)
{
    const struct route *route = checkup->route;
    if (!route || !checkup->old_primary || route->state != SHARD_SERVING)
        return;
    if (strcmp(route->primary, checkup->old_primary->server->name) != 0)
        checkup_add(checkup, CHECK_ROUTE_DIFFERS, checkup->old_primary,
                    "it is the primary, but the store says %s", route->primary);
}

/* A move refuses it, too; who was failed over from gets it back as a replica. */
static void check_permission(struct checkup *checkup)
{
    const struct server_observation *relay = checkup->new_primary;
    if (!relay || !checkup->revoked)
        return;
    AUTO_FREE char *key = mem_printf(CHECKUP_REVOKED "%s", relay->server->name);
    for (size_t i = 0; i < checkup->revoked->count; i++)
        if (strcmp(checkup->revoked->entries[i].key, key) == 0)
            checkup_add(checkup, CHECK_NOT_PERMITTED, relay,
                        "its permission to serve is withdrawn: %s",
                        checkup->revoked->entries[i].value);
}

void check_roles(struct checkup *checkup)
{
    check_answers(checkup);
    check_writable(checkup);
    check_relay(checkup);
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++) {
        if (!checkup_answered(checkup, i))
            continue;
        check_source(checkup, &checkup->shard->servers[i]);
        check_looks(checkup, i);
    }
    check_server_ids(checkup);
    check_shape(checkup);
    check_route(checkup);
    check_permission(checkup);
}

/* --- Semi-sync -------------------------------------------------------------------------------- */

enum { DAY_MS = 24 * 3600 * 1000 };

/* Replicas across regions do not count, for their acknowledgement takes a WAN round trip, unless
 * there can be no other; nor do ignored ones: nobody would look there for what only they have. The
 * source counts those, too. Nor are there more than the fleet file knows, whatever a silent or
 * unknown server does. */
static int64_t count_ackers(const struct checkup *checkup, const struct server_observation *source)
{
    int64_t counted = source->state.ackers, known = 0;
    bool may_be_far = is_alone(checkup, source);
    for (size_t i = 0; i < inventory_shard_size(checkup->shard->shard); i++) {
        const struct server_observation *at = &checkup->shard->servers[i];
        bool is_near = at->server->region == source->server->region;
        bool is_good = at->role != ROLE_IGNORED && (is_near || may_be_far);
        known += is_good && acknowledges(at, source);
        counted -= !is_good && acknowledges(at, source);
    }
    return counted < known ? counted : known;
}

/* Does somebody acknowledge the writes of a primary, or would? Else 'check' says that nobody does.
 */
static bool check_ackers(struct checkup *checkup, const struct server_observation *end,
                         enum check_id check, const char *problem)
{
    const char *region = checkup->fleet->regions[end->server->region];
    bool has_acker = count_ackers(checkup, end) >= 1;
    if (!has_acker)
        checkup_add(checkup, check, end, "%s", problem);
    if (!has_acker && is_alone(checkup, end))
        checkup_advise(checkup,
                       "a primary in %s needs a second server there, or a replica of the other "
                       "region, that follows %s with rpl_semi_sync_slave_enabled=1",
                       region, end->server->name);
    if (has_acker && is_alone(checkup, end))
        checkup_add(checkup, CHECK_FAR_ACKER, end, "it is alone in %s", region);
    return has_acker;
}

static void check_ignored(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->shard->shard->ignored_count; i++) {
        const struct server_observation *at =
            &checkup->shard->servers[checkup->shard->shard->server_count + i];
        bool is_counted = at->source && checkup_is_end(checkup, at->source);
        if (is_counted && acknowledges(at, at->source))
            checkup_add(checkup, CHECK_IGNORED_ACKNOWLEDGES, at,
                        "%s takes its acknowledgement for that of a replica",
                        at->source->server->name);
    }
}

static void check_old_primary(struct checkup *checkup)
{
    const struct server_observation *primary = checkup->old_primary;
    const struct sql_server_state *state = &primary->state;
    if (state->held_up_ms >= SQL_HELD_UP_MS)
        checkup_add(checkup, CHECK_WRITES_HELD_UP, primary,
                    "the longest waits for %.1f s, and all others behind it",
                    (double)state->held_up_ms / 1e3);
    if (!state->is_source_semi_sync) {
        checkup_add(checkup, CHECK_SEMI_SYNC_OFF, primary,
                    "semi-sync is off: writes are acknowledged with no copy of them");
    } else if (check_ackers(checkup, primary, CHECK_NO_ACKER,
                            "no replica of its own region acknowledges its writes") &&
               !state->is_semi_sync_active) {
        checkup_add(checkup, CHECK_SEMI_SYNC_DEGRADED, primary,
                    "semi-sync is on, but has fallen back to asynchronous");
    }
}

static void check_new_primary(struct checkup *checkup)
{
    const struct server_observation *relay = checkup->new_primary;
    check_ackers(checkup, relay, CHECK_NO_ACKER_NEW_SIDE,
                 "no replica of its own region would acknowledge its writes");
    if (relay->state.is_replica_semi_sync && !is_alone(checkup, checkup->old_primary))
        checkup_add(checkup, CHECK_RELAY_ACKNOWLEDGES, relay,
                    "it acknowledges the primary's writes across regions");
}

/* Settings of a primary, now or soon. */
static void check_waiting(struct checkup *checkup, const struct server_observation *end)
{
    const struct sql_server_state *state = &end->state;
    if (state->semi_sync_timeout_ms < DAY_MS)
        checkup_add(checkup, CHECK_SEMI_SYNC_TIMEOUT, end,
                    "semi-sync gives up after %lld ms (rpl_semi_sync_master_timeout)",
                    (long long)state->semi_sync_timeout_ms);
    if (!state->waits_after_sync)
        checkup_add(checkup, CHECK_SEMI_SYNC_WAIT_POINT, end,
                    "rpl_semi_sync_master_wait_point is AFTER_COMMIT");
    if (!state->waits_without_ackers)
        checkup_add(checkup, CHECK_SEMI_SYNC_NO_SLAVE, end,
                    "rpl_semi_sync_master_wait_no_slave is off");
}

static void check_flags(struct checkup *checkup, const struct server_observation *server)
{
    const struct sql_server_state *state = &server->state;
    if (server != checkup->old_primary && state->is_source_semi_sync)
        checkup_add(checkup, CHECK_SEMI_SYNC_FLAG, server,
                    "rpl_semi_sync_master_enabled is on although it is not the primary");
    if (server->role == ROLE_REPLICA && server->source && !state->is_replica_semi_sync)
        checkup_add(checkup, CHECK_REPLICA_NOT_SEMI_SYNC, server,
                    "rpl_semi_sync_slave_enabled is off: it does not acknowledge");
}

void check_semi_sync(struct checkup *checkup)
{
    if (checkup->old_primary) {
        check_old_primary(checkup);
        check_waiting(checkup, checkup->old_primary);
    }
    if (checkup->new_primary) {
        check_new_primary(checkup);
        check_waiting(checkup, checkup->new_primary);
    }
    for (size_t i = 0; i < checkup->shard->shard->server_count; i++)
        if (checkup_answered(checkup, i))
            check_flags(checkup, &checkup->shard->servers[i]);
    check_ignored(checkup);
}
