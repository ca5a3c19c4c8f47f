/* SPDX-License-Identifier: Apache-2.0
 * The network of a lab: the loopback, or a namespace for each site, which 'wan' joins: then
 * DIR/net/SITE leads to the namespace of a site, and DIR/net/map says what is cut. Programs are
 * started inside by nsenter(1), of util-linux. */
#include "wan/wan.h"

#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/capture.h"
#include "os/file.h"
#include "os/program.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)LAB_SITES == (int)WAN_SITES, "each site of a lab is one of its network");

enum {
    ADDRESS_FIRST = 16,
    FOLDER_MODE = 0700,
    LINK_MAX_BYTES = 64,
    OPTIONS = 4,
    TRY_MS = 5000,
    TRY_OUTPUT_MAX = 1024,
};

static uint8_t second(size_t region)
{
    return (uint8_t)(ADDRESS_FIRST + region);
}

void lab__address(char *host, size_t region, unsigned third, unsigned last)
{
    snprintf(host, LAB_HOST_MAX, "127.%u.%u.%u", second(region), third & 0xff, last & 0xff);
}

void lab__source(const struct lab *lab, size_t region, char ret_host[static LAB_HOST_MAX])
{
    if (lab->network.is_netns)
        lab__address(ret_host, region, WAN_SOURCE_THIRD, WAN_SOURCE_LAST);
    else
        snprintf(ret_host, LAB_HOST_MAX, "127.0.0.1");
}

static char *net_path(const struct lab *lab, const char *name)
{
    return mem_printf("%s/net/%s", lab->dir, name);
}

enum status lab__network_make(const struct lab *lab, struct err *err)
{
    AUTO_FREE char *folder = lab__path(lab, "net"), *map = net_path(lab, WAN_MAP);
    const struct lab_network *network = &lab->network;
    struct wan_way way = {.delay_us = (uint32_t)network->rtt_ms * 1000 / 2,
                          .jitter_us = (uint32_t)network->jitter_ms * 1000,
                          .loss_ppm = (uint32_t)network->loss_ppm,
                          .kbit_s = (uint32_t)network->mbit_s * 1000};
    enum status status = folder_make(folder, FOLDER_MODE, err);
    return status ? status : wan_map_make(map, &way, err);
}

/* --- Can there be one? --------------------------------------------------------------------------
 * A process of its own tries: whoever has entered a namespace does not get out of it. */

enum status lab_join_try(struct err *err)
{
    struct wan_plan plan = {0};
    for (size_t i = 0; i < WAN_SITES; i++)
        plan.sites[i] = (struct wan_site){lab_region_name(i), second(i), 0};
    return wan_try(&plan, err);
}

/* What it prints is why not. */
static enum status try_namespaces(struct err *err)
{
    AUTO_FREE char *self = NULL, *nsenter = program_find("nsenter");
    AUTO(capture_release) struct capture capture = {0};
    enum status status = program_self(&self, err);
    const char *argv[] = {self, "lab", "join", "--try", NULL};
    struct capture_job job = {.argv = argv,
                              .input = "",
                              .output_cap = TRY_OUTPUT_MAX,
                              .deadline = clock_deadline(TRY_MS),
                              .grace_ms = TRY_MS};
    if (!nsenter)
        return err_set(err, ST_NOT_FOUND, "nsenter(1) is not installed");
    status = status ? status : capture_run(&job, &capture, err);
    if (status || (capture.exit_status == 0 && capture.output.length == 0))
        return status;
    const char *why = buf_text(&capture.output);
    return err_set(err, ST_IO, "%.*s", (int)strcspn(why, "\n"), why[0] ? why : "the trial died");
}

void lab__network_choose(struct lab_shape *shape, const struct lab_progress *progress)
{
    struct err why = ERR_INIT;
    if (!shape->network.is_netns || !shape->may_be_loopback || try_namespaces(&why) == ST_OK)
        return;
    shape->network = (struct lab_network){0};
    lab__say(progress, "network   loopback, no region can be unplugged: netns is not to be had: %s",
             why.text);
}

/* --- Being the network --------------------------------------------------------------------------
 */

/* When the network is started again, its sites are where their programs still are. */
static pid_t find_inhabitant(const struct lab *lab, size_t region)
{
    for (size_t i = 0; i < lab->server_count; i++)
        if (lab->servers[i].region == region && process_is_alive(&lab->servers[i].process))
            return lab->servers[i].process.pid;
    for (size_t i = 0; i < lab->daemon_count; i++)
        if (lab->daemons[i].region == region && process_is_alive(&lab->daemons[i].process))
            return lab->daemons[i].process.pid;
    return 0;
}

static struct wan_door *list_doors(const struct lab *lab, size_t *ret_count)
{
    size_t count = 0;
    struct wan_door *doors = mem_zalloc((lab->server_count + lab->daemon_count) * sizeof(*doors));
    for (size_t i = 0; i < lab->server_count; i++)
        doors[count++] = (struct wan_door){lab->servers[i].host, lab->servers[i].region};
    for (size_t i = 0; i < lab->daemon_count; i++)
        if (lab->daemons[i].host[0])
            doors[count++] = (struct wan_door){lab->daemons[i].host, lab->daemons[i].region};
    *ret_count = count;
    return doors;
}

static enum status refuse_loopback(const struct lab *lab, struct err *err)
{
    if (lab->network.is_netns)
        return ST_OK;
    err_set(err, ST_INVALID, "all of the lab in %s is on one network, the loopback", lab->dir);
    return err_hint(err, "a lab with a network to cut: holdfast lab up --network netns");
}

enum status lab_join(const char *dir, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    enum status status = lab_open(dir, &lab, err);
    status = status ? status : refuse_loopback(lab, err);
    if (status)
        return status;
    AUTO_FREE char *folder = lab__path(lab, "net");
    struct wan_plan plan = {.port = lab->port, .folder = folder};
    AUTO_FREE struct wan_door *doors = list_doors(lab, &plan.door_count);
    plan.doors = doors;
    for (size_t i = 0; i < WAN_SITES; i++)
        plan.sites[i] = (struct wan_site){lab_region_name(i), second(i), find_inhabitant(lab, i)};
    return wan_run(&plan, err);
}

bool lab__wan_is_up(const struct lab *lab, const struct lab_daemon *wan)
{
    AUTO_FREE char *path = net_path(lab, lab_region_name(LAB_SITES - 1));
    AUTO_FREE char *ours = mem_printf("/proc/%d/", (int)wan->process.pid);
    char target[LINK_MAX_BYTES] = "";
    return readlink(path, target, sizeof(target) - 1) > 0 &&
           strncmp(target, ours, strlen(ours)) == 0 && process_is_alive(&wan->process);
}

/* --- Starting programs inside ------------------------------------------------------------------
 */

static size_t word_count(const char *const *words)
{
    size_t count = 0;
    while (words[count])
        count++;
    return count;
}

static enum status spawn_inside(const struct lab *lab, size_t region,
                                const struct process_spec *spec, struct process *ret,
                                struct err *err)
{
    AUTO_FREE char *net = net_path(lab, lab_region_name(region));
    AUTO_FREE char *user = net_path(lab, WAN_USER);
    AUTO_FREE char *net_option = mem_printf("--net=%s", net);
    AUTO_FREE char *user_option = mem_printf("--user=%s", user);
    size_t own = word_count(spec->argv), count = 0;
    AUTO_FREE const char **argv = mem_zalloc((own + OPTIONS + 1) * sizeof(*argv));
    argv[count++] = "nsenter";
    argv[count++] = net_option;
    if (access(user, F_OK) == 0) {
        argv[count++] = user_option;
        argv[count++] = "--preserve-credentials";
    }
    for (size_t i = 0; i < own; i++)
        argv[count + i] = spec->argv[i];
    struct process_spec inside = *spec;
    inside.argv = argv;
    return process_spawn(&inside, ret, err);
}

enum status lab__spawn(const struct lab *lab, size_t region, const struct process_spec *spec,
                       struct process *ret, struct err *err)
{
    if (!lab->network.is_netns || region >= LAB_SITES)
        return process_spawn(spec, ret, err);
    if (lab__wan_is_up(lab, &lab->daemons[0]))
        return spawn_inside(lab, region, spec, ret, err);
    err_set(err, ST_CONFLICT, "the network of the lab is down");
    return err_hint(err, "holdfast lab restart wan");
}

/* --- Cuts ---------------------------------------------------------------------------------------
 */

static enum status open_map(const struct lab *lab, struct wan_map **ret, struct err *err)
{
    AUTO_FREE char *path = net_path(lab, WAN_MAP);
    enum status status = refuse_loopback(lab, err);
    return status ? status : wan_map_open(path, ret, err);
}

static void set_cuts(struct wan_map *map, size_t from, size_t to, bool is_cut)
{
    for (size_t other = 0; other < LAB_SITES; other++) {
        if (other == from || (to < LAB_SITES && other != to))
            continue;
        map->ways[from][other].is_cut = is_cut;
        if (to == LAB_SITES)
            map->ways[other][from].is_cut = is_cut;
    }
}

enum status lab_cut(const struct lab *lab, size_t from, size_t to, bool is_cut, struct err *err)
{
    struct wan_map *map = NULL;
    if (from == to)
        return err_set(err, ST_INVALID, "there is no way from %s to itself", lab_region_name(from));
    enum status status = open_map(lab, &map, err);
    if (status)
        return status;
    set_cuts(map, from, to, is_cut);
    wan_map_close(map);
    return ST_OK;
}

void lab_cuts(const struct lab *lab, struct lab_cuts *ret)
{
    struct wan_map *map = NULL;
    *ret = (struct lab_cuts){0};
    if (open_map(lab, &map, NULL))
        return;
    for (size_t i = 0; i < LAB_SITES * LAB_SITES; i++)
        ret->is_cut[i / LAB_SITES][i % LAB_SITES] =
            map->ways[i / LAB_SITES][i % LAB_SITES].is_cut != 0;
    wan_map_close(map);
}

bool lab_is_unplugged(const struct lab_cuts *cuts, size_t site)
{
    for (size_t other = 0; other < LAB_SITES; other++)
        if (other != site && (!cuts->is_cut[site][other] || !cuts->is_cut[other][site]))
            return false;
    return true;
}
