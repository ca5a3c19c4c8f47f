/* SPDX-License-Identifier: Apache-2.0
 *
 * What a watcher of a region knows of its beats: which is the newest, and until when, by the
 * watcher's clock, all of them up to that one had been sent. Whoever fences the region waits from
 * then (fence.h). Pure; belongs to one thread; {0} knows nothing.
 *
 * A beat was sent before it was seen. When the store was silent in between, as after the death of
 * its leader, that is late; so a beat carries what its sender's boot clock said. Two stamps of one
 * process tell how much later the second one was sent, whenever it was seen: pulse.c has the
 * arithmetic.
 *
 * Feed it from a watch, which misses nothing: a beat that overwrote another one may have been sent
 * before that, and have been longer on its way. What a mere reading finds was sent before it was
 * read, as that may have missed others.
 */
#ifndef HOLDFAST_PERMIT_PULSE_H
#define HOLDFAST_PERMIT_PULSE_H

#include "permit/granters.h"
#include "permit/permit.h"

enum { PERMIT_PULSE_GRANTERS = 16 }; /* more than these: the one heard longest ago is forgotten */

/* A beat with this stamp was sent before 'by'; 0: there was none. */
struct permit_anchor {
    int64_t stamp;
    nsec by;
};

struct permit_pulse_granter {
    char name[PERMIT_GRANTER_MAX]; /* "": not in use */
    nsec at, since;                /* heard; 'newer' began */
    struct permit_anchor older, newer;
};

struct permit_pulse {
    bool is_known;    /* it was fed */
    int64_t revision; /* of the newest beat; 0: there is none in the store */
    nsec sent_by;     /* every beat up to that one was sent before */
    nsec heard;       /* when that one was seen */
    int64_t newest;   /* revision that was fed */
    struct permit_pulse_granter granters[PERMIT_PULSE_GRANTERS];
};

/* The next change of the region's key after what was fed before; 'value' NULL: it was deleted. What
 * was fed already is left alone. */
void permit_pulse_on_change(struct permit_pulse *pulse, int64_t revision, const char *value,
                            nsec now);
/* A reading, of any age; 'value' NULL, and revision 0: there is no such key. */
void permit_pulse_on_reading(struct permit_pulse *pulse, int64_t revision, const char *value,
                             nsec now);

/* Its beats seem to have ended when 'now' is here; NSEC_NEVER: it is not known. */
nsec permit_pulse_end(const struct permit_pulse *pulse, const struct permit_term *term);

/* Was that beat sent after 'than' was, as far as can be told? Not when it is of the same granter
 * and has no later stamp: then it was long on its way. */
bool permit_pulse_is_later(const char *value, const char *than);

/* What is put with a beat; the caller frees. 'sent' INT64_MIN: it is no beat, and has no stamp. */
char *permit_pulse_encode(const char *who, const char *granter, nsec sent);

#endif
