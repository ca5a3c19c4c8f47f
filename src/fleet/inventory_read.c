/* SPDX-License-Identifier: Apache-2.0
 * The fleet file: its keys, and what each may be; see inventory.h. The tables here are the one list
 * of keys that exists; docs and messages follow them.
 *
 * A reader gets the node and what it belongs to; the first error ends the reading. What a failed
 * reader already put into the inventory is freed with it. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"
#include "wire/yaml.h"

#include <search.h>
#include <string.h>

/* What the readers share besides the inventory. */
struct reading {
    void *taken; /* tree of struct taken: names that must not come twice */
};

struct taken {
    char *what; /* "server 10.0.1.11:3306" */
    int line;
};

struct shard_draft {
    struct inventory *inventory;
    struct inventory_shard *shard;
    int region_lines[INVENTORY_REGIONS]; /* where each region's servers are; 0: not yet */
};

struct group_draft {
    struct shard_draft *shard;
    size_t region;
};

/* ---- names that must be unique ---- */

static int by_what(const void *left, const void *right)
{
    const struct taken *a = left, *b = right;
    return strcmp(a->what, b->what);
}

static void free_taken(void *pointer)
{
    struct taken *taken = pointer;
    free(taken->what);
    free(taken);
}

enum status inventory__take_name(struct yaml_file *file, const yaml_node_t *node, const char *kind,
                                 const char *name, struct err *err)
{
    struct reading *reading = file->context;
    struct taken *taken = mem_zalloc(sizeof(*taken));
    taken->what = mem_printf("%s '%s'", kind, name);
    taken->line = yaml_line(node);
    struct taken **place = tsearch(taken, &reading->taken, by_what);
    if (place && *place == taken)
        return ST_OK;
    enum status status = place ? yaml_error(file, node, err, "duplicate %s (first in line %d)",
                                            taken->what, (*place)->line)
                               : err_set(err, ST_INTERNAL, "out of memory");
    free_taken(taken);
    return status;
}

enum status inventory__read_unique(struct yaml_file *file, yaml_node_t *node, const char *kind,
                                   char **ret_name, struct err *err)
{
    enum status status = yaml_read_name(file, node, ret_name, err);
    return status ? status : inventory__take_name(file, node, kind, *ret_name, err);
}

/* ---- promise, regions, store ---- */

static enum status read_positive_duration(struct yaml_file *file, yaml_node_t *node, void *target,
                                          struct err *err)
{
    int64_t ms = 0;
    enum status status = yaml_read_duration(file, node, &ms, err);
    if (status)
        return status;
    if (ms == 0)
        return yaml_error(file, node, err, "'%s' must be longer than 0", file->key);
    *(int64_t *)target = ms;
    return ST_OK;
}

static enum status read_positive_number(struct yaml_file *file, yaml_node_t *node, void *target,
                                        struct err *err)
{
    uint32_t number = 0;
    enum status status = yaml_read_number(file, node, &number, err);
    if (status)
        return status;
    if (number == 0)
        return yaml_error(file, node, err, "'%s' must be 1 or more", file->key);
    *(uint32_t *)target = number;
    return ST_OK;
}

static enum status read_percent(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    uint32_t number = 0;
    enum status status = yaml_read_number(file, node, &number, err);
    if (!status && number > 100)
        status = yaml_error(file, node, err, "'%s' must be at most 100", file->key);
    if (!status)
        *(uint32_t *)target = number;
    return status;
}

static enum status read_promise(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    static const struct yaml_field fields[] = {
        {"rto", true, offsetof(struct inventory, promise_rto_ms), read_positive_duration},
        {"rpo", true, offsetof(struct inventory, promise_rpo_ms), yaml_read_duration},
        {"rpo_guard", false, offsetof(struct inventory, is_rpo_guarded), yaml_read_bool},
        {0}};
    return yaml_read_fields(file, node, fields, target, err);
}

static enum status read_region(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    struct inventory *inventory = target;
    AUTO_FREE char *name = NULL;
    enum status status = inventory__read_unique(file, node, "region", &name, err);
    if (status)
        return status;
    if (inventory->region_count < INVENTORY_REGIONS)
        inventory->regions[inventory->region_count++] = take_pointer(name);
    return ST_OK;
}

static enum status read_regions(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    struct inventory *inventory = target;
    if (inventory->region_count == INVENTORY_REGIONS)
        return ST_OK; /* need_regions() was here first */
    enum status status = yaml_read_items(file, node, read_region, inventory, err);
    if (status)
        return status;
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    if (count != INVENTORY_REGIONS)
        return yaml_error(file, node, err, "'regions' must name exactly %d core regions, not %zu",
                          INVENTORY_REGIONS, count);
    return ST_OK;
}

/* The deployments refer to regions, but nobody is made to write them in this order. */
static enum status need_regions(struct yaml_file *file, struct inventory *inventory,
                                struct err *err)
{
    yaml_node_t *node = yaml_find(file, yaml_root(file), "regions");
    if (!node)
        return yaml_error(file, yaml_root(file), err, "the file lacks the key 'regions'");
    const char *key = file->key;
    bool in_list = file->in_list;
    file->key = "regions";
    file->in_list = false;
    enum status status = read_regions(file, node, inventory, err);
    file->key = key;
    file->in_list = in_list;
    return status;
}

enum status inventory__read_region(struct yaml_file *file, yaml_node_t *node,
                                   const struct inventory *inventory, size_t *ret_region,
                                   struct err *err)
{
    AUTO_FREE char *name = NULL;
    enum status status = yaml_read_name(file, node, &name, err);
    if (status || inventory_find_region(inventory, name, ret_region))
        return status;
    const char *closest =
        yaml_closest(name, (const char *const *)inventory->regions, inventory->region_count);
    if (closest)
        return yaml_error(file, node, err, "unknown region '%s' (did you mean '%s'?)", name,
                          closest);
    return yaml_error(file, node, err, "unknown region '%s'; 'regions' names '%s' and '%s'", name,
                      inventory->regions[0], inventory->regions[1]);
}

/* ---- accounts ---- */

static enum status refuse_password(struct yaml_file *file, yaml_node_t *node, UNUSED void *target,
                                   struct err *err)
{
    enum status status =
        yaml_error(file, node, err, "a password must not be in this file; use password_file");
    err_hint(err, "write it into a file of mode 0600 and say 'password_file: PATH', relative to "
                  "this file, or 'password_env: NAME'");
    return status;
}

static enum status read_password_file(struct yaml_file *file, yaml_node_t *node, void *target,
                                      struct err *err)
{
    struct inventory_account *account = target;
    account->line = yaml_line(node);
    return yaml_read_text(file, node, &account->password_file, err);
}

static enum status read_password_env(struct yaml_file *file, yaml_node_t *node, void *target,
                                     struct err *err)
{
    struct inventory_account *account = target;
    account->line = yaml_line(node);
    return yaml_read_name(file, node, &account->password_env, err);
}

static enum status refuse_tls(struct yaml_file *file, yaml_node_t *node, UNUSED void *target,
                              struct err *err)
{
    enum status status = yaml_error(file, node, err,
                                    "'tls' of our own connections is a key of "
                                    "its own, the same for all accounts");
    err_hint(err, "move it out of this account, beside 'credentials'");
    return status;
}

/* All accounts, but for the reader of 'tls'. */
#define ACCOUNT_FIELDS(read_account_tls)                                                           \
    {"user", true, offsetof(struct inventory_account, user), yaml_read_text},                      \
        {"password_file", false, 0, read_password_file},                                           \
        {"password_env", false, 0, read_password_env}, {"password", false, 0, refuse_password},    \
        {"tls", false, offsetof(struct inventory_account, tls), read_account_tls},                 \
    {                                                                                              \
        0                                                                                          \
    }

static const struct yaml_field account_fields[] = {ACCOUNT_FIELDS(refuse_tls)};
static const struct yaml_field replication_fields[] = {ACCOUNT_FIELDS(inventory__read_server_tls)};

enum status inventory__read_account(struct yaml_file *file, yaml_node_t *node, void *target,
                                    struct err *err)
{
    const struct inventory_account *account = target;
    bool is_replication = strcmp(file->key, "replication") == 0;
    const struct yaml_field *fields = is_replication ? replication_fields : account_fields;
    enum status status = yaml_read_fields(file, node, fields, target, err);
    if (status)
        return status;
    if (account->password_file && account->password_env)
        return yaml_error(file, node, err, "'%s' has both password_file and password_env",
                          file->key);
    if (!account->password_file && !account->password_env)
        return yaml_error(file, node, err, "'%s' lacks the key 'password_file' (or 'password_env')",
                          file->key);
    return ST_OK;
}

/* ---- policy ---- */

static enum status read_accepted(struct yaml_file *file, yaml_node_t *node, void *target,
                                 struct err *err)
{
    struct inventory_policy *policy = target;
    char *name = NULL;
    enum status status = yaml_read_name(file, node, &name, err);
    if (status)
        return status;
    VEC_PUSH(policy->accept, policy->accept_count, policy->accept_capacity, name);
    return ST_OK;
}

static enum status read_accept(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    if (node->type == YAML_SEQUENCE_NODE &&
        node->data.sequence.items.start == node->data.sequence.items.top)
        return ST_OK; /* accepting nothing may be said */
    return yaml_read_items(file, node, read_accepted, target, err);
}

static enum status read_automatic(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    AUTO_FREE char *word = NULL;
    enum status status = yaml_read_text(file, node, &word, err);
    if (status)
        return status;
    static const char *const names[] = {INVENTORY_AUTOMATIC_TABLE(TABLE_TEXT)};
    for (unsigned i = 0; i < INVENTORY_AUTOMATICS; i++)
        if (strcmp(word, names[i]) == 0) {
            *(enum inventory_automatic *)target = (enum inventory_automatic)i;
            return ST_OK;
        }
    status = yaml_error(file, node, err, "'automatic': '%s' is neither 'none', 'host' nor 'region'",
                        word);
    err_hint(err,
             "none: failover by an operator's word only; host: the loss of a host is healed by "
             "itself; region: that of a region, too");
    return status;
}

/* 0: as many as it takes. */
static enum status read_failovers(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    enum status status = yaml_read_number(file, node, target, err);
    if (status || *(uint32_t *)target <= INVENTORY_FAILOVERS_MAX)
        return status;
    return yaml_error(file, node, err, "'%s' may be %d at most; 0 is without a limit", file->key,
                      INVENTORY_FAILOVERS_MAX);
}

static enum status read_policy(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    static const struct yaml_field fields[] = {
        {"freeze_cap", false, offsetof(struct inventory_policy, freeze_cap), yaml_read_number},
        {"freeze_timeout", false, offsetof(struct inventory_policy, freeze_timeout_ms),
         read_positive_duration},
        {"move_timeout", false, offsetof(struct inventory_policy, move_timeout_ms),
         read_positive_duration},
        {"max_lag", false, offsetof(struct inventory_policy, max_lag_ms), read_positive_duration},
        {"max_error_percent", false, offsetof(struct inventory_policy, max_error_percent),
         read_percent},
        {"keep_runs", false, offsetof(struct inventory_policy, keep_runs), read_positive_number},
        {"reason_required", false, offsetof(struct inventory_policy, is_reason_required),
         yaml_read_bool},
        {"automatic", false, offsetof(struct inventory_policy, automatic), read_automatic},
        {"hold_down", false, offsetof(struct inventory_policy, hold_down_ms),
         read_positive_duration},
        {"failovers_an_hour", false, offsetof(struct inventory_policy, failovers_an_hour),
         read_failovers},
        {"accept", false, 0, read_accept},
        {0}};
    const struct inventory_policy *policy = target;
    enum status status = yaml_read_fields(file, node, fields, target, err);
    if (status)
        return status;
    if (policy->freeze_timeout_ms >= policy->move_timeout_ms)
        return yaml_error(file, node, err,
                          "'policy': freeze_timeout (%lldms) must be shorter than move_timeout "
                          "(%lldms)",
                          (long long)policy->freeze_timeout_ms, (long long)policy->move_timeout_ms);
    return ST_OK;
}

/* ---- hooks ---- */

static const char *const event_names[] = {HOOK_EVENT_TABLE(TABLE_TEXT) NULL};

const char *hook_command_trouble(const struct inventory_command *command)
{
    if (!command->argv || access(command->argv[0], X_OK) == 0)
        return NULL;
    return access(command->argv[0], F_OK) ? "does not exist here"
                                          : "may not be executed by this user";
}

const char *hook_event_name(enum hook_event event)
{
    return event_names[event];
}

const char *const *hook_event_names(void)
{
    return event_names;
}

bool hook_event_is_gate(enum hook_event event)
{
#define X(id, name, is_gate) is_gate,
    static const bool are_gates[] = {HOOK_EVENT_TABLE(X)};
#undef X
    return are_gates[event];
}

static enum status read_event(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    struct inventory_hook *hook = target;
    AUTO_FREE char *name = NULL;
    enum status status = yaml_read_name(file, node, &name, err);
    if (status)
        return status;
    for (unsigned event = 0; event < HOOK_EVENTS; event++)
        if (strcmp(event_names[event], name) == 0) {
            hook->events |= 1U << event;
            return ST_OK;
        }
    const char *closest = yaml_closest(name, event_names, HOOK_EVENTS);
    if (closest)
        return yaml_error(file, node, err, "unknown event '%s' (did you mean '%s'?)", name,
                          closest);
    return yaml_error(file, node, err, "unknown event '%s'; 'holdfast hook events' lists them",
                      name);
}

static enum status read_events(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    return yaml_read_items(file, node, read_event, target, err);
}

/* The first is the program; an argument may be any text, also an empty one. */
static enum status read_word(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    struct inventory_command *command = target;
    enum status status = yaml_expect(file, node, YAML_SCALAR_NODE, err);
    if (status)
        return status;
    const char *text = (const char *)node->data.scalar.value;
    if (command->count == 0 && text[0] != '/')
        return yaml_error(file, node, err, "'%s': the program needs its full path, from /",
                          file->key);
    if (command->count == HOOK_WORDS_MAX)
        return yaml_error(file, node, err, "'%s' has more than %d words", file->key,
                          HOOK_WORDS_MAX);
    VEC_PUSH(command->argv, command->count, command->capacity, mem_strdup(text));
    return ST_OK;
}

static enum status read_command(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    struct inventory_command *command = target;
    enum status status = yaml_read_items(file, node, read_word, command, err);
    VEC_PUSH(command->argv, command->count, command->capacity, NULL);
    command->count--; /* the NULL is not counted */
    return status;
}

static enum status read_hook_name(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    return inventory__read_unique(file, node, "hook", target, err);
}

static bool has_gate(const struct inventory_hook *hook)
{
    for (unsigned event = 0; event < HOOK_EVENTS; event++)
        if (hook->events & (1U << event) && hook_event_is_gate((enum hook_event)event))
            return true;
    return false;
}

static enum status read_hook(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    static const struct yaml_field fields[] = {
        {"name", true, offsetof(struct inventory_hook, name), read_hook_name},
        {"events", true, 0, read_events},
        {"exec", true, offsetof(struct inventory_hook, exec), read_command},
        {"undo", false, offsetof(struct inventory_hook, undo), read_command},
        {"timeout", false, offsetof(struct inventory_hook, timeout_ms), read_positive_duration},
        {"required", false, offsetof(struct inventory_hook, is_required), yaml_read_bool},
        {0}};
    struct inventory *inventory = target;
    if (inventory->hook_count == HOOKS_MAX)
        return yaml_error(file, node, err, "more than %d hooks", HOOKS_MAX);
    struct inventory_hook blank = {.timeout_ms = HOOK_TIMEOUT_MS};
    VEC_PUSH(inventory->hooks, inventory->hook_count, inventory->hook_capacity, blank);
    struct inventory_hook *hook = &inventory->hooks[inventory->hook_count - 1];
    enum status status = yaml_read_fields(file, node, fields, hook, err);
    if (!status && hook->is_required && !has_gate(hook))
        return yaml_error(file, node, err,
                          "hook '%s' is required, but none of its events can stop anything: those "
                          "are run.before, wave.before and shard.before",
                          hook->name);
    return status;
}

static enum status read_hooks(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    return yaml_read_items(file, node, read_hook, target, err);
}

/* ---- deployments, shards, servers ---- */

static enum status read_host(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    struct inventory_shard *shard = ((const struct group_draft *)target)->shard->shard;
    bool is_ignored = strcmp(file->key, "ignore") == 0;
    struct err why = ERR_INIT;
    AUTO_FREE char *address = NULL;
    enum status status = yaml_read_text(file, node, &address, err);
    if (status)
        return status;
    if (is_ignored ? inventory_add_ignored(shard, 0, address, &why)
                   : inventory_add_server(shard, 0, address, &why))
        return yaml_error(file, node, err, "'%s': %s", file->key, why.text);
    size_t end = is_ignored ? inventory_shard_size(shard) : shard->server_count;
    return inventory__take_name(file, node, "server", shard->servers[end - 1].name, err);
}

static enum status read_hosts(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    return yaml_read_items(file, node, read_host, target, err);
}

static enum status read_server_region(struct yaml_file *file, yaml_node_t *node, void *target,
                                      struct err *err)
{
    struct group_draft *group = target;
    const struct inventory *inventory = group->shard->inventory;
    int *lines = group->shard->region_lines;
    enum status status = inventory__read_region(file, node, inventory, &group->region, err);
    if (status)
        return status;
    if (lines[group->region])
        return yaml_error(file, node, err,
                          "region '%s' comes twice in this shard (first in line %d)",
                          inventory->regions[group->region], lines[group->region]);
    lines[group->region] = yaml_line(node);
    return ST_OK;
}

static enum status read_group(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    static const struct yaml_field fields[] = {{"region", true, 0, read_server_region},
                                               {"hosts", true, 0, read_hosts},
                                               {"ignore", false, 0, read_hosts},
                                               {0}};
    struct group_draft group = {.shard = target};
    struct inventory_shard *shard = group.shard->shard;
    size_t first = shard->server_count, first_ignored = shard->ignored_count;
    enum status status = yaml_read_fields(file, node, fields, &group, err);
    for (size_t i = first; i < shard->server_count; i++)
        shard->servers[i].region = group.region;
    for (size_t i = first_ignored; i < shard->ignored_count; i++)
        shard->servers[shard->server_count + i].region = group.region;
    return status;
}

static enum status read_servers(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    return yaml_read_items(file, node, read_group, target, err);
}

static enum status read_shard_name(struct yaml_file *file, yaml_node_t *node, void *target,
                                   struct err *err)
{
    struct shard_draft *draft = target;
    return inventory__read_unique(file, node, "shard", &draft->shard->name, err);
}

static enum status read_shard(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    static const struct yaml_field fields[] = {
        {"name", true, 0, read_shard_name}, {"servers", true, 0, read_servers}, {0}};
    struct inventory *inventory = target;
    struct shard_draft draft = {inventory, inventory_add_shard(inventory, NULL, NULL), {0}};
    return yaml_read_fields(file, node, fields, &draft, err);
}

struct deployment_draft {
    struct inventory *inventory;
    char *name;
};

static enum status read_deployment_name(struct yaml_file *file, yaml_node_t *node, void *target,
                                        struct err *err)
{
    struct deployment_draft *draft = target;
    return inventory__read_unique(file, node, "deployment", &draft->name, err);
}

static enum status read_shards(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    struct deployment_draft *draft = target;
    return yaml_read_items(file, node, read_shard, draft->inventory, err);
}

static enum status read_deployment(struct yaml_file *file, yaml_node_t *node, void *target,
                                   struct err *err)
{
    static const struct yaml_field fields[] = {
        {"name", true, 0, read_deployment_name}, {"shards", true, 0, read_shards}, {0}};
    struct deployment_draft draft = {.inventory = target};
    size_t first = draft.inventory->shard_count;
    enum status status = yaml_read_fields(file, node, fields, &draft, err);
    for (size_t i = first; i < draft.inventory->shard_count; i++)
        draft.inventory->shards[i].deployment = mem_strdup(draft.name);
    free(draft.name);
    return status;
}

static enum status read_deployments(struct yaml_file *file, yaml_node_t *node, void *target,
                                    struct err *err)
{
    enum status status = need_regions(file, target, err);
    return status ? status : yaml_read_items(file, node, read_deployment, target, err);
}

/* ---- the file ---- */

/* Hosts name servers of the deployments, conductors regions, which may come later: read_last(). */
static enum status skip(UNUSED struct yaml_file *file, UNUSED yaml_node_t *node,
                        UNUSED void *target, UNUSED struct err *err)
{
    return ST_OK;
}

/* clang-format off */
static const struct yaml_field root_fields[] = {
    {"promise",     true,  0,                                       read_promise},
    {"regions",     true,  0,                                       read_regions},
    {"store",       true,  0,                                       inventory__read_store},
    {"journal",     false, offsetof(struct inventory, journal),     yaml_read_text},
    {"tls",         false, offsetof(struct inventory, tls),         inventory__read_tls},
    {"credentials", true,  offsetof(struct inventory, credentials), inventory__read_account},
    {"replication", true,  offsetof(struct inventory, replication), inventory__read_account},
    {"probe",       false, offsetof(struct inventory, probe),       inventory__read_account},
    {"policy",      false, offsetof(struct inventory, policy),      read_policy},
    {"hooks",       false, 0,                                       read_hooks},
    {"permission",  false, 0,                                       inventory__read_permission},
    {"api",         false, offsetof(struct inventory, api),         inventory__read_api},
    {"conductors",  false, 0,                                       skip},
    {"deployments", true,  0,                                       read_deployments},
    {"hosts",       false, 0,                                       skip},
    {0}};
/* clang-format on */

static enum status read_last(struct yaml_file *file, struct inventory *inventory, struct err *err)
{
    static const struct yaml_field fields[] = {{"hosts", false, 0, inventory__read_hosts},
                                               {"conductors", false, 0, inventory__read_conductors},
                                               {0}};
    enum status status = ST_OK;
    for (const struct yaml_field *field = fields; field->name && !status; field++) {
        yaml_node_t *node = yaml_find(file, yaml_root(file), field->name);
        file->key = field->name;
        status = node ? field->read(file, node, inventory, err) : ST_OK;
    }
    if (!status)
        status = inventory__check_guard(file, inventory, err);
    return status ? status : inventory__check_api(file, inventory, err);
}

enum status inventory_parse(const char *text, size_t length, const char *path,
                            struct inventory **ret_inventory, struct err *err)
{
    if (length > INVENTORY_FILE_MAX)
        return err_set(err, ST_INVALID, "%s: larger than %d bytes", path, INVENTORY_FILE_MAX);
    AUTO(inventory_freep) struct inventory *inventory = inventory_new();
    AUTO(yaml_file_close) struct yaml_file file = {0};
    struct reading reading = {0};
    enum status status = yaml_file_open(&file, path, text, length, err);
    file.context = &reading;
    if (!status)
        status = yaml_read_fields(&file, yaml_root(&file), root_fields, inventory, err);
    if (!status)
        status = read_last(&file, inventory, err);
    tdestroy(reading.taken, free_taken);
    if (!status)
        *ret_inventory = take_pointer(inventory);
    return status;
}
