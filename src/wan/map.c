/* SPDX-License-Identifier: Apache-2.0
 * The map is plain numbers in a file that processes share as memory: a change needs no messages,
 * and outlives all of them. Only 'is_cut' changes. */
#include "wan/wan.h"

#include "base/scope.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum status wan_map_make(const char *path, const struct wan_way *all, struct err *err)
{
    struct wan_map map;
    for (size_t i = 0; i < WAN_SITES * WAN_SITES; i++)
        map.ways[i / WAN_SITES][i % WAN_SITES] = *all;
    return file_write_unsynced(path, (const char *)&map, sizeof(map), err);
}

enum status wan_map_open(const char *path, struct wan_map **ret, struct err *err)
{
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info))
        return err_set_errno(err, errno, "open", path);
    if (info.st_size != sizeof(struct wan_map))
        return err_set(err, ST_INVALID, "%s is not the map of a network", path);
    void *map = mmap(NULL, sizeof(struct wan_map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_set_errno(err, errno, "map", path);
    *ret = map;
    return ST_OK;
}

void wan_map_close(struct wan_map *map)
{
    if (map)
        munmap(map, sizeof(*map));
}
