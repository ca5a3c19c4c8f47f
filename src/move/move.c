/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine of one shard's move: plan, record, act, until the plan says stop. It decides nothing
 * itself; it only knows which records may fail without stopping a step: undo must not wait for a
 * store that is down. */
#include "move/move.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "drain/mark.h"
#include "move/internal.h"
#include "move/journal.h"
#include "move/mandate.h"
#include "move/probe.h"
#include "store/store.h"

#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* An undo does not make clients wait long for a store that is down. */
enum { RECORD_UNDO_MS = 200, PACE_MS = 50, AFTER_MS = 50, LOOK_MS = 1000 };

static const char *const phase_names[] = {MOVE_PHASE_TABLE(TABLE_TEXT)};

const char *move_phase_name(enum move_phase phase)
{
    INVARIANT((unsigned)phase < MOVE_PHASES);
    return phase_names[phase];
}

const enum move_phase *move_phases_of(bool is_failover, size_t *ret_count)
{
    static const enum move_phase move[] = {PHASE_PREPARE, PHASE_FREEZE,   PHASE_PROMOTE,
                                           PHASE_PUBLISH, PHASE_REDIRECT, PHASE_VERIFY,
                                           PHASE_UNDO};
    static const enum move_phase failover[] = {PHASE_DETECT,  PHASE_FENCE, PHASE_DRAIN,
                                               PHASE_ELECT,   PHASE_WAIT,  PHASE_OPEN,
                                               PHASE_PUBLISH, PHASE_FOLLOW};
    *ret_count = is_failover ? ARRAY_SIZE(failover) : ARRAY_SIZE(move);
    return is_failover ? failover : move;
}

void story_add_phase(struct story *story, enum move_phase phase, nsec since)
{
    nsec now = clock_now();
    story->phase_ns[phase] += now - since;
    struct move_span *last = story->span_count ? &story->spans[story->span_count - 1] : NULL;
    if (last && last->phase == phase)
        last->to = now;
    else
        VEC_PUSH(story->spans, story->span_count, story->span_capacity,
                 ((struct move_span){phase, since, now}));
}

void story_note(struct story *story, const struct mandate *mandate,
                const struct inventory_shard *shard, const char *format, va_list args)
{
    AUTO(buf_release) struct buf line = {0};
    buf_vprintf(&line, format, args);
    journal_add(mandate->journal, shard->name, "note", "%s", buf_text(&line));
    buf_add(&line, "\n");
    if (!strstr(buf_text(&story->notes),
                buf_text(&line))) /* a step that is repeated says it once */
        buf_add(&story->notes, buf_text(&line));
}

void story_release(struct story *story)
{
    buf_release(&story->notes);
    free(story->spans);
}

static const char *const result_names[] = {MOVE_RESULT_TABLE(TABLE_TEXT)};

const char *move_result_name(enum move_result result)
{
    INVARIANT((unsigned)result < MOVE_RESULTS);
    return result_names[result];
}

void move_note(struct move *move, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    story_note(&move->story, move->mandate, move->shard, format, args);
    va_end(args);
}

/* How each action's record of the rule's next state is made. */
enum record_mode {
    RECORD_FIRST,      /* durable before the step; the step is not done when it fails */
    RECORD_IF_POSSIBLE /* the step is done all the same */
};

static const struct {
    enum status (*run)(struct move *move, struct err *err);
    enum record_mode record;
    bool may_repeat; /* a failure is tried again until the deadline; otherwise it stops the move */
} steps[SHARD_ACTIONS] = {
    [ACT_PREPARE] = {step_prepare, RECORD_FIRST, false},
    [ACT_FREEZE] = {step_freeze, RECORD_FIRST, false},
    [ACT_PROMOTE] = {step_promote, RECORD_FIRST, false},
    [ACT_CONFIRM] = {step_confirm, RECORD_FIRST, true},
    [ACT_REDIRECT] = {step_redirect, RECORD_FIRST, true},
    [ACT_VERIFY] = {step_verify, RECORD_FIRST, true},
    [ACT_UNDO] = {step_undo, RECORD_IF_POSSIBLE, true},
};

static void fail(struct move *move, const struct err *err)
{
    journal_add(move->mandate->journal, move->shard->name, "failure", "%s", err->text);
    if (move->failure.status == ST_OK)
        move->failure = *err;
    move->last_failure = *err;
}

/* What went wrong before matters no more: this process has no say. */
static void set_fenced(struct move *move, const struct err *err)
{
    move->failure = *err;
    move->result = MOVE_FENCED;
}

/* Before a repeated step is tried again: let the servers and the store breathe. */
static void pace(void)
{
    poll(NULL, 0, PACE_MS);
}

nsec move_probed_until(const struct move *move)
{
    return (move->published_at ? move->published_at : clock_now()) + AFTER_MS * NSEC_PER_MS;
}

static void set_published(struct move *move)
{
    move->published_at = clock_now();
    if (move->probe_target)
        probe_rest(move->mandate->probe, move->probe_target, move_probed_until(move));
}

/* Write the rule's next state. True when the step may go on. */
static bool record(struct move *move, const struct shard_rule *rule, struct err *err)
{
    enum record_mode mode = steps[rule->action].record;
    if (rule->next == move->view.state)
        return true;
    nsec began = clock_now();
    nsec deadline = clock_deadline(mode == RECORD_IF_POSSIBLE ? RECORD_UNDO_MS : MOVE_RECORD_MS);
    if (rule->next == SHARD_PROMOTING)
        move->recorded_from = began;
    enum status status = move_record(move, rule->next, deadline, err);
    if (rule->next == SHARD_REDIRECTING) {
        story_add_phase(&move->story, PHASE_PUBLISH, began);
        if (!status)
            set_published(move);
    }
    move->view.has_record_failed = status != ST_OK;
    if (!status)
        return true;
    if (status == ST_FENCED) {
        set_fenced(move, err);
        return false;
    }
    fail(move, err);
    move->view.must_stop = true;
    bool opens = rule->next == SHARD_REDIRECTING || rule->next == SHARD_UNDOING;
    if (status == ST_NO_GO && opens) { /* from the other states there is a way back */
        move->view.is_refused = true;
        return false;
    }
    if (mode == RECORD_IF_POSSIBLE)
        move->view.state = rule->next; /* in memory only: a successor undoes from here as well */
    return mode == RECORD_IF_POSSIBLE;
}

/* The freeze has ended one way or the other: let the next shard in. */
static void leave_gate(struct move *move)
{
    for (int i = 0; i < GATE_PLACES; i++) {
        if (move->has_place[i])
            freeze_gate_leave(move->mandate->gate, (enum gate_place)i);
        move->has_place[i] = false;
    }
}

static void act(struct move *move, const struct shard_rule *rule)
{
    struct err err = ERR_INIT;
    if (!steps[rule->action].run)
        return;
    log_event(EV_STEP, "shard", move->shard->name, "step", shard_action_name(rule->action), NULL);
    enum status status = steps[rule->action].run(move, &err);
    if (status == ST_FENCED)
        set_fenced(move, &err);
    if (status == ST_OK || status == ST_FENCED)
        return;
    fail(move, &err);
    if (steps[rule->action].may_repeat)
        pace();
    else
        move->view.must_stop = true;
}

/* An undo or a confirmation gets the whole time again: it is what brings the shard back. */
static void extend_deadline(struct move *move)
{
    if (!move->view.must_stop || move->is_deadline_extended)
        return;
    move->is_deadline_extended = true;
    move->view.deadline = clock_deadline(move->mandate->fleet->policy.move_timeout_ms);
}

bool mandate_is_there(const struct mandate *mandate, const struct inventory_shard *shard,
                      const struct route *route)
{
    const struct drain_mark *mark = mandate->mark;
    if (!mark)
        return strcmp(route->home, mandate->fleet->regions[mandate->to_region]) == 0;
    if (!mandate->is_return)
        return !drain_names_have(&mark->servers, route->primary);
    for (size_t i = 0; i < shard->server_count; i++) {
        const struct inventory_server *wanted = &shard->servers[i];
        if (drain_names_have(&mark->primaries, wanted->name) &&
            strcmp(mandate->fleet->regions[wanted->region], route->home) == 0)
            return drain_names_have(&mark->primaries, route->primary);
    }
    return true; /* it had no primary there, or its region has moved since */
}

static void refresh_view(struct move *move)
{
    struct shard_view *view = &move->view;
    const struct mandate *mandate = move->mandate;
    if (mandate_must_stop(mandate))
        view->must_stop = true;
    extend_deadline(move);
    view->now = clock_now();
    view->is_at_target = mandate_is_there(mandate, move->shard, &move->route);
}

/* Who is stuck needs to know whether clients can write, and that is what the servers say now: the
 * new primary may have died after it was published. Clients are sent to it only then. */
static bool can_clients_write(struct move *move)
{
    if (move->view.state != SHARD_REDIRECTING)
        return false;
    return move_accepts_writes(move, move->new_server, clock_deadline(LOOK_MS)) &&
           !move->is_write_lost;
}

/* Whose return the state waits for. */
static const char *whom_it_waits_for(const struct move *move)
{
    bool is_undoing = move->view.state == SHARD_UNDOING;
    return is_undoing ? move->route.old_primary : move->route.new_primary;
}

static void add_what_to_do(const struct move *move, struct err *err)
{
    const char *who = whom_it_waits_for(move);
    bool has_command = strstr(err->hint, "holdfast run ") != NULL;
    AUTO_FREE char *what = err->hint[0]                   ? mem_strdup(err->hint)
                           : move->view.has_record_failed ? mem_strdup("bring the store back")
                           : move->is_writable            ? mem_strdup("mend that")
                                                          : mem_printf("bring %s back", who);
    AUTO_FREE char *where =
        move->view.state == SHARD_REDIRECTING
            ? mem_printf("%s at %s; ", move->is_writable ? "writes go on" : "nobody can write", who)
            : mem_strdup("");
    AUTO_FREE char *then = has_command
                               ? mem_strdup("")
                               : mem_printf(", then: holdfast run %s %s",
                                            mandate_next(move->mandate), move->mandate->run);
    err_hint(err, "%s%s%s", where, what, then);
}

static void tell_last(struct move *move)
{
    move->cause = move->failure;
    move->failure = move->last_failure;
    if (strcmp(move->cause.text, move->failure.text) == 0)
        move->cause = (struct err)ERR_INIT;
}

/* What it waits for is what went wrong last; the first failure only says how it came to that. Every
 * step may have done its part, too slowly: then the rule alone says why. */
static void give_up(struct move *move, const struct shard_rule *rule)
{
    if (move->last_failure.status == ST_OK)
        err_set(&move->last_failure, ST_TIMEOUT, "the time for the move was over");
    tell_last(move);
    err_wrap(&move->failure, "%s", rule->why);
    move->is_writable = can_clients_write(move);
    add_what_to_do(move, &move->failure);
    move->result = MOVE_STUCK;
}

enum move_result move_result_stopped(const struct mandate *mandate)
{
    return atomic_load(&mandate->is_called_off) ? MOVE_ABORTED : MOVE_STOPPED;
}

static void finish(struct move *move, const struct shard_rule *rule)
{
    bool is_moved = move->published_at != 0 || move->view.is_redirected;
    bool is_as_wished = !move->failure.status || move->failure.status == ST_ABORTED;
    if (move->view.is_moved_on && rule->action == ACT_FINISH)
        tell_last(move);
    if (rule->action == ACT_GIVE_UP)
        give_up(move, rule);
    else if (move->view.is_at_target && !move->view.is_moved_on)
        move->result = is_moved ? MOVE_MOVED : MOVE_ALREADY_THERE;
    else
        move->result = mandate_must_stop(move->mandate) && is_as_wished
                           ? move_result_stopped(move->mandate)
                           : MOVE_UNDONE;
    journal_add(move->mandate->journal, move->shard->name, "result", "%s: %s",
                move_result_name(move->result), rule->why);
}

void move_run(struct move *move)
{
    move->view.deadline = clock_deadline(move->mandate->fleet->policy.move_timeout_ms);
    while (move->result == MOVE_PENDING) {
        refresh_view(move);
        const struct shard_rule *rule = shard_plan(&move->view);
        struct err err = ERR_INIT;
        if (record(move, rule, &err)) {
            if (rule->action == ACT_FINISH || rule->action == ACT_GIVE_UP)
                finish(move, rule);
            else
                act(move, rule);
        } else if (move->result == MOVE_PENDING) {
            pace();
        }
        if (move->view.state == SHARD_SERVING || move->view.state == SHARD_REDIRECTING)
            leave_gate(move);
    }
    leave_gate(move);
}

enum status move_adopt(struct move *move, struct err *err)
{
    return move_record(move, SHARD_SERVING, clock_deadline(MOVE_RECORD_MS), err);
}

void move_set_ends(struct move *move, const struct inventory_server *old_server,
                   const struct inventory_server *new_server)
{
    move->old_server = old_server;
    move->new_server = new_server;
    move->old_session.server = old_server;
    move->new_session.server = new_server;
    move->new_session.end = SESSION_NEW;
    move->old_session.flavour = move->new_session.flavour = move->flavour;
}

void move_init(struct move *move, const struct mandate *mandate,
               const struct inventory_shard *shard, const struct route *route)
{
    *move =
        (struct move){.mandate = mandate, .shard = shard, .route = *route, .flavour = &sql_mariadb};
    move->view.state = route->state;
    move->view.is_inherited = route->state != SHARD_SERVING;
    if (route->old_primary[0])
        move->old_server = inventory_find_server(shard, route->old_primary);
    if (route->new_primary[0])
        move->new_server = inventory_find_server(shard, route->new_primary);
    move_set_ends(move, move->old_server, move->new_server);
}

void move_release(struct move *move)
{
    session_release(&move->old_session);
    session_release(&move->new_session);
    story_release(&move->story);
    free(move->position);
    free(move->late_position);
}
