/* SPDX-License-Identifier: Apache-2.0
 *
 * Permission to serve, as duration: words and spans that conductors, agents and openers share.
 * docs/permission.md has the rules and the argument why they are safe; tests/model/ checks them.
 *
 *   conductor  beats for its region and says for how long its hosts may serve   basis.h
 *   agent      closes the servers of its host when that is over                 holder.h
 *   opener     revokes a server before another one opens in its place           opening.h
 *
 * Times are points on the own boot clock, 'now' is a parameter; what travels is a span. Keys:
 *   permission      the term: how long permissions last, and how long openers wait
 *   regions/REGION  its beat
 *   granters/NAME   put with the beats of one process: granters.h
 *   fenced/REGION   while it exists, the region may not serve
 *   revoked/SERVER  while it exists, this server may not be open
 *   revoked         put with every change of these: its revision is the *version* of what is
 * revoked
 */
#ifndef HOLDFAST_PERMIT_PERMIT_H
#define HOLDFAST_PERMIT_PERMIT_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_list;

#define PERMIT_TERM_KEY "permission"
#define PERMIT_VERSION_KEY "revoked"
#define PERMIT_FENCED_PREFIX "fenced/"
#define PERMIT_REVOKED_PREFIX PERMIT_VERSION_KEY "/"
char *permit_region_key(const char *region); /* the caller frees, as of the next two */
char *permit_fenced_key(const char *region);
char *permit_revoked_key(const char *server);

/* ---- spans of a TTL ---- */
/* A permission ends this long before the TTL is over: clocks whose rates differ by up to 5 % from
 * the true one. */
nsec permit_margin(nsec ttl);
/* Conductors beat, agents ask, this often. */
nsec permit_interval(nsec ttl);
/* An agent begins to close this long before permission ends: what closing may take at most. */
nsec permit_fence_span(nsec ttl);

/* With rpo_guard: a server's permission ends at this moment, when all that is only in its region
 * was acknowledged after 'since' (exposure_since(); INT64_MIN: that is not known). INT64_MIN: it
 * has none. */
nsec permit_guard_end(nsec since, nsec rpo);

/* For so long after a look at the server's clock a statement may open it, when openers wait for
 * 'wait': what is left of that, its agent has to see an opening for which there is no permission,
 * or the supervisor to see that there is no agent, and to close it. */
nsec permit_guard_span(nsec wait);
/* So long after it is surely recorded an opening is over, whether it happened or not: its statement
 * counts for 'guard' at most, and then the server is closed again as above. Not less than the wait.
 */
nsec permit_settle_span(nsec wait, nsec guard);

/* ---- the term ---- */
struct permit_term {
    nsec ttl;         /* conductors grant by this one */
    nsec wait;        /* openers wait so long: at least any TTL that may still be relied on */
    int64_t revision; /* of the record; 0: not in the store */
};

/* Of the record's text, without its revision. */
MUST_CHECK enum status permit_term_decode(const char *text, struct permit_term *ret,
                                          struct err *err);
/* ST_NOT_FOUND: no conductor ever ran here, and no server is looked after. */
MUST_CHECK enum status permit_term_load(struct store *store, nsec deadline, struct permit_term *ret,
                                        struct err *err);
/* What the record should say next, for a fleet file that wants 'ttl'; false: it is right. 'since':
 * when this record was first seen. A shorter TTL makes openers wait less only when the older one is
 * surely over. Pure. */
bool permit_term_plan(const struct permit_term *term, nsec ttl, nsec since, nsec now,
                      struct permit_term *ret_next);
/* Write 'next' in the place of the record of revision next->revision. ST_CONFLICT: load again. */
MUST_CHECK enum status permit_term_write(struct store *store, const struct permit_term *next,
                                         nsec deadline, struct err *err);

/* ---- what is revoked ---- */
struct permit_revocation {
    char *server;     /* owned */
    int64_t revision; /* of the transaction that revoked it */
};

struct permit_list {
    struct permit_revocation *items; /* owned, by server */
    size_t count, capacity;
    int64_t version;  /* of what is revoked; 0: nothing ever was */
    int64_t revision; /* of the store when it was read; as old as it likes, but of one moment */
};

/* Of all that begins with PERMIT_VERSION_KEY. */
void permit_list_read(const struct store_list *entries, struct permit_list *ret);
/* Everything from one moment. */
MUST_CHECK enum status permit_list_load(struct store *store, nsec deadline, struct permit_list *ret,
                                        struct err *err);
void permit_list_add(struct permit_list *list, const char *server, int64_t revision); /* in order */
void permit_list_release(struct permit_list *list);
/* The revision of its revocation; 0: it is not revoked. */
int64_t permit_list_find(const struct permit_list *list, const char *server);

/* ---- what a conductor answers an agent ---- */
struct permit_more {
    const char *server;
    nsec span;
};

struct permit_grant {
    nsec span;                      /* from before the question was sent; 0: no permission */
    const struct permit_more *more; /* another span, for some of the servers */
    size_t more_count;
    int64_t version;            /* of what is revoked, as it is known to the conductor: */
    const char *const *revoked; /* of the servers that were asked for */
    size_t revoked_count;
};

#endif
