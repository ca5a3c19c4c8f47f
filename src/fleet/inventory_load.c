/* SPDX-License-Identifier: Apache-2.0
 * The fleet file from the disk, and the files it points to: passwords, and certificates of our own
 * connections ('tls', 'store.tls'; those of 'replication.tls' are on the database hosts). See
 * inventory.h. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"
#include "net/certificate.h"
#include "os/file.h"

#include <string.h>
#include <sys/stat.h>

static char *path_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    if (name[0] == '/' || !slash)
        return mem_strdup(name);
    return mem_printf("%.*s/%s", (int)(slash - path), path, name);
}

static enum status load_password_file(const char *path, struct inventory *inventory,
                                      struct inventory_account *account, struct err *err)
{
    char *password_path = path_beside(path, account->password_file);
    account->password_path = password_path;
    char *password = NULL;
    bool exposed = false;
    enum status status = file_read_secret(password_path, &password, &exposed, err);
    if (status) {
        err_wrap(err, "%s:%d", path, account->line);
        err_hint(err, "write the password of '%.64s' into '%.200s' on one line, mode 0600",
                 account->user, password_path);
        return status;
    }
    secret_set(&account->password, password, strlen(password));
    explicit_bzero(password, strlen(password));
    free(password);
    if (exposed) {
        char *warning = mem_printf("'%s' can be read by others than its owner; run: chmod 600 '%s'",
                                   password_path, password_path);
        VEC_PUSH(inventory->warnings, inventory->warning_count, inventory->warning_capacity,
                 warning);
    }
    return ST_OK;
}

void inventory_read_password(const struct inventory_account *account, struct secret *ret)
{
    AUTO_FREE char *text = NULL;
    bool exposed = false;
    if (!account->password_path ||
        file_read_secret(account->password_path, &text, &exposed, NULL) != ST_OK) {
        const char *loaded = secret_reveal(&account->password);
        secret_set(ret, loaded, strlen(loaded));
        return;
    }
    secret_set(ret, text, strlen(text));
    explicit_bzero(text, strlen(text));
}

struct sql_endpoint inventory_endpoint(const struct inventory *inventory,
                                       const struct inventory_account *account,
                                       const struct inventory_server *server)
{
    return (struct sql_endpoint){
        .host = server->host,
        .port = server->port,
        .user = account->user,
        .password = &account->password,
        .password_file = account->password_path,
        .tls = inventory->tls.is_on ? &inventory->tls.sql : NULL,
    };
}

void inventory__release_tls(struct inventory_tls *tls)
{
    free(tls->ca);
    free(tls->cert);
    free(tls->key);
}

static enum status load_password(const char *path, struct inventory *inventory,
                                 struct inventory_account *account, struct err *err)
{
    if (!account->user)
        return ST_OK; /* an optional account that is not configured */
    if (account->password_file)
        return load_password_file(path, inventory, account, err);
    const char *password = getenv(account->password_env);
    if (!password || !password[0]) {
        err_set(err, ST_NOT_FOUND, "%s:%d: the environment variable '%s' is not set", path,
                account->line, account->password_env);
        return err_hint(err, "put the password of '%.64s' into it, or use password_file",
                        account->user);
    }
    secret_set(&account->password, password, strlen(password));
    return ST_OK;
}

/* --- Reading the text ------------------------------------------------------------------------- */

static enum status read_verify(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    struct inventory_tls *tls = target;
    AUTO_FREE char *word = NULL;
    enum status status = yaml_read_text(file, node, &word, err);
    if (status)
        return status;
    tls->verify = strcmp(word, "true") == 0;
    if (!tls->verify && strcmp(word, "false") != 0)
        return yaml_error(file, node, err, "'verify' must be true or false, not '%.40s'", word);
    return ST_OK;
}

static void set_sql(struct inventory_tls *tls)
{
    tls->sql = (struct sql_tls){tls->ca, tls->cert, tls->key, tls->verify};
}

static enum status read_tls(struct yaml_file *file, yaml_node_t *node, struct inventory_tls *tls,
                            struct err *err)
{
    static const struct yaml_field fields[] = {
        {"ca", false, offsetof(struct inventory_tls, ca), yaml_read_text},
        {"cert", false, offsetof(struct inventory_tls, cert), yaml_read_text},
        {"key", false, offsetof(struct inventory_tls, key), yaml_read_text},
        {"verify", false, 0, read_verify},
        {0}};
    tls->is_on = tls->verify = true;
    tls->line = yaml_line(node);
    enum status status = yaml_read_fields(file, node, fields, tls, err);
    if (status)
        return status;
    set_sql(tls);
    if (!tls->cert != !tls->key)
        return yaml_error(file, node, err, "'tls' has a '%s' without a '%s'",
                          tls->cert ? "cert" : "key", tls->cert ? "key" : "cert");
    if (tls->verify && !tls->ca) {
        status = yaml_error(file, node, err, "'tls' lacks the key 'ca', which verifying needs");
        err_hint(err, "name the file of the authority that signed the servers' certificates; "
                      "'verify: false' takes any server's");
    }
    return status;
}

enum status inventory__read_tls(struct yaml_file *file, yaml_node_t *node, void *target,
                                struct err *err)
{
    return read_tls(file, node, target, err);
}

enum status inventory__read_server_tls(struct yaml_file *file, yaml_node_t *node, void *target,
                                       struct err *err)
{
    struct inventory_tls *tls = target;
    enum status status = read_tls(file, node, tls, err);
    const char *const paths[] = {tls->ca, tls->cert, tls->key};
    for (size_t i = 0; i < ARRAY_SIZE(paths) && !status; i++)
        if (paths[i] && paths[i][0] != '/') {
            status = yaml_error(file, node, err,
                                "'%.200s' must be an absolute path: it is on the database hosts",
                                paths[i]);
        }
    return status;
}

/* --- The files -------------------------------------------------------------------------------- */

static enum status wrap(enum status status, const char *path, const struct inventory_tls *tls,
                        const char *name, struct err *err)
{
    if (!status)
        return ST_OK;
    err_wrap(err, "%s:%d: %s", path, tls->line, name);
    err_hint(err, "name files in PEM that this user can read, relative to the fleet file");
    return status;
}

void inventory__find_file(const char *path, char **file)
{
    char *found = *file ? path_beside(path, *file) : NULL;
    free(*file);
    *file = found;
}

static void warn_of_exposed(struct inventory *inventory, const char *key)
{
    struct stat info;
    if (stat(key, &info) || (info.st_mode & (S_IRGRP | S_IROTH)) == 0)
        return;
    char *warning =
        mem_printf("'%s' can be read by others than its owner; run: chmod 600 '%s'", key, key);
    VEC_PUSH(inventory->warnings, inventory->warning_count, inventory->warning_capacity, warning);
}

static enum status load_tls(const char *path, struct inventory *inventory,
                            struct inventory_tls *tls, struct err *err)
{
    int64_t end_s = 0;
    if (!tls->is_on)
        return ST_OK;
    inventory__find_file(path, &tls->ca);
    inventory__find_file(path, &tls->cert);
    inventory__find_file(path, &tls->key);
    enum status status = tls->ca ? certificate_read_end(tls->ca, &end_s, err) : ST_OK;
    if (!status && tls->cert)
        status = certificate_read_end(tls->cert, &tls->cert_end_s, err);
    if (!status && tls->cert)
        status = certificate_check_key(tls->cert, tls->key, err);
    if (!status && tls->key)
        warn_of_exposed(inventory, tls->key);
    set_sql(tls);
    return wrap(status, path, tls, tls == &inventory->tls ? "tls" : "store.tls", err);
}

/* --- All ---------------------------------------------------------------------------------------
 */

static enum status read_file(const char *path, struct buf *text, struct err *err)
{
    enum status status = file_read(path, INVENTORY_FILE_MAX, text, err);
    if (status == ST_NOT_FOUND)
        err_hint(err, "name the fleet file with --fleet FILE or HOLDFAST_FLEET, or write one with: "
                      "holdfast fleet discover HOST:PORT");
    else if (status)
        err_hint(err, "a fleet file that can be read is needed: --fleet FILE or HOLDFAST_FLEET");
    return status;
}

enum status inventory_load(const char *path, struct inventory **ret_inventory, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO(inventory_freep) struct inventory *inventory = NULL;
    enum status status = read_file(path, &text, err);
    if (!status)
        status = inventory_parse(buf_text(&text), text.length, path, &inventory, err);
    if (!status)
        status = load_password(path, inventory, &inventory->credentials, err);
    if (!status)
        status = load_password(path, inventory, &inventory->replication, err);
    if (!status)
        status = load_password(path, inventory, &inventory->probe, err);
    if (!status)
        status = load_password(path, inventory, &inventory->store_account, err);
    if (!status)
        status = load_tls(path, inventory, &inventory->tls, err);
    if (!status)
        status = load_tls(path, inventory, &inventory->store_tls, err);
    if (!status) {
        inventory__find_api_files(inventory, path);
        inventory__find_file(path, &inventory->journal);
        *ret_inventory = take_pointer(inventory);
    }
    return status;
}
