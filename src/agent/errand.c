/* SPDX-License-Identifier: Apache-2.0
 * The calls on a server's connections: what is sent for which errand, and what its answer says of
 * the server. Two connections are kept open and are used all the time, so that one is known to work
 * when it is needed; the third is made anew for each confirmation.
 *
 * A confirmation says that a server is closed and that nothing sent earlier opens it any more. Who
 * opens does so with the server's lock (move/session.h), and looks at what is revoked after it got
 * that. So whoever has the lock is ended first, and "closed" counts when, in one packet, nobody had
 * it and then writes were refused. */
#include "agent/internal.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "move/session.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* As long as it waits, every other commit waits behind it, which is what is wanted: so the server
 * itself does not give up, it is killed before. */
enum { SHUT_MS = 60000, RETRY_MS_MIN = 5, DOUBLINGS = 6, EVICT_AGAIN_MS = 250 };

bool slot_is_ready(const struct slot *slot)
{
    return slot->errand == ERRAND_NONE && sql_conn_is_open(slot->conn);
}

static void write_errand(const struct guard *guard, struct slot *slot)
{
    struct buf *sql = &slot->sql;
    buf_clear(sql);
    switch (slot->errand) {
    case ERRAND_SHUT:
        sql_mariadb.refuse_writes(sql, SHUT_MS);
        break;
    case ERRAND_POSITIONS:
        sql_mariadb.observe(sql);
        break;
    case ERRAND_EVICT:
        sql_mariadb.kill(sql, guard->evict);
        break;
    case ERRAND_CONFIRM:
        sql_mariadb.lock_holder(sql, SESSION_LOCK);
        buf_add(sql, "; ");
        sql_mariadb.ask_process(sql);
        break;
    case ERRAND_LOOK:
    case ERRAND_NONE:
        sql_mariadb.ask_process(sql);
        break;
    }
}

void errand_begin(struct guard *guard, enum slot_id id, enum errand errand, nsec deadline)
{
    struct slot *slot = &guard->slots[id];
    if (errand == ERRAND_CONFIRM)
        sql_conn_break(slot->conn);
    slot->errand = errand;
    slot->moment = permit_holder_moment(&guard->agent->holder, guard->index);
    write_errand(guard, slot);
    slot->call =
        (struct sql_call){.conn = slot->conn, .sql = buf_text(&slot->sql), .deadline = deadline};
    if (sql_call_begin(&slot->call))
        guard_on_done(guard, slot);
}

/* ---- what was seen ---- */

static void saw_open(struct guard *guard, const struct slot *slot)
{
    if (slot->call.started < guard->shut_at)
        return; /* it says what was before */
    /* Somebody opened it: from the beginning. */
    if (guard->fence.is_shut || guard->is_dead)
        guard->fence = (struct fence_view){0};
    guard->is_open = true;
    permit_holder_on_open(&guard->agent->holder, guard->index);
}

static void confirm(struct guard *guard, struct permit_moment moment)
{
    struct permit_holder *holder = &guard->agent->holder;
    bool was_shut = permit_holder_is_shut(holder, guard->index);
    permit_holder_on_shut(holder, guard->index, moment);
    if (!was_shut && permit_holder_is_shut(holder, guard->index))
        agent_note(guard->agent, EV_FENCE, guard, "confirmed to be closed", NULL);
}

static void saw_closed(struct guard *guard, const struct slot *slot)
{
    guard->is_open = false;
    if (guard->fence.began && slot->call.started >= guard->fence.began)
        guard->fence.is_shut = true;
    if (slot->errand != ERRAND_CONFIRM || guard->evict || guard->fence.is_allowed)
        return;
    confirm(guard, slot->moment);
}

static void find_process(struct guard *guard, const struct sql_process *said)
{
    bool is_known = guard->has_process && !identity_has_ended(&guard->process);
    if (is_known || guard->is_identifying)
        return;
    guard->has_process = false;
    guard->is_identifying = true;
    scribe_identify(guard->agent->scribe, guard->index, said);
}

/* Takes the first part off the answer. */
static void find_lock_holder(struct guard *guard, struct slot *slot)
{
    guard->evict = sql_number(sql_value(&slot->call.result, 0, 0, 0), 0);
    sql_result_drop_first(&slot->call.result);
    if (!guard->evict)
        guard->evicted = 0;
    else if (guard->evict != guard->evicted)
        agent_note(guard->agent, EV_FENCE, guard, "ends who has its lock", NULL);
}

/* Whatever came of it, the next confirmation tells: at once, but one that does not end at once is
 * not asked again and again. */
static void on_evicted(struct guard *guard)
{
    bool is_again = guard->evict == guard->evicted;
    guard->next_confirm = is_again ? clock_deadline(EVICT_AGAIN_MS) : 0;
    guard->evicted = guard->evict;
    guard->evict = 0;
}

static void on_look(struct guard *guard, struct slot *slot)
{
    struct sql_process said = {0};
    struct err ignored = ERR_INIT;
    if (sql_mariadb.read_process(&slot->call.result, &said, &ignored))
        return;
    if (slot->call.started >= guard->looked)
        guard->looked = slot->call.started;
    if (said.is_read_only)
        saw_closed(guard, slot);
    else
        saw_open(guard, slot);
    guard->is_dead = false;
    find_process(guard, &said);
}

static void on_positions(struct guard *guard, struct slot *slot)
{
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    char now[WALL_TEXT_MAX];
    if (sql_mariadb.read_observation(&slot->call.result, &state, NULL))
        return;
    clock_wall_format(clock_wall_us(), now);
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:s, s:I, s:s, s:s, s:s}", "server", guard->server->name, "at",
                  now, "read_only", (int)state.is_read_only, "source_host", state.source_host,
                  "source_port", (json_int_t)state.source_port, "received", state.received,
                  "applied", state.applied, "position", state.position);
    if (json)
        scribe_keep_positions(guard->agent->scribe, guard->index, json_dumps(json, JSON_INDENT(1)));
    json_decref(json);
}

static void on_shut(struct guard *guard, const struct slot *slot)
{
    guard->fence.is_shut = true;
    guard->fence.is_shutting = false;
    guard->shut_at = clock_now();
    guard->is_open = false;
    guard->failures = 0;
    guard->next_confirm = 0;
    AUTO_FREE char *took =
        mem_printf("after %.1f ms", clock_ms(guard->shut_at - slot->call.started));
    agent_note(guard->agent, EV_FENCE, guard, "refuses writes", took);
}

static void on_failed_shut(struct guard *guard, const struct slot *slot)
{
    int64_t pause = (int64_t)RETRY_MS_MIN
                    << (guard->failures < DOUBLINGS ? guard->failures : DOUBLINGS);
    guard->fence.is_shutting = false;
    guard->fence.retry_at = clock_deadline(pause);
    if (guard->failures++ == 0 && !guard->is_dead)
        agent_note(guard->agent, EV_FENCE, guard, "does not refuse writes yet",
                   slot->call.err.text);
}

/* A connection that broke may mean that the server's process has ended. */
void guard_check_process(struct guard *guard)
{
    struct permit_moment moment = permit_holder_moment(&guard->agent->holder, guard->index);
    if (!guard->has_process || !identity_has_ended(&guard->process))
        return;
    guard->has_process = false;
    guard->is_dead = true;
    guard->is_open = false;
    agent_note(guard->agent, EV_FENCE, guard, "its process has ended", NULL);
    confirm(guard, moment);
}

void guard_on_done(struct guard *guard, struct slot *slot)
{
    bool is_ok = slot->call.status == ST_OK;
    if (!is_ok)
        guard_check_process(guard);
    if (guard->is_dead && slot->call.status == ST_UNREACHABLE)
        confirm(guard, slot->moment); /* and nobody has taken its place */
    switch (slot->errand) {
    case ERRAND_CONFIRM:
        if (is_ok)
            find_lock_holder(guard, slot);
        if (is_ok)
            on_look(guard, slot);
        break;
    case ERRAND_LOOK:
        if (is_ok)
            on_look(guard, slot);
        break;
    case ERRAND_EVICT:
        on_evicted(guard);
        break;
    case ERRAND_POSITIONS:
        if (is_ok)
            on_positions(guard, slot);
        break;
    case ERRAND_SHUT:
        if (is_ok)
            on_shut(guard, slot);
        else
            on_failed_shut(guard, slot);
        break;
    case ERRAND_NONE:
        break;
    }
    if (slot->errand == ERRAND_CONFIRM)
        sql_conn_break(slot->conn);
    slot->errand = ERRAND_NONE;
    sql_call_release(&slot->call);
}
