/* SPDX-License-Identifier: Apache-2.0
 * Following a run through the store; see follow.h. Three things are watched in it: the routes, what
 * came of each shard as it is written down, and the record of the run. */
#include "show/follow.h"

#include "base/mem.h"
#include "base/scope.h"
#include "conductor/keeper.h"
#include "conductor/run.h"
#include "conductor/waves.h"
#include "fleet/route.h"
#include "hooks/waiting.h"
#include "move/move.h"
#include "show/progress.h"
#include "store/store.h"

#include <jansson.h>
#include <poll.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* A process that was replaced needs a moment to take the lock. */
enum { PACE_MS = 100, GONE_MS = 1500 };
/* Of a submitted run: the lease of the one that was killed, and another one's election. */
enum { HEIR_MS = 60000 };

struct follow {
    struct store *store;
    const struct follow_manner *manner;
    struct run_record record;
    struct waves waves;
    struct progress progress;
    char *ends_prefix; /* of the keys of what came of each shard */
    struct hsearch_data index;
    nsec gone_since; /* nobody holds the lock; 0: somebody does */
    bool has_said_gone, has_asked_to_abort;
};

static void follow_release(struct follow *follow)
{
    progress_release(&follow->progress);
    hdestroy_r(&follow->index);
    run_record_release(&follow->record);
    free(follow->ends_prefix);
}

static bool find_shard(struct follow *follow, const char *name, size_t *ret)
{
    ENTRY *found = NULL;
    ENTRY wanted = {.key = (char *)name};
    if (!hsearch_r(wanted, FIND, &found, &follow->index))
        return false;
    *ret = (size_t)(uintptr_t)found->data;
    return true;
}

static enum status start(struct follow *follow, const char *id, struct err *err)
{
    enum status status = run_record_load(follow->store, id, &follow->record, err);
    if (status)
        return status;
    struct run_record *record = &follow->record;
    int64_t ago_us = clock_wall_us() - record->started_us; /* wall: of another process */
    board_init(&follow->progress.board, record->shard_count, clock_now() - ago_us * 1000);
    follow->progress.has_board = true;
    follow->progress.board.from = follow->manner->from;
    follow->progress.board.to = record->target;
    follow->progress.board.estimate_ms = record->estimate_ms;
    struct err ignored = ERR_INIT;
    status_ignore(waves_parse(record->waves, record->shard_count, &follow->waves, &ignored),
                  "then it is shown without");
    board_set_known(&follow->progress.board, record->usual_shard_ms);
    follow->ends_prefix = mem_printf("report-shards/%s/", id);
    if (!hcreate_r(2 * record->shard_count + 1, &follow->index))
        return err_set(err, ST_INTERNAL, "out of memory");
    for (size_t i = 0; i < record->shard_count; i++) {
        ENTRY *added = NULL;
        ENTRY entry = {.key = record->shards[i], .data = (void *)(uintptr_t)i};
        follow->progress.board.shards[i].name = record->shards[i];
        hsearch_r(entry, ENTER, &added, &follow->index);
    }
    return ST_OK;
}

/* ---- what the store says ---- */

static void hear_route(struct follow *follow, const char *name, const char *value)
{
    struct route route;
    size_t i = 0;
    if (!value || !find_shard(follow, name, &i) || route_decode(value, &route, NULL))
        return;
    bool is_ours = route.state == SHARD_SERVING || strcmp(route.run, follow->record.id) == 0;
    if (is_ours)
        board_set_state(&follow->progress.board, i, route.state, clock_now());
}

static void hear_end(struct follow *follow, const char *name, const char *value)
{
    static const char *const at_target[] = {"moved", "already there"};
    size_t i = 0;
    if (!value || !find_shard(follow, name, &i))
        return;
    json_t *json = json_loads(value, 0, NULL);
    const char *result = json_string_value(json_object_get(json, "result"));
    const char *known = NULL;
    for (unsigned result_id = 0; result && result_id < MOVE_RESULTS; result_id++)
        if (strcmp(result, move_result_name((enum move_result)result_id)) == 0)
            known = move_result_name((enum move_result)result_id);
    bool is_there = known && (strcmp(known, at_target[0]) == 0 || strcmp(known, at_target[1]) == 0);
    if (known && strcmp(known, move_result_name(MOVE_STUCK)) != 0) /* it may be resumed */
        board_end(&follow->progress.board, i, clock_now(), known, !is_there);
    json_decref(json);
}

typedef void hear_fn(struct follow *follow, const char *name, const char *value);

/* What is there, and a watch of what comes. */
static enum status look(struct follow *follow, const char *prefix, hear_fn *hear,
                        struct store_watch **ret, struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    enum status status =
        store_list(follow->store, prefix, store_deadline(follow->store, STORE_WORK), &list, err);
    if (status)
        return status;
    for (size_t i = 0; i < list.count; i++)
        hear(follow, list.entries[i].key + strlen(prefix), list.entries[i].value);
    return store_watch_open(follow->store, prefix, list.revision, ret, err);
}

struct topic {
    const char *prefix;
    hear_fn *hear;
    struct store_watch *watch; /* NULL: everything is to be read */
};
enum { TOPICS = 2 };

static enum status drain(struct follow *follow, const struct topic *topic, struct err *err)
{
    for (;;) {
        AUTO(store_changes_release) struct store_changes changes = {0};
        enum status status = store_watch_next(topic->watch, 0, &changes, err);
        if (status)
            return status;
        for (size_t i = 0; i < changes.count; i++)
            topic->hear(follow, changes.items[i].entry.key + strlen(topic->prefix),
                        changes.items[i].entry.value);
    }
}

/* What is new; everything again when the history that would tell it is no longer kept. */
static enum status hear_news(struct follow *follow, struct topic *topic, struct err *err)
{
    enum status status = topic->watch ? drain(follow, topic, err) : ST_COMPACTED;
    if (status != ST_COMPACTED)
        return status == ST_TIMEOUT ? ST_OK : status;
    store_watch_close(topic->watch);
    topic->watch = NULL;
    return look(follow, topic->prefix, topic->hear, &topic->watch, err);
}

/* How long no process carries it out; 0: one does, or who did may be about to be replaced. */
static nsec gone_for(struct follow *follow)
{
    char holder[RUN_ID_MAX] = "";
    struct err ignored = ERR_INIT;
    enum status status = run_lock_holder(follow->store, holder, &ignored);
    bool is_held = status == ST_OK && strcmp(holder, follow->record.id) == 0;
    if (is_held || (status && status != ST_NOT_FOUND)) {
        follow->gone_since = 0;
        return 0;
    }
    if (!follow->gone_since)
        follow->gone_since = clock_now();
    nsec gone = clock_now() - follow->gone_since;
    return gone > GONE_MS * NSEC_PER_MS ? gone : 0;
}

static void say(struct follow *follow, const char *what)
{
    if (!follow->progress.is_tty || !follow->progress.out)
        fprintf(stderr, "holdfast: run %s: %s\n", follow->record.id, what);
}

/* ST_STUCK: nobody will go on with it by himself. */
static enum status check_process(struct follow *follow, struct err *err)
{
    nsec gone = gone_for(follow);
    if (gone && !follow->has_said_gone && follow->record.is_submitted)
        say(follow, "its conductor is gone; waiting for another one to go on with it");
    follow->has_said_gone = gone != 0;
    if (!gone || (follow->record.is_submitted && gone < HEIR_MS * NSEC_PER_MS))
        return ST_OK;
    AUTO_FREE char *next = run_record_next(&follow->record);
    err_set(err, ST_STUCK, "the process of run %s is gone", follow->record.id);
    return err_hint(err, "%s", next);
}

/* Ctrl-C. An order to abort that cannot be left in the store now is left the next time round. */
static enum status check_interrupts(struct follow *follow, struct err *err)
{
    int interrupts = follow->manner->interrupts();
    struct err ignored = ERR_INIT;
    if (interrupts > follow->manner->aborts)
        return err_set(err, ST_ABORTED, "no longer followed; run %s goes on", follow->record.id);
    if (!interrupts || follow->has_asked_to_abort ||
        keeper_request_abort(follow->store, follow->record.id, &ignored))
        return ST_OK;
    follow->has_asked_to_abort = true;
    say(follow, "it was asked to abort; Ctrl-C once more ends the following");
    return ST_OK;
}

/* What it waits for, or its wave. The caller frees. */
static char *note_of(struct follow *follow)
{
    const char *stop = follow->has_asked_to_abort ? "aborting" : "";
    if (follow->record.state != RUN_RUNNING)
        return mem_strdup("");
    if (follow->has_said_gone)
        return mem_strdup("its conductor is gone: waiting for another one");
    char *waits = waiting_load(follow->store, follow->record.id);
    return waits ? waits : progress_wave_note(&follow->waves, follow->progress.board.done, stop);
}

/* Somebody took it over meanwhile, or wants it to end. */
static void hear_orders(struct follow *follow, struct run_record *now)
{
    const char *known = follow->record.audit ? follow->record.audit : "";
    size_t length = strlen(known);
    if (!now->audit || strcmp(now->audit, known) == 0)
        return;
    if (strncmp(now->audit, known, length) == 0 && now->audit[length] == '\n')
        say(follow, now->audit + length + 1);
    free(follow->record.audit);
    follow->record.audit = take_pointer(now->audit);
}

/* The record as it is now; the shards stay as they were. */
static enum status read_record(struct follow *follow, struct err *err)
{
    struct run_record record = {0};
    enum status status = run_record_load(follow->store, follow->record.id, &record, err);
    if (status)
        return status;
    follow->record.state = record.state;
    follow->record.is_called_off = record.is_called_off;
    snprintf(follow->record.return_run, RUN_ID_MAX, "%s", record.return_run);
    hear_orders(follow, &record);
    run_record_release(&record);
    return ST_OK;
}

/* ---- until it ends ---- */

/* How long it took is in its report; this clock would count until now. */
static bool had_ended(const struct follow *follow)
{
    return follow->record.state != RUN_RUNNING;
}

static enum status watch(struct follow *follow, struct topic topics[TOPICS], struct err *err)
{
    for (;;) {
        enum status status = read_record(follow, err); /* first: then all is there */
        for (size_t i = 0; i < TOPICS && !status; i++)
            status = hear_news(follow, &topics[i], err);
        if (status && !status_can_retry(status))
            return status;
        bool has_ended = follow->record.state != RUN_RUNNING;
        AUTO_FREE char *note = note_of(follow);
        progress_draw(&follow->progress, note, has_ended);
        if (has_ended)
            return ST_OK;
        status = check_process(follow, err);
        if (!status)
            status = check_interrupts(follow, err);
        if (status)
            return status;
        poll(NULL, 0, PACE_MS);
    }
}

enum status follow_run(struct store *store, const char *id, const struct follow_manner *manner,
                       struct run_record *ret, struct err *err)
{
    AUTO(follow_release) struct follow follow = {.store = store, .manner = manner};
    progress_init(&follow.progress, NULL);
    if (manner->is_silent)
        follow.progress.out = NULL;
    enum status status = start(&follow, id, err);
    bool is_over = !status && had_ended(&follow);
    struct topic topics[TOPICS] = {{"shards/", hear_route, NULL},
                                   {follow.ends_prefix, hear_end, NULL}};
    for (size_t i = 0; i < TOPICS && !status; i++)
        status = hear_news(&follow, &topics[i], err);
    if (!status && !is_over)
        status = watch(&follow, topics, err);
    if (!status) {
        *ret = follow.record;
        follow.record = (struct run_record){0};
    }
    for (size_t i = 0; i < TOPICS; i++)
        store_watch_close(topics[i].watch);
    return status;
}
