/* SPDX-License-Identifier: Apache-2.0
 * Making and removing trees of folders; see file.h. Removal works with folder descriptors, so that
 * nobody can lead it elsewhere by putting a symbolic link on the way. */
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status make_one(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) == 0)
        return ST_OK;
    int error = errno;
    struct stat info;
    if (error == EEXIST && stat(path, &info) == 0)
        error = S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
    return error ? err_set_errno(err, error, "make folder", path) : ST_OK;
}

enum status folder_make(const char *path, mode_t mode, struct err *err)
{
    AUTO_FREE char *partial = mem_strdup(path);
    for (char *at = partial + 1; partial[0] && (at = strchr(at, '/')); at++) {
        *at = '\0';
        enum status status = make_one(partial, mode, err);
        *at = '/';
        if (status)
            return status;
    }
    return make_one(path, mode, err);
}

static void close_listing(DIR **listing)
{
    if (*listing)
        closedir(*listing);
}

/* Nesting is bounded by the descriptors a process may have; deeper fails and says so. */
static int remove_at(int parent, const char *name) /* 0 or an errno: that of the first failure */
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    int refused = errno;
    if (refused != EISDIR && refused != EPERM)
        return refused;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOTDIR ? refused : errno;
    AUTO(close_listing) DIR *listing = fdopendir(fd);
    if (!listing) {
        close(fd);
        return ENOMEM;
    }
    int first = 0;
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int error = remove_at(fd, entry->d_name);
        first = first ? first : error;
    }
    if (first == 0 && unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT)
        first = errno;
    return first;
}

enum status folder_remove(const char *path, struct err *err)
{
    if (strspn(path, "/") == strlen(path))
        return err_set(err, ST_INVALID, "remove '%s': not a folder to remove", path);
    int error = remove_at(AT_FDCWD, path);
    return error ? err_set_errno(err, error, "remove", path) : ST_OK;
}
