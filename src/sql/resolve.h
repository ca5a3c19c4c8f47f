/* SPDX-License-Identifier: Apache-2.0
 *
 * Host names to addresses, without making anybody wait: getaddrinfo() blocks for many seconds when
 * DNS is dead, and libmariadb would call it on the thread that drives all the other servers. Here
 * lookups run in threads of their own, and a wait for one is a descriptor, like a wait for a
 * server. One cache for the process; any thread may ask, a wait belongs to one thread.
 *
 * What is known of a name stands for a while: addresses for 5 s, a failure for 1 s. The last good
 * addresses are never forgotten: they are used when a later lookup fails or is slow.
 */
#ifndef HOLDFAST_SQL_RESOLVE_H
#define HOLDFAST_SQL_RESOLVE_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

enum { RESOLVE_ADDRESSES_MAX = 4, RESOLVE_ADDRESS_SIZE = 64, RESOLVE_WHY_SIZE = 64 };

/* Numeric addresses, to be tried in this order; or why there is none: "not within 200 ms". */
struct resolve_answer {
    size_t count;
    char addresses[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_SIZE];
    char why[RESOLVE_WHY_SIZE];
};

/* One wait for one name. It stays where it is until it is released; {0} waits for nothing. */
struct resolve {
    struct resolve_answer answer;
    int fd; /* while it waits: readable when resolve_finish() is due */
    nsec began;
    struct resolve_name *name; /* NULL when it does not wait */
    struct resolve *next;
};

/* True: answered, which numeric addresses are at once. False: wait for 'fd', until 'deadline' at
 * the latest (it is readable before that when addresses from an earlier lookup can be used). */
bool resolve_begin(struct resolve *wait, const char *host, nsec deadline);

/* Take what is known now as the answer. A lookup that has not ended failed for this caller and,
 * unless he was in a hurry, for those who ask in the next second; it goes on, and what it finds is
 * used from then on. */
void resolve_finish(struct resolve *wait);

/* Stop waiting; the answer stays. */
void resolve_release(struct resolve *wait);

/* What the cache stands on; tests put something else there. NULL: the real ones again. */
struct resolve_rules {
    void (*look_up)(const char *host, struct resolve_answer *ret); /* may block */
    nsec fresh, pause, patience;
};
void resolve__set_rules(const struct resolve_rules *rules);

#endif
