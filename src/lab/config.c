/* SPDX-License-Identifier: Apache-2.0
 * The configuration of a lab server. Role-neutral: a server that restarts is read-only and takes
 * part in nothing until told so. Durable like a production server, but as small as it gets: with
 * the defaults a server takes twice the memory and time. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"

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
