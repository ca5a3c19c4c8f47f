/* SPDX-License-Identifier: Apache-2.0
 *
 * Fencing a region: server 0 serves in the region, under the permission of its CONDUCTORS; when
 * their beats seem to have ended, one of FENCERS elsewhere fences the region and opens server 1.
 * Later it closes server 1, takes the fence away, and server 0 is opened again. Time, messages,
 * clocks and urgency are those of time.pml; docs/permission.md has the argument.
 *
 * A beat demands that the region is not fenced. The fence demands that the beats' key is what the
 * fencer saw a TTL ago: 'is_fresh' is this comparison of revisions, cleared by every beat. */
#define TTL 4
#ifndef CONDUCTORS
#define CONDUCTORS 2
#endif
#ifndef FENCERS
#define FENCERS 2
#endif
#define DRIFT 1
#ifdef WITHOUT_MARGIN
#define MARGIN 0
#else
#define MARGIN (2 * DRIFT)
#endif
#define LASTS (TTL - MARGIN + DRIFT)
#define WAITS (TTL - DRIFT)

#ifdef WITHOUT_SENT_TIME
#define LEFT_OF_BEAT(c) LASTS
#else
#define LEFT_OF_BEAT(c) beat_left[c]
#endif
#ifdef WITHOUT_FENCE_IN_CLAIM
#define MAY_CLAIM (!is_away)
#else
#define MAY_CLAIM (!is_away && !is_fenced)
#endif
#ifdef WITHOUT_REVISION_OF_BEAT
#define IS_UNCHANGED(f) true
#else
#define IS_UNCHANGED(f) is_fresh[f]
#endif
#ifdef WITHOUT_SEEN_TIME
#define BEGIN_TO_WAIT(f) skip
#else
#define BEGIN_TO_WAIT(f) waited[f] = 0
#endif
#ifdef WITHOUT_GUARD
#define IS_IN_TIME true
#else
#define IS_IN_TIME (guard > 0)
#endif
#define COUNTS (TTL / 3 + DRIFT)
#ifdef WITHOUT_TOKEN
#define HAS_TOKEN(f) true
#else
#define HAS_TOKEN(f) (token == f)
#endif

/* ---- the store ---- */
bool is_fenced;
bool is_away; /* the route: server 1 is the primary */

/* ---- conductors and the agent of server 0 ---- */
mtype = { NONE, SENT, DONE };
mtype beat[CONDUCTORS];
byte beat_left[CONDUCTORS], left[CONDUCTORS];
bool is_answered;
byte answer_left, until;
bool is_open[2], is_frozen, is_sent;
byte guard; /* ticks left in which what was sent counts */

/* ---- fencers ---- */
mtype = { IDLE, LOOKING, FENCED, AWAY, CLOSED };
mtype step[FENCERS];
bool is_fresh[FENCERS];
byte token = FENCERS; /* whose run it is; FENCERS: of the region itself */
byte waited[FENCERS];

inline check()
{
    assert(!(is_open[0] && !is_frozen && is_open[1]))
}

#define TICK(value) value = (value > 0 -> value - 1 : 0)

proctype clock()
{
    byte i;
    do
    :: d_step {
        for (i : 0 .. CONDUCTORS - 1) {
            TICK(left[i]);
            TICK(beat_left[i]);
            if
            :: beat[i] == DONE && beat_left[i] == 0 -> beat[i] = NONE
            :: else
            fi
        }
        TICK(answer_left);
        is_answered = is_answered && answer_left > 0;
        TICK(until);
        TICK(guard);
        is_sent = is_sent && IS_IN_TIME;
        is_open[0] = is_open[0] && (until > 0 || is_frozen);
        for (i : 0 .. FENCERS - 1) {
            waited[i] = (step[i] == LOOKING && waited[i] < WAITS -> waited[i] + 1 : waited[i])
        }
        i = 0
       }
    od
}

proctype conductor(byte me)
{
    byte i;
    do
    :: d_step { beat[me] == NONE -> beat[me] = SENT; beat_left[me] = LASTS }
    :: d_step { /* in the store, be it long after it was sent */
        beat[me] == SENT && !is_fenced ->
        beat[me] = (beat_left[me] > 0 -> DONE : NONE);
        for (i : 0 .. FENCERS - 1) { is_fresh[i] = 0 }
        i = 0
       }
    :: d_step { beat[me] == SENT && is_fenced -> beat[me] = NONE; beat_left[me] = 0 }
    :: d_step { beat[me] != NONE -> beat[me] = NONE; beat_left[me] = 0 }
    :: d_step {
        beat[me] == DONE ->
        left[me] = LEFT_OF_BEAT(me);
        beat[me] = NONE;
        beat_left[me] = 0
       }
    :: d_step { left[me] > 0 && !is_answered -> is_answered = 1; answer_left = left[me] }
    od
}

proctype agent()
{
    do
    :: d_step {
        is_answered && !is_frozen ->
        until = (answer_left > until -> answer_left : until);
        is_answered = 0;
        answer_left = 0
       }
    :: d_step { !is_frozen -> is_frozen = 1 }
    :: atomic {
        is_frozen ->
        d_step {
            is_frozen = 0;
            is_open[0] = is_open[0] && until > 0
        }
        check()
       }
    :: atomic {
        is_sent && !is_frozen && IS_IN_TIME ->
        is_sent = 0;
        guard = 0;
        is_open[0] = 1;
        check()
       }
    od
}

proctype fencer(byte me)
{
    do
    :: d_step { /* looks for the first time, or sees that something changed */
        (step[me] == IDLE && !is_away) || (step[me] == LOOKING && !is_fresh[me]) ->
        token = me;
        is_fresh[me] = 1;
        BEGIN_TO_WAIT(me);
        step[me] = LOOKING
       }
    :: d_step {
        step[me] == LOOKING && waited[me] == WAITS && IS_UNCHANGED(me) && !is_fenced &&
            HAS_TOKEN(me) ->
        is_fenced = 1;
        waited[me] = 0;
        is_fresh[me] = 0;
        step[me] = FENCED
       }
    :: d_step { /* fenced by somebody else, or another run took over */
        step[me] == LOOKING && (is_fenced || !HAS_TOKEN(me)) ->
        waited[me] = 0;
        is_fresh[me] = 0;
        step[me] = IDLE
       }
    :: d_step { /* another fencer's run is taken over */
        step[me] == IDLE && is_fenced && !is_away ->
        token = me;
        step[me] = FENCED
       }
    :: d_step { step[me] == FENCED && !HAS_TOKEN(me) -> step[me] = IDLE }
    :: atomic {
        step[me] == FENCED && !is_away && HAS_TOKEN(me) ->
        is_away = 1;
        is_open[1] = 1;
        step[me] = AWAY;
        check()
       }
    :: d_step { step[me] == AWAY -> is_open[1] = 0; step[me] = CLOSED } /* a planned move back */
    :: d_step { /* a run of the region: its primary is closed, it is to open again */
        step[me] == IDLE && MAY_CLAIM && !is_open[0] && !is_frozen ->
        token = FENCERS;
        is_sent = 1;
        guard = COUNTS
       }
    :: d_step { /* under the server's lock, which ends what an older run had sent */
        step[me] == CLOSED && !is_frozen ->
        token = FENCERS;
        is_fenced = 0;
        is_away = 0;
        is_sent = 1;
        guard = COUNTS;
        step[me] = IDLE
       }
    od
}

init
{
    byte i;
    atomic {
        is_sent = 1;
        guard = COUNTS;
        for (i : 0 .. CONDUCTORS - 1) {
            beat[i] = NONE;
            run conductor(i)
        }
        for (i : 0 .. FENCERS - 1) {
            step[i] = IDLE;
            run fencer(i)
        }
        run clock();
        run agent()
    }
}
