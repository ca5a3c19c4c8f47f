/* SPDX-License-Identifier: Apache-2.0
 *
 * The conductor's side: what it may grant, and what agents told it. Two facts, each of which only
 * grows: the newest list of revoked servers that was read, and the end of what the last beat
 * allows. A beat counts when the list is at least as new as the beat.
 *
 * No threads, no I/O but in permit_beat(): the owner locks around the others, never around that.
 */
#ifndef HOLDFAST_PERMIT_BASIS_H
#define HOLDFAST_PERMIT_BASIS_H

#include "permit/permit.h"

struct permit_basis {
    struct permit_list list;
    nsec until;            /* of what may be granted; INT64_MIN: nothing */
    nsec beat_until;       /* of a beat that waits for a list ... */
    int64_t beat_revision; /* ... of this revision; 0: none does */
};

/* A beat that is in the store. */
struct permit_beat {
    nsec sent, ttl;
    int64_t revision;
};

struct permit_beater {
    const char *region, *who; /* 'who', a conductor's name, is for people */
    const char *granter;      /* its own key: granters.h */
    struct permit_term term;  /* as it was loaded */
};

void permit_basis_init(struct permit_basis *basis);
void permit_basis_release(struct permit_basis *basis);

/* Beat once: ST_OK sets *ret_beat, and *ret_list to a list with which it counts. ST_DENIED: the
 * region is fenced. ST_CONFLICT: the term is another one; load it. Anything else changes nothing
 * here, but may be in the store. */
MUST_CHECK enum status permit_beat(struct store *store, const struct permit_beater *beater,
                                   nsec deadline, struct permit_beat *ret_beat,
                                   struct permit_list *ret_list, struct err *err);

void permit_basis_on_beat(struct permit_basis *basis, const struct permit_beat *beat);
/* Takes what the list owns. An older one than is known is dropped. */
void permit_basis_on_list(struct permit_basis *basis, struct permit_list *list);
void permit_basis_on_fence(struct permit_basis *basis); /* nothing more is granted */

/* What may be granted now, for every server of the region that permit_list_find() does not find in
 * basis->list; the answer names the others, and basis->list.version. 0: nothing. An agent of
 * another region must not be answered by it. */
nsec permit_basis_span(const struct permit_basis *basis, nsec now);

/* ---- what agents told ---- */
/* Of a server, by the agent of 'host'. */
struct permit_told {
    const char *server, *host;
    bool is_closed;  /* or dead; whoever had its lock before the look has lost it */
    bool is_granted; /* the answer gives it permission */
    int64_t version; /* the newest that the agent knew before it began to look */
};

struct permit_heard {
    char *server, *host; /* owned */
    bool is_closed;
    int64_t closed; /* confirms revocations up to this version; 0: none */
    nsec at;        /* when it was last heard of */
    nsec granted;   /* what was granted is over a wait after that; INT64_MIN: nothing ever was */
};

struct permit_ears {
    struct permit_heard *items; /* by server */
    size_t count, capacity;
};

void permit_ears_release(struct permit_ears *ears);
/* 'now' is not before the moment in which it was known what may be granted. */
void permit_ears_on_told(struct permit_ears *ears, const struct permit_told *told, nsec now);
/* NULL: no agent ever asked for it since this process began. */
const struct permit_heard *permit_ears_find(const struct permit_ears *ears, const char *server);

#endif
