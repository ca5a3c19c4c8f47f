/* SPDX-License-Identifier: Apache-2.0
 *
 * The opener's side: what a run writes beside its route, and how long it waits. A part holds the
 * compares and writes that a transaction of the run carries beside those of its route:
 *   (a) revoke every server that may be open    permit_part_revoke(), one for each
 *       of a region that is fenced              permit_part_keep_fence(), too
 *   (b) wait                                    permit_end_of()
 *   (c) open another one                        permit_part_open()
 *   7.  it is back as a replica                 permit_part_return()
 *   the primary itself opens again              permit_claim()
 * permit_write() does such a transaction; callers that write routes themselves may append the
 * parts to their own.
 */
#ifndef HOLDFAST_PERMIT_OPENING_H
#define HOLDFAST_PERMIT_OPENING_H

#include "base/table.h"
#include "permit/permit.h"
#include "store/store.h"

struct permit_heard;

enum { PERMIT_PART_MAX = 24 }; /* compares, and writes, of one part */

struct permit_part {
    struct store_compare compares[PERMIT_PART_MAX];
    struct store_op ops[PERMIT_PART_MAX];
    size_t compare_count, op_count;
    char *texts[2 * PERMIT_PART_MAX]; /* owned: keys and values */
    size_t text_count;
};

/* Revoke a server. 'note', for people, is text such as JSON. The transaction demands that the term
 * is still the one whose wait will be kept. */
void permit_part_revoke(struct permit_part *part, const struct permit_term *term,
                        const char *server, const char *note);
/* Demand that the server is not revoked, nor its region fenced. */
void permit_part_open(struct permit_part *part, const char *server, const char *region);
/* Demand that the term is still this one: whoever revokes it afterwards waits for term->wait. */
void permit_part_keep_term(struct permit_part *part, const struct permit_term *term);
/* Demand that the region is fenced since this revision (fence.h): see struct permit_wait. */
void permit_part_keep_fence(struct permit_part *part, const char *region, int64_t revision);
/* Take the revocation of this revision back: under the server's lock it was seen to be closed. */
void permit_part_return(struct permit_part *part, const char *server, int64_t revision);
void permit_part_release(struct permit_part *part);

/* The route beside which a part is written, and the right to write it. */
struct permit_route {
    const char *lock_key; /* exists with creation revision 'token' while the run may act */
    int64_t token;
    const char *key, *value;
    int64_t revision; /* as it was read; 0: absent */
};

/* ST_OK: it is in the store, at *ret_revision; a clock read now is late enough to wait from.
 * ST_FENCED: another run took over. ST_CONFLICT: something else changed; read again. ST_UNKNOWN:
 * not even known after asking until the deadline; read again, later. Others: surely not. */
MUST_CHECK enum status permit_write(struct store *store, const struct permit_route *route,
                                    const struct permit_part *part, nsec deadline,
                                    int64_t *ret_revision, struct err *err);

/* The same once, with a route that stays as it is: the demands of the part hold after this was
 * called, or it is not ST_OK. An unknown outcome is not looked into, as nothing shows whose it is.
 */
MUST_CHECK enum status permit_claim(struct store *store, const struct permit_route *route,
                                    const struct permit_part *part, nsec deadline, struct err *err);

/* What an opener knows of a server that it revoked. */
struct permit_wait {
    struct permit_term term; /* that the revocation compared */
    int64_t revision;        /* of the revocation; 0: there is none yet */
    nsec since;              /* it was known to be in the store */
    nsec settled;            /* the route was seen with the revision that the revocation compared */
    /* Its region is fenced by this one: the revocation demanded it (permit_part_keep_fence()), or
     * it was in a list of fences as of the revocation's revision or later. 0: none. */
    int64_t fence;
    /* Of the longest guard that a statement may have that is on its way to open the server. 0: none
     * is longer than permit_guard_span(). */
    nsec guard;
};

/* What others told of it. */
struct permit_rumour {
    const struct permit_heard *heard; /* by its agent; NULL: nothing */
    /* Every granter that was in the store at the revocation or later (granters.h) has said that it
     * knew of the revocation, and when it granted the last time. With wait->fence those may be left
     * out that beat for the fenced region: permit_granters_leave_out(). */
    bool is_last_grant_known;
    nsec last_grant; /* or later; INT64_MIN: there was none */
};

/* X(id, text): how its permission ended, so that another server may be opened in its place. */
#define PERMIT_END_TABLE(X)                                                                        \
    X(PERMIT_LASTS, "it may still serve")                                                          \
    X(PERMIT_CLOSED, "its agent closed it")                                                        \
    X(PERMIT_LAST_GRANT_OVER, "all that it was granted is over")                                   \
    X(PERMIT_REGION_FENCED, "its region is fenced, and nobody else granted it anything")           \
    X(PERMIT_TTL_OVER, "a TTL has passed since it was revoked")

enum permit_end { PERMIT_END_TABLE(TABLE_ID) PERMIT_ENDS };

const char *permit_end_text(enum permit_end end);
enum permit_end permit_end_of(const struct permit_wait *wait, const struct permit_rumour *rumour,
                              nsec now);

#endif
