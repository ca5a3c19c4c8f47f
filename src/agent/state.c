/* SPDX-License-Identifier: Apache-2.0
 * The agent's folder: until when its permission goes (for a successor in the same boot), which
 * processes its servers are (to kill one that hangs when the agent begins), and what each server
 * had received (for whoever has to tell what was lost). One file each, replaced as a whole. */
#include "agent/internal.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

enum { FILE_MAX = 4096, FILE_MODE = 0600, PERMISSION_MAX = 1024 * 1024 };

/* A server's name is "host:port" or "[v6]:port": nothing in it can leave the folder. */
static char *path_of(const char *folder, const char *kind, const char *server)
{
    return mem_printf("%s/%s-%s", folder, kind, server);
}

static char *permission_path(const char *folder)
{
    return mem_printf("%s/permission", folder);
}

static bool read_boot(char ret[static PROCESS_BOOT_MAX])
{
    struct process self = {0};
    if (process_identify(getpid(), &self, NULL))
        return false;
    memcpy(ret, self.boot, PROCESS_BOOT_MAX);
    return true;
}

/* One line of the file: until when a server may serve, and at which version it was revoked. */
static void load_line(const char *line, struct permit_holder *holder)
{
    int64_t until = 0, revoked = 0;
    int used = 0;
    if (sscanf(line, "%" SCNd64 " %" SCNd64 " %n", &until, &revoked, &used) != 2 || used == 0)
        return;
    for (size_t i = 0; i < holder->count; i++)
        if (strcmp(holder->servers[i].server, line + used) == 0)
            permit_holder_resume(holder, i, until, revoked);
}

bool state_load_permission(const char *folder, struct permit_holder *holder)
{
    AUTO_FREE char *path = permission_path(folder);
    AUTO(buf_release) struct buf text = {0};
    char boot[PROCESS_BOOT_MAX] = "", *rest = NULL;
    if (!read_boot(boot) || file_read(path, PERMISSION_MAX, &text, NULL) || !text.length)
        return false;
    const char *line = strtok_r(text.data, "\n", &rest);
    if (!line || strcmp(line, boot) != 0)
        return false;
    while ((line = strtok_r(NULL, "\n", &rest)))
        load_line(line, holder);
    return true;
}

char *state_write_permission(const struct permit_holder *holder)
{
    struct buf text = {0};
    char boot[PROCESS_BOOT_MAX] = "";
    read_boot(boot);
    buf_printf(&text, "%s\n", boot);
    for (size_t i = 0; i < holder->count; i++)
        buf_printf(&text, "%" PRId64 " %" PRId64 " %s\n", holder->servers[i].until,
                   holder->servers[i].revoked, holder->servers[i].server);
    return buf_take(&text);
}

void state_keep_permission(const char *folder, const char *text)
{
    AUTO_FREE char *path = permission_path(folder);
    status_ignore(file_write_unsynced(path, text, strlen(text), NULL),
                  "without it a successor fences sooner");
}

void state_forget_permission(const char *folder)
{
    AUTO_FREE char *path = permission_path(folder);
    unlink(path);
}

bool state_load_process(const char *folder, const char *server, struct process *ret)
{
    AUTO_FREE char *path = path_of(folder, "process", server);
    AUTO(buf_release) struct buf text = {0};
    if (file_read(path, FILE_MAX, &text, NULL))
        return false;
    if (text.length)
        text.data[strcspn(text.data, "\n")] = '\0';
    return !process_parse(buf_text(&text), ret, NULL) && process_is_alive(ret);
}

void state_keep_process(const char *folder, const char *server, const struct process *process)
{
    AUTO_FREE char *path = path_of(folder, "process", server);
    char identity[PROCESS_TEXT_MAX];
    process_format(process, identity);
    AUTO_FREE char *text = mem_printf("%s\n", identity);
    status_ignore(file_write_unsynced(path, text, strlen(text), NULL),
                  "only a successor that meets a hanging server misses it");
}

char *state_positions_path(const char *folder, const char *server)
{
    return path_of(folder, "positions", server);
}

enum status state_keep_positions(const char *folder, const char *server, const char *json,
                                 struct err *err)
{
    AUTO_FREE char *path = state_positions_path(folder, server);
    return file_write(path, json, strlen(json), FILE_MODE, err);
}

enum status state_lock(const char *folder, int *ret_fd, struct err *err)
{
    AUTO_FREE char *path = mem_printf("%s/lock", folder);
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return err_set_errno(err, errno, "open", path);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        err_set(err, ST_BUSY, "another agent looks after this host: it holds '%s'", path);
        return err_hint(err, "one agent a host; stop the other one first");
    }
    *ret_fd = take_fd(&fd);
    return ST_OK;
}
