/* SPDX-License-Identifier: Apache-2.0
 *
 * What a failover writes to its shard's route, state by state, and to the permissions to serve;
 * how: move/record.h. */
#include "failover/internal.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "move/mandate.h"
#include "move/record.h"
#include "os/crew.h"
#include "permit/fence.h"
#include "permit/opening.h"
#include "store/store.h"

#include <stdio.h>

static enum call call_of(enum shard_state next)
{
    switch ((int)next) {
    case SHARD_FENCING:
        return CALL_WRITE_FENCING;
    case SHARD_OPENING:
        return CALL_WRITE_OPENING;
    case SHARD_REPOINTING:
        return CALL_WRITE_REPOINTING;
    default:
        return CALL_WRITE_RETURNED;
    }
}

static void set_name(char *to, const char *from)
{
    INVARIANT(snprintf(to, ROUTE_NAME_MAX, "%s", from) < ROUTE_NAME_MAX);
}

/* Nothing in the route is of this run yet. */
static bool is_first(const struct failover *failover)
{
    return failover->route.state == SHARD_SERVING ||
           strcmp(failover->route.run, failover->mandate->run) != 0;
}

/* 'new_primary' stays from the first opening on: it says that there is no way back. */
static struct route next_route(const struct failover *failover, enum shard_state next)
{
    struct route route = failover->route;
    route.state = next;
    if (next != SHARD_SERVING)
        set_name(route.run, failover->mandate->run);
    if (next == SHARD_FENCING && is_first(failover)) {
        if (!failover_find_former(failover)) /* which is, as long as no other was published */
            set_name(route.primary, failover->lost->name);
        route.new_primary[0] = '\0';
        set_name(route.target, failover->mandate->fleet->regions[failover->mandate->to_region]);
        set_name(route.old_primary, failover->lost->name);
    } else if (next == SHARD_OPENING && failover->chosen) {
        set_name(route.new_primary, failover->chosen->name);
        route.is_strict = failover->is_strict;
    } else if (next == SHARD_REPOINTING && failover->route.state != SHARD_REPOINTING) {
        route.epoch++;
        set_name(route.primary, route.new_primary);
        if (route.target[0])
            set_name(route.home, route.target);
    } else if (next == SHARD_SERVING) {
        if (failover->route.state != SHARD_REPOINTING)
            route.run[0] = '\0';
        route.target[0] = route.old_primary[0] = route.new_primary[0] = '\0';
        route.is_strict = false;
    }
    return route;
}

static struct held_route hold(struct failover *failover)
{
    return (struct held_route){failover->mandate, failover->shard, &failover->route,
                               &failover->is_route_doubtful, &failover->view.state};
}

/* ---- permission to serve: the parts that belong to a state ---- */

static const char *lost_region(const struct failover *failover)
{
    return failover->mandate->fleet->regions[failover->lost->region];
}

enum status failover_know_fence(struct failover *failover, nsec deadline, struct err *err)
{
    AUTO(permit_fence_release) struct permit_fence fence = {0};
    enum status status =
        permit_fence_load(failover->mandate->store, lost_region(failover), deadline, &fence, err);
    failover->fence = fence.revision;
    if (status != ST_NOT_FOUND)
        return status;
    *err = (struct err)ERR_INIT;
    return ST_OK;
}

/* The process before this one may have withdrawn it. */
static enum status return_permission(const struct failover *failover, nsec deadline,
                                     struct permit_part *ret, struct err *err)
{
    AUTO(permit_list_release) struct permit_list list = {0};
    const char *server = failover->lost->name;
    enum status status = permit_list_load(failover->mandate->store, deadline, &list, err);
    int64_t revision = permit_list_find(&list, server);
    if (!status && revision)
        permit_part_return(ret, server, revision);
    return status;
}

/* With its region all that the shard has there: one of them may have been opened since, and what
 * they acknowledged alone keeps nobody from opening (docs/failover.md, "When it is back"). */
static void revoke_lost(const struct failover *failover, const char *note, struct permit_part *ret)
{
    const struct inventory_server *servers = failover->shard->servers;
    permit_part_revoke(ret, &failover->wait.term, failover->lost->name, note);
    for (size_t i = 0; i < failover->shard->server_count; i++)
        if (failover_leaves_region(failover) && servers[i].region == failover->lost->region &&
            ret->op_count + 2 < PERMIT_PART_MAX)
            permit_part_revoke(ret, &failover->wait.term, servers[i].name, note);
}

static enum status make_part(struct failover *failover, enum shard_state next, nsec deadline,
                             struct permit_part *ret, struct err *err)
{
    const struct mandate *mandate = failover->mandate;
    if (next == SHARD_SERVING && failover->route.state == SHARD_FENCING)
        return return_permission(failover, deadline, ret, err);
    if (!failover->is_looked_after)
        return ST_OK;
    if (next == SHARD_FENCING && is_first(failover)) {
        failover_know_route(failover);
        AUTO_FREE char *note = mem_printf("shard %s, run %s", failover->shard->name, mandate->run);
        enum status status =
            failover->wait.term.revision
                ? ST_OK
                : permit_term_load(mandate->store, deadline, &failover->wait.term, err);
        failover->is_looked_after = status != ST_NOT_FOUND; /* no conductor ever ran here */
        if (status)
            return status == ST_NOT_FOUND ? ST_OK : status;
        revoke_lost(failover, note, ret);
        if (failover->fence)
            permit_part_keep_fence(ret, lost_region(failover), failover->fence);
        failover->wait.fence = failover->fence;
    } else if (next == SHARD_OPENING && failover->chosen) {
        permit_part_open(ret, failover->chosen->name,
                         mandate->fleet->regions[failover->chosen->region]);
    }
    return ST_OK;
}

/* Two lists, read side by side: clients wait for them. */
enum { READ_REVOKED, READ_GRANTERS, READ };

struct reading {
    struct failover *failover;
    nsec deadline;
    enum status statuses[READ];
    struct err errs[READ];
};

static void read_one(void *context, size_t which)
{
    struct reading *reading = context;
    struct failover *failover = reading->failover;
    struct store *store = failover->mandate->store;
    struct err *err = &reading->errs[which];
    *err = (struct err)ERR_INIT;
    if (which == READ_REVOKED) {
        permit_list_release(&failover->revoked);
        reading->statuses[which] =
            permit_list_load(store, reading->deadline, &failover->revoked, err);
    } else {
        permit_granters_release(&failover->granters);
        reading->statuses[which] =
            permit_granters_load(store, reading->deadline, &failover->granters, err);
    }
}

/* Of the revocation, or later. */
static enum status judge_granters(struct failover *failover, const struct reading *reading,
                                  struct err *err)
{
    enum status status = reading->statuses[READ_GRANTERS];
    if (status)
        *err = reading->errs[READ_GRANTERS];
    if (!status && failover->granters.revision < failover->wait.revision)
        status = err_set(err, ST_BUSY, "the store answers with what it knew before");
    if (failover->wait.fence)
        permit_granters_leave_out(&failover->granters, lost_region(failover));
    if (status)
        failover->wait.revision = 0; /* all of it again */
    return status;
}

/* The process before this one withdrew the permission, and demanded the fence, or did not. */
static enum status know_fence_since(struct failover *failover, nsec deadline, struct err *err)
{
    AUTO(permit_fences_release) struct permit_fences fences = {0};
    struct permit_wait *wait = &failover->wait;
    if (!failover->fence || wait->fence)
        return ST_OK;
    enum status status = permit_fences_load(failover->mandate->store, deadline, &fences, err);
    const struct permit_fence *fence = permit_fences_find(&fences, lost_region(failover));
    if (!status && fence && fences.revision >= wait->revision)
        wait->fence = fence->revision;
    return status;
}

enum status failover_know_revocations(struct failover *failover, nsec deadline, struct err *err)
{
    struct store *store = failover->mandate->store;
    struct permit_wait *wait = &failover->wait;
    struct reading reading = {.failover = failover, .deadline = deadline};
    crew_run(wait->revision ? READ_GRANTERS : READ, READ, read_one, &reading);
    enum status status = reading.statuses[READ_REVOKED];
    if (status)
        *err = reading.errs[READ_REVOKED];
    bool is_revoked = permit_list_find(&failover->revoked, failover->lost->name) != 0;
    failover->is_looked_after |= is_revoked; /* by whoever began this, with another fleet file */
    if (status || wait->revision || !failover->is_looked_after)
        return status;
    if (!wait->term.revision) /* else the revocation compared it */
        status = permit_term_load(store, deadline, &wait->term, err);
    if (status)
        return status;
    wait->since = clock_now();
    wait->revision = permit_list_find(&failover->revoked, failover->lost->name);
    if (wait->revision) {
        status = know_fence_since(failover, deadline, err);
        if (status)
            wait->revision = 0; /* all of it again */
        return status ? status : judge_granters(failover, &reading, err);
    }
    return err_set(err, ST_CONFLICT, "the permission of %s to serve was given back meanwhile",
                   failover->lost->name);
}

static enum status write_state(struct failover *failover, enum shard_state next,
                               const struct permit_part *part, nsec deadline, struct err *err)
{
    AUTO(attempt_release) struct attempt attempt = {0};
    struct held_route held = hold(failover);
    struct route wanted = next_route(failover, next);
    attempt_init(&attempt, &held, &wanted, part);
    return attempt_write(&attempt, &held, call_of(next), deadline, err);
}

static enum status attempt_once(struct failover *failover, enum shard_state next, nsec deadline,
                                struct err *err)
{
    AUTO(permit_part_release) struct permit_part part = {0};
    enum status status = make_part(failover, next, deadline, &part, err);
    return status ? status : write_state(failover, next, &part, deadline, err);
}

static enum status see_closed(struct failover *failover, const struct inventory_server *candidate,
                              nsec deadline, struct err *err)
{
    struct failover_look look = {.server = candidate};
    struct session *session = NULL;
    enum status status = failover_take(failover, candidate, &session, deadline, err);
    if (status)
        return status;
    failover_look_again(failover, CALL_FAIL_STOP, &look, 1, deadline);
    const struct server_observation *seen = failover_seen(failover, candidate);
    if (!seen->status && seen->state.is_read_only)
        return ST_OK;
    return err_set(err, ST_CONFLICT, "%s is not closed any more", candidate->name);
}

enum status failover_permit(struct failover *failover, const struct inventory_server *candidate,
                            nsec deadline, struct err *err)
{
    AUTO(permit_part_release) struct permit_part part = {0};
    int64_t revision = permit_list_find(&failover->revoked, candidate->name);
    if (revision == 0 || !failover->is_looked_after)
        return ST_OK;
    enum status status = see_closed(failover, candidate, deadline, err);
    if (status)
        return status;
    permit_part_return(&part, candidate->name, revision);
    status = write_state(failover, SHARD_FENCING, &part, deadline, err);
    if (!status)
        failover_note(failover,
                      "%s got its permission to serve back for this: nobody else was there",
                      candidate->name);
    return status;
}

enum status failover_record(struct failover *failover, enum shard_state next, nsec deadline,
                            struct err *err)
{
    enum status status = ST_OK;
    struct held_route held = hold(failover);
    if (failover->is_route_doubtful)
        status = held_route_read_back(&held, deadline, err);
    if (!status)
        status = attempt_once(failover, next, deadline, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt_once(failover, next, deadline, err);
    struct err ignored = ERR_INIT;
    if (status == ST_CONFLICT)
        failover->wait.term = (struct permit_term){0};
    if (status == ST_CONFLICT && failover->fence) /* it may be another one now, or none */
        status_ignore(failover_know_fence(failover, deadline, &ignored), "then it fails again");
    return status && status != ST_FENCED
               ? err_wrap(err, "record state '%s'", shard_state_name(next))
               : status;
}
