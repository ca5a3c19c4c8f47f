/* SPDX-License-Identifier: Apache-2.0
 * The result of a load run: for people, as JSON, and as a verdict. */
#include "base/mem.h"
#include "base/scope.h"
#include "load/load.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const error_names[] = {
#define X(id, name) name,
    LOAD_ERROR_TABLE(X)
#undef X
};

static const char *const fault_names[] = {
#define X(id, name) name,
    LOAD_FAULT_TABLE(X)
#undef X
};

const char *load_error_name(enum load_error error)
{
    return error_names[error];
}

const char *load_fault_name(enum load_fault fault)
{
    return fault_names[fault];
}

void load_report_release(struct load_report *report)
{
    for (size_t i = 0; i < report->shard_count; i++)
        free(report->shards[i].servers);
    free(report->shards);
    free(report->findings);
    *report = (struct load_report){0};
}

static uint64_t count_faults(const struct load_report *report)
{
    uint64_t count = 0;
    for (size_t i = 0; i < LOAD_FAULTS; i++)
        count += report->faults[i];
    return count;
}

enum status load_verdict(const struct load_report *report, struct err *err)
{
    if (count_faults(report) > 0) {
        err_set(err, ST_IO,
                "load run %s: %" PRIu64 " acknowledged writes lost, %" PRIu64
                " duplicated, %" PRIu64 " unexpected, %" PRIu64 " on some servers only",
                report->run, report->faults[LOAD_LOST_ROW], report->faults[LOAD_DUPLICATED_ROW],
                report->faults[LOAD_UNEXPECTED_ROW], report->faults[LOAD_DIVERGED_ROW]);
        return err_hint(err, "the rows are kept: SELECT * FROM %s.%s WHERE load_run = '%s'",
                        LOAD_DATABASE, LOAD_TABLE, report->run);
    }
    if (report->unverified_count > 0) {
        err_set(err, ST_UNREACHABLE, "load run %s: %zu of %zu servers could not be verified",
                report->run, report->unverified_count,
                report->unverified_count + report->verified_count);
        return err_hint(err, "holdfast status");
    }
    return ST_OK;
}

/* --- for people ------------------------------------------------------------------------------ */

static void format_shard(const struct load_shard_report *shard, size_t width, struct buf *text)
{
    char at[WALL_TEXT_MAX];
    clock_wall_format(shard->gap_at_us, at);
    buf_printf(text,
               "  %-*s %9" PRIu64 " %8.0f %8.2f %8.2f %9.1f  %.12s %6zu %8" PRIu64 " %6" PRIu64
               " %6" PRIu64 "\n",
               (int)width, shard->name, shard->acknowledged, shard->rate, shard->p50_ms,
               shard->p99_ms, shard->longest_gap_ms, at + 11, shard->moves, shard->unknown,
               shard->faults[LOAD_LOST_ROW], shard->faults[LOAD_DUPLICATED_ROW]);
}

static void format_errors(const struct load_shard_report *shard, struct buf *text)
{
    const char *before = "";
    AUTO(buf_release) struct buf list = {0};
    for (size_t i = 0; i < LOAD_ERRORS; i++) {
        if (!shard->errors[i])
            continue;
        buf_printf(&list, "%s%s %" PRIu64, before, error_names[i], shard->errors[i]);
        before = ", ";
    }
    if (list.length)
        buf_printf(text, "  %s: answers other than OK: %s\n", shard->name, list.data);
    if (shard->last_error[0])
        buf_printf(text, "  %s: last error: %s\n", shard->name, shard->last_error);
}

static void format_finding(const struct load_finding *finding, struct buf *text)
{
    buf_printf(text, "  %s: %s, shard %s, writer %zu, number %" PRIu64, fault_names[finding->fault],
               finding->server, finding->shard, finding->writer, finding->number);
    if (finding->copies > 1)
        buf_printf(text, ", %" PRIu64 " times", finding->copies);
    buf_add(text, "\n");
}

static void format_servers(const struct load_shard_report *shard, struct buf *text)
{
    for (size_t i = 0; i < shard->server_count; i++) {
        const struct load_server_report *server = &shard->servers[i];
        if (!server->is_verified)
            buf_printf(text, "  not verified: %s, shard %s: %s\n", server->name, shard->name,
                       server->reason);
    }
}

static void format_findings(const struct load_report *report, struct buf *text)
{
    uint64_t told = 0;
    for (size_t i = 0; i < report->shard_count; i++)
        for (size_t j = 0; j < report->shards[i].server_count; j++)
            for (size_t k = 0; k < LOAD_FAULTS; k++)
                told += report->shards[i].servers[j].faults[k];
    for (size_t i = 0; i < report->finding_count; i++)
        format_finding(&report->findings[i], text);
    if (told > report->finding_count)
        buf_printf(text, "  ... and %" PRIu64 " more\n", told - report->finding_count);
}

void load_report_format(const struct load_report *report, struct buf *text)
{
    size_t width = sizeof("SHARD") - 1;
    for (size_t i = 0; i < report->shard_count; i++)
        if (strlen(report->shards[i].name) > width)
            width = strlen(report->shards[i].name);
    buf_printf(text, "%s: %.1f s%s, %zu writers a shard, %" PRIu64 " writes, %.0f a second\n",
               report->run, report->seconds, report->was_interrupted ? " (interrupted)" : "",
               report->writers, report->acknowledged, report->rate);
    buf_printf(text, "  %-*s %9s %8s %8s %8s %9s  %-12s %6s %8s %6s %6s\n", (int)width, "SHARD",
               "WRITES", "/S", "P50 MS", "P99 MS", "GAP MS", "AT (UTC)", "MOVES", "UNKNOWN", "LOST",
               "TWICE");
    for (size_t i = 0; i < report->shard_count; i++)
        format_shard(&report->shards[i], width, text);
    for (size_t i = 0; i < report->shard_count; i++)
        format_errors(&report->shards[i], text);
    for (size_t i = 0; i < report->shard_count; i++)
        format_servers(&report->shards[i], text);
    format_findings(report, text);
    buf_printf(text,
               "verified on %zu of %zu servers: %" PRIu64 " lost, %" PRIu64 " duplicated, %" PRIu64
               " unexpected, %" PRIu64 " diverged\n",
               report->verified_count, report->verified_count + report->unverified_count,
               report->faults[LOAD_LOST_ROW], report->faults[LOAD_DUPLICATED_ROW],
               report->faults[LOAD_UNEXPECTED_ROW], report->faults[LOAD_DIVERGED_ROW]);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static void set_faults(json_t *object, const uint64_t faults[LOAD_FAULTS])
{
    for (size_t i = 0; i < LOAD_FAULTS; i++)
        json_object_set_new(object, fault_names[i], json_integer((json_int_t)faults[i]));
}

static json_t *encode_server(const struct load_server_report *server)
{
    json_t *object = json_pack("{s:s, s:b, s:I}", "name", server->name, "verified",
                               (int)server->is_verified, "rows", (json_int_t)server->rows);
    set_faults(object, server->faults);
    return object;
}

static json_t *encode_shard(const struct load_shard_report *shard)
{
    char at[WALL_TEXT_MAX];
    clock_wall_format(shard->gap_at_us, at);
    json_t *object = json_pack("{s:s, s:I, s:I, s:f, s:f, s:s, s:f, s:f, s:I}", "name", shard->name,
                               "acknowledged", (json_int_t)shard->acknowledged, "unknown",
                               (json_int_t)shard->unknown, "rate", shard->rate, "longest_gap_ms",
                               shard->longest_gap_ms, "gap_at", at, "p50_ms", shard->p50_ms,
                               "p99_ms", shard->p99_ms, "moves", (json_int_t)shard->moves);
    set_faults(object, shard->faults);
    json_t *errors = json_object(), *servers = json_array();
    for (size_t i = 0; i < LOAD_ERRORS; i++)
        json_object_set_new(errors, error_names[i], json_integer((json_int_t)shard->errors[i]));
    for (size_t i = 0; i < shard->server_count; i++)
        json_array_append_new(servers, encode_server(&shard->servers[i]));
    json_object_set_new(object, "errors", errors);
    json_object_set_new(object, "last_error", json_string(shard->last_error));
    json_object_set_new(object, "servers", servers);
    return object;
}

static json_t *encode_unverified(const struct load_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->shard_count; i++) {
        const struct load_shard_report *shard = &report->shards[i];
        for (size_t j = 0; j < shard->server_count; j++)
            if (!shard->servers[j].is_verified)
                json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "shard", shard->name,
                                                      "server", shard->servers[j].name, "reason",
                                                      shard->servers[j].reason));
    }
    return list;
}

static json_t *encode_findings(const struct load_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->finding_count; i++) {
        const struct load_finding *at = &report->findings[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "fault",
                                        fault_names[at->fault], "shard", at->shard, "server",
                                        at->server, "writer", (json_int_t)at->writer, "number",
                                        (json_int_t)at->number, "copies", (json_int_t)at->copies));
    }
    return list;
}

void load_report_encode(const struct load_report *report, struct buf *json)
{
    json_t *shards = json_array();
    for (size_t i = 0; i < report->shard_count; i++)
        json_array_append_new(shards, encode_shard(&report->shards[i]));
    json_t *object = json_pack(
        "{s:s, s:f, s:b, s:I, s:f, s:I, s:I, s:I}", "run", report->run, "seconds", report->seconds,
        "interrupted", (int)report->was_interrupted, "writers", (json_int_t)report->writers, "rate",
        report->rate, "acknowledged", (json_int_t)report->acknowledged, "unknown",
        (json_int_t)report->unknown, "verified_servers", (json_int_t)report->verified_count);
    set_faults(object, report->faults);
    json_object_set_new(object, "unverified", encode_unverified(report));
    json_object_set_new(object, "findings", encode_findings(report));
    json_object_set_new(object, "shards", shards);
    AUTO_FREE char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(object);
    buf_printf(json, "%s\n", text);
}
