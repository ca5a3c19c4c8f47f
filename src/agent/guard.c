/* SPDX-License-Identifier: Apache-2.0
 * One server of the host: when it is looked at, when it is closed, what is told of it. The rules of
 * closing are fence.c, the calls errand.c. Nothing here waits. */
#include "agent/internal.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    POSITIONS_MS = 1000, /* between two looks at what it received: each becomes an fsync */
    LOOK_MS = 1000,      /* for an answer, at most */
    CLOSED_MS = 100,     /* between two looks at one that may not serve, at most */
    AGAIN_MS = 50,       /* between two attempts to confirm */
    ENDING_MS = 2,       /* between two looks whether a killed process has ended */
    SHUT_MS = 60000,
    STALE_LOOKS = 3,
};

void guard_init(struct guard *guard, struct agent *agent, size_t index)
{
    const struct agent_config *config = agent->config;
    *guard = (struct guard){.agent = agent, .index = index};
    guard->server = inventory_host_server(config->fleet, config->host, index);
    const struct sql_endpoint endpoint =
        inventory_endpoint(config->fleet, &config->fleet->credentials, guard->server);
    for (size_t i = 0; i < SLOTS; i++)
        guard->slots[i].conn = sql_conn_new(&endpoint);
    guard->has_process =
        state_load_process(config->state_folder, guard->server->name, &guard->process);
}

void guard_release(struct guard *guard)
{
    for (size_t i = 0; i < SLOTS; i++) {
        sql_conn_free(guard->slots[i].conn);
        sql_call_release(&guard->slots[i].call);
        buf_release(&guard->slots[i].sql);
    }
    free(guard->trouble);
}

/* ---- closing ---- */

/* One that works, else a new one; nowhere when all are busy, which the bound ends. */
static void shut(struct guard *guard, nsec now)
{
    enum slot_id id = slot_is_ready(&guard->slots[SLOT_STANDBY]) ? SLOT_STANDBY
                      : slot_is_ready(&guard->slots[SLOT_WATCH]) ? SLOT_WATCH
                                                                 : SLOT_FRESH;
    if (guard->slots[id].errand != ERRAND_NONE) {
        guard->fence.retry_at = now + ENDING_MS * NSEC_PER_MS;
        return;
    }
    guard->fence.is_shutting = true;
    errand_begin(guard, id, ERRAND_SHUT, now + SHUT_MS * NSEC_PER_MS);
}

static void kill_process(struct guard *guard, nsec now)
{
    bool is_first = guard->fence.killed_at == 0;
    guard->fence.killed_at = now;
    guard->kill_err = (struct err)ERR_INIT;
    enum status status = process_signal(&guard->process, SIGKILL, &guard->kill_err);
    if (is_first && (!status || status == ST_NOT_FOUND))
        agent_note(guard->agent, EV_FENCE, guard, "killed",
                   "it did not refuse writes within the bound");
    guard_check_process(guard);
}

/* Once: another server may be opened beside it when the TTL is over. */
static void tell_of_failure(struct guard *guard)
{
    const char *why = !guard->fence.has_process ? guard->trouble
                      : guard->kill_err.status  ? guard->kill_err.text
                                                : "it was killed, and does not end";
    guard->fence.is_told_of = true;
    agent_note(guard->agent, EV_FENCE_FAILED, guard, "neither refuses writes nor ends", why);
}

static bool is_allowed(const struct guard *guard, nsec now)
{
    const struct agent *agent = guard->agent;
    bool is_revoked = agent->holder.servers[guard->index].revoked;
    return !permit_holder_must_close(&agent->holder, guard->index, now) ||
           (now < agent->trial_until && !is_revoked);
}

static void begin_fence(struct guard *guard, nsec now)
{
    guard->fence = (struct fence_view){.began = now};
    guard->failures = 0;
    agent_note(guard->agent, EV_FENCE, guard, "is closed",
               guard->agent->holder.servers[guard->index].revoked ? "revoked" : "no permission");
}

void guard_fence(struct guard *guard, nsec now)
{
    struct fence_view *fence = &guard->fence;
    bool was_shutting = fence->is_shutting;
    if (is_allowed(guard, now)) {
        *fence = (struct fence_view){.is_allowed = true, .is_shutting = was_shutting};
        guard->evict = 0;
        return;
    }
    if (!fence->began) {
        begin_fence(guard, now);
        fence->is_shutting = was_shutting;
    }
    if (fence->killed_at && !guard->is_dead)
        guard_check_process(guard);
    fence->has_process = guard->has_process;
    switch (fence_plan(fence, guard->agent->ttl, now)) {
    case DEED_SHUT:
        shut(guard, now);
        break;
    case DEED_KILL:
        kill_process(guard, now);
        break;
    case DEED_NONE:
        break;
    }
    if (!guard->is_dead && now >= fence_alarm(fence))
        tell_of_failure(guard);
}

bool guard_is_settled(const struct guard *guard)
{
    return guard->fence.began && (guard->fence.is_shut || guard->is_dead);
}

/* ---- looking ---- */

static bool wants_confirmation(const struct guard *guard)
{
    const struct permit_holder *holder = &guard->agent->holder;
    bool is_closed = guard->looked && !guard->is_open && !guard->is_dead;
    return is_closed && !guard->fence.is_allowed &&
           (!permit_holder_is_shut(holder, guard->index) ||
            holder->servers[guard->index].closed < holder->version);
}

static void take_process(struct guard *guard)
{
    struct err err = ERR_INIT;
    struct process process = {0};
    if (!guard->is_identifying ||
        !scribe_take_process(guard->agent->scribe, guard->index, &process, &err))
        return;
    guard->is_identifying = false;
    guard->has_process = err.status == ST_OK;
    if (guard->has_process)
        guard->process = process;
    const char *trouble = guard->has_process ? "" : err.text;
    if (guard->trouble && strcmp(guard->trouble, trouble) == 0)
        return;
    free(guard->trouble);
    guard->trouble = mem_strdup(trouble);
    if (trouble[0])
        agent_note(guard->agent, EV_AGENT_TROUBLE, guard, "could not be killed if it hangs",
                   trouble);
}

/* One that is opened without a permission must not stay so for long, however long this fleet file
 * thinks that a permission lasts: see docs/permission.md, "The guard". */
static nsec look_pause(const struct guard *guard)
{
    nsec most = guard->fence.is_allowed ? NSEC_NEVER : CLOSED_MS * NSEC_PER_MS;
    return guard->agent->period < most ? guard->agent->period : most;
}

void guard_look(struct guard *guard, nsec now)
{
    take_process(guard);
    if (now >= guard->next_look && guard->slots[SLOT_STANDBY].errand == ERRAND_NONE) {
        guard->next_look = now + look_pause(guard);
        errand_begin(guard, SLOT_STANDBY, ERRAND_LOOK, now + LOOK_MS * NSEC_PER_MS);
    }
    if (now >= guard->next_positions && guard->slots[SLOT_WATCH].errand == ERRAND_NONE) {
        guard->next_positions = now + POSITIONS_MS * NSEC_PER_MS;
        errand_begin(guard, SLOT_WATCH, ERRAND_POSITIONS, now + LOOK_MS * NSEC_PER_MS);
    }
    bool is_fresh_free = guard->slots[SLOT_FRESH].errand == ERRAND_NONE;
    if (guard->evict && is_fresh_free) {
        errand_begin(guard, SLOT_FRESH, ERRAND_EVICT, now + LOOK_MS * NSEC_PER_MS);
    } else if (wants_confirmation(guard) && now >= guard->next_confirm && is_fresh_free) {
        guard->next_confirm = now + AGAIN_MS * NSEC_PER_MS;
        errand_begin(guard, SLOT_FRESH, ERRAND_CONFIRM, now + LOOK_MS * NSEC_PER_MS);
    }
}

static nsec earlier(nsec one, nsec other)
{
    return one < other ? one : other;
}

nsec guard_next(const struct guard *guard, nsec now)
{
    nsec next = fence_next(&guard->fence, guard->agent->ttl, now);
    if (guard->fence.killed_at && !guard->is_dead)
        next = earlier(next, now + ENDING_MS * NSEC_PER_MS);
    if (!guard->is_dead)
        next = earlier(next, fence_alarm(&guard->fence));
    for (size_t i = 0; i < SLOTS; i++)
        if (guard->slots[i].errand != ERRAND_NONE)
            next = earlier(next, guard->slots[i].call.deadline);
    if (guard->slots[SLOT_STANDBY].errand == ERRAND_NONE)
        next = earlier(next, guard->next_look);
    if (guard->slots[SLOT_WATCH].errand == ERRAND_NONE)
        next = earlier(next, guard->next_positions);
    if (wants_confirmation(guard) && guard->slots[SLOT_FRESH].errand == ERRAND_NONE)
        next = earlier(next, guard->next_confirm);
    return next;
}

/* ---- telling ---- */

enum closure guard_closure(const struct guard *guard, nsec now, int64_t *ret_revision)
{
    const struct permit_held *held = &guard->agent->holder.servers[guard->index];
    nsec fresh = STALE_LOOKS * guard->agent->period;
    *ret_revision = held->is_shut ? held->closed : 0;
    if (held->is_shut)
        return guard->is_dead ? CLOSURE_DEAD : CLOSURE_CLOSED;
    if (guard->is_dead)
        return CLOSURE_DEAD;
    if (!guard->looked || now - guard->looked > (fresh > NSEC_PER_SEC ? fresh : NSEC_PER_SEC))
        return CLOSURE_UNKNOWN;
    if (guard->is_open)
        return CLOSURE_OPEN;
    /* Of one that may serve, this confirms nothing: it may be opened at any moment. */
    return guard->fence.is_allowed ? CLOSURE_CLOSED : CLOSURE_UNKNOWN;
}
