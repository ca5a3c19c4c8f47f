/* SPDX-License-Identifier: Apache-2.0
 *
 * What the loss of a shard's home region would cost now. Pure; times are points on one machine's
 * boot clock, and 'now' is a parameter.
 *
 * A server that accepts writes, or follows nobody, is a *source*. It is asked at some moment and
 * says its position: whatever was acknowledged before that moment is in it. When a server of the
 * other region has received all of that position, whatever was acknowledged before that moment is
 * there: 'covered_until' is the newest such moment. A source that writes nothing stays covered.
 */
#ifndef HOLDFAST_EXPOSURE_EXPOSURE_H
#define HOLDFAST_EXPOSURE_EXPOSURE_H

#include "base/clock.h"
#include "fleet/inventory.h"
#include "fleet/observation.h"

#define EXPOSURE_NEVER INT64_MIN /* before all moments */

/* Of a server, as it answered. */
struct exposure_sight {
    size_t server; /* index in the shard */
    nsec asked;    /* before the question was sent */
    bool is_open, is_replica;
    int64_t server_id, source_id; /* 0: not known */
    const char *position;         /* GTID text: the end of its own log */
    const char *received;         /* from its source; "": nothing */
};

/* What is remembered of a shard: a few moments of each source, and what the others have received.
 */
struct exposure_track;
struct exposure_track *exposure_track_new(const struct inventory_shard *shard);
void exposure_track_free(struct exposure_track *track);
/* In any order; one that is older than what is known of that server is dropped. */
void exposure_track_see(struct exposure_track *track, const struct exposure_sight *sight);
/* All servers of the shard that answered in a look, which began then. */
void exposure_track_look(struct exposure_track *track, const struct shard_observation *seen,
                         nsec began);

/* What is known of a shard, a copy. */
struct exposure {
    const struct inventory_server *primary; /* the source that was last open; NULL: none was seen */
    nsec asked;                             /* when it was asked for ... */
    char *position;                         /* ... this; owned */
    nsec covered_until;                     /* EXPOSURE_NEVER: nothing is known to be there */
    const struct inventory_server *receiver; /* of the other region; NULL: none */
    nsec receiver_asked;
    char *received;       /* owned */
    int64_t transactions; /* of that position, which the receiver lacks; -1: not known */
};
void exposure_get(const struct exposure_track *track, struct exposure *ret);
void exposure_release(struct exposure *exposure);

/* Of all shards of an observation, in its order. */
struct exposure_list {
    struct exposure *items;
    size_t count;
};
void exposure_list_release(struct exposure_list *list);
/* By two looks at the same shards, for whoever has not watched them: what was there when the first
 * one began is in the other region by the second one, or not. */
struct exposure_look {
    const struct fleet_observation *seen;
    nsec began;
};
void exposure_list_compare(const struct exposure_look *first, const struct exposure_look *second,
                           struct exposure_list *ret);
/* Acknowledged writes of so long would be lost with the region at 'now'; -1: not known. */
double exposure_ms(const struct exposure *exposure, nsec now);

/* Of one server: all that was acknowledged by it, or by those before it, and is not in the other
 * region was acknowledged after this moment, as far as is known. Either it is covered until then,
 * or it was a replica then, which acknowledges nothing. EXPOSURE_NEVER: it is not known. */
nsec exposure_since(const struct exposure_track *track, size_t server);
/* What is lost when a server that has this position takes over from this one, whatever was received
 * before: a relay that was restarted may have lost some of it. */
struct exposure_bound {
    nsec covered;         /* what was acknowledged before is in the position */
    int64_t transactions; /* of the newest that is known, which the position lacks; -1: not known */
};
/* False: nothing is known to be in the position. */
bool exposure_bound(const struct exposure_track *track, size_t server, const char *position,
                    struct exposure_bound *ret);
/* Is this server to be asked more often than others? Sources are, and of the other region the one
 * that has most of the primary's position. */
bool exposure_wants(const struct exposure_track *track, size_t server);

#endif
