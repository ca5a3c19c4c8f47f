/* SPDX-License-Identifier: Apache-2.0
 *
 * When a primary counts as lost, for a process that fails over by itself. Pure: the time and what
 * was seen are parameters. A false alarm costs an outage that was none, so silence alone is not
 * enough, and what failed over a moment ago does not again.
 */
#ifndef HOLDFAST_FAILOVER_WATCH_H
#define HOLDFAST_FAILOVER_WATCH_H

#include "base/clock.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>

/* What the agent of the primary's host says of it. */
enum witness {
    WITNESS_NONE,   /* there is none, or it never asked: nobody closes the server for us */
    WITNESS_ALIVE,  /* it asked a moment ago, and the server is open or closed as it should be */
    WITNESS_SILENT, /* it asked, and does not any more */
    WITNESS_DEAD    /* it says that the server is gone, or that it closed it */
};

/* Why a shard is, or is not, to be failed over. */
#define LOSS_VERDICT_TABLE(X)                                                                      \
    X(LOSS_NONE, "the primary answers")                                                            \
    X(LOSS_SUSPECTED, "the primary is silent, but not for long enough")                            \
    X(LOSS_DOUBTFUL, "the primary is silent, but its host's agent is not")                         \
    X(LOSS_UNCOVERED, "the primary is silent, and no agent would close it: holdfast failover")     \
    X(LOSS_HELD_DOWN, "it was failed over a moment ago")                                           \
    X(LOSS_TRIED, "the primary is lost, and nobody could take over a moment ago")                  \
    X(LOSS_FLAPPING, "it was failed over too often: holdfast failover, when you know why")         \
    X(LOSS_CUT_OFF,                                                                                \
      "the primary is silent, and so is all of its region: not to be healed from here")            \
    X(LOSS_CERTAIN, "the primary is lost")

enum loss_verdict { LOSS_VERDICT_TABLE(TABLE_ID) LOSS_VERDICTS };

const char *loss_verdict_text(enum loss_verdict verdict);

struct loss_rules {
    nsec suspect;   /* so long it must have been silent */
    nsec hold_down; /* after a failover the next one waits so long */
    nsec again;    /* after one in vain the next one waits so long: others need the run lock, too */
    nsec window;   /* within which at most 'most' are done */
    unsigned most; /* at most LOSS_MOST_MAX; 0: no limit */
};

enum { LOSS_MOST_MAX = 8 }; /* INVENTORY_FAILOVERS_MAX */

/* One shard; {0} at the beginning. */
struct loss_watch {
    nsec answered;            /* when it was asked, the last time that it answered; 0: never */
    nsec silent_since;        /* 0: it answered last */
    nsec tried;               /* when a failover was in vain; 0: the last one was not */
    nsec done[LOSS_MOST_MAX]; /* when it was failed over, newest first; 0: never */
};

/* It was looked at. */
enum loss_verdict loss_watch_see(struct loss_watch *watch, const struct loss_rules *rules,
                                 bool answers, enum witness witness, nsec now);
/* It was failed over, by whomever, or is the primary of another server now. */
void loss_watch_done(struct loss_watch *watch, nsec now);
/* Nobody could take over, of all 'watches' for this one. The others of whom that is so wait with
 * it: by turns they would have the run lock all the time. */
void loss_watch_failed(struct loss_watch *watches, size_t count, size_t index, nsec now);

#endif
