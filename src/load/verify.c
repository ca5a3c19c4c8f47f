/* SPDX-License-Identifier: Apache-2.0
 * The end of a run: wait until every server has what the primary has, then let compare.c hold each
 * against the writers' ledgers. All servers of all shards are asked side by side. A server that
 * cannot be judged is named, never passed. */
#include "load/verify.h"

#include "base/mem.h"
#include "base/scope.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPEN_MS = 5000,
    LOOK_AGAIN_MS = 100, /* for a primary */
};

size_t load__shard_index(const struct subject *subject)
{
    return (size_t)(subject->shard - subject->shard->load->shards);
}

void load__give_up(struct subject *subject, const char *reason)
{
    snprintf(subject->report->reason, sizeof(subject->report->reason), "%.*s",
             (int)sizeof(subject->report->reason) - 1, reason);
    subject->report->is_verified = false;
}

/* --- asking all that are still in the race --------------------------------------------------- */

void load__ask(struct verify *verify, nsec deadline, answer_fn *on_answer)
{
    AUTO_FREE struct sql_call *calls = mem_zalloc((verify->count + 1) * sizeof(*calls));
    AUTO_FREE struct subject **asked = mem_zalloc((verify->count + 1) * sizeof(struct subject *));
    size_t count = 0;
    for (size_t i = 0; i < verify->count; i++) {
        struct subject *subject = &verify->subjects[i];
        if (!subject->report->is_verified)
            continue;
        calls[count] = (struct sql_call){.conn = subject->conn, .sql = subject->sql};
        asked[count++] = subject;
    }
    sql_run(calls, count, deadline);
    for (size_t i = 0; i < count; i++) {
        if (calls[i].status)
            load__give_up(asked[i], calls[i].err.text);
        else if (on_answer)
            on_answer(verify, asked[i], &calls[i].result);
        sql_call_release(&calls[i]);
    }
}

void load__set_sql(struct subject *subject, struct buf *sql)
{
    free(subject->sql);
    subject->sql = buf_take(sql);
}

/* --- reaching the primary's position --------------------------------------------------------- */

static void on_connected(struct verify *verify UNUSED, struct subject *subject,
                         struct sql_result *result UNUSED)
{
    struct err err = ERR_INIT;
    const char *version = sql_conn_server_version(subject->conn);
    if (sql_flavour_find(version, &subject->flavour, &err)) {
        load__give_up(subject, err.text);
        return;
    }
    AUTO(buf_release) struct buf sql = {0};
    buf_add(&sql, "SELECT @@global.read_only; ");
    subject->flavour->read_position(&sql);
    load__set_sql(subject, &sql);
}

static void on_position(struct verify *verify UNUSED, struct subject *subject,
                        struct sql_result *result)
{
    const char *read_only = sql_value(result, 0, 0, 0), *position = sql_value(result, 1, 0, 0);
    subject->is_primary = read_only && strcmp(read_only, "0") == 0;
    free(subject->position);
    subject->position = mem_strdup(position ? position : "");
}

static const struct subject *find_primary(const struct verify *verify, const struct subject *of)
{
    for (size_t i = 0; i < verify->count; i++) {
        const struct subject *at = &verify->subjects[i];
        if (at->shard == of->shard && at->report->is_verified && at->is_primary)
            return at;
    }
    return NULL;
}

static bool has_primaries(const struct verify *verify)
{
    for (size_t i = 0; i < verify->count; i++)
        if (verify->subjects[i].report->is_verified && !find_primary(verify, &verify->subjects[i]))
            return false;
    return true;
}

/* A move may be under way: its shard gets a primary soon. */
static void find_positions(struct verify *verify)
{
    for (;;) {
        load__ask(verify, clock_deadline(OPEN_MS), on_position);
        if (has_primaries(verify) || clock_now() >= verify->deadline)
            return;
        poll(NULL, 0, LOOK_AGAIN_MS);
    }
}

static void on_waited(struct verify *verify, struct subject *subject, struct sql_result *result)
{
    const struct subject *primary = find_primary(verify, subject);
    const char *answer = sql_value(result, 0, 0, 0);
    char reason[sizeof(subject->report->reason)];
    if (answer && (subject->is_primary || strcmp(answer, "0") == 0))
        return;
    snprintf(reason, sizeof(reason), "did not reach the primary's position %.64s in time",
             primary ? primary->position : "");
    load__give_up(subject, reason);
}

/* Without a primary nothing says what a server should have, so none of the shard is verified. */
static void reach_positions(struct verify *verify)
{
    int left_ms = clock_ms_left(verify->deadline) + 1; /* 0 might mean for ever */
    for (size_t i = 0; i < verify->count; i++) {
        struct subject *subject = &verify->subjects[i];
        const struct subject *primary = find_primary(verify, subject);
        AUTO(buf_release) struct buf sql = {0};
        if (subject->report->is_verified && subject == primary)
            buf_add(&sql, "SELECT 0");
        else if (subject->report->is_verified && primary)
            subject->flavour->wait_for(&sql, primary->position, left_ms);
        load__set_sql(subject, &sql);
    }
    for (size_t i = 0; i < verify->count; i++) /* not above: a primary must be found until then */
        if (verify->subjects[i].report->is_verified && !verify->subjects[i].sql[0])
            load__give_up(&verify->subjects[i], "the shard has no primary to compare with");
    load__ask(verify, verify->deadline + OPEN_MS * NSEC_PER_MS, on_waited);
}

/* --- the whole ------------------------------------------------------------------------------- */

/* Faults outside of what the writers used have no bit: the server with most of them counts. */
static void add_up(struct verify *verify)
{
    struct load_report *report = verify->load->report;
    for (size_t i = 0; i < verify->load->shard_count; i++) {
        struct load_shard_report *shard = &report->shards[i];
        for (size_t fault = 0; fault < LOAD_FAULTS; fault++) {
            uint64_t most = 0;
            for (size_t j = 0; j < verify->count; j++)
                if (load__shard_index(&verify->subjects[j]) == i &&
                    verify->subjects[j].outside[fault] > most)
                    most = verify->subjects[j].outside[fault];
            shard->faults[fault] += most;
            report->faults[fault] += shard->faults[fault];
        }
    }
    for (size_t i = 0; i < verify->count; i++) {
        report->verified_count += verify->subjects[i].report->is_verified;
        report->unverified_count += !verify->subjects[i].report->is_verified;
    }
}

static void init(struct verify *verify)
{
    struct load *load = verify->load;
    load__memories_init(verify);
    verify->subjects = mem_zalloc((load__server_count(load) + 1) * sizeof(*verify->subjects));
    for (size_t i = 0; i < load->shard_count; i++) {
        struct load_shard *shard = &load->shards[i];
        for (size_t j = 0; j < shard->spec->server_count; j++) {
            struct sql_endpoint at = load__endpoint(load, &shard->spec->servers[j]);
            shard->report->servers[j].is_verified = true; /* until something speaks against it */
            verify->subjects[verify->count++] =
                (struct subject){.shard = shard,
                                 .server = j,
                                 .report = &shard->report->servers[j],
                                 .conn = sql_conn_new(&at)};
        }
    }
}

static void release(struct verify *verify)
{
    for (size_t i = 0; i < verify->count; i++) {
        sql_conn_free(verify->subjects[i].conn);
        free(verify->subjects[i].position);
        free(verify->subjects[i].sql);
    }
    load__memories_free(verify);
    free(verify->subjects);
}

void load__verify(struct load *load, nsec deadline)
{
    struct verify verify = {.load = load, .deadline = deadline};
    init(&verify);
    load__ask(&verify, clock_deadline(OPEN_MS), on_connected);
    find_positions(&verify);
    reach_positions(&verify);
    load__compare(&verify);
    add_up(&verify);
    release(&verify);
}
