/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside agent/ only: what is to be done with a server that may not serve. Pure: what is known of
 * it and 'now' go in, the next deed comes out. First it is told to refuse writes, which lets the
 * commits that are under way end; if that does not come to its end in time, its process is killed.
 * Nothing else is ever done: semi-sync is not switched off and nobody who waits for an
 * acknowledgement is ended, because either would acknowledge what nobody else has.
 */
#ifndef HOLDFAST_AGENT_FENCE_H
#define HOLDFAST_AGENT_FENCE_H

#include "base/clock.h"

#include <stdbool.h>

enum deed { DEED_NONE, DEED_SHUT, DEED_KILL };

struct fence_view {
    bool is_allowed;  /* the permission holds, and the server is not revoked */
    nsec began;       /* when it was first seen not to be allowed; 0: it is */
    bool is_shut;     /* seen to refuse writes after that */
    bool is_shutting; /* it was told to, and has not answered */
    nsec retry_at;    /* it did not do so: when it is told again; 0: at once */
    bool has_process; /* its process is known, and alive */
    nsec killed_at;   /* 0: it was not */
    bool is_told_of;  /* a human was told that it cannot be closed */
};

/* How long it may take a server to refuse writes before it is killed: no longer than what is left
 * of the permission when closing begins, permit_fence_span(). */
nsec fence_bound(nsec ttl);

enum deed fence_plan(const struct fence_view *view, nsec ttl, nsec now);
/* When the plan has to be asked again although nothing is heard. */
nsec fence_next(const struct fence_view *view, nsec ttl, nsec now);
/* When a human must be told that it is not closed, unless it has ended; NSEC_NEVER. */
nsec fence_alarm(const struct fence_view *view);

#endif
