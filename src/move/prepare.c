/* SPDX-License-Identifier: Apache-2.0
 *
 * Before the freeze: nothing here may disturb clients. Take both servers, see that they are still
 * what they were, find what would hold the freeze up, and wait until the new primary is so close
 * behind that the wait after the freeze will be short. */
#include "fleet/schema.h"
#include "move/internal.h"
#include "move/mandate.h"
#include "move/probe.h"

#include "base/mem.h"
#include "base/scope.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRY_FREEZE_MS = 300,
    CALM_NS = 2 * 1000 * 1000, /* a fresh position reached faster than this is a calm moment */
    CALM_PATIENCE_MS = 200,    /* afterwards one that is as calm as this shard gets will do */
    CALM_SAMPLES = 10,         /* and so many must have been taken to know that */
    CALM_WAIT_MS = 3000,       /* afterwards the freeze starts anyway: it has its own bound */
    CALM_PAUSE_MS = 1,
    PROBE_MS = 100, /* of ordinary writes are watched before the freeze */
    PROBE_WAIT_MS = 2000,
    GATE_MS = 600 * 1000, /* others may have to be undone, one after the other */
    GATE_LOOK_MS = 100,
    IDLE_MS = 1000, /* a session is not idle for longer while it waits for its turn */
};

/* One row: file and offset. */
static void keep_log_end(const struct sql_result *result, char ret_end[static ROUTE_NAME_MAX])
{
    const char *file = sql_value(result, 0, 0, 0), *offset = sql_value(result, 0, 0, 1);
    snprintf(ret_end, ROUTE_NAME_MAX, "%s:%s", file ? file : "", offset ? offset : "");
}

/* A prepared XA transaction could have been made since readiness was checked. */
static enum status look_at_old(struct move *move, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    move->flavour->observe(&sql);
    buf_add(&sql, "; ");
    move->flavour->list_prepared(&sql);
    enum status status = session_exec(&move->old_session, CALL_LOOK_OLD, buf_text(&sql),
                                      move->view.deadline, &result, err);
    size_t prepared = status ? 0 : sql_rows(&result, result.count - 1);
    if (!status)
        status = move->flavour->read_observation(&result, &state, err);
    if (status)
        return status;
    if (prepared > 0 && !inventory_accepts(move->mandate->fleet, "prepared-xa"))
        return err_set(err, ST_NO_GO, "%s has %zu prepared XA transactions", move->old_server->name,
                       prepared);
    if (state.is_read_only || state.channels > 0)
        return err_set(err, ST_CONFLICT, "%s is no longer a writable primary",
                       move->old_server->name);
    if (!state.is_source_semi_sync || state.ackers < 1)
        return err_set(err, ST_NO_GO, "%s has no semi-synchronous acker any more",
                       move->old_server->name);
    move->route.runs_events = state.is_event_scheduler_on;
    return ST_OK;
}

/* The new primary forgets it when it is promoted, and the old one is to be connected like that. */
static enum status keep_link(struct move *move, const struct sql_server_state *state,
                             struct err *err)
{
    const struct inventory_tls *tls = &move->mandate->fleet->replication.tls;
    AUTO(buf_release) struct buf text = {0};
    move->flavour->keep_link(&text, state, tls->is_on ? &tls->sql : NULL);
    if (text.length >= sizeof(move->route.link))
        return err_set(err, ST_INVALID, "the names of the TLS files of %s are too long",
                       move->new_server->name);
    snprintf(move->route.link, sizeof(move->route.link), "%s", buf_text(&text));
    return ST_OK;
}

static enum status look_at_new(struct move *move, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    AUTO(sql_server_state_release) struct sql_server_state state = {0};
    move->flavour->observe(&sql);
    enum status status = session_exec(&move->new_session, CALL_LOOK_NEW, buf_text(&sql),
                                      move->view.deadline, &result, err);
    if (!status)
        status = move->flavour->read_observation(&result, &state, err);
    if (status)
        return status;
    if (!state.is_read_only || state.channels != 1 || !state.is_sql_running || !state.is_io_running)
        return err_set(err, ST_CONFLICT, "%s is no longer a read-only, running replica",
                       move->new_server->name);
    if (state.ackers < 1)
        return err_set(err, ST_NO_GO, "%s has no replica that would acknowledge its writes",
                       move->new_server->name);
    move->route.new_id = state.server_id;
    move->route.is_strict = state.is_gtid_strict;
    /* However long the answer took: what is late by this clock is late by the server's. */
    move->clock_ahead_s = state.clock_s - clock_ms(clock_now()) / 1000;
    return keep_link(move, &state, err);
}

/* Holdfast's own tables, made when they are missing: the last look writes a row. */
static enum status make_schema(struct move *move, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    buf_add(&sql,
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '" SCHEMA_NAME
            "' AND TABLE_NAME IN (''");
    for (size_t i = 0; i < schema_table_count; i++)
        buf_printf(&sql, ", '%s'", schema_tables[i].name);
    buf_add(&sql, ")");
    enum status status = session_exec(&move->old_session, CALL_SCHEMA_LOOK, buf_text(&sql),
                                      move->view.deadline, &result, err);
    if (status || sql_number(session_last_value(&result), 0) == (int64_t)schema_table_count)
        return status;
    buf_clear(&sql);
    schema_create_sql(&sql);
    status = session_exec(&move->old_session, CALL_SCHEMA, buf_text(&sql), move->view.deadline,
                          NULL, err);
    if (!status)
        return ST_OK;
    err_wrap(err, "create schema " SCHEMA_NAME);
    err_hint(err, "run the SQL that 'holdfast fleet grants' prints on %s", move->old_server->name);
    return status;
}

/* The probe starts before the freeze, so that the outage can be compared with ordinary waits. */
static void start_probe(struct move *move)
{
    if (move->mandate->probe && !move->probe_target)
        move->probe_target = probe_watch(move->mandate->probe, move->old_server, move->new_server);
}

static void warm_up_probe(struct move *move)
{
    struct probe *probe = move->mandate->probe;
    if (!move->probe_target)
        return;
    bool is_warm =
        probe_warm_up(probe, move->probe_target, PROBE_MS, clock_deadline(PROBE_WAIT_MS));
    bool is_privileged = probe_is_privileged(move->probe_target);
    if (is_warm && !is_privileged)
        return;
    if (is_privileged)
        move_note(move,
                  "the probe account may write on the read-only %s: the outage is not measured",
                  move->new_server->name);
    else
        move_note(move, "the probe cannot write at %s: its outage is not measured",
                  move->old_server->name);
    probe_unwatch(probe, move->probe_target);
    move->probe_target = NULL;
}

static enum status try_freeze(struct move *move, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->try_freeze_lock(&sql, TRY_FREEZE_MS);
    enum status status = session_exec(&move->old_session, CALL_TRY_FREEZE, buf_text(&sql),
                                      move->view.deadline, NULL, err);
    if (status == ST_TIMEOUT)
        return err_set(err, ST_NO_GO, "%s: a backup or LOCK TABLES holds what the freeze needs",
                       move->old_server->name);
    return status;
}

/* How long the new primary takes to reach the old one's position of this moment, and how far away
 * the old one is: the round trip is in every wait for it, and no sign of trouble. */
static enum status measure_gap(struct move *move, nsec *ret_took, nsec *ret_trip, struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result position = {0}, waited = {0};
    move->flavour->read_log_end(&sql);
    buf_add(&sql, "; ");
    move->flavour->read_position(&sql);
    nsec asked = clock_now();
    enum status status = session_exec(&move->old_session, CALL_READ_OLD, buf_text(&sql),
                                      move->view.deadline, &position, err);
    *ret_trip = clock_now() - asked;
    const char *at = status ? NULL : session_last_value(&position);
    if (status)
        return status;
    keep_log_end(&position, move->route.log_end);
    buf_clear(&sql);
    move->flavour->read_log_end(&sql);
    buf_add(&sql, "; ");
    move->flavour->wait_for(&sql, at ? at : "", (int)move->mandate->fleet->policy.max_lag_ms);
    nsec began = clock_now();
    status = session_exec(&move->new_session, CALL_CATCH_UP, buf_text(&sql), move->view.deadline,
                          &waited, err);
    if (!status)
        keep_log_end(&waited, move->route.new_log_end);
    if (!status && sql_number(session_last_value(&waited), -1) != 0)
        return err_set(err, ST_NO_GO, "%s is more than %lld ms behind %s", move->new_server->name,
                       (long long)move->mandate->fleet->policy.max_lag_ms, move->old_server->name);
    *ret_took = clock_now() - began;
    return status;
}

/* Is a wait of 'took' worth to freeze on, when the best one of 'samples' was 'best'? A single slow
 * one is its own best: that says nothing. */
static bool is_calm(nsec took, nsec best, int samples, nsec waited)
{
    return took <= CALM_NS || (samples >= CALM_SAMPLES &&
                               waited >= CALM_PATIENCE_MS * NSEC_PER_MS && took <= best + best / 4);
}

/* How long a write of the probe waits already: a freeze would wait as long as the disk does. */
static nsec pending_of(const struct move *move)
{
    return move->probe_target ? probe_pending(move->mandate->probe, move->probe_target) : 0;
}

/* Clients wait for what the new primary is behind at the freeze. Bounded: a busy shard may never be
 * calm, and is then frozen all the same, unless the freeze would most likely have to be undone. */
static enum status wait_for_calm(struct move *move, struct err *err)
{
    nsec began = clock_now(), best = NSEC_NEVER, took = 0, trip = 0, waited = 0;
    nsec least_trip = NSEC_NEVER; /* a slow one is the server's trouble, not the way to it */
    nsec bearable = move->mandate->fleet->policy.freeze_timeout_ms * NSEC_PER_MS / 2;
    for (int samples = 1; waited < CALM_WAIT_MS * NSEC_PER_MS && !mandate_must_stop(move->mandate);
         samples++) {
        enum status status = measure_gap(move, &took, &trip, err);
        if (status)
            return status;
        nsec pending = pending_of(move);
        least_trip = trip < least_trip ? trip : least_trip;
        took = (took > pending ? took : pending) - least_trip;
        best = took < best ? took : best;
        waited = clock_now() - began;
        if (is_calm(took, best, samples, waited))
            return ST_OK;
        poll(NULL, 0, CALM_PAUSE_MS);
    }
    if (took <= bearable || mandate_must_stop(move->mandate))
        return ST_OK;
    err_set(err, ST_NO_GO, "no calm moment within %d ms: %s is %.0f ms behind %s, or the disks are",
            CALM_WAIT_MS, move->new_server->name, clock_ms(took), move->old_server->name);
    return err_hint(err, "move %s when less is written, or with a longer policy.freeze_timeout",
                    move->shard->name);
}

/* The time of the move itself begins when it is its turn. */
static void begin_time(struct move *move)
{
    move->view.deadline = clock_deadline(move->mandate->fleet->policy.move_timeout_ms);
}

/* Servers close sessions that are idle for long; and who waits for long may find that somebody else
 * moved the shard meanwhile. */
static enum status keep_alive(struct move *move, struct err *err)
{
    nsec took = 0, trip = 0;
    begin_time(move);
    enum status status = look_at_old(move, err);
    if (!status)
        status = look_at_new(move, err);
    return status ? status : measure_gap(move, &took, &trip, err);
}

static enum status take_place(struct move *move, enum gate_place place, struct err *err)
{
    nsec give_up = clock_deadline(GATE_MS), idle_until = clock_deadline(IDLE_MS);
    while (!freeze_gate_enter(move->mandate->gate, place, clock_deadline(GATE_LOOK_MS))) {
        if (mandate_must_stop(move->mandate))
            return err_set(err, ST_ABORTED, "stopped while other shards moved");
        if (clock_now() >= give_up)
            return err_set(err, ST_TIMEOUT, "no turn to move came up within %d s", GATE_MS / 1000);
        if (place != GATE_FREEZE || clock_now() < idle_until)
            continue;
        enum status status = keep_alive(move, err);
        if (status)
            return status;
        idle_until = clock_deadline(IDLE_MS);
    }
    move->has_place[place] = true;
    begin_time(move);
    return ST_OK;
}

static enum status make_ready(struct move *move, struct err *err)
{
    enum status status = session_take(move->mandate, &move->old_session, move->view.deadline, err);
    if (!status)
        status = session_take(move->mandate, &move->new_session, move->view.deadline, err);
    if (!status)
        status = look_at_old(move, err);
    if (!status)
        status = look_at_new(move, err);
    if (!status)
        status = make_schema(move, err);
    if (!status)
        start_probe(move);
    if (!status)
        status = try_freeze(move, err);
    nsec took = 0, trip = 0;
    if (!status)
        status = measure_gap(move, &took, &trip, err);
    if (!status)
        warm_up_probe(move);
    return status;
}

enum status step_prepare(struct move *move, struct err *err)
{
    enum status status = take_place(move, GATE_READY, err);
    nsec began = clock_now();
    if (!status)
        status = make_ready(move, err);
    if (!status)
        status = take_place(move, GATE_FREEZE, err);
    if (!status)
        status = wait_for_calm(move, err);
    story_add_phase(&move->story, PHASE_PREPARE, began);
    if (status)
        return status;
    move->view.old_primary = OLD_OPEN;
    move->view.new_primary = NEW_UNTOUCHED;
    move->view.is_prepared = true;
    return ST_OK;
}
