/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that hangs, by LD_PRELOAD: fsync() and fdatasync() of files below the folder $HANG_BELOW
 * do not return while the file $HANG_WHILE exists. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOK_US = 5000 };

int fsync(int fd);
int fdatasync(int fd);

static int is_below(int fd, const char *folder)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path));
    size_t wanted = folder ? strlen(folder) : 0;
    return wanted > 0 && length > (ssize_t)wanted && memcmp(path, folder, wanted) == 0;
}

static void hang(int fd)
{
    const char *flag = getenv("HANG_WHILE");
    if (flag && is_below(fd, getenv("HANG_BELOW")))
        while (access(flag, F_OK) == 0)
            usleep(LOOK_US);
}

int fsync(int fd)
{
    hang(fd);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    hang(fd);
    return (int)syscall(SYS_fdatasync, fd);
}
