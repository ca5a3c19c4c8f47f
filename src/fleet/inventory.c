/* SPDX-License-Identifier: Apache-2.0
 * The fleet in memory: made, looked up, written out; see inventory.h. Reading the file is
 * inventory_read.c, which builds on the functions here. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { HOST_LENGTH_MAX = 253 /* of a DNS name */ };

static const struct inventory_policy default_policy = {.freeze_timeout_ms = 500,
                                                       .move_timeout_ms = 10000,
                                                       .max_lag_ms = 1000,
                                                       .keep_runs = 200,
                                                       .hold_down_ms = 60000,
                                                       .failovers_an_hour = 3};

const char *inventory_path(const char *option)
{
    const char *variable = getenv("HOLDFAST_FLEET");
    if (option && option[0])
        return option;
    return variable && variable[0] ? variable : "holdfast.yaml";
}

struct inventory *inventory_new(void)
{
    struct inventory *inventory = mem_zalloc(sizeof(*inventory));
    inventory->policy = default_policy;
    inventory->permission_ttl_ms = INVENTORY_TTL_MS_DEFAULT;
    return inventory;
}

static void release_account(struct inventory_account *account)
{
    free(account->user);
    free(account->password_file);
    free(account->password_env);
    free(account->password_path);
    inventory__release_tls(&account->tls);
    secret_release(&account->password);
}

static void release_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

static void release_shard(struct inventory_shard *shard)
{
    for (size_t i = 0; i < inventory_shard_size(shard); i++) {
        free(shard->servers[i].name);
        free(shard->servers[i].host);
    }
    free(shard->servers);
    free(shard->name);
    free(shard->deployment);
}

static void release_hook(struct inventory_hook *hook)
{
    release_texts(hook->exec.argv, hook->exec.count);
    release_texts(hook->undo.argv, hook->undo.count);
    free(hook->name);
}

void inventory_free(struct inventory *inventory)
{
    if (!inventory)
        return;
    for (size_t i = 0; i < inventory->shard_count; i++)
        release_shard(&inventory->shards[i]);
    free(inventory->shards);
    for (size_t i = 0; i < inventory->region_count; i++)
        free(inventory->regions[i]);
    release_account(&inventory->credentials);
    release_account(&inventory->replication);
    release_account(&inventory->probe);
    release_account(&inventory->store_account);
    for (size_t i = 0; i < inventory->hook_count; i++)
        release_hook(&inventory->hooks[i]);
    free(inventory->hooks);
    inventory__release_hosts(inventory);
    inventory__release_api(inventory);
    inventory__release_tls(&inventory->tls);
    inventory__release_tls(&inventory->store_tls);
    release_texts(inventory->policy.accept, inventory->policy.accept_count);
    release_texts(inventory->warnings, inventory->warning_count);
    release_texts(inventory->store_sites, inventory->store_site_count);
    free(inventory->store_url);
    free(inventory->journal);
    free(inventory);
}

void inventory_freep(struct inventory **inventory)
{
    inventory_free(*inventory);
}

/* ---- addresses ---- */

static enum status parse_port(const char *text, uint16_t *ret_port, struct err *err)
{
    unsigned long port = strlen(text) <= 5 ? strtoul(text, NULL, 10) : 0;
    if (text[strspn(text, "0123456789")] || port < 1 || port > UINT16_MAX)
        return err_set(err, ST_INVALID, "port '%.40s' is not a number from 1 to 65535", text);
    *ret_port = (uint16_t)port;
    return ST_OK;
}

/* IPv6 has many spellings: take the one of inet_ntop, so that duplicates are seen. */
static enum status parse_host_v6(const char *text, char **ret_host, struct err *err)
{
    struct in6_addr address;
    char host[INET6_ADDRSTRLEN];
    if (inet_pton(AF_INET6, text, &address) != 1)
        return err_set(err, ST_INVALID, "'%.60s' is not an IPv6 address", text);
    *ret_host = mem_strdup(inet_ntop(AF_INET6, &address, host, sizeof(host)));
    return ST_OK;
}

static enum status parse_host(const char *text, char **ret_host, struct err *err)
{
    struct in_addr address;
    bool v4 = text[strspn(text, "0123456789.")] == '\0';
    if (!text[0] || strlen(text) > HOST_LENGTH_MAX)
        return err_set(err, ST_INVALID, "a host has 1 to %d characters", HOST_LENGTH_MAX);
    if (v4 && inet_pton(AF_INET, text, &address) != 1)
        return err_set(err, ST_INVALID, "'%.60s' is not an IPv4 address", text);
    AUTO_FREE char *host = mem_strdup(text);
    for (char *at = host; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("._-", *at))
            return err_set(err, ST_INVALID, "'%.60s' is not a host name", text);
        *at = (char)tolower((unsigned char)*at);
    }
    *ret_host = take_pointer(host);
    return ST_OK;
}

/* Split "host", "host:port", "[v6]" or "[v6]:port"; '*ret_port' is NULL without a port. */
static enum status split_address(char *address, char **ret_host, const char **ret_port,
                                 struct err *err)
{
    char *colon = strchr(address, ':');
    bool v6 = address[0] == '[';
    if (v6) {
        char *end = strchr(address, ']');
        if (!end || (end[1] && end[1] != ':'))
            return err_set(err, ST_INVALID, "'%.60s' is not like [::1]:3306", address);
        *end = '\0';
        colon = end[1] ? end + 1 : NULL;
    } else if (colon && strchr(colon + 1, ':')) {
        return err_set(err, ST_INVALID, "'%.60s': write an IPv6 address as \"[::1]:3306\"",
                       address);
    }
    if (colon)
        *colon = '\0';
    *ret_port = colon ? colon + 1 : NULL;
    *ret_host = address + v6;
    return ST_OK;
}

static enum status parse_server(const char *address, struct inventory_server *ret, struct err *err)
{
    AUTO_FREE char *copy = mem_strdup(address);
    AUTO_FREE char *host = NULL;
    char *host_text = NULL;
    const char *port_text = NULL;
    uint16_t port = INVENTORY_PORT_DEFAULT;
    enum status status = split_address(copy, &host_text, &port_text, err);
    if (!status && port_text)
        status = parse_port(port_text, &port, err);
    if (!status)
        status = address[0] == '[' ? parse_host_v6(host_text, &host, err)
                                   : parse_host(host_text, &host, err);
    if (status)
        return status;
    bool v6 = address[0] == '[';
    ret->name = mem_printf("%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
    ret->host = take_pointer(host);
    ret->port = port;
    return ST_OK;
}

enum status inventory__parse_address(const char *address, char **ret_name, struct err *err)
{
    struct inventory_server server = {0};
    enum status status = parse_server(address, &server, err);
    if (status)
        return status;
    free(server.host);
    *ret_name = server.name;
    return ST_OK;
}

/* Before the one that stands at 'index'. */
static void insert_server(struct inventory_shard *shard, size_t index,
                          struct inventory_server server)
{
    size_t size = inventory_shard_size(shard);
    VEC_PUSH(shard->servers, size, shard->server_capacity, server);
    for (size_t i = size - 1; i > index; i--) {
        shard->servers[i] = shard->servers[i - 1];
        shard->servers[i].index = i;
    }
    server.index = index;
    shard->servers[index] = server;
}

enum status inventory_add_server(struct inventory_shard *shard, size_t region, const char *address,
                                 struct err *err)
{
    struct inventory_server server = {.region = region};
    enum status status = parse_server(address, &server, err);
    if (status)
        return status;
    insert_server(shard, shard->server_count, server);
    shard->server_count++;
    return ST_OK;
}

enum status inventory_add_ignored(struct inventory_shard *shard, size_t region, const char *address,
                                  struct err *err)
{
    struct inventory_server server = {.region = region};
    enum status status = parse_server(address, &server, err);
    if (status)
        return status;
    insert_server(shard, inventory_shard_size(shard), server);
    shard->ignored_count++;
    return ST_OK;
}

/* ---- building and looking up ---- */

struct inventory_shard *inventory_add_shard(struct inventory *inventory, const char *deployment,
                                            const char *name)
{
    struct inventory_shard shard = {.index = inventory->shard_count,
                                    .name = mem_strdup(name),
                                    .deployment = mem_strdup(deployment)};
    VEC_PUSH(inventory->shards, inventory->shard_count, inventory->shard_capacity, shard);
    return &inventory->shards[inventory->shard_count - 1];
}

bool inventory_accepts(const struct inventory *inventory, const char *check)
{
    const struct inventory_policy *policy = &inventory->policy;
    for (size_t i = 0; i < policy->accept_count; i++)
        if (strcmp(policy->accept[i], check) == 0)
            return true;
    return false;
}

const struct inventory_shard *inventory_find_shard(const struct inventory *inventory,
                                                   const char *name)
{
    for (size_t i = 0; i < inventory->shard_count; i++)
        if (strcmp(inventory->shards[i].name, name) == 0)
            return &inventory->shards[i];
    return NULL;
}

const struct inventory_server *inventory_find_server(const struct inventory_shard *shard,
                                                     const char *name)
{
    for (size_t i = 0; i < shard->server_count; i++)
        if (strcmp(shard->servers[i].name, name) == 0)
            return &shard->servers[i];
    return NULL;
}

const struct inventory_hook *inventory_find_hook(const struct inventory *inventory,
                                                 const char *name)
{
    for (size_t i = 0; i < inventory->hook_count; i++)
        if (strcmp(inventory->hooks[i].name, name) == 0)
            return &inventory->hooks[i];
    return NULL;
}

bool inventory_find_region(const struct inventory *inventory, const char *name, size_t *ret_region)
{
    for (size_t i = 0; i < inventory->region_count; i++) {
        if (strcmp(inventory->regions[i], name) != 0)
            continue;
        *ret_region = i;
        return true;
    }
    return false;
}

const char *const *inventory_warnings(const struct inventory *inventory, size_t *ret_count)
{
    *ret_count = inventory->warning_count;
    return (const char *const *)inventory->warnings;
}

/* ---- writing ---- */

/* One UTF-8 character as a code point: some of them YAML would take for a line break. Returns its
 * last byte. */
static const char *write_code_point(struct buf *buf, const char *at)
{
    unsigned char lead = (unsigned char)*at;
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint32_t code = lead & (0x3fU >> more);
    for (; more > 0 && at[1]; more--)
        code = code << 6 | ((unsigned char)*++at & 0x3fU);
    buf_printf(buf, "\\U%08" PRIX32, code);
    return at;
}

/* Plain where YAML cannot take it for anything but this text, quoted otherwise. */
void inventory__write_text(struct buf *buf, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:-";
    size_t length = strlen(text);
    if (length > 0 && strspn(text, plain) == length && !strchr("-:.", text[0]) &&
        text[length - 1] != ':') {
        buf_add(buf, text);
        return;
    }
    buf_add(buf, "\"");
    for (const char *at = text; *at; at++) {
        if (*at == '"' || *at == '\\')
            buf_printf(buf, "\\%c", *at);
        else if ((unsigned char)*at >= 0x80)
            at = write_code_point(buf, at);
        else
            buf_add_bytes(buf, at, 1);
    }
    buf_add(buf, "\"");
}

void inventory__write_duration(struct buf *buf, int64_t ms)
{
    if (ms % 60000 == 0 && ms > 0)
        buf_printf(buf, "%" PRId64 "m", ms / 60000);
    else if (ms % 1000 == 0)
        buf_printf(buf, "%" PRId64 "s", ms / 1000);
    else
        buf_printf(buf, "%" PRId64 "ms", ms);
}

void inventory__write_tls(struct buf *buf, const struct inventory_tls *tls)
{
    const struct {
        const char *key, *text;
    } files[] = {{"ca", tls->ca}, {"cert", tls->cert}, {"key", tls->key}};
    buf_add(buf, "tls: { ");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (!files[i].text)
            continue;
        buf_printf(buf, "%s: ", files[i].key);
        inventory__write_text(buf, files[i].text);
        buf_add(buf, ", ");
    }
    buf_printf(buf, "verify: %s }", tls->verify ? "true" : "false");
}

void inventory__write_account(struct buf *buf, const char *key,
                              const struct inventory_account *account)
{
    if (!account->user)
        return;
    buf_printf(buf, "%s: { user: ", key);
    inventory__write_text(buf, account->user);
    buf_add(buf, account->password_file ? ", password_file: " : ", password_env: ");
    inventory__write_text(buf,
                          account->password_file ? account->password_file : account->password_env);
    if (account->tls.is_on) {
        buf_add(buf, ", ");
        inventory__write_tls(buf, &account->tls);
    }
    buf_add(buf, " }\n");
}

static void write_list(struct buf *buf, char *const *texts, size_t count)
{
    buf_add(buf, "[ ");
    for (size_t i = 0; i < count; i++) {
        buf_add(buf, i ? ", " : "");
        inventory__write_text(buf, texts[i]);
    }
    buf_add(buf, " ]");
}

/* Nothing when all of it is the default. */
static void write_policy(struct buf *buf, const struct inventory_policy *policy)
{
    if (policy->freeze_cap == default_policy.freeze_cap && !policy->is_reason_required &&
        policy->automatic == AUTOMATIC_NONE && policy->accept_count == 0 &&
        policy->hold_down_ms == default_policy.hold_down_ms &&
        policy->failovers_an_hour == default_policy.failovers_an_hour &&
        policy->freeze_timeout_ms == default_policy.freeze_timeout_ms &&
        policy->move_timeout_ms == default_policy.move_timeout_ms &&
        policy->max_lag_ms == default_policy.max_lag_ms && policy->max_error_percent == 0 &&
        policy->keep_runs == default_policy.keep_runs)
        return;
    buf_printf(buf, "policy:\n  freeze_cap: %" PRIu32 "\n  freeze_timeout: ", policy->freeze_cap);
    inventory__write_duration(buf, policy->freeze_timeout_ms);
    buf_add(buf, "\n  move_timeout: ");
    inventory__write_duration(buf, policy->move_timeout_ms);
    buf_add(buf, "\n  max_lag: ");
    inventory__write_duration(buf, policy->max_lag_ms);
    if (policy->max_error_percent)
        buf_printf(buf, "\n  max_error_percent: %" PRIu32, policy->max_error_percent);
    buf_printf(buf, "\n  keep_runs: %" PRIu32, policy->keep_runs);
    if (policy->is_reason_required)
        buf_add(buf, "\n  reason_required: true");
    if (policy->automatic != AUTOMATIC_NONE)
        buf_printf(buf, "\n  automatic: %s",
                   policy->automatic == AUTOMATIC_REGION ? "region" : "host");
    if (policy->hold_down_ms != default_policy.hold_down_ms) {
        buf_add(buf, "\n  hold_down: ");
        inventory__write_duration(buf, policy->hold_down_ms);
    }
    if (policy->failovers_an_hour != default_policy.failovers_an_hour)
        buf_printf(buf, "\n  failovers_an_hour: %" PRIu32, policy->failovers_an_hour);
    if (policy->accept_count > 0) {
        buf_add(buf, "\n  accept: ");
        write_list(buf, policy->accept, policy->accept_count);
    }
    buf_add(buf, "\n");
}

static void write_hook(struct buf *buf, const struct inventory_hook *hook)
{
    const char *between = "";
    buf_add(buf, "  - name: ");
    inventory__write_text(buf, hook->name);
    buf_add(buf, "\n    events: [ ");
    for (unsigned event = 0; event < HOOK_EVENTS; event++) {
        if (!(hook->events & (1U << event)))
            continue;
        buf_printf(buf, "%s%s", between, hook_event_name((enum hook_event)event));
        between = ", ";
    }
    buf_add(buf, " ]\n    exec: ");
    write_list(buf, hook->exec.argv, hook->exec.count);
    if (hook->undo.argv) {
        buf_add(buf, "\n    undo: ");
        write_list(buf, hook->undo.argv, hook->undo.count);
    }
    buf_add(buf, "\n    timeout: ");
    inventory__write_duration(buf, hook->timeout_ms);
    buf_printf(buf, "\n    required: %s\n", hook->is_required ? "true" : "false");
}

/* Those of a region from 'first' to 'end', as ", key: [ ... ]"; nothing when there is none. */
static void write_hosts(struct buf *buf, const char *key, const struct inventory_server *first,
                        const struct inventory_server *end, size_t region)
{
    size_t written = 0;
    for (const struct inventory_server *at = first; at < end; at++) {
        if (at->region != region)
            continue;
        if (written++ == 0)
            buf_printf(buf, ", %s: [ ", key);
        else
            buf_add(buf, ", ");
        inventory__write_text(buf, at->name);
    }
    buf_add(buf, written > 0 ? " ]" : "");
}

static void write_servers(struct buf *buf, const struct inventory *inventory,
                          const struct inventory_shard *shard, size_t region)
{
    const struct inventory_server *first = shard->servers, *ignored = first + shard->server_count;
    AUTO(buf_release) struct buf hosts = {0};
    write_hosts(&hosts, "hosts", first, ignored, region);
    write_hosts(&hosts, "ignore", ignored, ignored + shard->ignored_count, region);
    if (hosts.length == 0)
        return;
    buf_add(buf, "          - { region: ");
    inventory__write_text(buf, inventory->regions[region]);
    buf_printf(buf, "%s }\n", buf_text(&hosts));
}

static void write_shard(struct buf *buf, const struct inventory *inventory, size_t index)
{
    const struct inventory_shard *shard = &inventory->shards[index];
    if (index == 0 || strcmp(shard[-1].deployment, shard->deployment) != 0) {
        buf_add(buf, "  - name: ");
        inventory__write_text(buf, shard->deployment);
        buf_add(buf, "\n    shards:\n");
    }
    buf_add(buf, "      - name: ");
    inventory__write_text(buf, shard->name);
    buf_add(buf, "\n        servers:\n");
    size_t first = shard->server_count > 0 ? shard->servers[0].region : 0;
    for (size_t i = 0; i < inventory->region_count; i++)
        write_servers(buf, inventory, shard, (first + i) % inventory->region_count);
}

void inventory_write(const struct inventory *inventory, struct buf *buf)
{
    buf_add(buf, "promise: { rto: ");
    inventory__write_duration(buf, inventory->promise_rto_ms);
    buf_add(buf, ", rpo: ");
    inventory__write_duration(buf, inventory->promise_rpo_ms);
    if (inventory->is_rpo_guarded)
        buf_add(buf, ", rpo_guard: true");
    buf_add(buf, " }\nregions: ");
    write_list(buf, inventory->regions, inventory->region_count);
    inventory__write_store(buf, inventory);
    if (inventory->tls.is_on) {
        inventory__write_tls(buf, &inventory->tls);
        buf_add(buf, "\n");
    }
    inventory__write_account(buf, "credentials", &inventory->credentials);
    inventory__write_account(buf, "replication", &inventory->replication);
    inventory__write_account(buf, "probe", &inventory->probe);
    write_policy(buf, &inventory->policy);
    inventory__write_permission(inventory, buf);
    inventory__write_api(inventory, buf);
    buf_add(buf, inventory->hook_count ? "hooks:\n" : "");
    for (size_t i = 0; i < inventory->hook_count; i++)
        write_hook(buf, &inventory->hooks[i]);
    buf_add(buf, "deployments:\n");
    for (size_t i = 0; i < inventory->shard_count; i++)
        write_shard(buf, inventory, i);
    inventory__write_hosts(inventory, buf);
}
