/* SPDX-License-Identifier: Apache-2.0
 * Making the fleet; see fleet.h. */
#include "sim/fleet.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "os/file.h"
#include "sim/fault.h"
#include "sim/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { PER_OCTET = 40, SPARE_FILES = 1024, PROMISE_RTO_MS = 30000, PROMISE_RPO_MS = 5000 };

static const char *const users[SIM_ACCOUNTS] = {"holdfast", "repl", "probe"};

static char *password_of(const char *user)
{
    return mem_printf("simulated-%s", user);
}

/* A descriptor for each server, one for each connection. */
static enum status raise_limit(size_t servers, struct err *err)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max >= 2 * servers + SPARE_FILES)
        return ST_OK;
    return err_set(err, ST_INVALID, "%zu servers need %zu descriptors, the limit is %zu", servers,
                   2 * servers + SPARE_FILES, (size_t)limit.rlim_max);
}

static struct in_addr address_of(const struct options *options, size_t shard, unsigned server)
{
    uint32_t octets = 127U << 24 | (uint32_t)options->second_octet << 16 |
                      (uint32_t)(shard / PER_OCTET) << 8 |
                      (uint32_t)(shard % PER_OCTET * SIM_SERVERS + server + 1);
    return (struct in_addr){htonl(octets)};
}

static enum status start_shard(struct sim *sim, const struct options *options, size_t index,
                               struct err *err)
{
    struct sim_shard *shard = &sim->shards[index];
    shard->sim = sim;
    shard->index = index;
    for (unsigned i = 0; i < SIM_SERVERS; i++) {
        struct sim_server *server = &shard->servers[i];
        server->shard = shard;
        server->address = address_of(options, index, i);
        server->listener.fd = -1;
    }
    for (unsigned i = 0; i < SIM_SERVERS; i++) {
        char host[INET_ADDRSTRLEN];
        struct in_addr address = shard->servers[i].address;
        inet_ntop(AF_INET, &address, host, sizeof(host));
        sim_server_init(&shard->servers[i], shard, i, address);
        if (!sim_server_start(&shard->servers[i]))
            return err_set_errno(err, errno, "listen at", host);
    }
    for (unsigned i = 1; i < SIM_SERVERS; i++) /* the first one knew the port */
        shard->servers[i].link.port = sim->port;
    return ST_OK;
}

enum status fleet_start(const struct options *options, struct sim *ret, struct err *err)
{
    *ret = (struct sim){.shard_count = options->shards, .port = options->port, .lag = options->lag};
    ret->loop = loop_new(session_wake_all, ret);
    ret->shards = mem_zalloc(options->shards * sizeof(*ret->shards));
    memcpy(ret->rtt, options->rtt, sizeof(ret->rtt));
    for (int i = 0; i < SIM_ACCOUNTS; i++) {
        AUTO_FREE char *password = password_of(users[i]);
        ret->accounts[i].user = users[i];
        wire_key_init(&ret->accounts[i].key, password);
    }
    enum status status = raise_limit(options->shards * SIM_SERVERS, err);
    for (size_t i = 0; i < options->shards && !status; i++)
        status = start_shard(ret, options, i, err);
    for (size_t i = 0; i < options->fault_count && !status; i++)
        if (!sim_fault_add(ret, &options->faults[i]))
            status = err_set(err, ST_INVALID, "a fault for a shard that is not there");
    return status;
}

static void stop_server(struct sim_server *server)
{
    while (server->sessions)
        session_end(server->sessions);
    loop_close(sim_of(server)->loop, &server->listener);
    sim_faults_forget(server);
}

void fleet_stop(struct sim *sim)
{
    for (size_t i = 0; i < sim->shard_count; i++)
        for (unsigned j = 0; j < SIM_SERVERS && sim->shards[i].sim; j++)
            stop_server(&sim->shards[i].servers[j]);
    while (sim->free_sessions) {
        struct session *next = sim->free_sessions->next;
        free(sim->free_sessions);
        sim->free_sessions = next;
    }
    loop_free(sim->loop);
    free(sim->shards);
}

/* --- Files ------------------------------------------------------------------------------------ */

static enum status write_password(const char *folder, const char *user, struct err *err)
{
    AUTO_FREE char *path = mem_printf("%s/%s.password", folder, user);
    AUTO_FREE char *password = password_of(user);
    return file_write(path, password, strlen(password), 0600, err);
}

static enum status add_shards(const struct sim *sim, struct inventory *inventory, struct err *err)
{
    for (size_t i = 0; i < sim->shard_count; i++) {
        AUTO_FREE char *name = mem_printf("s%zu", i);
        struct inventory_shard *shard = inventory_add_shard(inventory, "sim", name);
        for (unsigned j = 0; j < SIM_SERVERS; j++) {
            const struct sim_server *server = &sim->shards[i].servers[j];
            char host[INET_ADDRSTRLEN];
            inet_ntop(AF_INET, &server->address, host, sizeof(host));
            AUTO_FREE char *address = mem_printf("%s:%d", host, sim->port);
            enum status status = inventory_add_server(shard, server->region, address, err);
            if (status)
                return status;
        }
    }
    return ST_OK;
}

static void set_account(struct inventory_account *account, const char *user)
{
    account->user = mem_strdup(user);
    account->password_file = mem_printf("%s.password", user);
}

enum status fleet_write(const struct sim *sim, const struct options *options, struct err *err)
{
    AUTO_FREE char *copy = mem_strdup(options->fleet);
    char folder[PATH_MAX];
    if (!realpath(dirname(copy), folder))
        return err_set_errno(err, errno, "find the folder of", options->fleet);
    AUTO(inventory_freep) struct inventory *inventory = inventory_new();
    inventory->promise_rto_ms = PROMISE_RTO_MS;
    inventory->promise_rpo_ms = PROMISE_RPO_MS;
    inventory->policy.freeze_cap = options->freeze_cap;
    for (size_t i = 0; i < SIM_REGIONS; i++)
        inventory->regions[i] = mem_strdup(sim_region_names[i]);
    inventory->region_count = SIM_REGIONS;
    inventory->store_url = mem_printf("file://%s/store", folder);
    set_account(&inventory->credentials, users[0]);
    set_account(&inventory->replication, users[1]);
    set_account(&inventory->probe, users[2]);
    enum status status = add_shards(sim, inventory, err);
    for (int i = 0; i < SIM_ACCOUNTS && !status; i++)
        status = write_password(folder, users[i], err);
    AUTO(buf_release) struct buf text = {0};
    inventory_write(inventory, &text);
    return status ? status : file_write(options->fleet, text.data, text.length, 0600, err);
}
