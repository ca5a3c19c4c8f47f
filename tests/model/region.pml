/* SPDX-License-Identifier: Apache-2.0
 *
 * Fencing a region: server 0 serves in the region, under the permission of its CONDUCTORS; when
 * their beats seem to have ended, whoever watches fences the region, without a run. A run elsewhere
 * revokes server 0, demanding that fence, and opens server 1 when no opening of server 0 can be on
 * its way any more. Later it closes server 1, takes the fence away, and server 0 is opened again; or
 * the fence is taken away before anything was revoked. WATCHERS do both, one after the other. Time,
 * messages, clocks and urgency are those of time.pml; docs/permission.md has the argument.
 *
 * A beat demands that the region is not fenced. A watcher counts his wait from some moment between
 * the sending of the latest of the beats in the store, 'age' ticks ago, and now: what he concludes
 * from their stamps. The earliest is the worst, so he may be sure when 'age' is the wait; others
 * only make him wait longer. In the same way who reads the route after somebody changed it does so
 * at once. What somebody compares is a flag of his, or a count, which a change of the key clears. */
#define TTL 4
#ifndef CONDUCTORS
#define CONDUCTORS 2
#endif
#ifndef WATCHERS
#define WATCHERS 2
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
#ifdef WITHOUT_REVISION_OF_BEAT
#define AFTER_BEAT(f) is_sure[f]
#else
#define AFTER_BEAT(f) NOT_SURE
#endif
#ifdef WITHOUT_BEAT_OF_RETURN
#define AFTER_RETURN(f) (is_sure[f] == NOT_SURE -> NOT_SURE : TOO_SURE)
#else
#define AFTER_RETURN(f) NOT_SURE
#endif
#ifdef WITHOUT_LATEST_BEAT
#define IS_LATEST(since) true
#else
#define IS_LATEST(since) (since < age)
#endif
#ifdef WITHOUT_DRIFT_OF_STAMP
#define IS_OVER (age >= WAITS - DRIFT)
#else
#define IS_OVER (age == WAITS)
#endif
#ifdef WITHOUT_FENCE_IN_REVOCATION
bool has_seen_fence[WATCHERS];
#define SEES_FENCE(f) has_seen_fence[f]
#define REMEMBER_FENCE(f) has_seen_fence[f] = is_fenced || has_seen_fence[f]
#else
#define SEES_FENCE(f) is_fenced
#define REMEMBER_FENCE(f) skip
#endif
#ifdef WITHOUT_ROUTE_IN_REVOCATION
#define AFTER_CHANGE(f) waited[f]
#else
#define AFTER_CHANGE(f) (step[f] == READ -> 0 : waited[f])
#endif
#ifdef WITHOUT_SETTLED_ROUTE
#define IS_SETTLED(f) true
#else
#define IS_SETTLED(f) (waited[f] == WAITS)
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
bool is_fenced, is_revoked;
bool is_away; /* the route: server 1 is the primary */
byte token = WATCHERS; /* whose run it is; WATCHERS: of the region itself */
byte age = WAITS; /* since the latest of the beats that are in it was sent; no more than this */

/* ---- conductors and the agent of server 0 ---- */
mtype = { NONE, SENT, DONE };
mtype beat[CONDUCTORS];
byte beat_left[CONDUCTORS], left[CONDUCTORS];
bool is_answered;
byte answer_left, until;
bool is_open[2], is_frozen, is_sent;
byte guard; /* ticks left in which what was sent counts */

/* ---- watchers, and what they do as openers ---- */
mtype = { IDLE, READ, REVOKED, AWAY, CLOSED };
mtype step[WATCHERS];
#define NOT_SURE 0
#define SURE 1
#define TOO_SURE 2 /* the region was given back since */
byte is_sure[WATCHERS]; /* that its beats have ended */
byte waited[WATCHERS]; /* since the route was read */

inline check()
{
    assert(!(is_open[0] && !is_frozen && is_open[1]))
}

#define TICK(value) value = (value > 0 -> value - 1 : 0)

inline change_route()
{
    for (i : 0 .. WATCHERS - 1) { waited[i] = AFTER_CHANGE(i) }
    i = 0
}

inline send_open()
{
    token = WATCHERS;
    is_sent = 1;
    guard = COUNTS;
    change_route()
}

inline put_beat(c)
{
    if
    :: IS_LATEST(LASTS - beat_left[c]) ->
        age = (LASTS - beat_left[c] < WAITS -> LASTS - beat_left[c] : WAITS)
    :: else
    fi;
    for (i : 0 .. WATCHERS - 1) { is_sure[i] = AFTER_BEAT(i) }
    i = 0
}

inline give_back()
{
    is_fenced = 0;
    for (i : 0 .. WATCHERS - 1) { is_sure[i] = AFTER_RETURN(i) }
    i = 0
}

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
        age = (age < WAITS -> age + 1 : age);
        TICK(answer_left);
        is_answered = is_answered && answer_left > 0;
        TICK(until);
        TICK(guard);
        is_sent = is_sent && IS_IN_TIME;
        is_open[0] = is_open[0] && (until > 0 || is_frozen);
        for (i : 0 .. WATCHERS - 1) {
            if
            :: (step[i] == READ || step[i] == REVOKED) && waited[i] < WAITS -> waited[i]++
            :: else
            fi
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
        put_beat(me)
       }
    :: d_step { beat[me] != NONE && !is_fenced -> put_beat(me) } /* another sending of the same */
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

proctype watcher(byte me)
{
    byte i;
    do
    :: d_step { step[me] == IDLE && IS_OVER && !is_fenced && !is_sure[me] -> is_sure[me] = SURE }
    :: atomic {
        is_sure[me] && !is_fenced ->
        assert(is_sure[me] != TOO_SURE);
        is_fenced = 1;
        is_sure[me] = NOT_SURE
       }
    :: d_step { is_sure[me] && is_fenced -> is_sure[me] = NOT_SURE } /* by somebody else */
    :: d_step { /* the route, perhaps long before there is a fence */
        step[me] == IDLE && !is_away ->
        step[me] = READ;
        waited[me] = 0
       }
    :: d_step { step[me] == READ -> REMEMBER_FENCE(me) }
    :: d_step { /* what another run revoked is revoked anew */
        step[me] == READ && SEES_FENCE(me) && !is_away ->
        token = me;
        is_revoked = 1;
        step[me] = REVOKED; /* before the others see it: this one knows the route */
        change_route()
       }
    :: d_step {
        (step[me] == READ && is_away) || (step[me] == REVOKED && !HAS_TOKEN(me)) ->
        waited[me] = 0;
        step[me] = IDLE
       }
    :: atomic {
        step[me] == REVOKED && IS_SETTLED(me) && HAS_TOKEN(me) ->
        is_away = 1;
        is_open[1] = 1;
        waited[me] = 0;
        step[me] = AWAY;
        check()
       }
    :: d_step { step[me] == AWAY -> is_open[1] = 0; step[me] = CLOSED } /* a planned move back */
    :: d_step { /* a run of the region: its primary is closed, it is to open again */
        step[me] == IDLE && !is_away && !is_fenced && !is_revoked && !is_open[0] && !is_frozen ->
        send_open()
       }
    :: d_step { /* under the server's lock, which ends what an older run had sent */
        step[me] == CLOSED && !is_frozen ->
        is_revoked = 0;
        is_away = 0;
        step[me] = IDLE;
        give_back();
        send_open()
       }
    :: d_step { /* the region is back before anything was done */
        step[me] == IDLE && is_fenced && !is_revoked ->
        token = WATCHERS;
        give_back()
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
        for (i : 0 .. WATCHERS - 1) {
            step[i] = IDLE;
            run watcher(i)
        }
        run clock();
        run agent()
    }
}
