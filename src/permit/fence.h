/* SPDX-License-Identifier: Apache-2.0
 *
 * Fencing a region: while 'fenced/REGION' exists its conductors' beats are refused, so that nobody
 * there gets permission. Whoever has seen its beats end may put it, with or without a run:
 *   watch the region's beats      pulse.h
 *   at permit_pulse_end()         permit_fence(): there was no beat since, and there will be none
 *   open elsewhere                opening.h: a run, which revokes each server and demands the fence
 *   the region is back            permit_unfence(), by a run
 * Nothing that the region's conductors granted counts once it is fenced.
 */
#ifndef HOLDFAST_PERMIT_FENCE_H
#define HOLDFAST_PERMIT_FENCE_H

#include "permit/permit.h"

enum { PERMIT_GONE_MAX = 8 };

/* A key that goes with the region, as whoever put it is lost with it: the run lock, perhaps. */
struct permit_gone {
    const char *key;
    int64_t revision; /* as it was read */
};

struct permit_fencing {
    const char *region;
    const char *own;          /* that of the fencer, which must not be fenced; NULL: of nobody */
    int64_t beat;             /* permit_pulse.revision; 0: there never was one */
    struct permit_term term;  /* by whose wait the end was found */
    const char *by, *reason;  /* for people */
    struct permit_gone *gone; /* deleted in the same transaction */
    size_t gone_count;        /* PERMIT_GONE_MAX at most */
};

/* Fence it. Call this at permit_pulse_end() or later.
 *   ST_OK        it is fenced, since *ret_revision
 *   ST_EXISTS    somebody else has fenced it, at *ret_revision; what should go was left alone
 *   ST_CONFLICT  it beats, the term or a key that should go has changed: look again
 *   ST_UNKNOWN   perhaps; call it again, or permit_fence_load()
 *   any other    surely not */
MUST_CHECK enum status permit_fence(struct store *store, const struct permit_fencing *fencing,
                                    nsec deadline, int64_t *ret_revision, struct err *err);

struct store_list;

struct permit_fence {
    char *region, *by, *reason; /* owned; "" where it does not say */
    int64_t wall_us, revision;
};
void permit_fence_release(struct permit_fence *fence);
/* ST_NOT_FOUND: it is not fenced. */
MUST_CHECK enum status permit_fence_load(struct store *store, const char *region, nsec deadline,
                                         struct permit_fence *ret, struct err *err);

struct permit_fences {
    struct permit_fence *items; /* owned, by region */
    size_t count;
    int64_t revision; /* of the store when it was read */
};
MUST_CHECK enum status permit_fences_load(struct store *store, nsec deadline,
                                          struct permit_fences *ret, struct err *err);
/* Of what stands below "fenced/". */
void permit_fences_read(const struct store_list *entries, struct permit_fences *ret);
void permit_fences_release(struct permit_fences *fences);
/* "region west is fenced since ..., by ...: why"; the caller frees. */
char *permit_fence_format(const struct permit_fence *fence);
char *permit_fences_format(const struct permit_fences *fences); /* all; NULL: there are none */
/* NULL: the region is not fenced. */
const struct permit_fence *permit_fences_find(const struct permit_fences *fences,
                                              const char *region);

/* Who may give a region back: the holder of a run. */
struct permit_unfencing {
    const char *lock_key; /* exists with creation revision 'token' while the run may act */
    int64_t token;
    const char *region;
    int64_t revision; /* of the fence */
    const char *by;   /* for people */
};

/* Take the fence away, in one transaction that changes the beat, too: whoever saw the region silent
 * before has to see that again, for a whole wait.
 * ST_OK: it is not fenced. ST_FENCED: another run took over. ST_CONFLICT: it is fenced by another
 * fence. ST_UNKNOWN: perhaps; call it again. Others: surely not. */
MUST_CHECK enum status permit_unfence(struct store *store, const struct permit_unfencing *order,
                                      nsec deadline, struct err *err);

#endif
