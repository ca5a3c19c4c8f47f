/* SPDX-License-Identifier: Apache-2.0
 * One writer: a sequence of numbered rows, one after the other, to wherever the shard's writes go.
 * It has two connections. When the target moves while a write hangs on the old one, the writer
 * goes on at the new one; what the old one answers, late or never, is noted when it comes.
 * A connection is opened by itself, never by a write: so a write that fails was surely sent. */
#include "base/invariant.h"
#include "base/mem.h"
#include "load/internal.h"

#include <inttypes.h>
#include <stdio.h>

enum { RETRY_MS = 5, CONNECT_RETRY_MS = 20 };

/* Error numbers after which the statement surely did not happen, all of it. */
enum { ERROR_READ_ONLY = 1290 };
static const unsigned refusals[] = {
    ERROR_READ_ONLY, 1021, 1036, 1044, 1049, 1114, 1142, 1143, 1146, 1205, 1213, 1792, 1836,
};

static struct load *load_of(const struct writer *writer)
{
    return writer->shard->load;
}

static bool is_refusal(unsigned number)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        if (refusals[i] == number)
            return true;
    return false;
}

/* --- outcomes -------------------------------------------------------------------------------- */

static void note_error(struct load_shard *shard, enum load_error error, const struct sql_call *call)
{
    shard->report->errors[error]++;
    if (error != LOAD_READ_ONLY && error != LOAD_LOST)
        snprintf(shard->report->last_error, sizeof(shard->report->last_error), "%.*s",
                 (int)sizeof(shard->report->last_error) - 1, call->err.text);
}

static void on_connected(struct link *link)
{
    struct sql_call *call = &link->channel.call;
    if (!call->status)
        return;
    struct load_shard *shard = link->writer->shard;
    nsec now = clock_now();
    note_error(shard, LOAD_CONNECT, call);
    link->retry_at = now + CONNECT_RETRY_MS * NSEC_PER_MS;
    bool is_gone = call->status == ST_UNREACHABLE || call->status == ST_TIMEOUT;
    if (is_gone && link->server == shard->target)
        load__target_refused(shard, link->generation, now);
}

static void on_refused(struct link *link, nsec now)
{
    struct writer *writer = link->writer;
    bool is_read_only = link->channel.call.sql_errno == ERROR_READ_ONLY;
    ledger_refuse(&writer->ledger, link->number);
    note_error(writer->shard, is_read_only ? LOAD_READ_ONLY : LOAD_REFUSED, &link->channel.call);
    if (is_read_only)
        load__target_refused(writer->shard, link->generation, now);
    else
        writer->due = now + RETRY_MS * NSEC_PER_MS;
}

static void on_doubtful(struct link *link, nsec now)
{
    struct writer *writer = link->writer;
    bool is_open = load__channel_is_open(&link->channel);
    bool is_late = !is_open && link->channel.call.sql_errno == 0;
    ledger_doubt(&writer->ledger, link->number);
    note_error(writer->shard,
               is_open   ? LOAD_DOUBTFUL
               : is_late ? LOAD_LATE
                         : LOAD_LOST,
               &link->channel.call);
    if (is_late) /* a server that hangs accepts connections; let the scouts look for another */
        load__target_refused(writer->shard, link->generation, now);
}

static void on_link_done(struct channel *channel)
{
    struct link *link = channel->owner;
    const struct sql_call *call = &channel->call;
    if (!link->number) {
        on_connected(link);
        return;
    }
    if (call->status == ST_OK) {
        ledger_acknowledge(&link->writer->ledger, link->number);
        gauge_acknowledge(&link->writer->shard->gauge, call->started, call->finished);
    } else if (is_refusal(call->sql_errno)) {
        on_refused(link, call->finished);
    } else {
        on_doubtful(link, call->finished);
    }
    link->number = 0;
}

/* --- connections ----------------------------------------------------------------------------- */

/* The writer's connection to this server, or one that can become that; NULL: both hang. */
static struct link *link_to(struct writer *writer, ssize_t server)
{
    struct link *spare = NULL;
    for (size_t i = 0; i < WRITER_LINKS; i++) {
        struct link *link = &writer->links[i];
        if (link->server == server)
            return link;
        bool is_used = link->server != NOBODY && link->server == writer->shard->last_target;
        bool is_better = !spare || link->server == NOBODY;
        if (!link->channel.is_busy && !is_used && is_better)
            spare = link;
    }
    if (!spare)
        return NULL;
    const struct inventory_shard *spec = writer->shard->spec;
    struct sql_endpoint at = load__endpoint(load_of(writer), &spec->servers[server]);
    load__channel_bind(&spare->channel, &at);
    spare->server = server;
    spare->retry_at = 0;
    return spare;
}

/* True when it can be written to now. */
static bool keep_open(struct link *link, nsec now)
{
    if (link->channel.is_busy)
        return false;
    if (load__channel_is_open(&link->channel))
        return true;
    if (link->retry_at <= now) {
        link->generation = link->writer->shard->generation;
        buf_clear(&link->channel.sql);
        load__channel_begin(&link->channel, now + CONNECT_MS * NSEC_PER_MS);
    }
    if (!link->channel.is_busy)
        load__loop_wake_at(link->channel.loop, link->retry_at);
    return false;
}

/* --- writing --------------------------------------------------------------------------------- */

nsec load__next_beat(nsec due, nsec period, nsec now)
{
    return due + ((now - due) / period + 1) * period;
}

static void send_row(struct writer *writer, struct link *link, nsec now)
{
    struct buf *sql = &link->channel.sql;
    long rate = load_of(writer)->request->rate;
    writer->due = rate ? load__next_beat(writer->due, NSEC_PER_SEC / rate, now) : now;
    link->number = ledger_take(&writer->ledger);
    link->generation = writer->shard->generation;
    buf_clear(sql);
    buf_printf(sql, "INSERT INTO %s (load_run, writer, seq) VALUES ('%s', %u, %" PRIu64 ")",
               load_of(writer)->table, load_of(writer)->report->run, writer->id, link->number);
    load__channel_begin(&link->channel, now + WRITE_MS * NSEC_PER_MS);
    if (!link->number) /* it is over already */
        load__loop_wake_at(link->channel.loop, writer->due);
}

void load__writer_pump(struct writer *writer, nsec now)
{
    struct load_shard *shard = writer->shard;
    if (shard->standby != NOBODY && shard->standby != shard->target) {
        struct link *standby = link_to(writer, shard->standby);
        if (standby)
            keep_open(standby, now);
    }
    if (shard->target == NOBODY)
        return;
    struct link *link = link_to(writer, shard->target);
    if (!link || !keep_open(link, now) || !load_of(writer)->is_writing)
        return;
    if (writer->due > now)
        load__loop_wake_at(link->channel.loop, writer->due);
    else
        send_row(writer, link, now);
}

bool load__writer_is_ready(const struct writer *writer)
{
    for (size_t i = 0; i < WRITER_LINKS; i++)
        if (writer->links[i].server == writer->shard->target)
            return load__channel_is_open(&writer->links[i].channel);
    return false;
}

bool load__writer_is_busy(const struct writer *writer)
{
    for (size_t i = 0; i < WRITER_LINKS; i++)
        if (writer->links[i].number)
            return true;
    return false;
}

void load__writer_give_up(struct writer *writer)
{
    for (size_t i = 0; i < WRITER_LINKS; i++) {
        struct link *link = &writer->links[i];
        if (link->number) {
            ledger_doubt(&writer->ledger, link->number);
            writer->shard->report->errors[LOAD_LATE]++;
        }
        link->number = 0;
        load__channel_break(&link->channel);
    }
}

void load__writer_init(struct writer *writer, struct load_shard *shard, unsigned id)
{
    writer->shard = shard;
    writer->id = id;
    for (size_t i = 0; i < WRITER_LINKS; i++) {
        struct link *link = &writer->links[i];
        link->writer = writer;
        link->server = NOBODY;
        load__channel_init(&link->channel, &shard->load->loop, on_link_done, link);
    }
}

void load__writer_release(struct writer *writer)
{
    for (size_t i = 0; i < WRITER_LINKS; i++)
        load__channel_release(&writer->links[i].channel);
    ledger_release(&writer->ledger);
}
