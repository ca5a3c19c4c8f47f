/* SPDX-License-Identifier: Apache-2.0
 * What a lab is for others: the configuration of its servers, and its fleet file. Servers are
 * role-neutral: one that restarts is read-only and takes part in nothing until told so. Durable
 * like a production server, but as small as it gets: with the defaults a server takes twice the
 * memory and time. */
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "lab/internal.h"
#include "os/file.h"

enum { PROMISE_RTO_MS = 30000, PROMISE_RPO_MS = 5000 };

/* Those that decide how big the files and the memory of a server are. The template is made with
 * them too, because a data folder fits only the sizes it was made with. */
static const char *const small_options[] = {
    "performance_schema=OFF",
    "innodb_buffer_pool_size=32M", /* with 8M the test load does not fit, and every write evicts
                                      pages */
    "innodb_buffer_pool_chunk_size=4M",
    "innodb_buffer_pool_dump_at_shutdown=0",
    "innodb_buffer_pool_load_at_startup=0",
    "innodb_log_file_size=4M",
    "innodb_log_buffer_size=2M",
    "innodb_data_file_path=ibdata1:3M:autoextend",
    "innodb_temp_data_file_path=ibtmp1:3M:autoextend",
    "innodb_autoextend_increment=1",
    "innodb_read_io_threads=1",
    "innodb_write_io_threads=2",
    "innodb_use_native_aio=0",
    "aria_log_file_size=8M",
    "aria_pagecache_buffer_size=1M",
    "key_buffer_size=64K",
    "query_cache_type=0",
    "query_cache_size=0",
};

static const char *const server_options[] = {
    /* the role is set later, by those who know it */
    "read_only=1",
    "skip_slave_start=1",
    "rpl_semi_sync_master_enabled=0",
    "rpl_semi_sync_slave_enabled=0",
    /* semi-synchronous without a way out: no acknowledged write is only here */
    "rpl_semi_sync_master_timeout=18446744073709551615",
    "rpl_semi_sync_master_wait_point=AFTER_SYNC",
    "rpl_semi_sync_master_wait_no_slave=1",
    /* replication */
    "log_bin=binlog",
    "relay_log=relay",
    "log_slave_updates=1",
    "gtid_strict_mode=1",
    "binlog_format=ROW",
    "binlog_expire_logs_seconds=259200",
    "slave_net_timeout=10",
    "slave_parallel_threads=4", /* a single applier falls behind the primary group commits */
    /* durability and isolation */
    "sync_binlog=1",
    "innodb_flush_log_at_trx_commit=1",
    "transaction_isolation=READ-COMMITTED",
    "innodb_rollback_on_timeout=1",
    "innodb_lock_wait_timeout=10",
    "lock_wait_timeout=60",
    /* connections */
    "skip_name_resolve=1",
    "max_connections=500",
    "thread_cache_size=8",
    "table_open_cache=200",
    "table_definition_cache=400",
    "local_infile=0",
    /* beside the data: a relative path has no limit of length */
    "socket=mariadbd.sock",
    "pid_file=mariadbd.pid",
    "innodb_fast_shutdown=2",
};

static void add_options(struct buf *config, const char *const *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(config, "%s\n", options[i]);
}

void lab__small_options(struct buf *config)
{
    add_options(config, small_options, ARRAY_SIZE(small_options));
}

static void tls_options(const struct lab *lab, const struct lab_server *server, struct buf *config)
{
    AUTO_FREE char *cert_name = mem_printf("%s.pem", server->name);
    AUTO_FREE char *key_name = mem_printf("%s.key", server->name);
    AUTO_FREE char *cert = lab__tls_path(lab, cert_name);
    AUTO_FREE char *key = lab__tls_path(lab, key_name);
    buf_printf(config, "ssl_ca=\"%s\"\nssl_cert=\"%s\"\nssl_key=\"%s\"\n", lab->authority, cert,
               key);
    buf_add(config, "require_secure_transport=1\n");
}

void lab__server_options(const struct lab *lab, const struct lab_server *server, struct buf *config)
{
    AUTO_FREE char *data = lab__server_path(lab, server, "data");
    AUTO_FREE char *temporary = lab__server_path(lab, server, "tmp");
    AUTO_FREE char *log = lab__server_path(lab, server, "error.log");
    buf_printf(config, "# %s; made by 'holdfast lab up'\n[mariadbd]\n", server->name);
    buf_printf(config, "server_id=%u\ngtid_domain_id=%zu\n", server->server_id, server->shard);
    buf_printf(config, "bind_address=%s\nport=%d\nreport_host=%s\nreport_port=%d\n", server->host,
               lab->port, server->host, lab->port);
    buf_printf(config, "datadir=\"%s\"\ntmpdir=\"%s\"\nlog_error=\"%s\"\n", data, temporary, log);
    if (lab->is_tls)
        tls_options(lab, server, config);
    add_options(config, server_options, ARRAY_SIZE(server_options));
    lab__small_options(config);
}

/* --- The fleet file: from here on, the lab is a fleet like any other ---------------------------
 */

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

/* In the order of the URL. */
static void add_sites(const struct lab *lab, struct inventory *inventory)
{
    for (size_t i = 0; i < lab->daemon_count; i++)
        if (lab->daemons[i].kind == LAB_ETCD)
            VEC_PUSH(inventory->store_sites, inventory->store_site_count,
                     inventory->store_site_capacity,
                     mem_strdup(lab_region_name(lab->daemons[i].region)));
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
    inventory->permission_ttl_ms = lab->policy.ttl_ms;
    inventory->policy.automatic = lab->policy.automatic;
    add_sites(lab, inventory);
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
