/* SPDX-License-Identifier: Apache-2.0
 * The fleet file from the disk, and the passwords it points to; see inventory.h. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <string.h>

/* 'name' beside the fleet file; caller frees. */
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
    AUTO_FREE char *password_path = path_beside(path, account->password_file);
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
        *ret_inventory = take_pointer(inventory);
    return status;
}
