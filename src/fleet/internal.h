/* SPDX-License-Identifier: Apache-2.0
 * Shared inside fleet/ only: what its units test without servers, and parts of the fleet file. */
#ifndef HOLDFAST_FLEET_INTERNAL_H
#define HOLDFAST_FLEET_INTERNAL_H

#include "fleet/observation.h"
#include "wire/yaml.h"

/* ---- inventory.c ---- */
/* "host", "host:port" or "[v6]:port" as servers are called; the caller frees. */
MUST_CHECK enum status inventory__parse_address(const char *address, char **ret_name,
                                                struct err *err);
void inventory__write_text(struct buf *buf, const char *text); /* quoted where YAML needs it */
void inventory__write_duration(struct buf *buf, int64_t ms);

struct inventory_tls;
struct inventory_account;
void inventory__write_tls(struct buf *buf, const struct inventory_tls *tls);
void inventory__write_account(struct buf *buf, const char *key,
                              const struct inventory_account *account);

/* ---- inventory_read.c ---- */
yaml_read_fn inventory__read_account; /* struct inventory_account */
/* A name that must not come twice in the file; 'kind' is for the message. */
MUST_CHECK enum status inventory__take_name(struct yaml_file *file, const yaml_node_t *node,
                                            const char *kind, const char *name, struct err *err);
MUST_CHECK enum status inventory__read_unique(struct yaml_file *file, yaml_node_t *node,
                                              const char *kind, char **ret_name, struct err *err);
/* The index of the region that is named here. */
MUST_CHECK enum status inventory__read_region(struct yaml_file *file, yaml_node_t *node,
                                              const struct inventory *inventory, size_t *ret_region,
                                              struct err *err);

/* ---- inventory_hosts.c ---- */
yaml_read_fn inventory__read_permission, inventory__read_hosts; /* struct inventory */
void inventory__release_hosts(struct inventory *inventory);
/* promise.rpo_guard needs somebody who closes each server, and somebody in each region who asks. */
MUST_CHECK enum status inventory__check_guard(struct yaml_file *file,
                                              const struct inventory *inventory, struct err *err);
void inventory__write_permission(const struct inventory *inventory, struct buf *buf);
void inventory__write_hosts(const struct inventory *inventory, struct buf *buf);

/* ---- inventory_api.c ---- */
yaml_read_fn inventory__read_conductors; /* struct inventory */
yaml_read_fn inventory__read_api;        /* struct inventory_api */
MUST_CHECK enum status inventory__check_api(const struct yaml_file *file,
                                            const struct inventory *inventory, struct err *err);
void inventory__find_api_files(struct inventory *inventory, const char *path);
void inventory__release_api(struct inventory *inventory);
void inventory__write_api(const struct inventory *inventory, struct buf *buf);

/* ---- inventory_store.c ---- */
yaml_read_fn inventory__read_store; /* struct inventory */
void inventory__write_store(struct buf *buf, const struct inventory *inventory);

/* ---- inventory_load.c ---- */
/* '*file' as it is from here: relative to the fleet file at 'path'. NULL stays. */
void inventory__find_file(const char *path, char **file);
yaml_read_fn inventory__read_tls, inventory__read_server_tls; /* struct inventory_tls */
void inventory__release_tls(struct inventory_tls *tls);

#endif
