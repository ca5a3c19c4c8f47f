/* SPDX-License-Identifier: Apache-2.0
 * What a conductor does by itself: a run, carried out on the caller's thread. */
#ifndef HOLDFAST_DAEMON_DEED_H
#define HOLDFAST_DAEMON_DEED_H

#include "conductor/switchover.h"

struct daemon;
struct store;

/* Somebody paused whatever acts by itself, or that is not to be known. The mirror may be a moment
 * behind; this looks at the order itself. */
bool deed_is_forbidden(struct store *store);
/* 'seen' is of its shards, of a moment ago; NULL: they are looked at first, for 'glance'. What came
 * of it is in the report; the run stays the caller's. */
void deed_carry_out(struct daemon *daemon, struct run *run, const struct fleet_observation *seen,
                    nsec glance, struct switchover_report *ret);
/* A run that yielded to another one, which is over: bring what it left to one side. One that can
 * not be brought there, because servers are away, is set aside again: nobody waits for it. */
MUST_CHECK enum status deed_end_aside(struct daemon *daemon, const char *id, nsec glance,
                                      struct err *err);
/* Forget the oldest runs, when there are more than are kept. */
void deed_trim(const struct daemon *daemon);

#endif
