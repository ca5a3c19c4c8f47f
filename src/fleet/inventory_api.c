/* SPDX-License-Identifier: Apache-2.0
 * Conductors and their API in the fleet file: read, checked, written, looked up; see inventory.h.
 * Files of tokens and certificates are only named here: those who need them are on other machines
 * than those who do not. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- conductors ---- */

struct conductor_draft {
    struct inventory *inventory;
    struct inventory_conductor *conductor;
};

static enum status read_conductor_name(struct yaml_file *file, yaml_node_t *node, void *target,
                                       struct err *err)
{
    struct conductor_draft *draft = target;
    return inventory__read_unique(file, node, "conductor", &draft->conductor->name, err);
}

static enum status read_conductor_region(struct yaml_file *file, yaml_node_t *node, void *target,
                                         struct err *err)
{
    struct conductor_draft *draft = target;
    return inventory__read_region(file, node, draft->inventory, &draft->conductor->region, err);
}

/* "host", "host:port", "[v6]:port", with our own default. */
static char *with_port(const char *address)
{
    const char *colon = strrchr(address, ':'), *bracket = strrchr(address, ']');
    bool has_port = colon && (!bracket || colon > bracket);
    return has_port ? mem_strdup(address) : mem_printf("%s:%d", address, INVENTORY_API_PORT);
}

/* 'listen' is good: "host:port" or "[v6]:port". */
static void take_apart(struct inventory_conductor *conductor)
{
    const char *listen = conductor->listen, *colon = strrchr(listen, ':');
    size_t length = (size_t)(colon - listen);
    bool is_v6 = listen[0] == '[';
    conductor->host = is_v6 ? mem_printf("%.*s", (int)length - 2, listen + 1)
                            : mem_printf("%.*s", (int)length, listen);
    conductor->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static enum status read_listen(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    struct conductor_draft *draft = target;
    struct err why = ERR_INIT;
    AUTO_FREE char *text = NULL;
    enum status status = yaml_read_text(file, node, &text, err);
    if (status)
        return status;
    AUTO_FREE char *address = with_port(text);
    if (inventory__parse_address(address, &draft->conductor->listen, &why))
        return yaml_error(file, node, err, "'listen': %s", why.text);
    take_apart(draft->conductor);
    return inventory__take_name(file, node, "address of a conductor", draft->conductor->listen,
                                err);
}

static enum status read_conductor(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    static const struct yaml_field fields[] = {{"name", true, 0, read_conductor_name},
                                               {"region", true, 0, read_conductor_region},
                                               {"listen", true, 0, read_listen},
                                               {0}};
    struct inventory *inventory = target;
    struct inventory_conductor blank = {.line = yaml_line(node)};
    VEC_PUSH(inventory->conductors, inventory->conductor_count, inventory->conductor_capacity,
             blank);
    struct conductor_draft draft = {inventory,
                                    &inventory->conductors[inventory->conductor_count - 1]};
    return yaml_read_fields(file, node, fields, &draft, err);
}

enum status inventory__read_conductors(struct yaml_file *file, yaml_node_t *node, void *target,
                                       struct err *err)
{
    return yaml_read_items(file, node, read_conductor, target, err);
}

const struct inventory_conductor *inventory_find_conductor(const struct inventory *inventory,
                                                           const char *name)
{
    for (size_t i = 0; i < inventory->conductor_count; i++)
        if (strcmp(inventory->conductors[i].name, name) == 0)
            return &inventory->conductors[i];
    return NULL;
}

/* ---- api ---- */

static enum status read_role(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    AUTO_FREE char *word = NULL;
    enum status status = yaml_read_text(file, node, &word, err);
    if (status)
        return status;
    for (unsigned role = HTTP_VIEWER; role < HTTP_ROLES; role++)
        if (strcmp(word, http_role_name((enum http_role)role)) == 0) {
            *(enum http_role *)target = (enum http_role)role;
            return ST_OK;
        }
    return yaml_error(file, node, err, "'role' must be viewer, operator or agent, not '%.40s'",
                      word);
}

static enum status refuse_token(struct yaml_file *file, yaml_node_t *node, UNUSED void *target,
                                struct err *err)
{
    enum status status =
        yaml_error(file, node, err, "a token must not be in this file; use 'file'");
    err_hint(err, "write it into a file of mode 0600 and say 'file: PATH', relative to this file");
    return status;
}

static enum status read_token_name(struct yaml_file *file, yaml_node_t *node, void *target,
                                   struct err *err)
{
    return inventory__read_unique(file, node, "token", target, err);
}

static enum status read_token(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    static const struct yaml_field fields[] = {
        {"name", true, offsetof(struct inventory_token, name), read_token_name},
        {"role", true, offsetof(struct inventory_token, role), read_role},
        {"file", true, offsetof(struct inventory_token, file), yaml_read_text},
        {"token", false, 0, refuse_token},
        {0}};
    struct inventory_api *api = target;
    struct inventory_token blank = {.role = HTTP_VIEWER};
    VEC_PUSH(api->tokens, api->token_count, api->token_capacity, blank);
    return yaml_read_fields(file, node, fields, &api->tokens[api->token_count - 1], err);
}

static enum status read_tokens(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    return yaml_read_items(file, node, read_token, target, err);
}

static enum status read_api_tls(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    static const struct yaml_field fields[] = {
        {"ca", true, offsetof(struct inventory_tls, ca), yaml_read_text},
        {"cert", true, offsetof(struct inventory_tls, cert), yaml_read_text},
        {"key", true, offsetof(struct inventory_tls, key), yaml_read_text},
        {0}};
    struct inventory_tls *tls = target;
    tls->is_on = tls->verify = true;
    tls->line = yaml_line(node);
    return yaml_read_fields(file, node, fields, tls, err);
}

enum status inventory__read_api(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    static const struct yaml_field fields[] = {
        {"tls", false, offsetof(struct inventory_api, tls), read_api_tls},
        {"plain", false, offsetof(struct inventory_api, is_plain), yaml_read_bool},
        {"tokens", false, 0, read_tokens},
        {0}};
    struct inventory_api *api = target;
    enum status status = yaml_read_fields(file, node, fields, api, err);
    if (!status && api->tls.is_on && api->is_plain)
        return yaml_error(file, node, err, "'api' has both 'tls' and 'plain: true'");
    return status;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

/* Tokens in clear text are anybody's who listens on the way. */
enum status inventory__check_api(const struct yaml_file *file, const struct inventory *inventory,
                                 struct err *err)
{
    if (inventory->api.tls.is_on || inventory->api.is_plain)
        return ST_OK;
    for (size_t i = 0; i < inventory->conductor_count; i++) {
        const struct inventory_conductor *conductor = &inventory->conductors[i];
        if (is_loopback(conductor->host))
            continue;
        err_set(err, ST_INVALID,
                "%s:%d: conductor '%s' would speak in clear text at %s, which is not of this "
                "machine alone",
                file->path, conductor->line, conductor->name, conductor->listen);
        return err_hint(err, "give it 'api: { tls: { ca: ..., cert: ..., key: ... } }', or say "
                             "'plain: true' there inside a trusted network");
    }
    return ST_OK;
}

void inventory__find_api_files(struct inventory *inventory, const char *path)
{
    struct inventory_api *api = &inventory->api;
    inventory__find_file(path, &api->tls.ca);
    inventory__find_file(path, &api->tls.cert);
    inventory__find_file(path, &api->tls.key);
    for (size_t i = 0; i < api->token_count; i++) {
        api->tokens[i].path = mem_strdup(api->tokens[i].file);
        inventory__find_file(path, &api->tokens[i].path);
    }
}

void inventory__release_api(struct inventory *inventory)
{
    for (size_t i = 0; i < inventory->conductor_count; i++) {
        free(inventory->conductors[i].name);
        free(inventory->conductors[i].listen);
        free(inventory->conductors[i].host);
    }
    free(inventory->conductors);
    struct inventory_api *api = &inventory->api;
    for (size_t i = 0; i < api->token_count; i++) {
        free(api->tokens[i].name);
        free(api->tokens[i].file);
        free(api->tokens[i].path);
    }
    free(api->tokens);
    inventory__release_tls(&api->tls);
}

/* ---- writing ---- */

static void write_conductor(const struct inventory *inventory,
                            const struct inventory_conductor *conductor, struct buf *buf)
{
    buf_add(buf, "  - { name: ");
    inventory__write_text(buf, conductor->name);
    buf_add(buf, ", region: ");
    inventory__write_text(buf, inventory->regions[conductor->region]);
    buf_add(buf, ", listen: ");
    inventory__write_text(buf, conductor->listen);
    buf_add(buf, " }\n");
}

static void write_token(const struct inventory_token *token, struct buf *buf)
{
    buf_add(buf, "    - { name: ");
    inventory__write_text(buf, token->name);
    buf_printf(buf, ", role: %s, file: ", http_role_name(token->role));
    inventory__write_text(buf, token->file);
    buf_add(buf, " }\n");
}

static void write_api_tls(const struct inventory_tls *tls, struct buf *buf)
{
    buf_add(buf, "  tls: { ca: ");
    inventory__write_text(buf, tls->ca);
    buf_add(buf, ", cert: ");
    inventory__write_text(buf, tls->cert);
    buf_add(buf, ", key: ");
    inventory__write_text(buf, tls->key);
    buf_add(buf, " }\n");
}

void inventory__write_api(const struct inventory *inventory, struct buf *buf)
{
    const struct inventory_api *api = &inventory->api;
    buf_add(buf, inventory->conductor_count ? "conductors:\n" : "");
    for (size_t i = 0; i < inventory->conductor_count; i++)
        write_conductor(inventory, &inventory->conductors[i], buf);
    if (!api->tls.is_on && !api->is_plain && api->token_count == 0)
        return;
    buf_add(buf, "api:\n");
    if (api->tls.is_on)
        write_api_tls(&api->tls, buf);
    buf_add(buf, api->is_plain ? "  plain: true\n" : "");
    buf_add(buf, api->token_count ? "  tokens:\n" : "");
    for (size_t i = 0; i < api->token_count; i++)
        write_token(&api->tokens[i], buf);
}
