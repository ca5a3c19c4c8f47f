/* SPDX-License-Identifier: Apache-2.0
 * Hosts and the permission to serve in the fleet file: read, written, looked up; see inventory.h.
 * Hosts are read when all shards are there, wherever they stand in the file: a server that no shard
 * has, or that two hosts have, would be one that nobody closes. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"

#include <string.h>

/* A server by its name, while the file is read: thousands of hosts name thousands of servers. */
struct named_place {
    const char *name;
    struct inventory_place place;
};

struct server_index {
    struct named_place *items; /* by name; ignored ones too */
    size_t count;
};

struct hosts_draft {
    struct inventory *inventory;
    struct inventory_host *host;
    const struct server_index *index;
    yaml_node_t *servers; /* read when the region is known */
};

/* ---- permission ---- */

static enum status read_ttl(struct yaml_file *file, yaml_node_t *node, void *target,
                            struct err *err)
{
    int64_t ms = 0;
    enum status status = yaml_read_duration(file, node, &ms, err);
    if (status)
        return status;
    if (ms < INVENTORY_TTL_MS_MIN || ms > INVENTORY_TTL_MS_MAX)
        return yaml_error(file, node, err, "'ttl' must be from %dms to %ds, not %lldms",
                          INVENTORY_TTL_MS_MIN, INVENTORY_TTL_MS_MAX / 1000, (long long)ms);
    *(int64_t *)target = ms;
    return ST_OK;
}

enum status inventory__read_permission(struct yaml_file *file, yaml_node_t *node, void *target,
                                       struct err *err)
{
    static const struct yaml_field fields[] = {
        {"ttl", true, offsetof(struct inventory, permission_ttl_ms), read_ttl}, {0}};
    return yaml_read_fields(file, node, fields, target, err);
}

/* ---- promise.rpo_guard ---- */

static const struct inventory_server *find_unattended(const struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->shard_count; i++)
        for (size_t j = 0; j < inventory->shards[i].server_count; j++)
            if (!inventory->shards[i].servers[j].has_agent)
                return &inventory->shards[i].servers[j];
    return NULL;
}

static bool has_conductor(const struct inventory *inventory, size_t region)
{
    for (size_t i = 0; i < inventory->conductor_count; i++)
        if (inventory->conductors[i].region == region)
            return true;
    return false;
}

enum status inventory__check_guard(struct yaml_file *file, const struct inventory *inventory,
                                   struct err *err)
{
    yaml_node_t *promise = yaml_find(file, yaml_root(file), "promise");
    yaml_node_t *node = promise ? yaml_find(file, promise, "rpo_guard") : NULL;
    if (!inventory->is_rpo_guarded || !node)
        return ST_OK;
    const struct inventory_server *unattended = find_unattended(inventory);
    if (inventory->promise_rpo_ms < INVENTORY_TTL_MS_MIN)
        return yaml_error(file, node, err, "'rpo_guard' needs an 'rpo' of %dms or more",
                          INVENTORY_TTL_MS_MIN);
    if (unattended)
        return yaml_error(file, node, err,
                          "'rpo_guard': server '%.300s' is on none of 'hosts', so that no agent "
                          "would close it",
                          unattended->name);
    for (size_t i = 0; i < inventory->region_count; i++)
        if (!has_conductor(inventory, i))
            return yaml_error(file, node, err,
                              "'rpo_guard': region '%s' has none of 'conductors', who would watch "
                              "what the other region has",
                              inventory->regions[i]);
    return ST_OK;
}

/* ---- servers by name ---- */

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct named_place *)left)->name,
                  ((const struct named_place *)right)->name);
}

static void index_release(struct server_index *index)
{
    free(index->items);
}

static struct server_index index_servers(const struct inventory *inventory)
{
    struct server_index index = {0};
    size_t capacity = 0;
    for (size_t i = 0; i < inventory->shard_count; i++)
        for (size_t j = 0; j < inventory_shard_size(&inventory->shards[i]); j++) {
            struct named_place named = {inventory->shards[i].servers[j].name, {i, j}};
            VEC_PUSH(index.items, index.count, capacity, named);
        }
    if (index.count > 0)
        qsort(index.items, index.count, sizeof(*index.items), by_name);
    return index;
}

/* 'name' as the shards write it: "host:port". */
static enum status attach(const struct inventory *inventory, const struct server_index *index,
                          struct inventory_host *host, const char *name, struct err *err)
{
    struct named_place wanted = {.name = name};
    const struct named_place *found =
        index->count > 0
            ? bsearch(&wanted, index->items, index->count, sizeof(*index->items), by_name)
            : NULL;
    if (!found)
        return err_set(err, ST_INVALID, "no shard has a server '%.300s'", name);
    const struct inventory_shard *shard = &inventory->shards[found->place.shard];
    if (found->place.server >= shard->server_count)
        return err_set(err, ST_INVALID, "server '%.300s' is one that shard '%s' ignores", name,
                       shard->name);
    size_t region = shard->servers[found->place.server].region;
    if (region != host->region)
        return err_set(err, ST_INVALID, "server '%.300s' is in region '%s', host '%s' in '%s'",
                       name, inventory->regions[region], host->name,
                       inventory->regions[host->region]);
    VEC_PUSH(host->places, host->place_count, host->place_capacity, found->place);
    shard->servers[found->place.server].has_agent = true;
    return ST_OK;
}

enum status inventory_add_host_server(const struct inventory *inventory,
                                      struct inventory_host *host, const char *name,
                                      struct err *err)
{
    AUTO(index_release) struct server_index index = index_servers(inventory);
    return attach(inventory, &index, host, name, err);
}

/* ---- hosts ---- */

struct inventory_host *inventory_add_host(struct inventory *inventory, const char *name,
                                          size_t region)
{
    struct inventory_host host = {.name = mem_strdup(name), .region = region};
    VEC_PUSH(inventory->hosts, inventory->host_count, inventory->host_capacity, host);
    return &inventory->hosts[inventory->host_count - 1];
}

void inventory__release_hosts(struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->host_count; i++) {
        free(inventory->hosts[i].name);
        free(inventory->hosts[i].places);
    }
    free(inventory->hosts);
}

const struct inventory_host *inventory_find_host(const struct inventory *inventory,
                                                 const char *name)
{
    for (size_t i = 0; i < inventory->host_count; i++)
        if (strcmp(inventory->hosts[i].name, name) == 0)
            return &inventory->hosts[i];
    return NULL;
}

const struct inventory_server *inventory_host_server(const struct inventory *inventory,
                                                     const struct inventory_host *host,
                                                     size_t index)
{
    const struct inventory_place *place = &host->places[index];
    return &inventory->shards[place->shard].servers[place->server];
}

static enum status read_host_name(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    struct hosts_draft *draft = target;
    return inventory__read_unique(file, node, "host", &draft->host->name, err);
}

static enum status read_host_region(struct yaml_file *file, yaml_node_t *node, void *target,
                                    struct err *err)
{
    struct hosts_draft *draft = target;
    return inventory__read_region(file, node, draft->inventory, &draft->host->region, err);
}

static enum status keep_servers(UNUSED struct yaml_file *file, yaml_node_t *node, void *target,
                                UNUSED struct err *err)
{
    struct hosts_draft *draft = target;
    draft->servers = node;
    return ST_OK;
}

static enum status read_host_server(struct yaml_file *file, yaml_node_t *node, void *target,
                                    struct err *err)
{
    struct hosts_draft *draft = target;
    struct err why = ERR_INIT;
    AUTO_FREE char *address = NULL;
    AUTO_FREE char *name = NULL;
    enum status status = yaml_read_text(file, node, &address, err);
    if (status)
        return status;
    if (inventory__parse_address(address, &name, &why) ||
        attach(draft->inventory, draft->index, draft->host, name, &why))
        return yaml_error(file, node, err, "'servers': %s", why.text);
    return inventory__take_name(file, node, "server of a host", name, err);
}

static enum status read_host(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    static const struct yaml_field fields[] = {{"name", true, 0, read_host_name},
                                               {"region", true, 0, read_host_region},
                                               {"servers", true, 0, keep_servers},
                                               {0}};
    struct hosts_draft *draft = target;
    draft->host = inventory_add_host(draft->inventory, NULL, 0);
    enum status status = yaml_read_fields(file, node, fields, draft, err);
    if (status)
        return status;
    file->key = "servers";
    file->in_list = false;
    status = yaml_read_items(file, draft->servers, read_host_server, draft, err);
    file->key = "hosts";
    return status;
}

enum status inventory__read_hosts(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    AUTO(index_release) struct server_index index = index_servers(target);
    struct hosts_draft draft = {.inventory = target, .index = &index};
    return yaml_read_items(file, node, read_host, &draft, err);
}

/* ---- writing ---- */

void inventory__write_permission(const struct inventory *inventory, struct buf *buf)
{
    if (inventory->permission_ttl_ms == INVENTORY_TTL_MS_DEFAULT)
        return;
    buf_add(buf, "permission: { ttl: ");
    inventory__write_duration(buf, inventory->permission_ttl_ms);
    buf_add(buf, " }\n");
}

void inventory__write_hosts(const struct inventory *inventory, struct buf *buf)
{
    buf_add(buf, inventory->host_count ? "hosts:\n" : "");
    for (size_t i = 0; i < inventory->host_count; i++) {
        const struct inventory_host *host = &inventory->hosts[i];
        buf_add(buf, "  - { name: ");
        inventory__write_text(buf, host->name);
        buf_add(buf, ", region: ");
        inventory__write_text(buf, inventory->regions[host->region]);
        buf_add(buf, ", servers: [ ");
        for (size_t j = 0; j < host->place_count; j++) {
            buf_add(buf, j ? ", " : "");
            inventory__write_text(buf, inventory_host_server(inventory, host, j)->name);
        }
        buf_add(buf, " ] }\n");
    }
}
