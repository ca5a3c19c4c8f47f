/* SPDX-License-Identifier: Apache-2.0
 * Where programs are; see program.h. */
#include "os/program.h"

#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* The first folder of 'path' that has this program. */
static char *find_in(const char *path, const char *name)
{
    while (path && *path) {
        size_t length = strcspn(path, ":");
        AUTO_FREE char *candidate = mem_printf("%.*s/%s", (int)length, path, name);
        if (length > 0 && access(candidate, X_OK) == 0)
            return take_pointer(candidate);
        path += length + (path[length] == ':');
    }
    return NULL;
}

char *program_find(const char *name)
{
    char *found = find_in(getenv("PATH"), name);
    return found ? found : find_in("/usr/sbin:/usr/bin:/usr/local/sbin:/usr/libexec", name);
}

/* The kernel marks a file that was replaced, as an upgrade does it. */
enum status program_self(char **ret_path, struct err *err)
{
    static const char mark[] = " (deleted)";
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (length < 0)
        return err_set_errno(err, errno, "read", "/proc/self/exe");
    path[length] = '\0';
    char *end = path + length - (sizeof(mark) - 1);
    if (end > path && strcmp(end, mark) == 0)
        *end = '\0';
    *ret_path = mem_strdup(path);
    return ST_OK;
}
