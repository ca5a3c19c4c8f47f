/* SPDX-License-Identifier: Apache-2.0
 * See elect.h. Nothing that anybody received may be missing in the candidate when it opens: an
 * acknowledged write is in some replica's relay log, and nowhere else is that known. */
#include "failover/elect.h"

#include "base/buf.h"
#include "base/scope.h"
#include "drain/mark.h"
#include "permit/permit.h"
#include "roles/ahead.h"
#include "wire/gtid.h"

#include <string.h>

static size_t count_of(const struct shard_observation *shard)
{
    return shard->shard->server_count;
}

/* Has it applied all that it received? Say what not. */
static bool is_drained(const struct server_observation *server, struct buf *words)
{
    AUTO(gtid_set_release) struct gtid_set has = {0}, received = {0};
    AUTO_FREE char *whole = roles_whole_position(server);
    enum gtid_flavour gtid = server->flavour->gtid;
    struct err ignored = ERR_INIT;
    if (server->state.channels == 0)
        return true;
    if (!whole || gtid_set_parse_text(gtid, whole, &has, &ignored) ||
        gtid_set_parse_text(gtid, server->state.received, &received, &ignored)) {
        buf_add(words, "its position does not read");
        return false;
    }
    return !gtid_set_describe_missing(&has, &received, words);
}

static bool can_open(const struct server_observation *server, const struct vacancy *vacancy)
{
    const struct sql_server_state *state = &server->state;
    AUTO(buf_release) struct buf ignored = {0};
    return server->status == ST_OK && server->server != vacancy->server &&
           server->server->region == vacancy->to_region && state->is_read_only &&
           state->has_binlog && state->logs_replica_updates && state->channels <= 1 &&
           is_drained(server, &ignored);
}

static bool is_ahead(const struct shard_observation *shard,
                     const struct server_observation *candidate,
                     const struct server_observation *server)
{
    AUTO(buf_release) struct buf ignored = {0};
    return server != candidate && server->status == ST_OK &&
           roles_is_ahead(shard, candidate, server, &ignored);
}

static size_t count_ahead(const struct shard_observation *shard,
                          const struct server_observation *of)
{
    size_t count = 0;
    for (size_t i = 0; i < count_of(shard); i++)
        count += is_ahead(shard, of, &shard->servers[i]);
    return count;
}

/* For lack of permission; one that is revoked can be given it back. */
static bool is_closed_again(const struct unwanted *unwanted, const struct inventory_server *server)
{
    return permit_list_find(unwanted->revoked, server->name) ||
           (unwanted->may_open && !unwanted->may_open(unwanted->context, server));
}

/* What others are ahead of, it catches up in a moment; a permission comes by way of conductor and
 * agent; a host that is drained may go down now. */
static size_t reluctance(const struct shard_observation *shard, const struct server_observation *at,
                         const struct unwanted *unwanted)
{
    size_t all = count_of(shard), reluctance = count_ahead(shard, at);
    reluctance += is_closed_again(unwanted, at->server) ? all : 0;
    reluctance += drain_keeps_off(unwanted->drained, at->server->name) ? 2 * all : 0;
    return reluctance;
}

/* One that is wanted, and of which fewest are ahead; of equals the first in the fleet file. */
static const struct server_observation *find_candidate(const struct shard_observation *shard,
                                                       const struct vacancy *vacancy,
                                                       const struct unwanted *unwanted)
{
    const struct server_observation *best = NULL;
    size_t least = 0;
    for (size_t i = 0; i < count_of(shard); i++) {
        const struct server_observation *at = &shard->servers[i];
        if (!can_open(at, vacancy))
            continue;
        size_t its = reluctance(shard, at, unwanted);
        if (best && its >= least)
            continue;
        best = at;
        least = its;
    }
    return best;
}

/* Of those ahead of the candidate the one that nobody is ahead of. */
static const struct server_observation *find_furthest(const struct shard_observation *shard,
                                                      const struct server_observation *candidate)
{
    for (size_t i = 0; i < count_of(shard); i++)
        if (is_ahead(shard, candidate, &shard->servers[i]) &&
            count_ahead(shard, &shard->servers[i]) == 0)
            return &shard->servers[i];
    return NULL;
}

/* Why no server of the region can: the first that answers, by its own reason. */
static enum status refuse(const struct shard_observation *shard, const struct vacancy *vacancy,
                          struct err *err)
{
    for (size_t i = 0; i < count_of(shard); i++) {
        const struct server_observation *at = &shard->servers[i];
        AUTO(buf_release) struct buf words = {0};
        if (at->status || at->server == vacancy->server || at->server->region != vacancy->to_region)
            continue;
        if (is_drained(at, &words))
            continue;
        err_set(err, at->state.is_sql_running ? ST_TIMEOUT : ST_NO_GO,
                "%s has not applied what it received: %s%s%.100s", at->server->name,
                buf_text(&words), at->state.sql_error[0] ? ": " : "", at->state.sql_error);
        return err_hint(err, "mend its replication without starting it anew: that would throw away "
                             "what it received");
    }
    err_set(err, ST_NO_GO, "no server of the %s %s can take over",
            vacancy_is_of_region(vacancy) ? "region other than that of" : "region of",
            vacancy->server->name);
    return err_hint(err, "bring one back that was its replica, with a binary log, and resume");
}

static enum status check_ahead(const struct shard_observation *shard, const struct election *made,
                               struct err *err)
{
    AUTO(buf_release) struct buf words = {0};
    const struct server_observation *ahead = made->ahead;
    if (!is_drained(ahead, &words)) {
        err_set(err, ahead->state.is_sql_running ? ST_TIMEOUT : ST_NO_GO,
                "%s has received what nobody else has, and not applied it: %s%s%.100s",
                ahead->server->name, buf_text(&words), ahead->state.sql_error[0] ? ": " : "",
                ahead->state.sql_error);
        return err_hint(err, "mend its replication without starting it anew: that would throw away "
                             "what it received");
    }
    if (!roles_is_ahead(shard, ahead, made->candidate, &words))
        return ST_OK;
    err_set(err, ST_CONFLICT, "%s has what %s lacks, and the other way round (%s)",
            made->candidate->server->name, ahead->server->name, buf_text(&words));
    return err_hint(err, "find out which history is the right one; close the other for good by "
                         "'ignore' in the fleet file");
}

enum status elect(const struct shard_observation *shard, const struct vacancy *vacancy,
                  const struct unwanted *unwanted, struct election *ret, struct err *err)
{
    *ret = (struct election){.candidate = find_candidate(shard, vacancy, unwanted)};
    if (!ret->candidate)
        return refuse(shard, vacancy, err);
    if (count_ahead(shard, ret->candidate) == 0)
        return ST_OK;
    ret->ahead = find_furthest(shard, ret->candidate);
    if (ret->ahead)
        return check_ahead(shard, ret, err);
    err_set(err, ST_CONFLICT, "no server has all that the others of the shard have");
    return err_hint(err, "find out which history is the right one; close the others for good by "
                         "'ignore' in the fleet file");
}
