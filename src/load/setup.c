/* SPDX-License-Identifier: Apache-2.0
 * Before the first write: which shards, may this account do it, is the table there, which server
 * takes the writes. Everything that can be refused is refused here, with nothing written. */
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/grants.h"
#include "load/internal.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { LOOK_MS = 5000 };

struct sql_endpoint load__endpoint(const struct load *load, const struct inventory_server *server)
{
    const struct inventory *fleet = load->request->fleet;
    struct sql_endpoint endpoint = inventory_endpoint(fleet, &fleet->probe, server);
    endpoint.user = load->request->user;
    endpoint.password = load->request->password;
    if (endpoint.password != &fleet->probe.password)
        endpoint.password_file = NULL;
    return endpoint;
}

size_t load__server_count(const struct load *load)
{
    size_t count = 0;
    for (size_t i = 0; i < load->shard_count; i++)
        count += load->shards[i].spec->server_count;
    return count;
}

struct sql_call *load__ask_all(const struct load *load, const char *sql, nsec deadline)
{
    size_t count = load__server_count(load), at = 0;
    struct sql_call *calls = mem_zalloc((count + 1) * sizeof(*calls));
    for (size_t i = 0; i < load->shard_count; i++) {
        const struct inventory_shard *spec = load->shards[i].spec;
        for (size_t j = 0; j < spec->server_count; j++) {
            struct sql_endpoint endpoint = load__endpoint(load, &spec->servers[j]);
            calls[at++] = (struct sql_call){.conn = sql_conn_new(&endpoint), .sql = sql};
        }
    }
    sql_run(calls, count, deadline);
    return calls;
}

void load__answers_free(const struct load *load, struct sql_call *calls)
{
    for (size_t i = 0; i < load__server_count(load); i++) {
        sql_call_release(&calls[i]);
        sql_conn_free(calls[i].conn);
    }
    free(calls);
}

/* --- the account, the table, the primary ----------------------------------------------------- */

/* It would write past a freeze: the gap would look shorter than it is, and rows would be lost. */
static const char *find_privilege(const struct sql_result *held, size_t set)
{
    static const char *const dangerous[] = {"ALL PRIVILEGES", "SUPER", "READ_ONLY ADMIN",
                                            "READ ONLY ADMIN"};
    for (size_t row = 0; row < sql_rows(held, set); row++) {
        const char *grant = sql_value(held, set, row, 0);
        const char *scope = grant ? strstr(grant, " ON *.*") : NULL;
        if (!scope)
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(dangerous); i++) {
            const char *found = strstr(grant, dangerous[i]);
            if (found && found < scope)
                return dangerous[i];
        }
    }
    return NULL;
}

/* "SELECT, INSERT": what an account needs on the table of the rows. */
static void list_privileges(struct buf *ret)
{
    static const char scope[] = LOAD_DATABASE "." LOAD_TABLE;
    for (size_t i = 0; i < grant_count; i++)
        if (grants[i].account == ACCOUNT_PROBE && strcmp(grants[i].scope, scope) == 0)
            buf_printf(ret, "%s%s", ret->length ? ", " : "", grants[i].privilege);
}

static enum status explain_refusal(const struct load_shard *shard, const struct sql_call *call,
                                   const struct load *load, struct err *err)
{
    enum { NO_TABLE = 1146, NO_DATABASE = 1049, NOT_ALLOWED = 1142, NO_ACCESS = 1044 };
    const char *user = load->request->user;
    AUTO(buf_release) struct buf privileges = {0};
    list_privileges(&privileges);
    *err = call->err;
    if (call->sql_errno == NO_TABLE || call->sql_errno == NO_DATABASE)
        err_hint(err,
                 "run on the primary the CREATE statements that 'holdfast fleet grants' prints, "
                 "and its optional line for load: GRANT %s ON %s TO %s",
                 buf_text(&privileges), load->table, user);
    else if (call->sql_errno == NOT_ALLOWED || call->sql_errno == NO_ACCESS)
        err_hint(err,
                 "run on the primary: GRANT %s ON %s TO %s; 'holdfast fleet grants' prints that "
                 "line commented out, as optional for load",
                 buf_text(&privileges), load->table, user);
    else if (call->status == ST_DENIED)
        err_hint(err,
                 "check the password of '%s', or name another account: --user, "
                 "--password-file",
                 user);
    return err_wrap(err, "shard %s", shard->spec->name);
}

struct answers {
    const struct sql_call *calls; /* of the shard's servers */
    size_t answered, writable_count;
    ssize_t writable;
};

/* The packet is: is it read-only, the grants, the table. The table matters only on the primary. */
static void read_answers(const struct load_shard *shard, struct answers *answers)
{
    answers->writable = NOBODY;
    for (size_t i = 0; i < shard->spec->server_count; i++) {
        const char *read_only = sql_value(&answers->calls[i].result, 0, 0, 0);
        answers->answered += read_only != NULL;
        if (!read_only || strcmp(read_only, "0") != 0)
            continue;
        if (answers->writable_count++ == 0)
            answers->writable = (ssize_t)i;
    }
}

static enum status refuse_start(const struct load_shard *shard, const struct answers *answers,
                                struct err *err)
{
    const struct inventory_shard *spec = shard->spec;
    if (answers->writable_count > 1) {
        err_set(err, ST_NO_GO, "shard %s: %zu servers take writes, one should", spec->name,
                answers->writable_count);
        return err_hint(err, "holdfast readiness --shard %s", spec->name);
    }
    for (size_t i = 0; i < spec->server_count; i++)
        if (answers->calls[i].status == ST_DENIED && !answers->answered)
            return explain_refusal(shard, &answers->calls[i], shard->load, err);
    err_set(err, ST_UNREACHABLE, "shard %s: no server takes writes; %zu of %zu answer", spec->name,
            answers->answered, spec->server_count);
    return err_hint(err, "holdfast status");
}

static enum status start_shard(struct load_shard *shard, const struct sql_call *calls,
                               struct err *err)
{
    struct answers answers = {.calls = calls};
    read_answers(shard, &answers);
    if (answers.writable_count != 1)
        return refuse_start(shard, &answers, err);
    const struct sql_call *primary = &calls[answers.writable];
    if (primary->status)
        return explain_refusal(shard, primary, shard->load, err);
    const char *privilege = find_privilege(&primary->result, 1);
    if (privilege) {
        err_set(err, ST_INVALID,
                "shard %s: account '%s' has %s: it would write on servers that "
                "are read-only",
                shard->spec->name, shard->load->request->user, privilege);
        return err_hint(err, "use an account without it: 'probe' in the fleet file, or --user; "
                             "see holdfast fleet grants");
    }
    load__target_set(shard, answers.writable);
    return ST_OK;
}

static enum status look_around(struct load *load, struct err *err)
{
    AUTO_FREE char *sql = mem_printf("SELECT @@global.read_only; SHOW GRANTS; "
                                     "SELECT load_run, writer, seq FROM %s LIMIT 0",
                                     load->table);
    struct sql_call *calls = load__ask_all(load, sql, clock_deadline(LOOK_MS));
    enum status status = ST_OK;
    size_t at = 0;
    for (size_t i = 0; i < load->shard_count && !status; i++) {
        status = start_shard(&load->shards[i], &calls[at], err);
        at += load->shards[i].spec->server_count;
    }
    load__answers_free(load, calls);
    return status;
}

/* --- the run --------------------------------------------------------------------------------- */

/* The time is for people, the rest makes it unique. */
static enum status name_run(struct load_report *report, struct err *err)
{
    char wall[WALL_TEXT_MAX], digits[WALL_TEXT_MAX];
    unsigned suffix = 0;
    if (getrandom(&suffix, sizeof(suffix), 0) != sizeof(suffix))
        return err_set_errno(err, errno, "read", "random bytes");
    clock_wall_format(clock_wall_us(), wall);
    size_t used = 0;
    for (const char *at = wall; *at && *at != '.'; at++)
        if (*at != '-' && *at != ':')
            digits[used++] = *at;
    digits[used] = '\0';
    snprintf(report->run, sizeof(report->run), "load-%.15s-%06x", digits, suffix & 0xffffff);
    return ST_OK;
}

static void init_shard(struct load *load, size_t index, const struct inventory_shard *spec)
{
    struct load_shard *shard = &load->shards[index];
    struct load_shard_report *report = &load->report->shards[index];
    *shard = (struct load_shard){.load = load,
                                 .spec = spec,
                                 .report = report,
                                 .target = NOBODY,
                                 .last_target = NOBODY,
                                 .routed_primary = NOBODY,
                                 .ends = {NOBODY, NOBODY},
                                 .standby = NOBODY};
    report->name = spec->name;
    report->server_count = spec->server_count;
    report->servers = mem_zalloc(spec->server_count * sizeof(*report->servers));
    for (size_t i = 0; i < spec->server_count; i++)
        report->servers[i].name = spec->servers[i].name;
    load__scouts_init(shard);
    size_t writers = load->request->writers;
    shard->writers = mem_zalloc((writers + 1) * sizeof(*shard->writers));
    for (size_t i = 0; i < writers; i++)
        load__writer_init(&shard->writers[i], shard, (unsigned)i);
}

static enum status choose_shards(struct load *load, struct err *err)
{
    const struct load_request *request = load->request;
    bool is_all = request->shard_count == 0;
    size_t count = is_all ? request->fleet->shard_count : request->shard_count;
    load->shards = mem_zalloc((count + 1) * sizeof(*load->shards));
    load->report->shards = mem_zalloc((count + 1) * sizeof(*load->report->shards));
    for (size_t i = 0; i < count; i++) {
        const struct inventory_shard *spec =
            is_all ? &request->fleet->shards[i]
                   : inventory_find_shard(request->fleet, request->shards[i]);
        if (!spec) {
            err_set(err, ST_INVALID, "the fleet has no shard '%s'", request->shards[i]);
            return err_hint(err, "holdfast status lists the shards");
        }
        for (size_t j = 0; j < i; j++)
            if (load->shards[j].spec == spec) {
                err_set(err, ST_INVALID, "shard '%s' is given twice", spec->name);
                return err_hint(err, "name each shard once with --shard, or none for all");
            }
        init_shard(load, i, spec);
        load->shard_count = load->report->shard_count = i + 1;
    }
    return ST_OK;
}

enum status load__setup(struct load *load, struct err *err)
{
    AUTO(buf_release) struct buf table = {0};
    sql_quote_name(&table, load->request->database);
    buf_add(&table, ".");
    sql_quote_name(&table, LOAD_TABLE);
    load->table = buf_take(&table);
    load->report->writers = load->request->writers;
    enum status status = name_run(load->report, err);
    status = status ? status : load__loop_open(&load->loop, err);
    status = status ? status : choose_shards(load, err);
    status = status ? status : load__routes_open(load, err);
    return status ? status : look_around(load, err); /* what is so beats what the route says */
}

void load__release(struct load *load)
{
    for (size_t i = 0; i < load->shard_count; i++) {
        struct load_shard *shard = &load->shards[i];
        for (size_t j = 0; j < load->request->writers; j++)
            load__writer_release(&shard->writers[j]);
        for (size_t j = 0; j < shard->spec->server_count; j++)
            load__channel_release(&shard->scouts[j].channel);
        free(shard->writers);
        free(shard->scouts);
    }
    free(load->shards);
    free(load->table);
    store_watch_close(load->watch);
    load__loop_close(&load->loop);
}
