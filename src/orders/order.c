/* SPDX-License-Identifier: Apache-2.0
 * See order.h. The keys are the options of the CLI. */
#include "orders/order.h"

#include "api/body.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "conductor/waves.h"
#include "fleet/inventory.h"

#include <string.h>

enum { NAME_MAX_BYTES = 300, WAVE_MAX_BYTES = 500, FAILURES_MAX = 1000000 };

/* ---- written ---- */

static void add_names(json_t *body, const char *key, char *const *names, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(names[i]));
    if (count)
        json_object_set_new(body, key, list);
    else
        json_decref(list);
}

static void add_move(json_t *body, const struct run_record *record)
{
    json_object_set_new(body, "to", json_string(record->target));
    if (record->waves) {
        json_object_set_new(body, "wave", json_string(record->waves));
        json_object_set_new(body, "settle_s", json_integer(record->settle_ms / 1000));
    }
    if (record->failures_max >= 0)
        json_object_set_new(body, "max_failures", json_integer(record->failures_max));
    if (record->returns)
        json_object_set_new(body, "on_abort", json_string("return"));
}

char *order_encode(const struct run_record *record, const char *caller)
{
    json_t *body = json_pack("{s:s, s:s, s:s?, s:s?}", "kind", run_kind_name(record->kind), "run",
                             record->id, "reason", record->reason, "caller", caller);
    add_names(body, "shards", record->shards, record->shard_count);
    add_names(body, "without", record->without, record->without_count);
    if (record->kind == RUN_SWITCHOVER)
        add_move(body, record);
    if (record->is_region_lost)
        json_object_set_new(body, "to", json_string(record->target));
    if (record->aside[0])
        json_object_set_new(body, "set_aside", json_string(record->aside));
    if (record->is_forced)
        json_object_set_new(body, "force", json_true());
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    INVARIANT(text);
    return text;
}

/* ---- read ---- */

static enum status hint(struct err *err)
{
    return err_hint(err, "docs/api/openapi.yaml says what it takes");
}

/* "20261126-220657-0421f": of a form that sorts by time and fits into a key. */
static bool is_run_id(const char *text)
{
    static const char form[] = "dddddddd-dddddd-dddxx";
    size_t i = 0;
    for (; form[i] && text[i]; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        bool is_hex = is_digit || (text[i] >= 'a' && text[i] <= 'f');
        if (form[i] == '-' ? text[i] != '-' : form[i] == 'd' ? !is_digit : !is_hex)
            return false;
    }
    return !form[i] && !text[i];
}

static enum status read_kind(const json_t *body, enum run_kind *ret, struct err *err)
{
    const char *kind = NULL;
    enum status status = body_text(body, "kind", NAME_MAX_BYTES, &kind, err);
    /* A host is drained by the command. */
    for (unsigned i = 0; i <= RUN_FAILOVER && !status && kind; i++)
        if (strcmp(kind, run_kind_name((enum run_kind)i)) == 0) {
            *ret = (enum run_kind)i;
            return ST_OK;
        }
    if (status)
        return status;
    err_set(err, ST_INVALID, "'kind' is neither 'switchover' nor 'failover'");
    return hint(err);
}

/* What the other kind has no use for is not left aside: it was meant to say something. */
static enum status check_keys(const json_t *body, enum run_kind kind, struct err *err)
{
    static const char *const of_kind[RUN_KINDS][12] = {
        [RUN_SWITCHOVER] = {"kind", "run", "reason", "caller", "shards", "to", "wave", "settle_s",
                            "max_failures", "on_abort", NULL},
        [RUN_FAILOVER] = {"kind", "run", "reason", "caller", "shards", "without", "force", "to",
                          "set_aside", NULL},
    };
    enum status status = body_check_keys(body, of_kind[kind], err);
    return status ? err_wrap(err, "a %s", run_kind_name(kind)) : ST_OK;
}

static enum status read_names(const json_t *body, struct run_record *record, struct err *err)
{
    const json_t *shards = NULL, *without = NULL;
    enum status status = body_names(body, "shards", NAME_MAX_BYTES, &shards, err);
    if (!status)
        status = body_names(body, "without", NAME_MAX_BYTES, &without, err);
    if (status)
        return status;
    for (size_t i = 0; i < json_array_size(shards); i++)
        run_record_add_shard(record, json_string_value(json_array_get(shards, i)));
    for (size_t i = 0; i < json_array_size(without); i++)
        run_record_add_without(record, json_string_value(json_array_get(without, i)));
    return ST_OK;
}

static enum status read_line(const json_t *body, const char *key, size_t max, char **ret,
                             struct err *err)
{
    const char *text = NULL;
    enum status status = body_text(body, key, max, &text, err);
    AUTO_FREE char *line = text ? text_clean_line(text) : NULL;
    if (line && strcmp(line, text) != 0) {
        err_set(err, ST_INVALID, "'%s' is not one line of text that can be shown", key);
        return hint(err);
    }
    if (line && line[strspn(line, " ")])
        *ret = take_pointer(line);
    return status;
}

static enum status read_move(const json_t *body, struct run_record *record, struct err *err)
{
    const char *to = NULL, *on_abort = NULL;
    int64_t settle_s = -1;
    enum status status = body_text(body, "to", RUN_TARGET_MAX - 1, &to, err);
    if (!status)
        status = read_line(body, "wave", WAVE_MAX_BYTES, &record->waves, err);
    if (!status)
        status = body_number(body, "settle_s", 0, ORDER_SETTLE_MAX_S, &settle_s, err);
    record->failures_max = record->waves ? 0 : -1;
    if (!status)
        status = body_number(body, "max_failures", 0, FAILURES_MAX, &record->failures_max, err);
    if (!status)
        status = body_text(body, "on_abort", NAME_MAX_BYTES, &on_abort, err);
    if (status)
        return status;
    if (!to || !to[0])
        err_set(err, ST_INVALID, "'to' is missing: the region that shall serve");
    else if (settle_s >= 0 && !record->waves)
        err_set(err, ST_INVALID,
                "'settle_s' is the time between two waves, and there is no 'wave'");
    else if (on_abort && strcmp(on_abort, "stay") != 0 && strcmp(on_abort, "return") != 0)
        err_set(err, ST_INVALID, "'on_abort' is neither 'stay' nor 'return'");
    if (err->status)
        return hint(err);
    snprintf(record->target, sizeof(record->target), "%s", to);
    record->settle_ms = settle_s > 0 ? settle_s * 1000 : 0;
    record->returns = on_abort && strcmp(on_abort, "return") == 0;
    return ST_OK;
}

/* Nothing happens to 'ret' when there is none. */
static enum status read_id(const json_t *body, const char *key, char ret[static RUN_ID_MAX],
                           struct err *err)
{
    const char *id = NULL;
    enum status status = body_text(body, key, RUN_ID_MAX - 1, &id, err);
    if (status || !id)
        return status;
    if (is_run_id(id)) {
        snprintf(ret, RUN_ID_MAX, "%s", id);
        return ST_OK;
    }
    err_set(err, ST_INVALID, "'%s' is no name of a run, such as 20261126-220657-0421f", key);
    return hint(err);
}

/* With 'to' their region is lost, and they leave it. */
static enum status read_failover(const json_t *body, struct run_record *record, struct err *err)
{
    const char *to = NULL;
    enum status status = body_flag(body, "force", &record->is_forced, err);
    if (!status)
        status = body_text(body, "to", RUN_TARGET_MAX - 1, &to, err);
    if (!status)
        status = read_id(body, "set_aside", record->aside, err);
    if (status)
        return status;
    if (record->aside[0] && !to) {
        err_set(err, ST_INVALID,
                "'set_aside' is of a failover to another region, and 'to' is missing");
        return hint(err);
    }
    record->is_region_lost = to != NULL;
    snprintf(record->target, sizeof(record->target), "%s", to ? to : "");
    if (record->shard_count > 0)
        return ST_OK;
    err_set(err, ST_INVALID, "'shards' is missing: those whose primary is lost");
    return hint(err);
}

static enum status read_all(const json_t *body, struct run_record *record, char **ret_caller,
                            struct err *err)
{
    enum status status = read_kind(body, &record->kind, err);
    if (!status)
        status = check_keys(body, record->kind, err);
    if (!status)
        status = read_id(body, "run", record->id, err);
    if (!status)
        status = read_names(body, record, err);
    if (!status)
        status = read_line(body, "reason", ORDER_REASON_MAX, &record->reason, err);
    if (!status)
        status = record->kind == RUN_SWITCHOVER ? read_move(body, record, err)
                                                : read_failover(body, record, err);
    return status ? status : read_line(body, "caller", ORDER_CALLER_MAX, ret_caller, err);
}

enum status order_decode(const json_t *body, struct run_record *ret, char **ret_caller,
                         struct err *err)
{
    AUTO(run_record_release) struct run_record record = {0};
    AUTO_FREE char *caller = NULL;
    run_record_init(&record, "");
    enum status status = read_all(body, &record, &caller, err);
    if (status)
        return status;
    *ret = record;
    record = (struct run_record){0};
    *ret_caller = take_pointer(caller);
    return ST_OK;
}

/* ---- and this fleet ---- */

static enum status check_shards(const struct run_record *record, const struct inventory *fleet,
                                struct err *err)
{
    for (size_t i = 0; i < record->shard_count; i++) {
        if (inventory_find_shard(fleet, record->shards[i]))
            continue;
        AUTO_FREE char *name = text_clean_line(record->shards[i]);
        err_set(err, ST_INVALID, "there is no shard '%.80s' in the conductor's fleet file", name);
        return err_hint(err, "a conductor reads it when it starts: restart it after a change");
    }
    return ST_OK;
}

static bool has_server(const struct run_record *record, const struct inventory *fleet,
                       const char *name)
{
    for (size_t i = 0; i < record->shard_count; i++) {
        const struct inventory_shard *shard = inventory_find_shard(fleet, record->shards[i]);
        for (size_t j = 0; j < shard->server_count; j++)
            if (strcmp(shard->servers[j].name, name) == 0)
                return true;
    }
    return false;
}

static enum status check_without(const struct run_record *record, const struct inventory *fleet,
                                 struct err *err)
{
    for (size_t i = 0; i < record->without_count; i++) {
        if (has_server(record, fleet, record->without[i]))
            continue;
        AUTO_FREE char *name = text_clean_line(record->without[i]);
        err_set(err, ST_INVALID, "'without': there is no server '%.80s' in these shards", name);
        return err_hint(err, "name it as the fleet file does: HOST:PORT");
    }
    return ST_OK;
}

static enum status check_target(const struct run_record *record, const struct inventory *fleet,
                                struct err *err)
{
    size_t region = 0;
    if ((record->kind != RUN_SWITCHOVER && !record->is_region_lost) ||
        inventory_find_region(fleet, record->target, &region))
        return ST_OK;
    AUTO_FREE char *name = text_clean_line(record->target);
    err_set(err, ST_INVALID, "'to': there is no region '%s' in the fleet file", name);
    return err_hint(err, "regions: %s, %s", fleet->regions[0], fleet->regions[1]);
}

enum status order_fit(struct run_record *record, const struct inventory *fleet, struct err *err)
{
    struct waves waves;
    enum status status = check_target(record, fleet, err);
    if (!status)
        status = check_shards(record, fleet, err);
    bool is_for_all = record->shard_count == 0;
    for (size_t i = 0; i < fleet->shard_count && !status && is_for_all; i++)
        run_record_add_shard(record, fleet->shards[i].name);
    if (!status)
        status = check_without(record, fleet, err);
    if (!status)
        status = waves_parse(record->waves, record->shard_count, &waves, err);
    if (!status && !record->reason && fleet->policy.is_reason_required) {
        err_set(err, ST_INVALID, "policy.reason_required: what is it for? 'reason' is missing");
        status = err_hint(err, "it is kept with the order");
    }
    return status;
}
