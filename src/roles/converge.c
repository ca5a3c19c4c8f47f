/* SPDX-License-Identifier: Apache-2.0
 * Doing what the plan says; see converge.h.
 *
 * Who may act on a server is settled as in a move (move/session.h): the run lock in the store, the
 * server's own lock, the token after that. Nothing here is on a client's way but ROLE_OPEN, which
 * is done when nobody accepts writes. What may die between which two lines: anything; the next look
 * plans from what is then, and no step makes a state that it would not find its way out of. */
#include "roles/converge.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "move/mandate.h"
#include "move/session.h"
#include "os/crew.h"
#include "permit/opening.h"
#include "store/store.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS_MAX = 16,
    OBSERVE_MS = 1500,
    STEP_MS = 5000,
    ONCE_MS = 700,    /* the same two, for ROLES_ONCE */
    SETTLE_MS = 4000, /* after a round of steps: replication connects, ackers are counted */
    LOOK_MS = 50,
    ROUNDS_MAX = 3, /* of the same step */
};
#define OPEN_WITHIN ((nsec)SQL_OPEN_WITHIN_MS * NSEC_PER_MS)

/* ---- in words ---- */

void role_step_describe(const struct role_step *step, struct buf *out)
{
    buf_printf(out, "%s: %s", step->server->server->name, role_action_name(step->action));
    if (step->source)
        buf_printf(out, " from %s", step->source->name);
    buf_printf(out, ": %s", step->why);
}

void role_obstacle_describe(const struct role_obstacle *obstacle, struct buf *out)
{
    buf_printf(out, "%s%s%s\n  do: %s", obstacle->server ? obstacle->server->name : "",
               obstacle->server ? ": " : "", obstacle->what, obstacle->advice);
}

/* ---- what is ---- */

struct round {
    struct fleet_observation seen;
    struct role_plan plan;
    struct route route; /* none: its state is that of a shard that serves, its revision 0 */
};

static void round_release(struct round *round)
{
    role_plan_release(&round->plan); /* it points into what was seen */
    fleet_observation_release(&round->seen);
}

/* Whose roles, and with how much patience. */
struct effort {
    const struct mandate *mandate;
    const struct inventory_shard *shard;
    bool is_once;
};

static enum status look(const struct effort *effort, struct round *ret, struct err *err)
{
    ret->route = (struct route){0};
    struct store *store = effort->mandate->store;
    AUTO(permit_list_release) struct permit_list revoked = {0};
    fleet_observe_lag(effort->mandate->fleet, &effort->shard, 1,
                      clock_deadline(effort->is_once ? ONCE_MS : OBSERVE_MS), &ret->seen);
    struct err why = ERR_INIT;
    enum status status = route_load(store, effort->shard->name, store_deadline(store, STORE_WORK),
                                    &ret->route, &why);
    bool has_route = status == ST_OK;
    if (status == ST_NOT_FOUND) /* it was never moved */
        status = ST_OK;
    if (!status)
        status = permit_list_load(store, store_deadline(store, STORE_WORK), &revoked, &why);
    if (status) {
        *err = why;
        return status;
    }
    role_plan_make(&ret->seen.shards[0], has_route ? &ret->route : NULL, &revoked,
                   effort->mandate->drained, &ret->plan);
    return ST_OK;
}

/* ---- steps ---- */

struct task {
    const struct effort *effort;
    const struct role_step *step;
    struct session session;
    nsec deadline;
};

static nsec step_deadline(const struct effort *effort)
{
    return clock_deadline(effort->is_once ? ONCE_MS : STEP_MS);
}

static enum status set(struct task *task, const struct buf *sql, struct err *err)
{
    return session_exec(&task->session, CALL_ROLE, buf_text(sql), task->deadline, NULL, err);
}

static enum status do_release(struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    task->session.flavour->stop_source(&sql);
    return set(task, &sql, err);
}

static enum status do_point(struct task *task, struct err *err)
{
    const struct inventory_account *account = &task->effort->mandate->fleet->replication;
    const struct role_step *step = task->step;
    AUTO(buf_release) struct buf sql = {0}, link = {0};
    AUTO(secret_release) struct secret password = {0};
    inventory_read_password(account, &password);
    task->session.flavour->keep_link(&link, step->like ? &step->like->state : NULL,
                                     account->tls.is_on ? &account->tls.sql : NULL);
    struct sql_source source = {
        .host = step->source->host,
        .port = step->source->port,
        .user = account->user,
        .password = &password,
        .link = buf_text(&link),
        .position = step->position,
        .acknowledges = step->acknowledges,
    };
    task->session.flavour->follow(&sql, &source);
    return set(task, &sql, err);
}

static enum status do_acknowledge(struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    task->session.flavour->acknowledge(&sql, task->step->action == ROLE_ACKNOWLEDGE);
    return set(task, &sql, err);
}

static enum status do_start(struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    task->session.flavour->restart_replication(&sql);
    return set(task, &sql, err);
}

static enum status do_acknowledge_received(struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    task->session.flavour->acknowledge_received(&sql);
    return set(task, &sql, err);
}

/* How it is now, over our session. */
static enum status ask(struct task *task, struct sql_server_state *ret, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    const struct sql_flavour *flavour = task->session.flavour;
    flavour->observe(&sql);
    enum status status = session_exec(&task->session, CALL_ROLE_ACKERS, buf_text(&sql),
                                      task->deadline, &result, err);
    return status ? status : flavour->read_observation(&result, ret, err);
}

static enum status count_ackers(struct task *task, int64_t *ret_ackers, struct err *err)
{
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    enum status status = ask(task, &state, err);
    if (!status)
        *ret_ackers = state.ackers;
    return status;
}

/* The right to open it, in the store, later than the look: from then on nobody opens another server
 * before the statement counts no more. Without a term there are no agents: nobody opens another one
 * by time. */
static enum status claim(const struct task *task, const struct route *route, nsec *ret_span,
                         struct err *err)
{
    const struct mandate *mandate = task->effort->mandate;
    const struct inventory_server *server = task->step->server->server;
    AUTO_FREE char *key = route_key(task->effort->shard->name);
    AUTO_FREE char *value = route_encode(route);
    struct permit_route beside = {.lock_key = MANDATE_LOCK_KEY,
                                  .token = mandate->token,
                                  .key = key,
                                  .value = value,
                                  .revision = (int64_t)route->revision};
    AUTO(permit_part_release) struct permit_part part = {0};
    struct permit_term term = {0};
    struct err why = ERR_INIT;
    nsec deadline = store_deadline(mandate->store, STORE_WORK), most = OPEN_WITHIN;
    enum status status = permit_term_load(mandate->store, deadline, &term, &why);
    *ret_span = most;
    if (status == ST_NOT_FOUND)
        return ST_OK;
    permit_part_open(&part, server->name, mandate->fleet->regions[server->region]);
    permit_part_keep_term(&part, &term);
    if (!status)
        status = permit_claim(mandate->store, &beside, &part, deadline, &why);
    if (status) {
        *err = why;
        return status;
    }
    nsec span = permit_guard_span(term.wait);
    *ret_span = span < most ? span : most;
    return ST_OK;
}

/* The steps before took their time: somebody may have opened another server by hand. A silent one
 * takes a look's whole time, so what follows has a time of its own. */
static enum status look_again(struct task *task, struct route *ret, struct err *err)
{
    AUTO(round_release) struct round now = {0};
    enum status status = look(task->effort, &now, err);
    task->deadline = step_deadline(task->effort);
    *ret = now.route;
    for (size_t i = 0; !status && i < now.plan.step_count; i++)
        if (now.plan.steps[i].action == ROLE_OPEN &&
            now.plan.steps[i].server->server == task->step->server->server)
            return ST_OK;
    return status ? status : err_set(err, ST_CONFLICT, "not any more: the shard changed meanwhile");
}

/* Somebody may open another server later, too: this one opens by its own clock only for a moment
 * after this look. */
static enum status permit_opening(struct task *task, const struct route *route, double *ret_until_s,
                                  struct err *err)
{
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    nsec span = 0;
    enum status status = ask(task, &state, err);
    if (!status)
        status = claim(task, route, &span, err);
    *ret_until_s = state.clock_s + clock_ms(span) / 1e3;
    return status;
}

/* No write there would return before somebody acknowledges: so wait for that first. */
static enum status wait_for_ackers(struct task *task, struct err *err)
{
    int64_t ackers = 0;
    enum status status = count_ackers(task, &ackers, err);
    while (!status && ackers < 1 && !task->effort->is_once && clock_now() < task->deadline) {
        poll(NULL, 0, LOOK_MS);
        status = count_ackers(task, &ackers, err);
    }
    if (!status && ackers < 1)
        status = err_set(err, ST_TIMEOUT, "no replica acknowledges its writes yet");
    return status;
}

/* It accepts writes, or somebody closed it just now: that is not for this step to undo. */
static enum status do_await(struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    enum status status = wait_for_ackers(task, err);
    task->session.flavour->start_source(&sql);
    return status ? status : set(task, &sql, err);
}

static enum status do_open(struct task *task, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    struct route route = {0};
    double until_s = 0;
    enum status status = wait_for_ackers(task, err);
    if (!status)
        status = look_again(task, &route, err);
    if (!status)
        status = permit_opening(task, &route, &until_s, err);
    if (status)
        return status;
    task->session.flavour->open(&sql, until_s);
    status =
        session_exec(&task->session, CALL_ROLE_OPEN, buf_text(&sql), task->deadline, &result, err);
    if (!status && sql_number(session_last_value(&result), 1) != 0)
        status = err_set(err, ST_SQL, "it is still read-only");
    return status;
}

static enum status apply(const struct effort *effort, const struct role_step *step, struct err *err)
{
    static enum status (*const effects[ROLE_ACTIONS])(struct task * task, struct err * err) = {
        [ROLE_RELEASE] = do_release,
        [ROLE_POINT] = do_point,
        [ROLE_ACKNOWLEDGE] = do_acknowledge,
        [ROLE_DO_NOT_ACKNOWLEDGE] = do_acknowledge,
        [ROLE_START] = do_start,
        [ROLE_ACKNOWLEDGE_RECEIVED] = do_acknowledge_received,
        [ROLE_AWAIT] = do_await,
        [ROLE_OPEN] = do_open,
    };
    struct task task = {
        .effort = effort,
        .step = step,
        .session = {.server = step->server->server,
                    .flavour = step->server->flavour,
                    .end = SESSION_ROLE},
        .deadline = step_deadline(effort),
    };
    enum status status = session_take(effort->mandate, &task.session, task.deadline, err);
    if (!status)
        status = effects[step->action](&task, err);
    session_give_back(&task.session, task.deadline);
    return status;
}

/* ---- a shard ---- */

/* What happened so far, in lines. */
struct story {
    struct buf done, failed;
    size_t done_count, failed_count;
};

static void add_line(struct buf *lines, const struct role_step *step, const struct err *err)
{
    role_step_describe(step, lines);
    if (err)
        buf_printf(lines, ": %s", err->text);
    buf_add(lines, "\n");
}

static bool is_in_vain(const struct effort *effort, const struct role_step *step)
{
    return step->action == ROLE_OPEN && !mandate_may_open(effort->mandate, step->server->server);
}

/* All steps of a plan. What failed in an earlier round may work now: only this one's failures
 * count. */
static enum status apply_all(const struct effort *effort, const struct role_plan *plan,
                             struct story *story, struct err *err)
{
    buf_clear(&story->failed);
    story->failed_count = 0;
    for (size_t i = 0; i < plan->step_count; i++) {
        if (mandate_must_stop(effort->mandate))
            return err_set(err, ST_ABORTED, "stopped");
        if (is_in_vain(effort, &plan->steps[i]))
            continue;
        struct err why = ERR_INIT;
        enum status status = apply(effort, &plan->steps[i], &why);
        if (status == ST_FENCED) {
            *err = why;
            return status;
        }
        add_line(status ? &story->failed : &story->done, &plan->steps[i], status ? &why : NULL);
        *(status ? &story->failed_count : &story->done_count) += 1;
    }
    return ST_OK;
}

/* Until a fresh look finds nothing left to do, or for a while. */
static enum status settle(const struct effort *effort, struct round *round, struct err *err)
{
    nsec until = clock_deadline(SETTLE_MS);
    for (;;) {
        round_release(round);
        enum status status = look(effort, round, err);
        if (status || round->plan.step_count == 0 || clock_now() >= until)
            return status;
        poll(NULL, 0, LOOK_MS);
    }
}

/* What ROLES_ONCE has done it did not look at again: it is not called left. */
static void tell_rest(const struct effort *effort, const struct round *round, struct story *story,
                      struct roles_outcome *ret)
{
    AUTO(buf_release) struct buf left = {0};
    bool was_looked_at = !effort->is_once || ret->err.status;
    size_t steps = was_looked_at && story->failed_count == 0 ? round->plan.step_count : 0;
    ret->left_count = story->failed_count + round->plan.obstacle_count;
    buf_add(&left, buf_text(&story->failed));
    for (size_t i = 0; i < steps; i++) {
        ret->left_count++;
        role_step_describe(&round->plan.steps[i], &left);
        buf_add(&left,
                ret->err.status ? ": not done\n" : ": it was done, and is so again or still\n");
    }
    for (size_t i = 0; i < round->plan.obstacle_count; i++) {
        role_obstacle_describe(&round->plan.obstacles[i], &left);
        buf_add(&left, "\n");
    }
    ret->left = buf_take(&left);
    ret->done = buf_take(&story->done);
    ret->done_count = story->done_count;
}

static void converge_shard(const struct effort *effort, nsec deadline, struct roles_outcome *ret)
{
    struct story story = {0};
    AUTO(round_release) struct round round = {0};
    *ret = (struct roles_outcome){.shard = effort->shard, .err = ERR_INIT};
    enum status status = look(effort, &round, &ret->err);
    for (int i = 0; !status && round.plan.step_count > 0 && i < ROUNDS_MAX; i++) {
        status = apply_all(effort, &round.plan, &story, &ret->err);
        if (effort->is_once)
            break;
        if (!status)
            status = settle(effort, &round, &ret->err);
        if (clock_now() >= deadline)
            break;
    }
    if (round.plan.step_count == 0) { /* what failed at first is well now */
        buf_clear(&story.failed);
        story.failed_count = 0;
    }
    tell_rest(effort, &round, &story, ret);
    buf_release(&story.failed);
}

/* ---- shards side by side ---- */

struct work {
    const struct mandate *mandate;
    const struct inventory_shard *const *shards;
    nsec deadline;
    struct roles_outcome *outcomes;
};

static void converge_one(void *context, size_t index)
{
    struct work *work = context;
    struct effort effort = {work->mandate, work->shards[index], work->deadline == ROLES_ONCE};
    converge_shard(&effort, work->deadline, &work->outcomes[index]);
}

void roles_converge(const struct mandate *mandate, const struct inventory_shard *const *shards,
                    size_t count, nsec deadline, struct roles_outcome *ret)
{
    struct work work = {mandate, shards, deadline, ret};
    crew_run(count, THREADS_MAX, converge_one, &work);
}

void roles_outcome_release(struct roles_outcome *outcome)
{
    free(outcome->done);
    free(outcome->left);
    *outcome = (struct roles_outcome){0};
}
