/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent's side: until when each server of its host may be open, and what is known of it. Pure;
 * belongs to one thread. An agent closes, and never opens.
 *
 *   question: sent = now before it is sent; of each server what is seen, and 'closed'
 *   answer:   permit_holder_on_grant(), of exactly that question
 *   always:   wake up at permit_holder_due(); close what permit_holder_must_close()
 *   closing:  permit_holder_moment(); evict who has its lock; read_only=1, or SIGKILL; look;
 *             permit_holder_on_shut(); the same again when the version has grown
 *   looking:  found open: permit_holder_on_open()
 *   report:   closed when permit_holder_is_shut(), as of held->closed
 */
#ifndef HOLDFAST_PERMIT_HOLDER_H
#define HOLDFAST_PERMIT_HOLDER_H

#include "permit/permit.h"

struct permit_held {
    char *server;    /* owned */
    nsec until;      /* permission ends; INT64_MIN: there never was one */
    int64_t revoked; /* version of the newest grant that names it; 0: not revoked, it seems */
    int64_t given;   /* version of the newest grant that does not */
    bool is_shut;    /* closed, and nothing that was sent before can open it any more */
    int64_t closed;  /* the newest version that was known before it was seen so; 0: none */
};

struct permit_holder {
    struct permit_held *servers;
    size_t count;
    nsec fence_span; /* what closing may take at most */
    int64_t version; /* of the newest grant */
};

void permit_holder_init(struct permit_holder *holder, const char *const *servers, size_t count,
                        nsec fence_span);
void permit_holder_release(struct permit_holder *holder);
/* What an earlier process of this boot of the host wrote down of itself. */
void permit_holder_resume(struct permit_holder *holder, size_t index, nsec until, int64_t revoked);

/* The answer to a question that was sent at 'sent' or later. In any order, of any age, from any
 * conductor of the region. */
void permit_holder_on_grant(struct permit_holder *holder, nsec sent,
                            const struct permit_grant *grant);

/* The server must be closed now, or be closed again when it is found open. */
bool permit_holder_must_close(const struct permit_holder *holder, size_t index, nsec now);
/* When the next server that is not shut must begin to be closed: perhaps already; NSEC_NEVER. */
nsec permit_holder_due(const struct permit_holder *holder);

/* What is known before closing, or a look, begins. */
struct permit_moment {
    int64_t version;
    nsec until;
};
struct permit_moment permit_holder_moment(const struct permit_holder *holder, size_t index);
/* It was closed, by all that the head of this file says: nobody had its lock in the same moment, or
 * its process has ended. Void when it was permitted meanwhile. */
void permit_holder_on_shut(struct permit_holder *holder, size_t index, struct permit_moment moment);
/* A server that is found open must be closed. */
void permit_holder_on_open(struct permit_holder *holder, size_t index);
/* Shut, and never permitted since: only then does a report say closed. */
bool permit_holder_is_shut(const struct permit_holder *holder, size_t index);

/* May the agent give its supervisor a sign of life that lets the servers run for another
 * 'watchdog' without one? */
bool permit_holder_may_sign(const struct permit_holder *holder, nsec watchdog, nsec now);

#endif
