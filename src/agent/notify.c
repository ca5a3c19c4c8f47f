/* SPDX-License-Identifier: Apache-2.0
 * What systemd hears: one datagram to $NOTIFY_SOCKET. Not worth a library. */
#include "agent/internal.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void notify_send(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || !path[0] || strlen(path) >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, path, strlen(path));
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0'; /* of the abstract kind */
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, length);
}

nsec notify_watchdog(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    long long us = text ? strtoll(text, NULL, 10) : 0;
    return us > 0 ? us * 1000 : 0;
}
