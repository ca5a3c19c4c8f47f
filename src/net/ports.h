/* SPDX-License-Identifier: Apache-2.0
 *
 * One free port for programs that are about to start, each on an address of its own. It is held on
 * each address, by listening there, until the program of that address takes it: so nobody else who
 * looks for one in the same way can choose it too, and a stranger has only these few milliseconds.
 */
#ifndef HOLDFAST_NET_PORTS_H
#define HOLDFAST_NET_PORTS_H

#include "base/err.h"

#include <stddef.h>

struct ports {
    int port;
    int *fds; /* one for each address; -1: left */
    size_t count;
};

/* The first port from 'first' on, of a thousand, that is free on all of the IPv4 addresses; "" is
 * none. ST_BUSY: there is no such port. */
MUST_CHECK enum status ports_take(const char *const *hosts, size_t count, int first,
                                  struct ports *ret, struct err *err);
void ports_leave(struct ports *ports, size_t index); /* again is fine */
void ports_release(struct ports *ports);

#endif
