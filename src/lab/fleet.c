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
static void set_tls(const struct lab *lab, struct inventory *inventory)
{
    inventory->tls = (struct inventory_tls){
        .is_on = true,
        .verify = true,
        .ca = mem_strdup("tls/" LAB_TLS_AUTHORITY ".pem"),
        .cert = mem_strdup("tls/" LAB_TLS_CLIENT ".pem"),
        .key = mem_strdup("tls/" LAB_TLS_CLIENT ".key"),
    };
    inventory->replication.tls = (struct inventory_tls){
        .is_on = true,
        .verify = true,
        .ca = mem_strdup(lab->authority),
        .cert = lab__tls_path(lab, LAB_TLS_REPLICATION ".pem"),
        .key = lab__tls_path(lab, LAB_TLS_REPLICATION ".key"),
    };
}

enum status lab__fleet_write(const struct lab *lab, struct err *err)
{
    AUTO(inventory_freep) struct inventory *inventory = inventory_new();
    inventory->promise_rto_ms = PROMISE_RTO_MS;
    inventory->promise_rpo_ms = PROMISE_RPO_MS;
    for (size_t i = 0; i < LAB_REGIONS; i++)
        inventory->regions[i] = mem_strdup(lab_region_name(i));
    inventory->region_count = LAB_REGIONS;
    inventory->store_url = mem_printf("file://%s/store", lab->dir);
    set_account(&inventory->credentials, LAB_CONTROL);
    set_account(&inventory->replication, LAB_REPLICATION);
    set_account(&inventory->probe, LAB_PROBE);
    if (lab->is_tls)
        set_tls(lab, inventory);
    enum status status = add_shards(lab, inventory, err);
    if (status)
        return status;
    AUTO(buf_release) struct buf text = {0};
    inventory_write(inventory, &text);
    AUTO_FREE char *path = lab_fleet_path(lab);
    return file_write_unsynced(path, text.data, text.length, err);
}
