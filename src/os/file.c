/* SPDX-License-Identifier: Apache-2.0
 * Files and folders; see file.h. */
#include "os/file.h"

#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status read_all(int fd, const char *path, size_t cap_bytes, struct buf *ret,
                            struct err *err)
{
    char chunk[16384];
    size_t total = 0;
    for (;;) {
        ssize_t count = read(fd, chunk, sizeof(chunk));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_set_errno(err, errno, "read", path);
        if (count == 0)
            return ST_OK;
        total += (size_t)count;
        if (total > cap_bytes)
            return err_set(err, ST_INVALID, "read '%s': larger than %zu bytes", path, cap_bytes);
        buf_add_bytes(ret, chunk, (size_t)count);
    }
}

enum status file_read(const char *path, size_t cap_bytes, struct buf *ret, struct err *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "open", path);
    size_t before = ret->length;
    enum status status = read_all(fd, path, cap_bytes, ret, err);
    if (status && ret->data) {
        ret->length = before;
        ret->data[before] = '\0';
    }
    return status;
}

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t count = write(fd, bytes, length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        bytes += count;
        length -= (size_t)count;
    }
    return 0;
}

/* The folder that holds 'path'; caller frees. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup(".");
    return slash == path ? mem_strdup("/") : mem_printf("%.*s", (int)(slash - path), path);
}

enum status folder_sync(const char *path, struct err *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "open", path);
    if (fsync(fd))
        return err_set_errno(err, errno, "sync", path);
    return ST_OK;
}

/* A rename is on the disk only when its folder is. */
static enum status sync_folder_of(const char *path, struct err *err)
{
    AUTO_FREE char *folder = folder_of(path);
    return folder_sync(folder, err);
}

enum status file_write(const char *path, const char *bytes, size_t length, mode_t mode,
                       struct err *err)
{
    AUTO_FREE char *beside = mem_printf("%s.new-XXXXXX", path);
    AUTO_CLOSE int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "create", beside);
    if (fchmod(fd, mode) || write_all(fd, bytes, length) || fsync(fd) || rename(beside, path)) {
        int error = errno;
        unlink(beside);
        return err_set_errno(err, error, "write", path);
    }
    return sync_folder_of(path, err);
}

enum status file_write_unsynced(const char *path, const char *bytes, size_t length, struct err *err)
{
    AUTO_FREE char *beside = mem_printf("%s.new-XXXXXX", path);
    AUTO_CLOSE int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "create", beside);
    if (write_all(fd, bytes, length) == 0 && rename(beside, path) == 0)
        return ST_OK;
    int error = errno;
    unlink(beside);
    return err_set_errno(err, error, "write", path);
}

enum status file_read_secret(const char *path, char **ret_secret, bool *ret_is_exposed,
                             struct err *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info))
        return err_set_errno(err, errno, "open", path);
    AUTO(buf_release) struct buf text = {0};
    enum status status = read_all(fd, path, FILE_SECRET_MAX_BYTES, &text, err);
    if (status)
        return status;
    if (text.length > 0 && text.data[text.length - 1] == '\n')
        text.data[--text.length] = '\0';
    if (text.length == 0) {
        err_set(err, ST_INVALID, "secret file '%s' is empty", path);
        return err ? err_hint(err, "write the secret into it, on one line") : ST_INVALID;
    }
    if (strlen(text.data) != text.length)
        return err_set(err, ST_INVALID, "secret file '%s' contains a NUL byte", path);
    *ret_is_exposed = (info.st_mode & (S_IRGRP | S_IROTH)) != 0;
    *ret_secret = buf_take(&text);
    return ST_OK;
}
