/* SPDX-License-Identifier: Apache-2.0
 * See plan.h. */
#include "handover/plan.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "handover/heir.h"

#include <stdlib.h>

static const char *const role_names[] = {HANDOVER_ROLE_TABLE(TABLE_TEXT)};

const char *handover_role_name(enum handover_role role)
{
    INVARIANT((unsigned)role < HANDOVER_ROLES);
    return role_names[role];
}

struct draft {
    const struct inventory *fleet;
    const struct drain_list *drained;
    const struct drain_mark *mark;
    struct handover_plan *plan;
};

static void add(struct draft *draft, const struct handover_line *line)
{
    struct handover_plan *plan = draft->plan;
    VEC_PUSH(plan->lines, plan->count, plan->capacity, *line);
    plan->refused += line->refusal.status != ST_OK;
    plan->moves += line->to != NULL && line->refusal.status == ST_OK;
}

/* ---- away from the host ---- */

static void plan_primary_away(struct draft *draft, struct handover_line *line)
{
    struct heirs heirs = {0};
    line->role = HANDOVER_PRIMARY;
    if (heirs_choose(line->shard, draft->drained, NULL, &heirs, &line->refusal) == ST_OK)
        line->to = heirs.primary;
}

static void plan_relay_away(struct draft *draft, struct handover_line *line)
{
    line->role = HANDOVER_RELAY;
    line->to = heirs_find_relay(line->shard, draft->drained, line->from->server->region);
    if (!line->to)
        line->note = "nobody else in its region can be relay: while it is down the region gets "
                     "nothing";
}

static void plan_away(struct draft *draft, const struct shard_observation *shard,
                      const struct server_observation *server)
{
    struct handover_line line = {.shard = shard, .role = HANDOVER_NONE, .from = server};
    if (server == shard->primary)
        plan_primary_away(draft, &line);
    else if (server == shard->relays[server->server->region])
        plan_relay_away(draft, &line);
    if (server != shard->primary && !line.refusal.status)
        status_ignore(heirs_check_ackers(shard, draft->drained, &line.refusal),
                      "it is in the line");
    add(draft, &line);
}

/* ---- back to it ---- */

static void check_lag(const struct draft *draft, struct handover_line *line)
{
    double most = (double)draft->fleet->policy.max_lag_ms;
    if (line->refusal.status || (line->to->lag_ms >= 0 && line->to->lag_ms <= most))
        return;
    if (line->to->lag_ms < 0)
        err_set(&line->refusal, ST_NO_GO, "shard %s: %s does not get there where its primary is",
                line->shard->shard->name, line->to->server->name);
    else
        err_set(&line->refusal, ST_NO_GO, "shard %s: %s is %.0f ms behind",
                line->shard->shard->name, line->to->server->name, line->to->lag_ms);
    err_hint(&line->refusal, "wait until it has caught up (policy.max_lag), then try again");
}

static void plan_primary_back(struct draft *draft, struct handover_line *line)
{
    struct heirs heirs = {0};
    const struct server_observation *primary = line->shard->primary;
    line->role = HANDOVER_PRIMARY;
    if (primary == line->to)
        line->from = line->to = NULL;
    else if (primary && primary->server->region != line->to->server->region) {
        line->to = NULL;
        line->note = "its shard is in the other region now: there is nothing to give back";
    } else {
        status_ignore(heirs_choose(line->shard, draft->drained, line->to->server->name, &heirs,
                                   &line->refusal),
                      "it is in the line");
        check_lag(draft, line);
    }
}

static void plan_relay_back(struct draft *draft, struct handover_line *line)
{
    const struct server_observation *primary = line->shard->primary;
    line->role = HANDOVER_RELAY;
    line->from = line->shard->relays[line->to->server->region];
    if (line->from == line->to ||
        (primary && primary->server->region == line->to->server->region)) {
        line->from = line->to = NULL;
        return;
    }
    const char *why = heirs_refusal(line->to);
    if (why) {
        err_set(&line->refusal, ST_NO_GO, "shard %s: %s %s", line->shard->shard->name,
                line->to->server->name, why);
        err_hint(&line->refusal, "holdfast fleet converge brings a restarted server into its role");
    }
    check_lag(draft, line);
}

static void plan_back(struct draft *draft, const struct shard_observation *shard,
                      const struct server_observation *server)
{
    struct handover_line line = {
        .shard = shard, .role = HANDOVER_NONE, .from = shard->primary, .to = server};
    if (drain_names_have(&draft->mark->primaries, server->server->name))
        plan_primary_back(draft, &line);
    else if (drain_names_have(&draft->mark->relays, server->server->name))
        plan_relay_back(draft, &line);
    else
        line.from = line.to = NULL;
    if (line.role != HANDOVER_NONE)
        add(draft, &line);
}

/* ---- all ---- */

void handover_plan_make(const struct inventory *fleet, const struct fleet_observation *seen,
                        const struct drain_list *drained, const struct drain_mark *mark,
                        struct handover_plan *ret)
{
    *ret = (struct handover_plan){0};
    struct draft draft = {fleet, drained, mark, ret};
    for (size_t i = 0; i < seen->count; i++) {
        const struct shard_observation *shard = &seen->shards[i];
        for (size_t j = 0; j < shard->shard->server_count; j++) {
            const struct server_observation *server = &shard->servers[j];
            if (!drain_names_have(&mark->servers, server->server->name))
                continue;
            if (mark->state == DRAIN_RETURNS)
                plan_back(&draft, shard, server);
            else
                plan_away(&draft, shard, server);
        }
    }
}

void handover_plan_release(struct handover_plan *plan)
{
    free(plan->lines);
    *plan = (struct handover_plan){0};
}
