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
    static const char *const big[] = {"servers", "template", "store"};
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
    if (free_mib >= need_mib)
        return ST_OK;
    err_set(err, ST_FULL, "a lab of %zu shard%s needs %zu MiB in %s, where %zu MiB are free",
            lab->shard_count, lab->shard_count == 1 ? "" : "s", (size_t)need_mib, lab->dir,
            (size_t)free_mib);
    return err_hint(err, "fewer shards, or another folder: holdfast lab up --shards N --dir DIR");
}

/* Each server starts while the data of the next is copied: this paces them, too. */
static enum status start_servers(struct lab *lab, const struct lab_choice *all, struct ports *ports,
                                 const struct lab_progress *progress, struct err *err)
{
    for (size_t i = 0; i < all->count; i++) {
        enum status status = lab__stop_wanted(progress, err);
        status = status ? status : lab__server_make(lab, all->servers[i], err);
        if (status)
            return status;
        ports_leave(ports, i);
        status = lab__server_start(lab, all->servers[i], err);
        if (status)
            return status;
    }
    return lab__store(lab, err);
}

static enum status take_ports(struct lab *lab, int first, struct ports *ret, struct err *err)
{
    AUTO_FREE const char **hosts = mem_zalloc(lab->server_count * sizeof(*hosts));
    for (size_t i = 0; i < lab->server_count; i++)
        hosts[i] = lab->servers[i].host;
    enum status status = ports_take(hosts, lab->server_count, first, ret, err);
    if (!status)
        lab->port = ret->port;
    return status;
}

/* One attempt with a port; ST_CONFLICT when a stranger took it in the last moment. */
static enum status start_on_port(struct lab *lab, const struct lab_choice *all, int first_port,
                                 const struct lab_progress *progress, struct lab_links *ret,
                                 struct err *err)
{
    AUTO(ports_release) struct ports ports = {0};
    enum status status = take_ports(lab, first_port, &ports, err);
    status = status ? status : start_servers(lab, all, &ports, progress, err);
    return status ? status : lab__servers_connect(lab, all, progress, ret, err);
}

static enum status start_fleet(struct lab *lab, const struct lab_choice *all,
                               const struct lab_progress *progress, struct lab_links *ret,
                               struct err *err)
{
    nsec start = clock_now();
    int first_port = PORT_FIRST;
    enum status status = ST_CONFLICT;
    for (int attempt = 0; attempt < PORT_ATTEMPTS && status == ST_CONFLICT; attempt++) {
        status = start_on_port(lab, all, first_port, progress, ret, err);
        if (status == ST_CONFLICT && attempt + 1 < PORT_ATTEMPTS) {
            AUTO_FREE char *servers = lab__path(lab, "servers");
            size_t ended = 0;
            enum status cleaned = lab__kill_all(lab, &ended, err);
            cleaned = cleaned ? cleaned : folder_remove(servers, err);
            if (cleaned)
                return cleaned;
            first_port = lab->port + 1;
        }
    }
    if (!status)
        lab__say(progress, "servers   %zu accept connections, port %d: %.1f s", lab->server_count,
                 lab->port, clock_ms(clock_now() - start) / 1000);
    return status;
}

static enum status set_roles(const struct lab *lab, struct lab_links *links,
                             const struct lab_progress *progress, struct err *err)
{
    nsec start = clock_now();
    enum status status = lab__roles_set(lab, links, err);
    if (!status)
        lab__say(progress, "roles     %zu %s, home %s: %.1f s", lab->shard_count,
                 lab->shard_count == 1 ? "shard" : "shards", lab_region_name(0),
                 clock_ms(clock_now() - start) / 1000);
    return status;
}

static enum status make_folders(const struct lab *lab, struct err *err)
{
    AUTO_FREE char *store = lab__path(lab, "store");
    AUTO_FREE char *template = lab__path(lab, "template");
    enum status status = folder_make(store, FOLDER_MODE, err);
    return status ? status : folder_remove(template, err);
}

static enum status build(struct lab *lab, const struct lab_progress *progress, struct err *err)
{
    AUTO(lab__links_release) struct lab_links links = {0};
    AUTO(lab_choice_release) struct lab_choice all = {0};
    for (size_t i = 0; i < lab->server_count; i++)
        VEC_PUSH(all.servers, all.count, all.capacity, &lab->servers[i]);
    enum status status = check_space(lab, err);
    status = status ? status : lab__passwords_make(lab, err);
    status = status ? status : lab__certificates_make(lab, err);
    status = status ? status : lab__template_make(lab, progress, err);
    status = status ? status : start_fleet(lab, &all, progress, &links, err);
    status = status ? status : lab__stop_wanted(progress, err);
    status = status ? status : set_roles(lab, &links, progress, err);
    status = status ? status : make_folders(lab, err);
    return status ? status : lab__fleet_write(lab, err);
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
    AUTO(lab_freep) struct lab *lab = lab__new(dir, shape);
    struct err unused = ERR_INIT;
    err = err ? err : &unused;
    enum status status = check_folder(dir, err);
    status = status ? status : lab__find_mariadbd(&lab->mariadbd, err);
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
