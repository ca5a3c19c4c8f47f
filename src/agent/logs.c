/* SPDX-License-Identifier: Apache-2.0
 * See logs.h. */
#include "agent/logs.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { INDEX_MAX = 4 * 1024 * 1024, FLAGS_AT = 21, FLAG_RELAY = 0x40, NS = 1000000000 };

static const char *const kind_names[] = {"binlog", "relay", "other"};

const char *log_kind_name(enum log_kind kind)
{
    return kind_names[kind];
}

enum log_kind log_kind_of(const unsigned char *head, size_t length)
{
    static const unsigned char magic[] = {0xfe, 'b', 'i', 'n'};
    if (length < sizeof(magic) || memcmp(head, magic, sizeof(magic)) != 0)
        return LOG_OTHER;
    return length > FLAGS_AT && head[FLAGS_AT] & FLAG_RELAY ? LOG_RELAY : LOG_BINARY;
}

void logs_release(struct logs *logs)
{
    for (size_t i = 0; i < logs->count; i++) {
        free(logs->files[i].path);
        free(logs->files[i].name);
    }
    free(logs->files);
    *logs = (struct logs){0};
}

/* ---- finding ---- */

static bool has_name(const struct logs *logs, const char *name)
{
    for (size_t i = 0; i < logs->count; i++)
        if (strcmp(logs->files[i].name, name) == 0)
            return true;
    return false;
}

/* A file that is there, and is what its place says: 'is_log' for what an index names. */
static enum status add_file(struct logs *logs, const char *path, bool is_log, struct err *err)
{
    struct stat info;
    unsigned char head[LOGS_HEAD_BYTES];
    const char *slash = strrchr(path, '/');
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        logs->missing++;
        return ST_OK;
    }
    if (fd < 0 || fstat(fd, &info))
        return err_set_errno(err, errno, "open", path);
    ssize_t length = S_ISREG(info.st_mode) ? read(fd, head, sizeof(head)) : 0;
    enum log_kind kind = log_kind_of(head, length > 0 ? (size_t)length : 0);
    if (!S_ISREG(info.st_mode) || (is_log && kind == LOG_OTHER && info.st_size > 0))
        return err_set(err, ST_INVALID, "'%s' is in an index of logs, and is no log", path);
    if (has_name(logs, slash ? slash + 1 : path))
        return err_set(err, ST_INVALID, "there are two logs called '%s'", slash ? slash + 1 : path);
    if (logs->count >= LOGS_MAX)
        return err_set(err, ST_INVALID, "more than %d logs", LOGS_MAX);
    struct log_file file = {.path = mem_strdup(path),
                            .name = mem_strdup(slash ? slash + 1 : path),
                            .kind = kind,
                            .size = info.st_size,
                            .modified_ns =
                                (int64_t)info.st_mtim.tv_sec * NS + info.st_mtim.tv_nsec};
    VEC_PUSH(logs->files, logs->count, logs->capacity, file);
    return ST_OK;
}

static enum status read_index(struct logs *logs, const char *data, const char *path,
                              struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    enum status status = file_read(path, INDEX_MAX, &text, err);
    char *rest = NULL;
    if (status || !text.length)
        return status;
    for (char *line = strtok_r(text.data, "\n", &rest); line && !status;
         line = strtok_r(NULL, "\n", &rest)) {
        line += strncmp(line, "./", 2) == 0 ? 2 : 0;
        AUTO_FREE char *file = line[0] == '/' ? mem_strdup(line) : mem_printf("%s/%s", data, line);
        status = add_file(logs, file, true, err);
    }
    return status;
}

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

static bool is_position(const char *name)
{
    return strncmp(name, "relay-log", strlen("relay-log")) == 0 && ends_in(name, ".info");
}

static void close_listing(DIR **listing)
{
    if (*listing)
        closedir(*listing);
}

static enum status find_in(struct logs *logs, const char *data, const char *folder, struct err *err)
{
    enum status status = ST_OK;
    AUTO(close_listing) DIR *listing = opendir(folder);
    if (!listing)
        return err_set_errno(err, errno, "open", folder);
    for (struct dirent *entry = readdir(listing); entry && !status; entry = readdir(listing)) {
        AUTO_FREE char *path = mem_printf("%s/%s", folder, entry->d_name);
        bool is_index = ends_in(entry->d_name, ".index");
        if (is_index || is_position(entry->d_name))
            status = add_file(logs, path, false, err);
        if (is_index && !status)
            status = read_index(logs, data, path, err);
    }
    return status;
}

enum status logs_find(const char *data, const char *const *folders, size_t folder_count,
                      struct logs *ret, struct err *err)
{
    AUTO(logs_release) struct logs logs = {0};
    enum status status = find_in(&logs, data, data, err);
    for (size_t i = 0; i < folder_count && !status; i++)
        status = find_in(&logs, data, folders[i], err);
    if (status)
        return status;
    *ret = logs;
    logs = (struct logs){0};
    return ST_OK;
}

/* ---- is it used? ---- */

/* A server locks these files as long as it runs, whoever started it and in whatever namespace. */
enum status logs_check_unused(const char *data, struct err *err)
{
    static const char *const locked[] = {"ibdata1", "aria_log_control"};
    for (size_t i = 0; i < ARRAY_SIZE(locked); i++) {
        AUTO_FREE char *path = mem_printf("%s/%s", data, locked[i]);
        AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || fcntl(fd, F_GETLK, &lock))
            return err_set_errno(err, errno, "open", path);
        if (lock.l_type == F_UNLCK)
            continue;
        err_set(err, ST_BUSY, "a server runs on '%s' (process %d)", data, (int)lock.l_pid);
        return err_hint(err, "its logs are kept before it is started: stop it first");
    }
    return ST_OK;
}
