/* SPDX-License-Identifier: Apache-2.0
 * A thread waits for its end, or for something to do. */
#ifndef HOLDFAST_MIRROR_BELL_H
#define HOLDFAST_MIRROR_BELL_H

#include "base/clock.h"

#include <stdbool.h>

struct daemon_bell {
    int fd;       /* readable once it has rung */
    int stirring; /* readable when somebody stirred it */
};
void daemon_bell_init(struct daemon_bell *bell);
void daemon_bell_release(struct daemon_bell *bell);
void daemon_bell_ring(struct daemon_bell *bell); /* for good */
bool daemon_bell_has_rung(const struct daemon_bell *bell);
/* The one who waits goes on at once, this time; any thread. */
void daemon_bell_stir(const struct daemon_bell *bell);
/* Until it rings, is stirred, or then. */
void daemon_bell_wait(const struct daemon_bell *bell, nsec deadline);

#endif
