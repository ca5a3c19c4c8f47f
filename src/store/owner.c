/* SPDX-License-Identifier: Apache-2.0
 *
 * Who granted a lease, and whether that process still exists: pid, start time and boot id, from
 * /proc. Decides only with certainty: what cannot be seen (another pid namespace, a hidden /proc)
 * counts as alive, and the lease's time decides.
 */
#include "store/local.h"

#include "base/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static const char boot_id_path[] = "/proc/sys/kernel/random/boot_id";

static ssize_t read_small(const char *path, char *text, size_t capacity)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, capacity - 1);
    if (length >= 0)
        text[length] = '\0';
    return length;
}

/* Start time of 'pid', and whether it has ended and only waits to be reaped. False: unreadable. */
static bool load_start(int64_t pid, int64_t *ret_start, bool *ret_ended)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    if (read_small(path, text, sizeof(text)) <= 0)
        return false;
    const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (!rest || rest[1] != ' ')
        return false;
    *ret_ended = rest[2] == 'Z' || rest[2] == 'X';
    rest += 2;
    for (int field = 3; field < 22; field++) {
        rest = strchr(rest, ' ');
        if (!rest)
            return false;
        rest++;
    }
    *ret_start = strtoll(rest, NULL, 10);
    return true;
}

enum status owner_load(struct owner *ret_self, char ret_boot_id[static LOCAL_BOOT_ID_MAX],
                       struct err *err)
{
    ssize_t length = read_small(boot_id_path, ret_boot_id, LOCAL_BOOT_ID_MAX);
    if (length <= 0)
        return err_set_errno(err, length ? errno : ENODATA, "read", boot_id_path);
    ret_boot_id[strcspn(ret_boot_id, "\n")] = '\0';
    struct owner self = {.pid = getpid()};
    bool ended = false;
    struct stat space;
    if (!load_start(self.pid, &self.start, &ended) || stat("/proc/self/ns/pid", &space))
        return err_set_errno(err, errno, "read", "/proc/self");
    self.space = (int64_t)space.st_ino;
    *ret_self = self;
    return ST_OK;
}

static bool owner_is_gone(const struct owner *owner, const struct owner *self)
{
    if (owner->space != self->space)
        return false;
    if (owner->pid == self->pid)
        return owner->start != self->start;
    if (kill((pid_t)owner->pid, 0) && errno == ESRCH)
        return true;
    int64_t start = 0;
    bool ended = false;
    return load_start(owner->pid, &start, &ended) && (ended || start != owner->start);
}

bool owner_lease_is_live(const struct local_store *local, sqlite3_stmt *row, int column, nsec now)
{
    if (sqlite3_column_type(row, column) == SQLITE_NULL) /* already swept */
        return false;
    if (sqlite3_column_int64(row, column + 1) <= now)
        return false;
    const char *boot_id = (const char *)sqlite3_column_text(row, column + 2);
    if (!boot_id || strcmp(boot_id, local->boot_id) != 0)
        return false;
    struct owner owner = {sqlite3_column_int64(row, column + 3),
                          sqlite3_column_int64(row, column + 4),
                          sqlite3_column_int64(row, column + 5)};
    return !owner_is_gone(&owner, &local->self);
}
