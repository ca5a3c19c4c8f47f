/* SPDX-License-Identifier: Apache-2.0
 *
 * Scope lifetime: what a local owns is given back where its scope ends, on every path.
 *   AUTO_FREE char *text = ...;          free()
 *   AUTO_CLOSE int fd = ...;             close() when >= 0
 *   AUTO(buf_release) struct buf b = {0};  buf_release(&b)
 * Move a value out with take_pointer() or take_fd().
 */
#ifndef HOLDFAST_BASE_SCOPE_H
#define HOLDFAST_BASE_SCOPE_H

#include <stdlib.h>
#include <unistd.h>

static inline void scope_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

static inline void scope_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#define AUTO(release) __attribute__((cleanup(release)))
#define AUTO_FREE AUTO(scope_free)
#define AUTO_CLOSE AUTO(scope_close)

#define take_pointer(variable)                                                                     \
    __extension__({                                                                                \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    })

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define UNUSED __attribute__((unused))

#endif
