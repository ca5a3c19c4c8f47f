/* SPDX-License-Identifier: Apache-2.0
 * The text that Prometheus reads, from what is in memory. */
#include "daemon/metrics.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/table.h"
#include "daemon/election.h"
#include "daemon/internal.h"
#include "mirror/mirror.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum metric { METRIC_TABLE(TABLE_ID) METRICS };

static const struct {
    const char *name, *type, *help;
} metrics[] = {
#define X(id, name, type, help) {name, type, help},
    METRIC_TABLE(X)
#undef X
};

static void begin(struct buf *out, enum metric metric)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics[metric].name, metrics[metric].help,
               metrics[metric].name, metrics[metric].type);
}

/* 'labels' are written like {shard="s0"}, or "". Names of the fleet file need no escapes. */
static void __attribute__((format(printf, 4, 5)))
add(struct buf *out, enum metric metric, double value, const char *labels, ...)
{
    va_list args;
    va_start(args, labels);
    buf_add(out, metrics[metric].name);
    buf_vprintf(out, labels, args);
    va_end(args);
    buf_printf(out, " %.10g\n", value);
}

static void add_one(struct buf *out, enum metric metric, double value)
{
    begin(out, metric);
    add(out, metric, value, "%s", "");
}

static void add_itself(struct daemon *daemon, const struct picture *picture, struct buf *out)
{
    AUTO_FREE char *paused = mirror_pause_text(daemon->mirror);
    struct err ignored = ERR_INIT;
    begin(out, METRIC_BUILD);
    add(out, METRIC_BUILD, 1, "{version=\"%s\"}", HOLDFAST_VERSION);
    add_one(out, METRIC_LEADS, election_get(daemon->election, clock_now()).is_leader);
    if (picture) {
        add_one(out, METRIC_LOOK_AGE, daemon_age_ms(picture->began) / 1e3);
        add_one(out, METRIC_LOOK_TIME, picture->took_ms / 1e3);
    }
    add_one(out, METRIC_STORE_UP, !mirror_has_problem(daemon->mirror, &ignored));
    add_one(out, METRIC_PAUSED, paused != NULL);
}

static void add_readiness(struct daemon *daemon, struct buf *out)
{
    AUTO(judgement_release) struct judgement judgement = judge_get(daemon->judge);
    if (!judgement.began)
        return;
    add_one(out, METRIC_READY_AGE, daemon_age_ms(judgement.began) / 1e3);
    begin(out, METRIC_FINDINGS);
    add(out, METRIC_FINDINGS, (double)judgement.no_go, "{severity=\"no-go\"}");
    add(out, METRIC_FINDINGS, (double)judgement.warnings, "{severity=\"warning\"}");
    add(out, METRIC_FINDINGS, (double)judgement.infos, "{severity=\"info\"}");
}

/* One metric over all shards; what is not known is left out. */
static void add_shards(const struct fleet_status *status, enum metric metric, struct buf *out)
{
    begin(out, metric);
    for (size_t i = 0; i < status->count; i++) {
        const struct status_shard *at = &status->shards[i];
        double value = metric == METRIC_SHARD_OPEN     ? at->primary != NULL
                       : metric == METRIC_SHARD_HOME   ? (at->home ? 1 : -1)
                       : metric == METRIC_SHARD_EPOCH  ? (double)at->epoch
                       : metric == METRIC_SHARD_LAG    ? at->lag_ms / 1e3
                       : metric == METRIC_SHARD_LOSS   ? at->loss.ms / 1e3
                       : metric == METRIC_SHARD_LOST   ? (double)at->loss.transactions
                       : metric == METRIC_SHARD_ACKERS ? (double)at->ackers
                                                       : (double)at->problem_count;
        if (value < 0)
            continue;
        if (metric == METRIC_SHARD_HOME)
            add(out, metric, value, "{shard=\"%s\",deployment=\"%s\",region=\"%s\"}", at->name,
                at->deployment, at->home);
        else
            add(out, metric, value, "{shard=\"%s\",deployment=\"%s\"}", at->name, at->deployment);
    }
}

static void add_servers(const struct fleet_status *status, enum metric metric, struct buf *out)
{
    begin(out, metric);
    for (size_t i = 0; i < status->count; i++)
        for (size_t j = 0; j < status->shards[i].server_count; j++) {
            const struct status_server *at = &status->shards[i].servers[j];
            double value = metric == METRIC_SERVER_UP ? !at->error : at->lag_ms / 1e3;
            if (value >= 0)
                add(out, metric, value, "{shard=\"%s\",server=\"%s\",region=\"%s\",role=\"%s\"}",
                    status->shards[i].name, at->server, at->region, at->role);
        }
}

static void add_server_counts(struct daemon *daemon, struct buf *out)
{
    struct http_counts counts = http_server_counts(daemon->server);
    add_one(out, METRIC_REQUESTS, (double)counts.requests);
    add_one(out, METRIC_REFUSED, (double)counts.refused);
    add_one(out, METRIC_CONNECTIONS, counts.connections);
    add_one(out, METRIC_EVENTS, counts.events);
}

void daemon_metrics(struct daemon *daemon, struct buf *out)
{
    static const enum metric of_shards[] = {
        METRIC_SHARD_OPEN, METRIC_SHARD_HOME, METRIC_SHARD_EPOCH,  METRIC_SHARD_LAG,
        METRIC_SHARD_LOSS, METRIC_SHARD_LOST, METRIC_SHARD_ACKERS, METRIC_SHARD_WRONG};
    struct picture *picture = daemon_picture(daemon);
    add_itself(daemon, picture, out);
    add_readiness(daemon, out);
    for (size_t i = 0; picture && i < ARRAY_SIZE(of_shards); i++)
        add_shards(&picture->status, of_shards[i], out);
    if (picture) {
        add_servers(&picture->status, METRIC_SERVER_UP, out);
        add_servers(&picture->status, METRIC_SERVER_LAG, out);
    }
    add_server_counts(daemon, out);
    picture_unref(picture);
}
