/* SPDX-License-Identifier: Apache-2.0
 * See bell.h. */
#include "mirror/bell.h"
#include "base/invariant.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

void daemon_bell_init(struct daemon_bell *bell)
{
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bell->stirring = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    INVARIANT(bell->fd >= 0 && bell->stirring >= 0);
}

void daemon_bell_release(struct daemon_bell *bell)
{
    close(bell->fd);
    close(bell->stirring);
}

void daemon_bell_ring(struct daemon_bell *bell)
{
    INVARIANT(eventfd_write(bell->fd, 1) == 0);
}

bool daemon_bell_has_rung(const struct daemon_bell *bell)
{
    struct pollfd at = {bell->fd, POLLIN, 0};
    return poll(&at, 1, 0) > 0;
}

void daemon_bell_wait(const struct daemon_bell *bell, nsec deadline)
{
    struct pollfd at[] = {{bell->fd, POLLIN, 0}, {bell->stirring, POLLIN, 0}};
    eventfd_t stirred;
    int left;
    while ((left = clock_ms_left(deadline)) > 0 && poll(at, 2, left) <= 0)
        continue;
    while (eventfd_read(bell->stirring, &stirred) == 0)
        continue;
}

void daemon_bell_stir(const struct daemon_bell *bell)
{
    INVARIANT(eventfd_write(bell->stirring, 1) == 0);
}
