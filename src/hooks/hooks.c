/* SPDX-License-Identifier: Apache-2.0
 *
 * The lanes of a run's hooks; see hooks.h. A lane's lock guards its queue and its tally, and is
 * never held during a call. Gates are called by whoever asks, beside the lane: of a run and a wave
 * when the lane has nothing left of what came before, of a shard at once. */
#include "hooks/hooks.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "hooks/call.h"
#include "hooks/tally.h"
#include "move/journal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A hook that hangs each time would hold up the end of a run for as long as there are shards. */
enum { LATE_IN_A_ROW_MAX = 3, CATCH_UP_MS = 60000, LOOK_MS = 20, WAIT_SAID_MS = 1000 };

enum scope { SCOPE_RUN, SCOPE_WAVE, SCOPE_SHARD, SCOPES };

struct item {
    struct item *next;
    struct hook_call call;
    enum scope scope;
    size_t index; /* of the scope */
};

/* A gate that is being asked, on the stack of whoever asks. */
struct asking {
    struct asking *next;
    enum hook_event event;
    nsec since;
    int64_t limit_ms;
};

struct lane {
    struct hooks *hooks;
    const struct inventory_hook *hook;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct item *first, **last; /* queue */
    size_t pending;             /* with the one that is being called */
    bool is_closing;
    bool *succeeded[SCOPES]; /* whose undo is owed, by index */
    int late_in_a_row;
    struct tally tally;
    struct asking *asked; /* the latest first */
};

struct hooks {
    struct hooks_order order;
    struct lane *lanes;
    size_t count;
    atomic_bool is_ending; /* ends the calls of the lanes */
};

static enum scope scope_of(enum hook_event event)
{
    return event <= HOOK_RUN_AFTER    ? SCOPE_RUN
           : event <= HOOK_WAVE_AFTER ? SCOPE_WAVE
                                      : SCOPE_SHARD;
}

static size_t index_of(const struct hook_news *news)
{
    enum scope scope = scope_of(news->event);
    INVARIANT(news->wave_index < HOOK_WAVES_MAX);
    return scope == SCOPE_SHARD ? news->shard->index : scope == SCOPE_WAVE ? news->wave_index : 0;
}

static bool wants(const struct lane *lane, enum hook_event event)
{
    return lane->hook->events & (1U << event);
}

/* Any event of that scope? */
static bool wants_scope(const struct lane *lane, enum scope scope)
{
    for (unsigned event = 0; event < HOOK_EVENTS; event++)
        if (scope_of((enum hook_event)event) == scope && wants(lane, (enum hook_event)event))
            return true;
    return false;
}

/* ---- what came of a call ---- */

static void keep(struct lane *lane, const struct hook_call *call,
                 const struct hook_outcome *outcome)
{
    struct journal *journal = lane->hooks->order.journal;
    const char *of = call->shard ? "" : call->wave ? call->wave : "";
    journal_add(journal, call->shard, "hook", "%s: %s%s%s: %s%s%s, %.0f ms%s%s", lane->hook->name,
                call->event, of[0] ? " " : "", of, hook_end_name(outcome->end),
                outcome->why ? ": " : "", outcome->why ? outcome->why : "", outcome->took_ms,
                outcome->output[0] ? "; it printed: " : "", outcome->output);
    pthread_mutex_lock(&lane->lock);
    tally_add(&lane->tally, call, outcome);
    lane->late_in_a_row = outcome->end == HOOK_LATE ? lane->late_in_a_row + 1 : 0;
    pthread_mutex_unlock(&lane->lock);
}

/* Its undo becomes owed, or is paid. */
static void set_succeeded(struct lane *lane, enum scope scope, size_t index, bool is)
{
    pthread_mutex_lock(&lane->lock);
    lane->succeeded[scope][index] = is;
    pthread_mutex_unlock(&lane->lock);
}

static bool is_given_up(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    bool is = lane->late_in_a_row >= LATE_IN_A_ROW_MAX;
    pthread_mutex_unlock(&lane->lock);
    return is;
}

/* ---- the lane ---- */

static void item_free(struct item *item)
{
    hook_call_release(&item->call);
    free(item);
}

/* The undo of what did not succeed is not called, except where nobody can know. */
static bool is_due(struct lane *lane, const struct item *item)
{
    if (!item->call.is_undo || lane->hooks->order.is_resumed)
        return true;
    pthread_mutex_lock(&lane->lock);
    bool is = lane->succeeded[item->scope][item->index];
    pthread_mutex_unlock(&lane->lock);
    return is;
}

static void deliver(struct lane *lane, const struct item *item)
{
    if (!is_due(lane, item))
        return;
    bool is_ending = atomic_load(&lane->hooks->is_ending);
    if (is_ending || is_given_up(lane)) {
        pthread_mutex_lock(&lane->lock);
        tally_add_dropped(&lane->tally);
        pthread_mutex_unlock(&lane->lock);
        return;
    }
    AUTO(hook_outcome_release) struct hook_outcome outcome = {0};
    hook_call_make(&item->call, lane->hook, &lane->hooks->is_ending, &outcome);
    keep(lane, &item->call, &outcome);
    if (outcome.end == HOOK_OK)
        set_succeeded(lane, item->scope, item->index, !item->call.is_undo);
}

static void *drive(void *context)
{
    struct lane *lane = context;
    pthread_mutex_lock(&lane->lock);
    while (lane->first || !lane->is_closing) {
        struct item *item = lane->first;
        if (!item) {
            pthread_cond_wait(&lane->changed, &lane->lock);
            continue;
        }
        lane->first = item->next;
        if (!lane->first)
            lane->last = &lane->first;
        pthread_mutex_unlock(&lane->lock);
        deliver(lane, item);
        item_free(item);
        pthread_mutex_lock(&lane->lock);
        lane->pending--;
        pthread_cond_broadcast(&lane->changed);
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

static void enqueue(struct lane *lane, const struct hook_news *news, bool is_undo)
{
    struct item *item = mem_zalloc(sizeof(*item));
    hook_call_init(&item->call, &lane->hooks->order, news, is_undo);
    item->scope = scope_of(news->event);
    item->index = index_of(news);
    pthread_mutex_lock(&lane->lock);
    *lane->last = item;
    lane->last = &item->next;
    lane->pending++;
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

/* Until the lane has caught up; false at the deadline, or when the run is aborted. */
static bool catch_up(struct lane *lane, nsec deadline, const atomic_bool *cancel)
{
    pthread_mutex_lock(&lane->lock);
    while (lane->pending > 0 && clock_now() < deadline && !(cancel && atomic_load(cancel))) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&lane->changed, &lane->lock, &until);
    }
    bool is_idle = lane->pending == 0;
    pthread_mutex_unlock(&lane->lock);
    return is_idle;
}

/* ---- gates ---- */

static enum status refuse(const struct lane *lane, const struct hook_call *call,
                          const struct hook_outcome *outcome, struct err *err)
{
    if (outcome->end == HOOK_CANCELLED)
        return err_set(err, ST_ABORTED, "stopped while hook '%s' ran", lane->hook->name);
    err_set(err, ST_NO_GO, "hook '%s', which must agree, did not (%s): %s", lane->hook->name,
            call->event, outcome->why);
    return err_hint(err, "try it by hand: holdfast hook test %s --event %s", lane->hook->name,
                    call->event);
}

static void begin_asking(struct lane *lane, struct asking *asking)
{
    pthread_mutex_lock(&lane->lock);
    asking->next = lane->asked;
    lane->asked = asking;
    pthread_mutex_unlock(&lane->lock);
}

static void end_asking(struct lane *lane, struct asking *asking)
{
    pthread_mutex_lock(&lane->lock);
    struct asking **at = &lane->asked;
    while (*at != asking)
        at = &(*at)->next;
    *at = asking->next;
    pthread_mutex_unlock(&lane->lock);
}

struct hook_wait hooks_waiting(struct hooks *hooks)
{
    struct hook_wait wait = {0};
    nsec oldest = clock_now() - WAIT_SAID_MS * NSEC_PER_MS;
    for (size_t i = 0; hooks && i < hooks->count; i++) {
        struct lane *lane = &hooks->lanes[i];
        pthread_mutex_lock(&lane->lock);
        for (const struct asking *at = lane->asked; at; at = at->next) {
            if (at->since > oldest)
                continue;
            oldest = at->since;
            wait = (struct hook_wait){lane->hook->name, hook_event_name(at->event),
                                      clock_wall_us() - (clock_now() - at->since) / 1000,
                                      at->limit_ms};
        }
        pthread_mutex_unlock(&lane->lock);
    }
    return wait;
}

static enum status call_gate(struct lane *lane, const struct hook_news *news, struct err *err)
{
    const struct hooks_order *order = &lane->hooks->order;
    if (!lane->hook->is_required && is_given_up(lane))
        return ST_OK;
    journal_add(order->journal, news->shard ? news->shard->name : NULL, "ask",
                "%s: %s%s%s, at most %lld ms", lane->hook->name, hook_event_name(news->event),
                news->shard || !news->wave ? "" : " ", news->shard || !news->wave ? "" : news->wave,
                (long long)lane->hook->timeout_ms);
    AUTO(hook_call_release) struct hook_call call;
    AUTO(hook_outcome_release) struct hook_outcome outcome = {0};
    hook_call_init(&call, order, news, false);
    hook_call_make(&call, lane->hook, order->is_aborted, &outcome);
    keep(lane, &call, &outcome);
    if (outcome.end == HOOK_OK)
        set_succeeded(lane, scope_of(news->event), index_of(news), true);
    return outcome.end == HOOK_OK || !lane->hook->is_required ? ST_OK
                                                              : refuse(lane, &call, &outcome, err);
}

static enum status ask(struct lane *lane, const struct hook_news *news, struct err *err)
{
    struct asking behind = {.event = news->event, .since = clock_now(), .limit_ms = CATCH_UP_MS};
    if (scope_of(news->event) != SCOPE_SHARD) {
        begin_asking(lane, &behind);
        catch_up(lane, clock_deadline(CATCH_UP_MS), lane->hooks->order.is_aborted);
        end_asking(lane, &behind);
    }
    struct asking asking = {
        .event = news->event, .since = clock_now(), .limit_ms = lane->hook->timeout_ms};
    begin_asking(lane, &asking);
    enum status status = call_gate(lane, news, err);
    end_asking(lane, &asking);
    return status;
}

enum status hooks_ask(struct hooks *hooks, const struct hook_news *news, struct err *err)
{
    INVARIANT(hook_event_is_gate(news->event));
    enum status status = ST_OK;
    for (size_t i = 0; hooks && i < hooks->count && !status; i++)
        if (wants(&hooks->lanes[i], news->event))
            status = ask(&hooks->lanes[i], news, err);
    return status;
}

/* ---- all lanes ---- */

void hooks_tell(struct hooks *hooks, const struct hook_news *news)
{
    for (size_t i = 0; hooks && i < hooks->count; i++)
        if (wants(&hooks->lanes[i], news->event))
            enqueue(&hooks->lanes[i], news, false);
}

void hooks_undo(struct hooks *hooks, const struct hook_news *news)
{
    for (size_t i = 0; hooks && i < hooks->count; i++)
        if (hooks->lanes[i].hook->undo.argv && wants_scope(&hooks->lanes[i], scope_of(news->event)))
            enqueue(&hooks->lanes[i], news, true);
}

static void lane_init(struct lane *lane, struct hooks *hooks, const struct inventory_hook *hook)
{
    lane->hooks = hooks;
    lane->hook = hook;
    lane->last = &lane->first;
    size_t counts[SCOPES] = {1, HOOK_WAVES_MAX, hooks->order.fleet->shard_count + 1};
    for (unsigned i = 0; i < SCOPES; i++)
        lane->succeeded[i] = mem_zalloc(counts[i] * sizeof(**lane->succeeded));
    pthread_mutex_init(&lane->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lane->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    INVARIANT(pthread_create(&lane->thread, NULL, drive, lane) == 0);
}

struct hooks *hooks_start(const struct hooks_order *order)
{
    if (order->fleet->hook_count == 0)
        return NULL;
    struct hooks *hooks = mem_zalloc(sizeof(*hooks));
    hooks->order = *order;
    hooks->count = order->fleet->hook_count;
    hooks->lanes = mem_zalloc(hooks->count * sizeof(*hooks->lanes));
    for (size_t i = 0; i < hooks->count; i++)
        lane_init(&hooks->lanes[i], hooks, &order->fleet->hooks[i]);
    return hooks;
}

size_t hooks_pending(struct hooks *hooks)
{
    size_t pending = 0;
    for (size_t i = 0; hooks && i < hooks->count; i++) {
        pthread_mutex_lock(&hooks->lanes[i].lock);
        pending += hooks->lanes[i].pending;
        pthread_mutex_unlock(&hooks->lanes[i].lock);
    }
    return pending;
}

bool hooks_wait(struct hooks *hooks, nsec deadline)
{
    bool is_idle = true;
    for (size_t i = 0; hooks && i < hooks->count; i++)
        is_idle = catch_up(&hooks->lanes[i], deadline, NULL) && is_idle;
    return is_idle;
}

void hooks_close(struct hooks *hooks)
{
    if (!hooks)
        return;
    atomic_store(&hooks->is_ending, true);
    for (size_t i = 0; i < hooks->count; i++) {
        struct lane *lane = &hooks->lanes[i];
        pthread_mutex_lock(&lane->lock);
        bool is_first = !lane->is_closing;
        lane->is_closing = true;
        pthread_cond_broadcast(&lane->changed);
        pthread_mutex_unlock(&lane->lock);
        if (is_first)
            pthread_join(lane->thread, NULL);
    }
}

char *hooks_report(struct hooks *hooks)
{
    if (!hooks)
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < hooks->count; i++) {
        struct lane *lane = &hooks->lanes[i];
        pthread_mutex_lock(&lane->lock);
        json_array_append_new(list, tally_json(&lane->tally, lane->hook->name,
                                               lane->late_in_a_row >= LATE_IN_A_ROW_MAX));
        pthread_mutex_unlock(&lane->lock);
    }
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    INVARIANT(text);
    return text;
}

void hooks_free(struct hooks *hooks)
{
    if (!hooks)
        return;
    hooks_close(hooks);
    for (size_t i = 0; i < hooks->count; i++) {
        struct lane *lane = &hooks->lanes[i];
        for (unsigned scope = 0; scope < SCOPES; scope++)
            free(lane->succeeded[scope]);
        tally_release(&lane->tally);
        pthread_cond_destroy(&lane->changed);
        pthread_mutex_destroy(&lane->lock);
    }
    free(hooks->lanes);
    free(hooks);
}
