/* SPDX-License-Identifier: Apache-2.0
 * The agent's loop: one thread, nothing in it waits but poll(). A turn first looks at the clock and
 * closes what has to be closed, all servers before anything else; then it looks, tells and logs.
 * It is woken by a timer on the boot clock: after the machine or the process was suspended, the
 * first thing that happens is that turn. */
#include "agent/internal.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

enum {
    SETTLE_MS = 2000, /* that closing may take at the very end */
    BEATS = 3,        /* in the time after which the supervisor takes us for dead */
};

enum source { FROM_BELL, FROM_TIMER, FROM_SIGNALS, SOURCES };

/* ---- notes: written when the work of a turn is done, because stderr may hang ---- */

void agent_note(struct agent *agent, enum log_event_id event, const struct guard *guard,
                const char *is, const char *why)
{
    struct agent_note note = {event, mem_strdup(guard ? guard->server->name : NULL), mem_strdup(is),
                              mem_strdup(why)};
    VEC_PUSH(agent->notes, agent->note_count, agent->note_capacity, note);
}

static void write_note(const struct agent_note *note)
{
    if (note->server && note->why)
        log_event(note->event, "server", note->server, "is", note->is, "why", note->why, NULL);
    else if (note->server)
        log_event(note->event, "server", note->server, "is", note->is, NULL);
    else if (note->why)
        log_event(note->event, "is", note->is, "why", note->why, NULL);
    else
        log_event(note->event, "is", note->is, NULL);
}

static void write_notes(struct agent *agent)
{
    for (size_t i = 0; i < agent->note_count; i++) {
        write_note(&agent->notes[i]);
        free(agent->notes[i].server);
        free(agent->notes[i].is);
        free(agent->notes[i].why);
    }
    agent->note_count = 0;
}

/* ---- permission ---- */

nsec agent_end(const struct agent *agent)
{
    nsec end = agent->trial_until;
    for (size_t i = 0; i < agent->holder.count; i++)
        if (agent->holder.servers[i].until > end)
            end = agent->holder.servers[i].until;
    return end;
}

static void note_revocation(struct agent *agent, struct guard *guard, bool was_revoked)
{
    bool is_revoked = agent->holder.servers[guard->index].revoked;
    if (is_revoked == was_revoked)
        return;
    guard->next_confirm = guard->next_look = 0;
    agent_note(agent, EV_PERMISSION, guard, is_revoked ? "revoked" : "revoked no more", NULL);
}

/* Nobody can grant more than the rules do. */
static nsec bound_span(const struct agent *agent, int64_t serve_ms)
{
    nsec most = agent->ttl - permit_margin(agent->ttl);
    return serve_ms > most / NSEC_PER_MS ? most : serve_ms * NSEC_PER_MS;
}

static void take_answer(struct agent *agent, const struct asker_answer *heard)
{
    size_t count = heard->answer.longer_count;
    AUTO_FREE struct permit_more *more = mem_zalloc((count + 1) * sizeof(*more));
    for (size_t i = 0; i < count; i++)
        more[i] = (struct permit_more){heard->answer.longer[i].name,
                                       bound_span(agent, heard->answer.longer[i].serve_ms)};
    const struct permit_grant grant = {.span = bound_span(agent, heard->answer.serve_ms),
                                       .more = more,
                                       .more_count = count,
                                       .version = heard->answer.revision,
                                       .revoked = (const char *const *)heard->answer.revoked,
                                       .revoked_count = heard->answer.count};
    AUTO_FREE bool *was_revoked = mem_zalloc((agent->guard_count + 1) * sizeof(*was_revoked));
    for (size_t i = 0; i < agent->guard_count; i++)
        was_revoked[i] = agent->holder.servers[i].revoked;
    permit_holder_on_grant(&agent->holder, heard->sent, &grant);
    for (size_t i = 0; i < agent->guard_count; i++)
        note_revocation(agent, &agent->guards[i], was_revoked[i]);
    agent->is_to_keep = true;
}

static void take_answers(struct agent *agent)
{
    struct asker_answer heard;
    while (agent->asker && asker_take(agent->asker, &heard)) {
        take_answer(agent, &heard);
        permit_answer_release(&heard.answer);
    }
    if (agent->asker && agent->trial_until && asker_went_round(agent->asker))
        agent->trial_until = 0;
}

static void note_permission(struct agent *agent, nsec now)
{
    bool is_permitted = !agent->trial_until && now < agent_end(agent);
    struct err problem = ERR_INIT;
    if (is_permitted == agent->was_permitted)
        return;
    agent->was_permitted = is_permitted;
    if (!is_permitted && agent->asker)
        asker_problem(agent->asker, &problem);
    agent_note(agent, EV_PERMISSION, NULL, is_permitted ? "has begun" : "has ended",
               problem.text[0] ? problem.text : NULL);
}

/* ---- telling ---- */

static void ask_anew(struct agent *agent, nsec now)
{
    AUTO(permit_question_release) struct permit_question question = {0};
    bool is_urgent = false;
    for (size_t i = 0; i < agent->guard_count; i++) {
        struct guard *guard = &agent->guards[i];
        int64_t revision = 0;
        enum closure closure = guard_closure(guard, now, &revision);
        is_urgent = is_urgent || !agent->is_ready || closure != guard->reported ||
                    revision > guard->reported_revision;
        agent->is_changed =
            agent->is_changed || closure != guard->reported || revision != guard->reported_revision;
        guard->reported = closure;
        guard->reported_revision = revision;
        permit_question_add(&question, guard->server->name, closure, revision);
    }
    if (!agent->asker || !agent->is_changed)
        return;
    agent->is_changed = false;
    question.host = mem_strdup(agent->config->host->name);
    question.ttl_ms = agent->config->fleet->permission_ttl_ms;
    asker_set_question(agent->asker, permit_question_encode(&question), is_urgent);
}

/* No sign of life when the servers could not be trusted to be closed by the time its absence is
 * noticed. A watchdog that is too slow for that is one against hanging only. */
static bool may_sign(const struct agent *agent, nsec now)
{
    nsec watchdog = notify_watchdog();
    return watchdog > agent->ttl / 2 || now < agent->trial_until ||
           permit_holder_may_sign(&agent->holder, watchdog, now);
}

static void tell_supervisor(struct agent *agent, nsec now)
{
    nsec pace = notify_watchdog() / BEATS;
    if (!agent->is_ready && (!agent->asker || asker_went_round(agent->asker))) {
        agent->is_ready = true;
        notify_send("READY=1");
    }
    if (pace && now >= agent->next_beat && may_sign(agent, now)) {
        agent->next_beat = now + pace;
        notify_send("WATCHDOG=1");
    }
}

static void keep_permission(struct agent *agent)
{
    if (!agent->is_to_keep)
        return;
    agent->is_to_keep = false;
    scribe_keep_permission(agent->scribe, state_write_permission(&agent->holder));
}

/* ---- a turn ---- */

static nsec next_turn(const struct agent *agent, nsec now)
{
    nsec next = now + agent->period;
    nsec due = permit_holder_due(&agent->holder), end = agent_end(agent);
    if (due > now && due < next)
        next = due;
    if (end > now && end < next)
        next = end;
    for (size_t i = 0; i < agent->guard_count; i++) {
        nsec wanted = guard_next(&agent->guards[i], now);
        next = wanted < next ? wanted : next;
    }
    return notify_watchdog() && agent->next_beat > now && agent->next_beat < next ? agent->next_beat
                                                                                  : next;
}

/* Before anything else, and of all servers before anything else is done with one. */
static void fence_all(struct agent *agent)
{
    take_answers(agent);
    nsec now = clock_now();
    for (size_t i = 0; i < agent->guard_count; i++)
        guard_fence(&agent->guards[i], now);
}

static void take_turn(struct agent *agent)
{
    fence_all(agent);
    nsec now = clock_now();
    for (size_t i = 0; i < agent->guard_count; i++)
        guard_look(&agent->guards[i], now);
    note_permission(agent, now);
    ask_anew(agent, now);
    keep_permission(agent);
    tell_supervisor(agent, now);
    write_notes(agent);
}

static void set_timer(const struct agent *agent, nsec at)
{
    nsec when = at > 0 ? at : 1; /* 0 would disarm it */
    struct itimerspec time = {
        .it_value = {.tv_sec = when / NSEC_PER_SEC, .tv_nsec = when % NSEC_PER_SEC}};
    INVARIANT(timerfd_settime(agent->timer, TFD_TIMER_ABSTIME, &time, NULL) == 0);
}

/* ---- waiting ---- */

struct watched {
    struct pollfd *polls; /* the sources, then one for each call in flight */
    size_t count;
};

static void watch_all(const struct agent *agent, struct watched *watched)
{
    watched->polls[FROM_BELL] = (struct pollfd){.fd = agent->bell, .events = POLLIN};
    watched->polls[FROM_TIMER] = (struct pollfd){.fd = agent->timer, .events = POLLIN};
    watched->polls[FROM_SIGNALS] = (struct pollfd){.fd = agent->signals, .events = POLLIN};
    watched->count = SOURCES;
    for (size_t i = 0; i < agent->guard_count; i++)
        for (size_t j = 0; j < SLOTS; j++) {
            const struct slot *slot = &agent->guards[i].slots[j];
            struct pollfd *poll = &watched->polls[watched->count++];
            *poll = (struct pollfd){.fd = -1};
            if (slot->errand != ERRAND_NONE)
                *poll = (struct pollfd){.fd = sql_call_fd(&slot->call),
                                        .events = (short)sql_call_events(&slot->call)};
        }
}

static void step_all(struct agent *agent, const struct watched *watched)
{
    nsec now = clock_now();
    for (size_t i = 0; i < agent->guard_count; i++)
        for (size_t j = 0; j < SLOTS; j++) {
            struct slot *slot = &agent->guards[i].slots[j];
            short events = watched->polls[SOURCES + i * SLOTS + j].revents;
            bool is_due = events || now >= slot->call.deadline;
            if (slot->errand != ERRAND_NONE && is_due && sql_call_step(&slot->call, events))
                guard_on_done(&agent->guards[i], slot);
        }
}

static void take_signal(struct agent *agent)
{
    struct signalfd_siginfo info;
    if (read(agent->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP) {
        agent->is_to_reload = true;
        return;
    }
    agent->stops++;
    if (agent->asker)
        asker_pause(agent->asker);
    for (size_t i = 0; i < agent->holder.count && agent->stops > 1; i++)
        permit_holder_resume(&agent->holder, i, INT64_MIN, agent->holder.servers[i].revoked);
    if (agent->stops > 1)
        agent->trial_until = 0;
    AUTO_FREE char *left = mem_printf(
        "its servers stay as they are for %d ms, then they are closed; once more: at once",
        clock_ms_left(agent_end(agent)));
    agent_note(agent, EV_AGENT, NULL, "stops", agent->stops > 1 ? "closes its servers" : left);
    notify_send("STOPPING=1");
}

static void take_sources(struct agent *agent, const struct watched *watched)
{
    uint64_t ignored = 0;
    if (watched->polls[FROM_BELL].revents && eventfd_read(agent->bell, &ignored))
        return;
    if (watched->polls[FROM_TIMER].revents && read(agent->timer, &ignored, sizeof(ignored)) < 0 &&
        errno != EAGAIN)
        return;
    if (watched->polls[FROM_SIGNALS].revents)
        take_signal(agent);
}

static bool is_at_end(const struct agent *agent, nsec now)
{
    bool is_settled = true;
    for (size_t i = 0; i < agent->guard_count; i++)
        is_settled = is_settled && guard_is_settled(&agent->guards[i]);
    nsec last = agent_end(agent);
    last = (last > agent->began ? last : agent->began) + SETTLE_MS * NSEC_PER_MS;
    if (agent->is_to_reload)
        return true;
    return (agent->stops || !agent->asker) && (is_settled || now >= last);
}

void agent_loop(struct agent *agent)
{
    struct watched watched = {
        .polls = mem_zalloc((SOURCES + agent->guard_count * SLOTS) * sizeof(*watched.polls))};
    agent->is_changed = true;
    take_turn(agent);
    while (!is_at_end(agent, clock_now())) {
        set_timer(agent, next_turn(agent, clock_now()));
        watch_all(agent, &watched);
        int ready = poll(watched.polls, watched.count, -1);
        fence_all(agent);
        if (ready > 0) {
            take_sources(agent, &watched);
            step_all(agent, &watched);
        }
        take_turn(agent);
    }
    write_notes(agent);
    free(watched.polls);
}
