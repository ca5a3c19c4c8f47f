/* SPDX-License-Identifier: Apache-2.0
 * The fleet file of a lab: from here on, the lab is a fleet like any other. */
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "lab/internal.h"
#include "os/file.h"

enum { PROMISE_RTO_MS = 30000, PROMISE_RPO_MS = 5000 };

static void set_account(struct inventory_account *account, enum lab_account which)
{
    account->user = mem_strdup(lab_account_name(which));
    account->password_file = mem_strdup(lab__password_file(which));
}

static enum status add_shards(const struct lab *lab, struct inventory *inventory, struct err *err)
{
    struct inventory_shard *shard = NULL;
    for (size_t i = 0; i < lab->server_count; i++) {
        const struct lab_server *server = &lab->servers[i];
        if (i % LAB_SHARD_SERVERS == 0) {
            AUTO_FREE char *name = mem_printf("s%zu", server->shard);
            shard = inventory_add_shard(inventory, "lab", name);
        }
        AUTO_FREE char *address = mem_printf("%s:%d", server->host, lab->port);
        enum status status = inventory_add_server(shard, server->region, address, err);
        if (status)
            return status;
    }
    return ST_OK;
}

/* Names beside the fleet file for ourselves, full ones for the servers. */
static struct inventory_tls own_tls(const char *name)
{
    return (struct inventory_tls){
        .is_on = true,
        .verify = true,
        .ca = mem_strdup("tls/" LAB_TLS_AUTHORITY ".pem"),
        .cert = mem_printf("tls/%s.pem", name),
        .key = mem_printf("tls/%s.key", name),
    };
}

static void set_tls(const struct lab *lab, struct inventory *inventory)
{
    inventory->tls = own_tls(LAB_TLS_CLIENT);
    if (lab->has_daemons) {
        inventory->store_tls = own_tls(LAB_TLS_CLIENT);
        inventory->api.tls = own_tls(LAB_TLS_CONDUCTOR);
    }
    inventory->replication.tls = (struct inventory_tls){
        .is_on = true,
        .verify = true,
        .ca = mem_strdup(lab->authority),
        .cert = lab__tls_path(lab, LAB_TLS_REPLICATION ".pem"),
        .key = lab__tls_path(lab, LAB_TLS_REPLICATION ".key"),
    };
}

static char *store_url(const struct lab *lab)
{
    AUTO(buf_release) struct buf url = {0};
    if (!lab->has_daemons)
        return mem_printf("file://%s/store", lab->dir);
    for (size_t i = 0; i < lab->daemon_count; i++)
        if (lab->daemons[i].kind == LAB_ETCD)
            buf_printf(&url, "%s%s:%d", url.length ? "," : "etcd://", lab->daemons[i].host,
                       lab->port);
    return buf_take(&url);
}

static void add_conductors(const struct lab *lab, struct inventory *inventory)
{
    for (size_t i = 0; i < lab->daemon_count; i++) {
        const struct lab_daemon *daemon = &lab->daemons[i];
        if (daemon->kind != LAB_CONDUCTOR)
            continue;
        struct inventory_conductor conductor = {
            .name = lab__host_name(daemon->region, daemon->number),
            .region = daemon->region,
            .listen = mem_printf("%s:%d", daemon->host, lab->port),
        };
        VEC_PUSH(inventory->conductors, inventory->conductor_count, inventory->conductor_capacity,
                 conductor);
    }
}

static void add_tokens(struct inventory_api *api)
{
    for (int role = HTTP_VIEWER; role < HTTP_ROLES; role++) {
        struct inventory_token token = {.name = mem_strdup(http_role_name((enum http_role)role)),
                                        .role = (enum http_role)role,
                                        .file = lab__token_file((enum http_role)role)};
        VEC_PUSH(api->tokens, api->token_count, api->token_capacity, token);
    }
}

static enum status add_host(const struct lab *lab, const struct lab_daemon *agent,
                            struct inventory *inventory, struct err *err)
{
    AUTO_FREE char *name = lab__host_name(agent->region, agent->number);
    struct inventory_host *host = inventory_add_host(inventory, name, agent->region);
    enum status status = ST_OK;
    for (size_t i = 0; i < lab->server_count && !status; i++) {
        const struct lab_server *server = &lab->servers[i];
        AUTO_FREE char *address = mem_printf("%s:%d", server->host, lab->port);
        if (server->region == agent->region && server->number == agent->number)
            status = inventory_add_host_server(inventory, host, address, err);
    }
    return status;
}

static enum status add_daemons(const struct lab *lab, struct inventory *inventory, struct err *err)
{
    enum status status = ST_OK;
    inventory->permission_ttl_ms = LAB_TTL_MS;
    inventory->policy.is_automatic = true;
    add_conductors(lab, inventory);
    add_tokens(&inventory->api);
    for (size_t i = 0; i < lab->daemon_count && !status; i++)
        if (lab->daemons[i].kind == LAB_AGENT)
            status = add_host(lab, &lab->daemons[i], inventory, err);
    return status;
}

enum status lab__fleet_write(const struct lab *lab, struct err *err)
{
    AUTO(inventory_freep) struct inventory *inventory = inventory_new();
    inventory->promise_rto_ms = PROMISE_RTO_MS;
    inventory->promise_rpo_ms = PROMISE_RPO_MS;
    for (size_t i = 0; i < LAB_REGIONS; i++)
        inventory->regions[i] = mem_strdup(lab_region_name(i));
    inventory->region_count = LAB_REGIONS;
    inventory->store_url = store_url(lab);
    set_account(&inventory->credentials, LAB_CONTROL);
    set_account(&inventory->replication, LAB_REPLICATION);
    set_account(&inventory->probe, LAB_PROBE);
    if (lab->is_tls)
        set_tls(lab, inventory);
    enum status status = add_shards(lab, inventory, err);
    if (lab->has_daemons && !status)
        status = add_daemons(lab, inventory, err);
    if (status)
        return status;
    AUTO(buf_release) struct buf text = {0};
    inventory_write(inventory, &text);
    AUTO_FREE char *path = lab_fleet_path(lab);
    return file_write_unsynced(path, text.data, text.length, err);
}
