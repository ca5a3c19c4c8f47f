/* SPDX-License-Identifier: Apache-2.0
 * One free port for all addresses of a lab. It is held on each address, by listening there, until
 * the server of that address is about to start: so another lab that comes up at the same moment
 * cannot choose it too, and a stranger has only these few milliseconds. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"

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

static bool hold_all(const struct lab *lab, int port, struct lab_ports *ports)
{
    for (size_t i = 0; i < lab->server_count; i++) {
        ports->fds[i] = hold(lab->servers[i].host, port);
        if (ports->fds[i] < 0) {
            int error = errno;
            for (size_t held = 0; held < i; held++)
                lab__ports_leave(ports, held);
            errno = error;
            return false;
        }
    }
    return true;
}

enum status lab__ports_take(struct lab *lab, int first, struct lab_ports *ret, struct err *err)
{
    struct lab_ports ports = {.count = lab->server_count};
    ports.fds = mem_zalloc(ports.count * sizeof(*ports.fds));
    memset(ports.fds, -1, ports.count * sizeof(*ports.fds));
    for (int port = first; port < first + PORT_TRIES; port++) {
        if (hold_all(lab, port, &ports)) {
            lab->port = port;
            *ret = ports;
            return ST_OK;
        }
        if (errno != EADDRINUSE)
            break;
    }
    int error = errno;
    lab__ports_release(&ports);
    if (error != EADDRINUSE)
        return err_set_errno(err, error, "listen on", lab->servers[0].host);
    return err_set(err, ST_BUSY, "no port from %d to %d is free on all addresses of the lab", first,
                   first + PORT_TRIES - 1);
}

void lab__ports_leave(struct lab_ports *ports, size_t index)
{
    if (ports->fds[index] >= 0)
        close(ports->fds[index]);
    ports->fds[index] = -1;
}

void lab__ports_release(struct lab_ports *ports)
{
    for (size_t i = 0; i < ports->count; i++)
        lab__ports_leave(ports, i);
    free(ports->fds);
    *ports = (struct lab_ports){0};
}
