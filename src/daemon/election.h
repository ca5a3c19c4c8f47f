/* SPDX-License-Identifier: Apache-2.0
 *
 * Which conductor leads: the one whose lease the key "leader/conductor" hangs on. The key's
 * creation revision is the fencing token: whatever a leader writes compares it
 * (STORE_CREATE_REV_IS), so that one which was replaced without noticing changes nothing. A thread
 * of its own.
 */
#ifndef HOLDFAST_DAEMON_ELECTION_H
#define HOLDFAST_DAEMON_ELECTION_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct daemon_store;
struct election;

enum { ELECTION_TTL_MS = 3000, ELECTION_NAME_MAX = 65 };
#define ELECTION_KEY "leader/conductor"

struct election_state {
    bool is_leader;                 /* as far as we know; only the token proves it */
    int64_t token;                  /* 0: not the leader */
    char leader[ELECTION_NAME_MAX]; /* by name; "": none is known */
};

/* 'name' of the fleet file stands in the key. */
struct election *election_start(struct daemon_store *store, const char *name);
struct election_state election_get(struct election *election, nsec now);
void election_stop(struct election *election); /* gives the lead back; NULL is fine */

#endif
