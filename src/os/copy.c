/* SPDX-License-Identifier: Apache-2.0
 * Copies of files and folders; see file.h. Where the file system can share blocks between files
 * (btrfs, xfs), a copy takes no space and no time. */
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_MODE = 0700, FILE_MODE = 0600 };

static enum status copy_bytes(int from, int to, off_t size, const char *path, struct err *err)
{
    if (size == 0 || ioctl(to, FICLONE, from) == 0)
        return ST_OK;
    while (size > 0) {
        ssize_t count = sendfile(to, from, NULL, (size_t)size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_set_errno(err, errno, "write", path);
        if (count == 0)
            return err_set(err, ST_IO, "copy to '%s': the original became shorter", path);
        size -= count;
    }
    return ST_OK;
}

static enum status copy_file(const char *from, const char *to, struct err *err)
{
    AUTO_CLOSE int source = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat info;
    if (source < 0 || fstat(source, &info))
        return err_set_errno(err, errno, "open", from);
    AUTO_CLOSE int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (target < 0)
        return err_set_errno(err, errno, "create", to);
    return copy_bytes(source, target, info.st_size, to, err);
}

enum status file_copy(const char *from, const char *to, struct err *err)
{
    struct stat info;
    enum status status = copy_file(from, to, err);
    if (status)
        return status;
    AUTO_CLOSE int fd = open(to, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || stat(from, &info))
        return err_set_errno(err, errno, "open", to);
    const struct timespec times[] = {info.st_atim, info.st_mtim};
    if (futimens(fd, times) || fsync(fd))
        return err_set_errno(err, errno, "sync", to);
    return ST_OK;
}

static void close_listing(DIR **listing)
{
    if (*listing)
        closedir(*listing);
}

enum status folder_copy(const char *from, const char *to, struct err *err)
{
    enum status status = folder_make(to, FOLDER_MODE, err);
    if (status)
        return status;
    AUTO(close_listing) DIR *listing = opendir(from);
    if (!listing)
        return err_set_errno(err, errno, "open", from);
    for (struct dirent *entry = readdir(listing); entry && !status; entry = readdir(listing)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        AUTO_FREE char *source = mem_printf("%s/%s", from, entry->d_name);
        AUTO_FREE char *target = mem_printf("%s/%s", to, entry->d_name);
        struct stat info;
        if (lstat(source, &info))
            return err_set_errno(err, errno, "read", source);
        if (S_ISDIR(info.st_mode))
            status = folder_copy(source, target, err);
        else if (S_ISREG(info.st_mode))
            status = copy_file(source, target, err);
    }
    return status;
}
