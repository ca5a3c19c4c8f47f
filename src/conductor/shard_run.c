/* SPDX-License-Identifier: Apache-2.0
 * One shard of a run: from what the store and the servers say of it, through its move, to what is
 * reported; see shard_run.h. */
#include "conductor/shard_run.h"

#include "base/mem.h"
#include "base/scope.h"
#include "conductor/announcer.h"
#include "handover/chain.h"
#include "move/probe.h"
#include "roles/converge.h"
#include "store/store.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { OBSERVE_MS = 3000, OPEN_WAIT_MS = 2000, LOOK_MS = 5, ROLES_MS = 10000 };

/* Nobody is moving this shard, so opening or closing a server is an operator's word. */
static enum status no_primary(const struct shard_observation *seen, const struct route *route,
                              struct err *err)
{
    const char *name = seen->shard->name;
    if (seen->writable_count > 0) {
        err_set(err, ST_CONFLICT, "shard %s has %zu writable servers", name, seen->writable_count);
        return err_hint(err,
                        "holdfast status shows them; SET GLOBAL read_only=1 on the wrong ones");
    }
    err_set(err, ST_CONFLICT, "shard %s has no primary: no server that answers is writable", name);
    return err_hint(err,
                    "bring %s back, then: holdfast fleet converge (it opens the primary when "
                    "nobody else can be it)",
                    route->primary[0] ? route->primary : "the primary");
}

/* What the store says; of a shard that Holdfast has not moved yet, that it serves. */
static enum status load_route(const struct run *run, const char *shard, struct route *ret,
                              struct err *err)
{
    enum status status = route_load(run->mandate.store, shard,
                                    store_deadline(run->mandate.store, STORE_WORK), ret, err);
    if (status != ST_NOT_FOUND)
        return status;
    *ret = (struct route){.state = SHARD_SERVING};
    return ST_OK;
}

/* The route to start from: what the store says, or, for a shard that Holdfast has not moved yet
 * or that somebody moved by hand, what is observed: that is to be recorded, then. */
static enum status start_route(const struct run *run, const struct shard_observation *seen,
                               struct route *route, bool *ret_is_adopted, struct buf *notes,
                               struct err *err)
{
    if (route->state != SHARD_SERVING)
        return ST_OK;
    if (!seen->primary)
        return no_primary(seen, route, err);
    const struct inventory_server *primary = seen->primary->server;
    const char *home = run->mandate.fleet->regions[primary->region];
    bool is_same = strcmp(route->primary, primary->name) == 0;
    if (is_same && strcmp(route->home, home) == 0)
        return ST_OK;
    *ret_is_adopted = true;
    if (route->revision)
        buf_printf(notes, "the route said %s in %s, but the primary is %s in %s: taken over\n",
                   route->primary, route->home, primary->name, home);
    route->epoch += !is_same;
    snprintf(route->home, sizeof(route->home), "%s", home);
    snprintf(route->primary, sizeof(route->primary), "%s", primary->name);
    return ST_OK;
}

/* Which server the host that gets its roles back had as primary of the shard; NULL: it is drained,
 * and whoever can takes over. */
static const char *name_wanted(const struct mandate *mandate, const struct inventory_shard *shard)
{
    for (size_t i = 0; mandate->is_return && i < shard->server_count; i++)
        if (drain_names_have(&mandate->mark->primaries, shard->servers[i].name))
            return shard->servers[i].name;
    return NULL;
}

/* Within the region the new primary is made like a relay before it moves: handover/chain.h. */
static enum status choose_heirs(struct move *move, const struct shard_observation *seen,
                                struct heirs *ret, struct err *err)
{
    const struct mandate *mandate = move->mandate;
    enum status status =
        heirs_choose(seen, mandate->drained, name_wanted(mandate, seen->shard), ret, err);
    if (!status)
        move_set_ends(move, seen->primary->server, ret->primary->server);
    return status;
}

/* Who the two ends are, when the shard serves and is to move. */
static enum status choose_ends(struct move *move, const struct shard_observation *seen,
                               struct heirs *ret_heirs, struct err *err)
{
    size_t to = move->mandate->to_region;
    if (mandate_is_there(move->mandate, move->shard, &move->route))
        return ST_OK;
    if (move->mandate->mark)
        return choose_heirs(move, seen, ret_heirs, err);
    const struct server_observation *relay = seen->relays[to];
    if (!seen->primary || !relay)
        return err_set(err, ST_NO_GO, "shard %s has no relay in region %s", seen->shard->name,
                       move->mandate->fleet->regions[to]);
    move_set_ends(move, seen->primary->server, relay->server);
    return ST_OK;
}

/* Copy what people want to know. */
static void fill_report(struct shard_report *report, struct move *move)
{
    report->result = move->result;
    report->err = move->failure;
    report->is_writable = move->is_writable;
    free(report->cause);
    report->cause = move->cause.status ? mem_strdup(move->cause.text) : NULL;
    report->epoch = move->route.epoch;
    snprintf(report->primary, sizeof(report->primary), "%s", move->route.primary);
    bool is_seen_whole = move->frozen_at && move->published_at; /* not by two processes */
    report->critical_ms = is_seen_whole ? clock_ms(move->published_at - move->frozen_at) : -1;
    report->critical_statements = move->critical_statements;
    report->late_transactions = move->late_transactions;
    if (move->result == MOVE_MOVED)
        report->err = (struct err)ERR_INIT;
    shard_report_tell(report, &move->story);
}

/* The probe watches on until nobody waits any more who began to wait in the span: a wait that does
 * not end was no outage that ended, but a probe that cannot write. */
static bool watch_until(struct probe *probe, struct probe_target *target, nsec until)
{
    nsec give_up = until + OPEN_WAIT_MS * NSEC_PER_MS;
    poll(NULL, 0, clock_ms_left(until));
    for (;;) {
        nsec pending = probe_pending(probe, target), now = clock_now();
        if (pending == 0 || now - pending > until)
            return true;
        if (now >= give_up)
            return false;
        poll(NULL, 0, LOOK_MS);
    }
}

/* The longest wait from the freeze until a little after the new primary was published (what
 * redirect does there must not hurt either), and the longest one in as long a time before the
 * freeze. */
static void measure(struct shard_report *report, struct move *move)
{
    report->outage_ms = report->baseline_ms = -1;
    if (!move->probe_target)
        return;
    struct probe *probe = move->mandate->probe;
    nsec from = move->frozen_at, until = move_probed_until(move);
    if (from && !watch_until(probe, move->probe_target, until)) {
        buf_printf(&move->story.notes,
                   "the probe could not write at %s: the outage is not measured\n",
                   move->route.primary);
    } else if (from) {
        struct waits_span after = {from, until, NSEC_NEVER};
        struct waits_span before = {from - (until - from), from, from};
        report->outage_ms = probe_longest_wait_ms(probe, move->probe_target, &after);
        report->baseline_ms = probe_longest_wait_ms(probe, move->probe_target, &before);
    }
    probe_unwatch(probe, move->probe_target);
    move->probe_target = NULL;
}

/* Clients that follow the route wait until it is published, however early the server was open. */
static void count_publish(struct shard_report *report)
{
    if (report->outage_ms >= 0 && report->critical_ms > report->outage_ms)
        report->outage_ms = report->critical_ms;
}

static bool is_closed(enum shard_state state)
{
    return state == SHARD_FROZEN || state == SHARD_PROMOTING || state == SHARD_UNDOING;
}

/* When clients could write again, or now. */
static nsec end_of_closure(const struct move *move)
{
    if (move->published_at || move->result == MOVE_STUCK)
        return move->published_at ? move->published_at : clock_now();
    for (size_t i = move->story.span_count; i-- > 0;)
        if (move->story.spans[i].phase == PHASE_UNDO)
            return move->story.spans[i].to;
    return clock_now();
}

/* Nobody measured how long a shard was closed that the process before this one closed, or that is
 * closed still. 'since_us': when that surely began; 0: not known. */
static void bound_outage(struct shard_report *report, const struct move *move, int64_t since_us)
{
    int64_t until_us = clock_wall_us() - (clock_now() - end_of_closure(move)) / 1000;
    if (since_us && since_us < until_us)
        report->at_least_ms = (double)(until_us - since_us) / 1000;
}

static void bound_stuck(struct shard_report *report, const struct move *move)
{
    if (move->result != MOVE_STUCK || move->is_writable)
        return;
    report->closed_since_us = clock_wall_us();
    if (!is_closed(move->route.state) || !move->route.frozen_us)
        return;
    report->closed_since_us = move->route.frozen_us;
    bound_outage(report, move, move->route.frozen_us);
}

/* Nobody saw when the process before this one closed the shard. */
static void forget_outage(struct shard_report *report)
{
    report->outage_ms = report->baseline_ms = report->critical_ms = -1;
    char *notes =
        mem_printf("%san earlier process had closed it: the outage is %s\n",
                   report->notes ? report->notes : "",
                   report->at_least_ms < 0 ? "not known" : "not known, only what it was at least");
    free(report->notes);
    report->notes = notes;
}

/* A hook may keep a shard from beginning; then it stays as it is. */
static bool may_begin(const struct run *run, const struct move *move, struct shard_report *report)
{
    struct err why = ERR_INIT;
    if (!announcer_begin_shard(run->announcer, move->shard, &move->route, &why))
        return true;
    report->result = why.status == ST_ABORTED ? move_result_stopped(&run->mandate) : MOVE_UNDONE;
    report->err = why;
    report->epoch = move->route.epoch;
    snprintf(report->primary, sizeof(report->primary), "%s", move->route.primary);
    return false;
}

/* Of a shard whose move could not begin. One that serves is not in between, whatever else is the
 * matter with it: the run must not stay open for it, because only without one may its primary be
 * opened again (fleet converge). */
static enum move_result result_unmoved(const struct run *run, bool is_route_read)
{
    if (!is_route_read && run->mandate.is_resumed)
        return MOVE_STUCK;
    return run->mandate.is_abort_only ? MOVE_ABORTED : MOVE_UNDONE;
}

/* Since when nobody could write, when this process took the shard over; 0: not known, or somebody
 * could: then the process before this one died before it closed the shard, or opened it again. */
static int64_t found_closed_since(const struct move *move, const struct shard_observation *seen)
{
    bool was_closed = move->view.is_inherited && is_closed(move->route.state);
    return was_closed && seen->writable_count == 0 ? move->route.frozen_us : 0;
}

/* One attempt. True when the shard is back at its old home after another process's attempt was
 * undone, and the run should still move it. */
static bool attempt(struct run *run, const struct shard_observation *seen,
                    struct shard_report *report)
{
    AUTO(buf_release) struct buf notes = {0};
    struct route route;
    struct err err = ERR_INIT;
    AUTO(move_release) struct move move = {0};
    bool is_adopted = false;
    struct heirs heirs = {0};
    enum status status = load_route(run, seen->shard->name, &route, &err);
    bool is_read = !status;
    if (is_read)
        status = start_route(run, seen, &route, &is_adopted, &notes, &err);
    if (!status) {
        move_init(&move, &run->mandate, seen->shard, &route);
        buf_add(&move.story.notes, buf_text(&notes));
        bool is_fresh = route.state == SHARD_SERVING && !run_must_stop(run);
        bool is_there = mandate_is_there(&run->mandate, seen->shard, &route);
        if (is_adopted && is_there) /* else the first record of the move says it */
            status = move_adopt(&move, &err);
        if (!status && is_fresh)
            status = choose_ends(&move, seen, &heirs, &err);
        if (!status && is_fresh && !is_there && !may_begin(run, &move, report))
            return false;
        if (!status && heirs.primary)
            status = chain_make(&run->mandate, &heirs, &err);
    }
    if (status) {
        report->result = result_unmoved(run, is_read);
        report->err = err;
        if (report->result == MOVE_STUCK)
            err_hint(&report->err, "when the store is back: holdfast run %s %s",
                     mandate_next(&run->mandate), run->record.id);
        snprintf(report->primary, sizeof(report->primary), "%s",
                 seen->primary ? seen->primary->server->name : "");
        return false;
    }
    bool was_inherited = move.view.is_inherited;
    int64_t closed_since_us = found_closed_since(&move, seen);
    move_run(&move);
    bound_outage(report, &move, closed_since_us);
    bound_stuck(report, &move);
    measure(report, &move);
    fill_report(report, &move);
    count_publish(report);
    return was_inherited && move.result == MOVE_UNDONE && !move.view.is_moved_on &&
           !run_must_stop(run);
}

static struct shard_observation observe_again(const struct run *run,
                                              const struct inventory_shard *shard,
                                              struct fleet_observation *ret)
{
    fleet_observe(run->mandate.fleet, &shard, 1, clock_deadline(OBSERVE_MS), ret);
    return ret->shards[0];
}

/* ---- the other roles of a host ---- */

static void add_notes(struct shard_report *report, const char *lines)
{
    char *notes = mem_printf("%s%s", report->notes ? report->notes : "", lines);
    free(report->notes);
    report->notes = notes;
}

/* It was stopped: whoever follows the heir already goes back, and that is all. */
static void undo_chain(struct run *run, const struct inventory_shard *shard,
                       struct shard_report *report)
{
    AUTO(fleet_observation_release) struct fleet_observation fresh = {0};
    struct err err = ERR_INIT;
    struct shard_observation now = observe_again(run, shard, &fresh);
    if (chain_undo(&run->mandate, &now, &err)) {
        AUTO_FREE char *line = mem_printf("%s; holdfast fleet converge does the rest\n", err.text);
        add_notes(report, line);
    }
}

/* Of a host: whoever was restarted, or stopped by the process before this one, is in its role
 * before the primary moves. */
static struct shard_observation settle_first(const struct run *run,
                                             const struct inventory_shard *shard,
                                             struct fleet_observation *ret)
{
    struct roles_outcome outcome = {0};
    if (run->mandate.mark && !run_must_stop(run)) {
        roles_converge(&run->mandate, &shard, 1, clock_deadline(ROLES_MS), &outcome);
        roles_outcome_release(&outcome);
    }
    return observe_again(run, shard, ret);
}

/* After it: relays leave a host that is drained, and come back; who followed the old primary
 * follows the new one. */
static void settle_roles(struct run *run, const struct inventory_shard *shard,
                         struct shard_report *report)
{
    struct roles_outcome outcome = {0};
    roles_converge(&run->mandate, &shard, 1, clock_deadline(ROLES_MS), &outcome);
    add_notes(report, outcome.done);
    add_notes(report, outcome.left);
    if (outcome.err.status == ST_FENCED) {
        report->result = MOVE_FENCED;
        report->err = outcome.err;
    }
    roles_outcome_release(&outcome);
}

/* What a run that drains a host, or gives roles back, does beside the primary. */
static void finish_host(struct run *run, const struct inventory_shard *shard,
                        struct shard_report *report)
{
    if (!run->mandate.mark || report->result == MOVE_FENCED || report->result == MOVE_STUCK)
        return;
    if (report->result == MOVE_MOVED || report->result == MOVE_ALREADY_THERE)
        settle_roles(run, shard, report);
    else
        undo_chain(run, shard, report);
}

void shard_run(struct run *run, const struct shard_observation *seen, struct shard_report *report)
{
    report->outage_ms = report->baseline_ms = report->critical_ms = report->at_least_ms = -1;
    report->began_us = clock_wall_us();
    struct route found = {0};
    struct err ignored = ERR_INIT;
    bool was_closed =
        run->mandate.is_resumed &&
        route_load(run->mandate.store, seen->shard->name,
                   store_deadline(run->mandate.store, STORE_WORK), &found, &ignored) == ST_OK &&
        is_closed(found.state);
    AUTO(fleet_observation_release) struct fleet_observation first = {0}, second = {0};
    bool is_settled = run->mandate.mark && found.state == SHARD_SERVING;
    struct shard_observation now = is_settled ? settle_first(run, seen->shard, &first) : *seen;
    if (attempt(run, &now, report)) {
        now = settle_first(run, seen->shard, &second);
        attempt(run, &now, report);
    }
    if (was_closed)
        forget_outage(report);
    finish_host(run, seen->shard, report);
}
