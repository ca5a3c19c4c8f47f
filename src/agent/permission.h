/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside agent/ only: the permission to serve as the agent holds it. Pure: 'now' is a parameter, on
 * the boot clock, which counts the time for which a machine was suspended.
 */
#ifndef HOLDFAST_AGENT_PERMISSION_H
#define HOLDFAST_AGENT_PERMISSION_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct permission {
    nsec ttl;
    nsec until;       /* from then on there is none; 0: there never was one */
    nsec trial_until; /* until then its absence means nothing yet: the agent has just begun */
    int64_t revision; /* the newest that was heard of */
};

/* 'carried' is the end of the permission that a predecessor had in this boot; 0: there was none, so
 * nobody looked after these servers, and a moment to ask comes first. */
void permission_begin(struct permission *permission, nsec ttl, nsec carried, nsec now);

/* An answer to a question that left after 'sent'. A later answer to an earlier question, or one
 * that grants less, takes nothing away; nobody can grant more than the rules do. */
void permission_grant(struct permission *permission, nsec sent, int64_t serve_ms);

/* Whether the revocations of this answer are as new as any: those of an older one say nothing. */
bool permission_is_news(struct permission *permission, int64_t revision);

/* All questions of the first round are answered, or nobody answers. */
void permission_end_trial(struct permission *permission);

/* Whether servers may serve at 'now'. */
bool permission_holds(const struct permission *permission, nsec now);

/* When it ends unless something is heard; in the past when it has ended. */
nsec permission_end(const struct permission *permission);

#endif
