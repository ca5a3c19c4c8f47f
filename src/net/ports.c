/* SPDX-License-Identifier: Apache-2.0
 * Holding a port; see ports.h. */
#include "net/ports.h"

#include "base/mem.h"
#include "base/scope.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { PORT_TRIES = 1000 };

/* SO_REUSEADDR, like the server: connections of a former lab that fade away do not count. */
static int hold(const char *host, int port)
{
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1))
        return -1;
    return take_fd(&fd);
}

static bool hold_all(const char *const *hosts, struct ports *ports)
{
    for (size_t i = 0; i < ports->count; i++) {
        if (!hosts[i][0])
            continue;
        ports->fds[i] = hold(hosts[i], ports->port);
        if (ports->fds[i] >= 0)
            continue;
        int error = errno;
        for (size_t held = 0; held < i; held++)
            ports_leave(ports, held);
        errno = error;
        return false;
    }
    return true;
}

enum status ports_take(const char *const *hosts, size_t count, int first, struct ports *ret,
                       struct err *err)
{
    struct ports ports = {.count = count, .fds = mem_zalloc(count * sizeof(*ports.fds))};
    memset(ports.fds, -1, count * sizeof(*ports.fds));
    for (ports.port = first; ports.port < first + PORT_TRIES; ports.port++) {
        if (hold_all(hosts, &ports)) {
            *ret = ports;
            return ST_OK;
        }
        if (errno != EADDRINUSE)
            break;
    }
    int error = errno;
    ports_release(&ports);
    if (error != EADDRINUSE)
        return err_set_errno(err, error, "listen on", hosts[0]);
    return err_set(err, ST_BUSY, "no port from %d to %d is free on all %zu addresses", first,
                   first + PORT_TRIES - 1, count);
}

void ports_leave(struct ports *ports, size_t index)
{
    if (ports->fds[index] >= 0)
        close(ports->fds[index]);
    ports->fds[index] = -1;
}

void ports_release(struct ports *ports)
{
    for (size_t i = 0; i < ports->count; i++)
        ports_leave(ports, i);
    free(ports->fds);
    *ports = (struct ports){0};
}
