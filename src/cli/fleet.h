/* SPDX-License-Identifier: Apache-2.0
 * Inside cli/ only: what the commands that look at a fleet share, and their entries. */
#ifndef HOLDFAST_CLI_FLEET_H
#define HOLDFAST_CLI_FLEET_H

#include "command/command.h"
#include "fleet/inventory.h"
#include "store/store.h"

/* The fleet file, the shards that were asked for, and the store as far as there is one. */
struct fleet_scene {
    const char *path;
    struct inventory *fleet;
    const struct inventory_shard **shards;
    size_t shard_count;
    enum store_patience patience; /* set before it is opened, when the command needs the store */
    struct store *store;          /* NULL: nothing was ever moved, or store_err says why */
    struct err store_err;
};

/* 'args' has --fleet and, if the command's table does, --shard. */
MUST_CHECK enum status fleet_scene_open(struct fleet_scene *scene, const struct cli_args *args,
                                        bool has_shard_option, struct err *err);
/* The same in two steps, for those who may not need the store. */
MUST_CHECK enum status fleet_scene_load(struct fleet_scene *scene, const struct cli_args *args,
                                        bool has_shard_option, struct err *err);
void fleet_scene_open_store(struct fleet_scene *scene);
/* The names of its shards; the caller frees the array. */
const char **fleet_scene_names(const struct fleet_scene *scene);
void fleet_scene_release(struct fleet_scene *scene);

enum status fleet_check(const struct cli_args *args, struct err *err);     /* check.c */
enum status fleet_converge(const struct cli_args *args, struct err *err);  /* converge.c */
enum status fleet_discover(const struct cli_args *args, struct err *err);  /* discover.c */
enum status fleet_status(const struct cli_args *args, struct err *err);    /* status.c */
enum status fleet_readiness(const struct cli_args *args, struct err *err); /* readiness.c */

#endif
