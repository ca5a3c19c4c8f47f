/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness as a whole: asks everything once, runs the table of checks shard by shard, adds what
 * the store says, and sorts what was found; see readiness.h. */
#include "fleet/readiness.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/table.h"
#include "drain/mark.h"
#include "fleet/checkup.h"
#include "store/store.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OBSERVE_MS = 1000 };

static const struct {
    const char *id;
    enum severity severity;
    const char *title, *advice;
} table[] = {
#define X(name, id, severity, title, advice) {id, SEVERITY_##severity, title, advice},
    CHECK_TABLE(X)
#undef X
};

static const char *const ids[] = {CHECK_TABLE(TABLE_TEXT) NULL};

const char *severity_name(enum severity severity)
{
    static const char *const names[] = {"info", "warning", "no-go"};
    INVARIANT((unsigned)severity < ARRAY_SIZE(names));
    return names[severity];
}

const char *const *readiness_check_ids(void)
{
    return ids;
}

static int find_check(const char *id)
{
    for (int i = 0; i < CHECKS; i++)
        if (strcmp(table[i].id, id) == 0)
            return i;
    return -1;
}

bool readiness_has_check(const char *id)
{
    return find_check(id) >= 0;
}

const char *readiness_check_title(const char *id)
{
    int check = find_check(id);
    INVARIANT(check >= 0);
    return table[check].title;
}

/* --- Findings --------------------------------------------------------------------------------- */

void checkup_add(struct checkup *checkup, enum check_id check,
                 const struct server_observation *server, const char *format, ...)
{
    struct finding finding = {
        .check = table[check].id,
        .severity = table[check].severity,
        .shard = checkup->shard ? checkup->shard->shard->name : NULL,
        .server = server ? server->server->name : NULL,
        .advice = mem_strdup(table[check].advice),
    };
    if (finding.severity == SEVERITY_NO_GO && inventory_accepts(checkup->fleet, table[check].id)) {
        finding.severity = SEVERITY_WARNING;
        finding.is_accepted = true;
    }
    struct buf problem = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&problem, format, args);
    va_end(args);
    finding.problem = buf_take(&problem);
    struct readiness *ret = checkup->ret;
    VEC_PUSH(ret->findings, ret->count, ret->capacity, finding);
    ret->no_go_count += finding.severity == SEVERITY_NO_GO;
}

void checkup_soften(struct checkup *checkup)
{
    INVARIANT(checkup->ret->count > 0);
    struct finding *last = &checkup->ret->findings[checkup->ret->count - 1];
    checkup->ret->no_go_count -= last->severity == SEVERITY_NO_GO;
    last->severity = SEVERITY_WARNING;
    last->is_accepted = false;
}

void checkup_advise(struct checkup *checkup, const char *format, ...)
{
    INVARIANT(checkup->ret->count > 0);
    struct finding *last = &checkup->ret->findings[checkup->ret->count - 1];
    struct buf advice = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&advice, format, args);
    va_end(args);
    free(last->advice);
    last->advice = buf_take(&advice);
}

/* The worst first; within that in the order of the fleet file. */
static void sort_findings(struct readiness *readiness)
{
    struct finding *sorted = mem_zalloc((readiness->count + 1) * sizeof(*sorted));
    size_t next = 0;
    for (int severity = SEVERITY_NO_GO; severity >= SEVERITY_INFO; severity--)
        for (size_t i = 0; i < readiness->count; i++)
            if ((int)readiness->findings[i].severity == severity)
                sorted[next++] = readiness->findings[i];
    free(readiness->findings);
    readiness->findings = sorted;
    readiness->capacity = readiness->count;
}

/* --- One shard -------------------------------------------------------------------------------- */

static check_fn *const checks[] = {
    check_roles,    check_replication, check_positions, check_semi_sync,
    check_settings, check_activity,    check_accounts,  check_certificates,
};

void checkup_run(struct checkup *checkup, int to_region)
{
    const struct server_observation *primary = checkup->shard->primary;
    size_t home = primary ? primary->server->region : 0;
    checkup->old_primary = primary;
    checkup->new_primary = NULL;
    checkup->new_region = to_region >= 0 ? (size_t)to_region : 1 - home;
    if (primary && checkup->new_region == home) {
        checkup_add(checkup, CHECK_ALREADY_THERE, primary, "its primary is in %s already",
                    checkup->fleet->regions[home]);
        return;
    }
    if (primary)
        checkup->new_primary = checkup->shard->relays[checkup->new_region];
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        checks[i](checkup);
}

/* --- The store -------------------------------------------------------------------------------- */

static char *read_key(struct store *store, const char *key)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    struct err err = ERR_INIT;
    if (store_get(store, key, store_deadline(store, STORE_WORK), &entry, &err))
        return NULL;
    return take_pointer(entry.value);
}

/* Of the record (conductor/run_record.h) only how it goes on. */
static void add_unfinished(struct checkup *checkup, struct store *store, const char *id)
{
    AUTO_FREE char *key = mem_printf("runs/%s", id);
    AUTO_FREE char *text = read_key(store, key);
    json_t *record = text ? json_loads(text, 0, NULL) : NULL;
    const char *state = json_string_value(json_object_get(record, "state"));
    bool is_stuck = state && strcmp(state, "stuck") == 0;
    checkup->is_called_off = json_is_true(json_object_get(record, "called_off"));
    checkup_add(checkup, CHECK_UNFINISHED_RUN, NULL,
                is_stuck ? "run %s waits for an operator" : "the process of run %s is gone", id);
    if (checkup->is_called_off)
        checkup_advise(checkup, "holdfast run abort %s", id);
    else
        checkup_advise(checkup, "holdfast run resume %s, or: holdfast run abort %s", id, id);
    json_decref(record);
}

/* The keys are those of conductor/run.h: the lock is there while a process acts. */
static void check_runs(struct checkup *checkup, const struct readiness_request *request)
{
    AUTO_FREE char *current = read_key(request->store, "run-current");
    AUTO_FREE char *holder = read_key(request->store, "run-lock");
    const char *id = holder ? holder : current;
    if (!id || (request->resuming && strcmp(request->resuming, id) == 0))
        return;
    if (holder && strcmp(holder, "converge") == 0) {
        checkup_add(checkup, CHECK_RUN_IN_PROGRESS, NULL,
                    "'holdfast fleet converge' brings roles back");
        checkup_advise(checkup, "try again in a moment");
    } else if (holder && strcmp(holder, "ready") == 0) {
        checkup_add(checkup, CHECK_RUN_IN_PROGRESS, NULL,
                    "a region is silent: a conductor is about to fail it over");
        checkup_advise(checkup, "try again in a moment");
    } else if (holder) {
        checkup_add(checkup, CHECK_RUN_IN_PROGRESS, NULL, "run %s is moving shards", id);
        checkup_advise(checkup, "holdfast run show %s, or: holdfast run abort %s", id, id);
    } else {
        add_unfinished(checkup, request->store, id);
    }
}

/* A route that reads is given to the checks; in the middle of a move it is a finding itself. */
static bool load_route(struct checkup *checkup, const struct readiness_request *request,
                       struct route *ret)
{
    struct err err = ERR_INIT;
    enum status status = route_load(request->store, checkup->shard->shard->name,
                                    store_deadline(request->store, STORE_WORK), ret, &err);
    if (status && status != ST_NOT_FOUND)
        checkup_add(checkup, CHECK_STORE_UNAVAILABLE, NULL, "%s", err.text);
    if (status)
        return false;
    bool is_resumed = request->resuming && strcmp(request->resuming, ret->run) == 0;
    AUTO_FREE char *holder =
        ret->state == SHARD_SERVING ? NULL : read_key(request->store, "run-lock");
    bool is_moving = holder && strcmp(holder, ret->run) == 0; /* said once, of the fleet */
    if (ret->state != SHARD_SERVING && !is_resumed && !is_moving) {
        checkup_add(checkup, CHECK_UNFINISHED_RUN, NULL, "run %s left it %s", ret->run,
                    shard_state_name(ret->state));
        AUTO_FREE char *current = read_key(request->store, "run-current");
        if (current && strcmp(current, ret->run) == 0)
            checkup_advise(checkup, "holdfast run %s %s",
                           checkup->is_called_off ? "abort" : "resume", ret->run);
        else
            checkup_advise(checkup, "holdfast run abort %s brings it to one side", ret->run);
    }
    return true;
}

static void check_member(struct checkup *checkup, const struct store_member *member)
{
    AUTO_FREE char *whose = mem_printf("the certificate of etcd at %s", member->name);
    if (!member->status) {
        check_certificate_end(checkup, whose, member->certificate_end_s);
        return;
    }
    checkup_add(checkup, CHECK_STORE_MEMBER, NULL, "%s", member->problem);
    if (member->advice)
        checkup_advise(checkup, "%s", member->advice);
}

static bool is_region(const struct inventory *fleet, const char *site)
{
    size_t ignored = 0;
    return inventory_find_region(fleet, site, &ignored);
}

/* The store goes on at once, whichever region is lost, when it is led from a third site. */
static void check_leader(struct checkup *checkup, const struct store_health *health)
{
    const struct inventory *fleet = checkup->fleet;
    if (fleet->policy.automatic != AUTOMATIC_REGION || health->count != fleet->store_site_count)
        return;
    for (size_t i = 0; i < health->count; i++)
        if (health->members[i].leads && is_region(fleet, fleet->store_sites[i]))
            checkup_add(checkup, CHECK_STORE_LEADER, NULL, "etcd at %s leads, in region %s",
                        health->members[i].name, fleet->store_sites[i]);
}

static void check_store(struct checkup *checkup, struct store *store)
{
    AUTO(store_health_release) struct store_health health = {0};
    struct err err = ERR_INIT;
    if (store_check(store, store_deadline(store, STORE_GLANCE), &health, &err)) {
        checkup_add(checkup, CHECK_STORE_UNAVAILABLE, NULL, "%s", err.text);
        if (err.hint[0])
            checkup_advise(checkup, "%s", err.hint);
    }
    for (size_t i = 0; i < health.count; i++)
        check_member(checkup, &health.members[i]);
    check_leader(checkup, &health);
    if (health.lets_all_in)
        checkup_add(checkup, CHECK_STORE_OPEN, NULL, "etcd's authentication is off");
}

static void check_drained(struct checkup *checkup, struct store *store)
{
    AUTO(drain_list_release) struct drain_list drained = {0};
    struct err err = ERR_INIT;
    if (drain_list_load(store, store_deadline(store, STORE_GLANCE), &drained, &err))
        checkup_add(checkup, CHECK_STORE_UNAVAILABLE, NULL, "%s", err.text);
    for (size_t i = 0; i < drained.count; i++) {
        AUTO_FREE char *words = drain_mark_format(&drained.items[i]);
        checkup_add(checkup, CHECK_DRAINED, NULL, "%s", words);
        checkup_advise(checkup, "when it is back: holdfast host return %s", drained.items[i].host);
    }
}

static void check_fences(struct checkup *checkup, struct store *store)
{
    AUTO(store_list_release) struct store_list fences = {0};
    static const char prefix[] = "fenced/";
    struct err err = ERR_INIT;
    if (store_list(store, prefix, store_deadline(store, STORE_GLANCE), &fences, &err))
        checkup_add(checkup, CHECK_STORE_UNAVAILABLE, NULL, "%s", err.text);
    for (size_t i = 0; i < fences.count; i++)
        checkup_add(checkup, CHECK_FENCED, NULL, "region %s is fenced",
                    fences.entries[i].key + strlen(prefix));
}

/* Whoever is left has to be a majority. */
static void check_sites(struct checkup *checkup, const struct inventory *fleet, size_t members)
{
    if (!fleet->store_site_count)
        checkup_add(checkup, CHECK_STORE_SITES, NULL,
                    "a region with most of etcd's members would take the store with it");
    for (size_t i = 0; i < fleet->region_count; i++) {
        size_t there = 0;
        for (size_t j = 0; j < fleet->store_site_count; j++)
            there += strcmp(fleet->store_sites[j], fleet->regions[i]) == 0;
        if (there >= members - members / 2)
            checkup_add(checkup, CHECK_UNARMED, NULL,
                        "with region %s etcd loses its majority: %zu of its %zu members are there",
                        fleet->regions[i], there, members);
    }
}

/* Who closes the servers of a lost region, who notices, and who is left to agree on it? */
static void check_armed(struct checkup *checkup, const struct inventory *fleet)
{
    size_t conductors[INVENTORY_REGIONS] = {0}, members = inventory_store_members(fleet);
    if (fleet->policy.automatic != AUTOMATIC_REGION)
        return;
    if (members >= 3)
        check_sites(checkup, fleet, members);
    else
        checkup_add(checkup, CHECK_UNARMED, NULL,
                    "the store needs a third site, which neither region takes with it: an etcd of "
                    "three members");
    for (size_t i = 0; i < fleet->conductor_count; i++)
        conductors[fleet->conductors[i].region]++;
    for (size_t i = 0; i < fleet->region_count; i++)
        if (!conductors[i])
            checkup_add(checkup, CHECK_UNARMED, NULL, "region %s has no conductor",
                        fleet->regions[i]);
    for (size_t i = 0; i < fleet->shard_count; i++)
        for (size_t j = 0; j < fleet->shards[i].server_count; j++)
            if (!fleet->shards[i].servers[j].has_agent) {
                checkup_add(checkup, CHECK_UNARMED, NULL, "%s has no agent that would close it",
                            fleet->shards[i].servers[j].name);
                return;
            }
}

/* --- All -------------------------------------------------------------------------------------- */

/* What would be called: by the machine that looks, which is to be the one that runs it. */
static void check_hooks(struct checkup *checkup)
{
    for (size_t i = 0; i < checkup->fleet->hook_count; i++) {
        const struct inventory_hook *hook = &checkup->fleet->hooks[i];
        const char *exec = hook_command_trouble(&hook->exec),
                   *undo = hook_command_trouble(&hook->undo);
        if (!exec && !undo)
            continue;
        checkup_add(checkup, CHECK_HOOK_MISSING, NULL, "hook '%s'%s: %s %s", hook->name,
                    hook->is_required ? ", which must agree" : "",
                    exec ? hook->exec.argv[0] : hook->undo.argv[0], exec ? exec : undo);
        if (!exec || !hook->is_required)
            checkup_soften(checkup);
    }
}

static void check_fleet(struct checkup *checkup, const struct readiness_request *request)
{
    if (request->store_problem)
        checkup_add(checkup, CHECK_STORE_UNAVAILABLE, NULL, "%s", request->store_problem);
    if (request->store_problem && request->store_advice)
        checkup_advise(checkup, "%s", request->store_advice);
    if (request->store)
        check_store(checkup, request->store);
    if (request->store)
        check_runs(checkup, request);
    if (request->store)
        check_drained(checkup, request->store);
    if (request->store)
        check_fences(checkup, request->store);
    check_armed(checkup, request->fleet);
    if (request->fleet->is_rpo_guarded)
        checkup_add(checkup, CHECK_RPO_GUARD, NULL,
                    "a shard's writes stop when the other region has received nothing for %lld ms",
                    (long long)request->fleet->promise_rpo_ms);
    check_own_certificate(checkup);
    check_hooks(checkup);
    if (request->paused)
        checkup_add(checkup, CHECK_PAUSED, NULL, "%s", request->paused);
    if (!request->fleet->probe.user)
        checkup_add(checkup, CHECK_NO_PROBE, NULL, "the fleet file has no 'probe'");
}

struct look_order {
    const struct readiness_request *request;
    struct checkup checkup;
    nsec time;
};

static void look_and_check(void *context, struct fleet_observation *group)
{
    struct look_order *order = context;
    const struct readiness_request *request = order->request;
    struct checkup *checkup = &order->checkup;
    AUTO(fleet_look_release) struct fleet_look look = {0};
    fleet_look(request->fleet, group, !request->resuming, clock_now() + order->time, &look);
    for (size_t i = 0; i < group->count; i++) {
        struct route route = {0};
        checkup->shard = &group->shards[i];
        checkup->looks = look.shards[i];
        bool has_route = request->store && load_route(checkup, request, &route);
        checkup->route = has_route ? &route : NULL;
        checkup_run(checkup, request->to_region);
        for (size_t j = 0; j < inventory_shard_size(checkup->shard->shard); j++)
            sql_server_state_compact(&group->shards[i].servers[j].state);
    }
}

static void load_revoked(struct checkup *checkup, const struct readiness_request *request,
                         struct store_list *ret)
{
    struct err err = ERR_INIT;
    checkup->revoked = ret;
    if (request->store && store_list(request->store, CHECKUP_REVOKED,
                                     store_deadline(request->store, STORE_WORK), ret, &err))
        checkup_add(checkup, CHECK_STORE_UNAVAILABLE, NULL, "%s", err.text);
}

void readiness_check(const struct readiness_request *request, nsec deadline, struct readiness *ret)
{
    *ret = (struct readiness){0};
    nsec left = deadline - clock_now(), observe = OBSERVE_MS * NSEC_PER_MS;
    struct look_order order = {
        request, {.fleet = request->fleet, .ret = ret, .now_s = time(NULL)}, left};
    struct fleet_survey survey = {
        .fleet = request->fleet,
        .shards = request->shards,
        .count = request->shard_count,
        .group = request->group,
        .time = observe < left ? observe : left,
        .look = look_and_check,
        .context = &order,
    };
    AUTO(store_list_release) struct store_list revoked = {0};
    check_fleet(&order.checkup, request);
    load_revoked(&order.checkup, request, &revoked);
    fleet_survey(&survey, &ret->observation);
    sort_findings(ret);
}

void readiness_release(struct readiness *readiness)
{
    for (size_t i = 0; i < readiness->count; i++) {
        free(readiness->findings[i].problem);
        free(readiness->findings[i].advice);
    }
    free(readiness->findings);
    fleet_observation_release(&readiness->observation);
    *readiness = (struct readiness){0};
}
