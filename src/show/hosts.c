/* SPDX-License-Identifier: Apache-2.0
 * See hosts.h. */
#include "show/hosts.h"

#include "base/mem.h"
#include "base/scope.h"
#include "handover/order.h"

#include <string.h>

/* ---- the list ---- */

/* By the names of the fleet file, or by address. */
static void list_hosts(const struct inventory *fleet, struct drain_names *ret)
{
    for (size_t i = 0; i < fleet->host_count; i++)
        drain_names_add(ret, fleet->hosts[i].name);
    for (size_t i = 0; fleet->host_count == 0 && i < fleet->shard_count; i++)
        for (size_t j = 0; j < fleet->shards[i].server_count; j++)
            drain_names_add(ret, fleet->shards[i].servers[j].host);
}

static const struct server_observation *find_server(const struct fleet_observation *seen,
                                                    const char *name,
                                                    const struct shard_observation **ret_shard)
{
    for (size_t i = 0; i < seen->count; i++)
        for (size_t j = 0; j < seen->shards[i].shard->server_count; j++)
            if (strcmp(seen->shards[i].servers[j].server->name, name) == 0) {
                *ret_shard = &seen->shards[i];
                return &seen->shards[i].servers[j];
            }
    return NULL;
}

static json_t *host_json(const struct inventory *fleet, const struct fleet_observation *seen,
                         const struct drain_names *servers, const char *host,
                         const struct drain_mark *mark)
{
    json_t *list = json_array();
    const char *region = NULL;
    for (size_t i = 0; i < servers->count; i++) {
        const struct shard_observation *shard = NULL;
        const struct server_observation *at = find_server(seen, servers->items[i], &shard);
        if (!at)
            continue;
        region = fleet->regions[at->server->region];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "server", at->server->name, "shard",
                                        shard->shard->name, "role", server_role_name(at->role)));
    }
    return json_pack("{s:s, s:s?, s:o, s:o}", "host", host, "region", region, "servers", list,
                     "drained", mark ? drain_mark_json(mark) : json_null());
}

/* "2 primary, 1 relay, 3 replica" */
static void add_roles(const json_t *servers, struct buf *out)
{
    for (int role = 0; role < SERVER_ROLES; role++) {
        const char *name = server_role_name((enum server_role)role);
        size_t count = 0;
        for (size_t i = 0; i < json_array_size(servers); i++) {
            const json_t *server = json_array_get(servers, i);
            count += strcmp(json_string_value(json_object_get(server, "role")), name) == 0;
        }
        if (count)
            buf_printf(out, "%s%zu %s", out->length ? ", " : "", count, name);
    }
}

static void print_line(const json_t *host, const struct drain_mark *mark, int width, FILE *out)
{
    AUTO(buf_release) struct buf roles = {0};
    const char *region = json_string_value(json_object_get(host, "region"));
    add_roles(json_object_get(host, "servers"), &roles);
    fprintf(out, "%c %-*s  %-8s  %s\n", mark ? '!' : ' ', width,
            json_string_value(json_object_get(host, "host")), region ? region : "-",
            buf_text(&roles));
    if (mark) {
        AUTO_FREE char *words = drain_mark_format(mark);
        fprintf(out, "!   %s\n", words);
    }
}

void hosts_print(const struct inventory *fleet, const struct fleet_observation *seen,
                 const struct drain_list *drained, bool as_json, FILE *out)
{
    struct drain_names hosts = {0};
    json_t *all = json_array();
    int width = 4;
    list_hosts(fleet, &hosts);
    for (size_t i = 0; i < drained->count; i++) /* also one that the fleet file lacks by now */
        drain_names_add(&hosts, drained->items[i].host);
    for (size_t i = 0; i < hosts.count; i++) {
        struct drain_names servers = {0};
        int length = (int)strlen(hosts.items[i]);
        width = length > width ? length : width;
        handover_find_host(fleet, hosts.items[i], &servers);
        json_array_append_new(all, host_json(fleet, seen, &servers, hosts.items[i],
                                             drain_list_find(drained, hosts.items[i])));
        drain_names_release(&servers);
    }
    if (as_json)
        json_dumpf(all, out, JSON_INDENT(2));
    for (size_t i = 0; !as_json && i < hosts.count; i++)
        print_line(json_array_get(all, i), drain_list_find(drained, hosts.items[i]), width, out);
    if (as_json)
        fputs("\n", out);
    json_decref(all);
    drain_names_release(&hosts);
}

/* ---- the plan ---- */

static const char *name_of(const struct server_observation *server)
{
    return server ? server->server->name : NULL;
}

static json_t *plan_json(const struct handover_plan *plan, const struct drain_mark *mark)
{
    json_t *lines = json_array();
    for (size_t i = 0; i < plan->count; i++) {
        const struct handover_line *line = &plan->lines[i];
        bool is_refused = line->refusal.status != ST_OK;
        json_array_append_new(
            lines,
            json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?}", "shard", line->shard->shard->name,
                      "role", handover_role_name(line->role), "from", name_of(line->from), "to",
                      name_of(line->to), "refused", is_refused ? line->refusal.text : NULL, "hint",
                      is_refused ? line->refusal.hint : NULL, "note", line->note));
    }
    return json_pack("{s:s, s:s, s:b, s:o}", "kind",
                     mark->state == DRAIN_RETURNS ? "return" : "drain", "host", mark->host, "go",
                     (int)(plan->refused == 0), "roles", lines);
}

static void print_plan_line(const struct handover_line *line, bool is_return, FILE *out)
{
    const char *shard = line->shard->shard->name, *role = handover_role_name(line->role);
    if (line->refusal.status)
        fprintf(out, "! %s\n    do: %s\n", line->refusal.text, line->refusal.hint);
    else if (line->to)
        fprintf(out, "  %s: %s: %s -> %s\n", shard, role, line->from ? name_of(line->from) : "-",
                name_of(line->to));
    else if (is_return && !line->note)
        fprintf(out, "  %s: %s: is back already\n", shard, role);
    else
        fprintf(out, "%c %s: %s %s stays%s%s\n", line->note ? '!' : ' ', shard, role,
                line->from ? name_of(line->from) : "", line->note ? ": " : "",
                line->note ? line->note : "");
}

void hosts_print_plan(const struct handover_plan *plan, const struct drain_mark *mark, bool as_json,
                      FILE *out)
{
    if (as_json) {
        json_t *json = plan_json(plan, mark);
        json_dumpf(json, out, JSON_INDENT(2));
        fputs("\n", out);
        json_decref(json);
        return;
    }
    for (size_t i = 0; i < plan->count; i++)
        print_plan_line(&plan->lines[i], mark->state == DRAIN_RETURNS, out);
}
