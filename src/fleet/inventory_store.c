/* SPDX-License-Identifier: Apache-2.0
 *
 * 'store' in the fleet file: where it is, or also how an etcd lets us in; opening it so; and where
 * the journals of runs are, which are no part of an etcd. See inventory.h. */
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/internal.h"
#include "fleet/inventory.h"
#include "net/http.h"
#include "store/store.h"

#include <string.h>

#define ETCD "etcd://"

/* ---- reading ---- */

static enum status read_store_url(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    char shown[YAML_SHOWN_MAX];
    AUTO_FREE char *url = NULL;
    enum status status = yaml_read_text(file, node, &url, err);
    if (status)
        return status;
    if (store_url_check(url, err))
        return yaml_error(file, node, err,
                          "'%s': '%s' is not like file:///DIRECTORY (absolute), nor like "
                          "etcd://HOST:PORT,HOST:PORT,HOST:PORT",
                          file->key, yaml_show(node, shown));
    *(char **)target = take_pointer(url);
    return ST_OK;
}

static enum status read_site(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    struct inventory *inventory = target;
    char *name = NULL;
    enum status status = yaml_read_name(file, node, &name, err);
    if (!status)
        VEC_PUSH(inventory->store_sites, inventory->store_site_count,
                 inventory->store_site_capacity, name);
    return status;
}

static enum status read_sites(struct yaml_file *file, yaml_node_t *node, void *target,
                              struct err *err)
{
    return yaml_read_items(file, node, read_site, target, err);
}

size_t inventory_store_members(const struct inventory *inventory)
{
    const char *url = inventory->store_url;
    if (!url || strncmp(url, ETCD, strlen(ETCD)) != 0)
        return 0;
    size_t count = 1;
    for (; *url; url++)
        count += *url == ',';
    return count;
}

static enum status check_more(struct yaml_file *file, yaml_node_t *node,
                              const struct inventory *inventory, struct err *err)
{
    size_t members = inventory_store_members(inventory), sites = inventory->store_site_count;
    bool has_more = inventory->store_tls.is_on || inventory->store_account.user || sites;
    if (has_more && !members)
        return yaml_error(file, node, err,
                          "'tls', 'credentials' and 'sites' of 'store' are for an etcd; a folder "
                          "has none");
    if (sites && sites != members)
        return yaml_error(file, node, err,
                          "'sites' of 'store' names %zu, and 'url' %zu members: one for each, in "
                          "the same order",
                          sites, members);
    return ST_OK;
}

enum status inventory__read_store(struct yaml_file *file, yaml_node_t *node, void *target,
                                  struct err *err)
{
    static const struct yaml_field fields[] = {
        {"url", true, offsetof(struct inventory, store_url), read_store_url},
        {"tls", false, offsetof(struct inventory, store_tls), inventory__read_tls},
        {"credentials", false, offsetof(struct inventory, store_account), inventory__read_account},
        {"sites", false, 0, read_sites},
        {0}};
    struct inventory *inventory = target;
    if (node->type != YAML_MAPPING_NODE)
        return read_store_url(file, node, &inventory->store_url, err);
    enum status status = yaml_read_fields(file, node, fields, inventory, err);
    return status ? status : check_more(file, node, inventory, err);
}

/* ---- writing ---- */

/* One line when there is no more to it than where it is. */
void inventory__write_store(struct buf *buf, const struct inventory *inventory)
{
    bool is_plain = !inventory->store_tls.is_on && !inventory->store_account.user &&
                    !inventory->store_site_count;
    buf_add(buf, is_plain ? "\nstore: " : "\nstore:\n  url: ");
    inventory__write_text(buf, inventory->store_url);
    buf_add(buf, "\n");
    if (inventory->store_tls.is_on) {
        buf_add(buf, "  ");
        inventory__write_tls(buf, &inventory->store_tls);
        buf_add(buf, "\n");
    }
    inventory__write_account(buf, "  credentials", &inventory->store_account);
    for (size_t i = 0; i < inventory->store_site_count; i++) {
        buf_add(buf, i ? ", " : "  sites: [ ");
        inventory__write_text(buf, inventory->store_sites[i]);
    }
    buf_add(buf, inventory->store_site_count ? " ]\n" : "");
    if (inventory->journal) {
        buf_add(buf, "journal: ");
        inventory__write_text(buf, inventory->journal);
        buf_add(buf, "\n");
    }
}

/* ---- opening ---- */

/* The other side only says that it does not accept our certificate. */
static void explain_refusal(const struct inventory_tls *tls, struct err *err)
{
    bool is_over = tls->cert && tls->cert_end_s && tls->cert_end_s * 1000000 < clock_wall_us();
    if (err->status == ST_UNTRUSTED && is_over)
        err_hint(err, "our own certificate has expired: renew '%s'", tls->cert);
}

enum status inventory_open_store(const struct inventory *inventory, nsec deadline,
                                 struct store **ret_store, struct err *err)
{
    const struct inventory_tls *own = &inventory->store_tls;
    const struct inventory_account *account = &inventory->store_account;
    struct http_tls tls = {own->ca, own->cert, own->key, own->verify};
    struct store_access access = {own->is_on ? &tls : NULL, account->user, &account->password,
                                  account->password_path};
    enum status status = store_open(inventory->store_url, &access, deadline, ret_store, err);
    if (status)
        explain_refusal(own, err);
    return status;
}

/* ---- journals ---- */

char *inventory_journal(const struct inventory *inventory)
{
    static const char scheme[] = "file://";
    const char *url = inventory->store_url;
    if (inventory->journal)
        return mem_strdup(inventory->journal);
    return strncmp(url, scheme, sizeof(scheme) - 1) == 0
               ? mem_printf("%s/journal", url + sizeof(scheme) - 1)
               : mem_strdup(INVENTORY_JOURNAL);
}
