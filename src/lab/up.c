/* SPDX-License-Identifier: Apache-2.0
 * A lab from nothing to a serving fleet, and back to nothing: in the end, or when any step of
 * its start fails. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "net/ports.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
    PORT_FIRST = 23306,
    PORT_ATTEMPTS = 3,
    MIB = 1024 * 1024,
    SERVER_MIB = 32, /* data, logs and temporary files of a new server */
    ETCD_MIB = 130,  /* two files of 64 MB for the log of a member */
    FOLDER_MODE = 0700,
};

static void close_listing(DIR **listing)
{
    if (*listing)
        closedir(*listing);
}

/* Also empty when there is no such folder. */
static enum status look_into(const char *dir, bool *ret_is_empty, struct err *err)
{
    AUTO(close_listing) DIR *listing = opendir(dir);
    if (!listing && errno != ENOENT)
        return err_set_errno(err, errno, "look into", dir);
    bool is_empty = true;
    for (struct dirent *entry = NULL; listing && (entry = readdir(listing));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            is_empty = false;
    *ret_is_empty = is_empty;
    return ST_OK;
}

static bool is_empty(const char *dir)
{
    bool is = false;
    return look_into(dir, &is, NULL) == ST_OK && is;
}

/* --- Down ---------------------------------------------------------------------------------------
 */

/* What marks the folder as a lab goes last, so that an interrupted removal can be taken up. A
 * folder that cannot be removed but is empty is a mount point: nothing of us is left. */
static enum status remove_lab(const struct lab *lab, struct err *err)
{
    static const char *const big[] = {"servers", "template", "store", "etcd"};
    for (size_t i = 0; i < ARRAY_SIZE(big); i++) {
        AUTO_FREE char *path = lab__path(lab, big[i]);
        enum status status = folder_remove(path, err);
        if (status)
            return status;
    }
    enum status status = folder_remove(lab->dir, err);
    return status && is_empty(lab->dir) ? ST_OK : status;
}

enum status lab_down(const char *dir, size_t *ret_ended, struct err *err)
{
    AUTO_CLOSE int lock = -1;
    AUTO(lab_freep) struct lab *lab = NULL;
    enum status status = lab_open(dir, &lab, err);
    status = status ? status : lab__lock(dir, &lock, err);
    status = status ? status : lab__kill_all(lab, ret_ended, err);
    return status ? status : remove_lab(lab, err);
}

/* --- Up -----------------------------------------------------------------------------------------
 */

static enum status check_folder(const char *dir, struct err *err)
{
    if (lab__exists(dir)) {
        err_set(err, ST_EXISTS, "there is a lab in %s already", dir);
        return err_hint(err, "holdfast lab status; to be rid of it: holdfast lab down");
    }
    bool can_be_used = false;
    if (look_into(dir, &can_be_used, err) == ST_OK) {
        if (can_be_used)
            return ST_OK;
        err_set(err, ST_INVALID, "%s is not empty, and not a lab", dir);
    }
    return err_hint(err, "choose another folder: holdfast lab up --dir DIR");
}

static enum status check_space(const struct lab *lab, struct err *err)
{
    struct statvfs info;
    if (statvfs(lab->dir, &info))
        return err_set_errno(err, errno, "look at", lab->dir);
    uint64_t free_mib = (uint64_t)info.f_bavail * info.f_frsize / MIB;
    uint64_t need_mib = (lab->server_count + 1) * SERVER_MIB;
    need_mib += lab->has_daemons ? (LAB_REGIONS + 1) * ETCD_MIB : 0;
    if (free_mib >= need_mib)
        return ST_OK;
    err_set(err, ST_FULL, "a lab of %zu shard%s needs %zu MiB in %s, where %zu MiB are free",
            lab->shard_count, lab->shard_count == 1 ? "" : "s", (size_t)need_mib, lab->dir,
            (size_t)free_mib);
    return err_hint(err, "fewer shards, or another folder: holdfast lab up --shards N --dir DIR");
}

/* A lab that comes up. */
struct rise {
    struct lab *lab;
    const struct lab_progress *progress;
    struct lab_choice all;                  /* its servers */
    struct lab_choice daemons[LAB_WAN + 1]; /* by their kinds */
    struct ports ports;                     /* of servers, then of daemons: two each */
    struct lab_links links;
};

static void rise_init(struct rise *rise)
{
    struct lab *lab = rise->lab;
    for (size_t i = 0; i < lab->server_count; i++)
        VEC_PUSH(rise->all.servers, rise->all.count, rise->all.capacity, &lab->servers[i]);
    for (size_t i = 0; i < lab->daemon_count; i++) {
        struct lab_daemon *daemon = &lab->daemons[i];
        lab__choose_daemon(&rise->daemons[daemon->kind], daemon);
    }
}

static void rise_release(struct rise *rise)
{
    lab__links_release(&rise->links);
    ports_release(&rise->ports);
    lab_choice_release(&rise->all);
    for (size_t i = 0; i < ARRAY_SIZE(rise->daemons); i++)
        lab_choice_release(&rise->daemons[i]);
}

static enum status take_ports(struct rise *rise, int first, struct err *err)
{
    struct lab *lab = rise->lab;
    size_t count = lab->server_count + 2 * lab->daemon_count;
    AUTO_FREE const char **hosts = mem_zalloc(count * sizeof(*hosts));
    for (size_t i = 0; i < lab->server_count; i++)
        hosts[i] = lab->servers[i].host;
    for (size_t i = 0; i < lab->daemon_count; i++) {
        hosts[lab->server_count + 2 * i] = lab->daemons[i].host;
        hosts[lab->server_count + 2 * i + 1] = lab->daemons[i].peer_host;
    }
    ports_release(&rise->ports);
    enum status status = ports_take(hosts, count, first, &rise->ports, err);
    if (!status)
        lab->port = rise->ports.port;
    return status;
}

static enum status start_daemons(struct rise *rise, enum lab_kind kind, struct err *err)
{
    const struct lab_choice *choice = &rise->daemons[kind];
    for (size_t i = 0; i < choice->daemon_count; i++) {
        struct lab_daemon *daemon = choice->daemons[i];
        size_t place = rise->lab->server_count + 2 * (size_t)(daemon - rise->lab->daemons);
        ports_leave(&rise->ports, place);
        ports_leave(&rise->ports, place + 1);
        enum status status = lab__daemon_start(rise->lab, daemon, err);
        if (status)
            return status;
    }
    return lab__store(rise->lab, err);
}

static enum status wait_daemons(struct rise *rise, enum lab_kind kind, struct err *err)
{
    return lab__daemons_wait(rise->lab, &rise->daemons[kind], true, rise->progress, err);
}

/* Each server starts while the data of the next is copied: this paces them, too. */
static enum status start_servers(struct rise *rise, struct err *err)
{
    struct lab *lab = rise->lab;
    for (size_t i = 0; i < rise->all.count; i++) {
        enum status status = lab__stop_wanted(rise->progress, err);
        status = status ? status : lab__server_make(lab, rise->all.servers[i], err);
        if (status)
            return status;
        ports_leave(&rise->ports, i);
        status = lab__server_start(lab, rise->all.servers[i], err);
        if (status)
            return status;
    }
    return lab__store(lab, err);
}

/* It listens on the host's side of all addresses: from then on they are held by it. */
static enum status start_network(struct rise *rise, struct err *err)
{
    nsec start = clock_now();
    const struct lab *lab = rise->lab;
    if (!lab->network.is_netns)
        return ST_OK;
    for (size_t i = 0; i < rise->ports.count; i++)
        ports_leave(&rise->ports, i);
    enum status status = lab__network_make(lab, err);
    status = status ? status : lab__store(lab, err); /* the port, for it to read */
    status = status ? status : start_daemons(rise, LAB_WAN, err);
    status = status ? status : wait_daemons(rise, LAB_WAN, err);
    if (!status)
        lab__say(rise->progress,
                 "network   netns, each region can be unplugged, %d ms apart: %.1f s",
                 lab->network.rtt_ms, clock_ms(clock_now() - start) / 1000);
    return status;
}

/* One attempt with a port; ST_CONFLICT when a stranger took it in the last moment. etcd elects its
 * leader while the servers start. */
static enum status start_on_port(struct rise *rise, int first_port, struct err *err)
{
    enum status status = take_ports(rise, first_port, err);
    status = status ? status : start_network(rise, err);
    status = status ? status : start_daemons(rise, LAB_ETCD, err);
    status = status ? status : start_servers(rise, err);
    status = status
                 ? status
                 : lab__servers_connect(rise->lab, &rise->all, rise->progress, &rise->links, err);
    return status ? status : wait_daemons(rise, LAB_ETCD, err);
}

/* For another attempt. */
static enum status clean_up(const struct rise *rise, struct err *err)
{
    static const char *const names[] = {"servers", "etcd"};
    size_t ended = 0;
    enum status status = lab__kill_all(rise->lab, &ended, err);
    for (size_t i = 0; i < ARRAY_SIZE(names) && !status; i++) {
        AUTO_FREE char *path = lab__path(rise->lab, names[i]);
        status = folder_remove(path, err);
    }
    return status;
}

static enum status start_fleet(struct rise *rise, struct err *err)
{
    nsec start = clock_now();
    int first_port = PORT_FIRST;
    enum status status = ST_CONFLICT;
    for (int attempt = 0; attempt < PORT_ATTEMPTS && status == ST_CONFLICT; attempt++) {
        status = start_on_port(rise, first_port, err);
        if (status == ST_CONFLICT && attempt + 1 < PORT_ATTEMPTS) {
            lab__links_release(&rise->links);
            enum status cleaned = clean_up(rise, err);
            if (cleaned)
                return cleaned;
            first_port = rise->lab->port + 1;
        }
    }
    if (!status)
        lab__say(rise->progress, "servers   %zu accept connections, port %d%s: %.1f s",
                 rise->lab->server_count, rise->lab->port,
                 rise->lab->has_daemons ? "; etcd serves" : "",
                 clock_ms(clock_now() - start) / 1000);
    return status;
}

static enum status set_roles(struct rise *rise, struct err *err)
{
    nsec start = clock_now();
    const struct lab *lab = rise->lab;
    enum status status = lab__roles_set(lab, &rise->links, err);
    if (!status)
        lab__say(rise->progress, "roles     %zu %s, home %s: %.1f s", lab->shard_count,
                 lab->shard_count == 1 ? "shard" : "shards", lab_region_name(0),
                 clock_ms(clock_now() - start) / 1000);
    return status;
}

static enum status make_folders(const struct lab *lab, struct err *err)
{
    AUTO_FREE char *store = lab__path(lab, "store");
    AUTO_FREE char *template = lab__path(lab, "template");
    enum status status = lab->has_daemons ? ST_OK : folder_make(store, FOLDER_MODE, err);
    return status ? status : folder_remove(template, err);
}

/* Whichever region is lost, etcd goes on with the leader it has: that of the witness. Agents when
 * there are conductors that give permission: one that asks in vain closes its servers.
 */
static enum status start_watchers(struct rise *rise, struct err *err)
{
    nsec start = clock_now();
    if (!rise->lab->has_daemons)
        return ST_OK;
    enum status status = lab_leader_move(rise->lab, LAB_REGIONS, err);
    status = status ? status : start_daemons(rise, LAB_CONDUCTOR, err);
    status = status ? status : wait_daemons(rise, LAB_CONDUCTOR, err);
    status = status ? status : lab__serving_wait(rise->lab, rise->progress, err);
    status = status ? status : start_daemons(rise, LAB_KEEPER, err);
    status = status ? status : wait_daemons(rise, LAB_KEEPER, err);
    status = status ? status : lab__serving_wait(rise->lab, rise->progress, err);
    if (!status)
        lab__say(rise->progress, "daemons   %d conductors, %d agents: %.1f s",
                 LAB_REGIONS * LAB_REGION_CONDUCTORS, LAB_REGIONS * LAB_REGION_SERVERS,
                 clock_ms(clock_now() - start) / 1000);
    return status;
}

static enum status build(struct lab *lab, const struct lab_progress *progress, struct err *err)
{
    AUTO(rise_release) struct rise rise = {.lab = lab, .progress = progress};
    rise_init(&rise);
    enum status status = check_space(lab, err);
    status = status ? status : lab__passwords_make(lab, err);
    status = status ? status : lab__tokens_make(lab, err);
    status = status ? status : lab__certificates_make(lab, err);
    status = status ? status : lab__template_make(lab, progress, err);
    status = status ? status : start_fleet(&rise, err);
    status = status ? status : lab__stop_wanted(progress, err);
    status = status ? status : set_roles(&rise, err);
    status = status ? status : make_folders(lab, err);
    status = status ? status : lab__fleet_write(lab, err);
    return status ? status : start_watchers(&rise, err);
}

/* The failure that is reported stays the first one; a clean-up that fails is added to it. */
static enum status undo(const struct lab *lab, enum status cause, struct err *err)
{
    size_t ended = 0;
    struct err failure = ERR_INIT;
    enum status status = lab__kill_all(lab, &ended, &failure);
    status = status ? status : remove_lab(lab, &failure);
    if (status)
        err_hint(err, "something is left (%s): holdfast lab down --dir %s", failure.text, lab->dir);
    else
        err_wrap(err, "the lab did not start, and nothing is left of it");
    return cause;
}

enum status lab_up(const char *dir, const struct lab_shape *shape,
                   const struct lab_progress *progress, struct lab **ret, struct err *err)
{
    AUTO_CLOSE int lock = -1;
    AUTO(lab_freep) struct lab *lab = NULL;
    struct lab_shape chosen = *shape;
    struct err unused = ERR_INIT;
    err = err ? err : &unused;
    enum status status = check_folder(dir, err);
    if (status)
        return status;
    lab__network_choose(&chosen, progress);
    lab = lab__new(dir, &chosen);
    status = lab__find_mariadbd(&lab->mariadbd, err);
    status = status ? status : lab__daemons_find_programs(lab, err);
    status = status ? status : folder_make(dir, FOLDER_MODE, err);
    status = status ? status : lab__lock(dir, &lock, err);
    /* Again, now that nobody else can change it. */
    status = status ? status : check_folder(dir, err);
    if (status)
        return status;
    status = lab__store(lab, err);
    status = status ? status : build(lab, progress, err);
    if (status)
        return undo(lab, status, err);
    *ret = take_pointer(lab);
    return ST_OK;
}
