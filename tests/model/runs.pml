/* SPDX-License-Identifier: Apache-2.0
 *
 * Rival runs over one shard: RUNS processes that each believe to be in charge, SERVERS servers with
 * an agent each. Without clocks: what time gives is here the rule that time.pml shows, "once a TTL
 * has passed since a revocation was in the store, its server has no permission left, no statement
 * that was recorded before opens it, and it is closed" (is_over).
 * docs/permission.md has the argument.
 *
 * A run may pause for ever between any two of its lines, and does what it meant to do when it wakes
 * up. 'token' is whose run lock exists; 'is_fresh' is the comparison of the route's revision with
 * the one that a run read; 'lock' is whose session holds the server's lock: who loses it loses
 * what he had sent, too. */
#ifndef SERVERS
#define SERVERS 2
#endif
#ifndef RUNS
#define RUNS 2
#endif

#ifdef WITHOUT_COMPARES_OF_ROUTE
#define MAY_WRITE(r) true
#else
#define MAY_WRITE(r) (token == r && is_fresh[r])
#endif
#ifdef WITHOUT_COMPARES_OF_RETURN
#define MAY_TAKE_BACK(r) true
#else
#define MAY_TAKE_BACK(r) MAY_WRITE(r)
#endif
#ifdef WITHOUT_EVICTION
#define EVICT(s) skip
#else
#define EVICT(s) end_session(s)
#endif
#ifdef WITHOUT_GUARD
#define IS_IN_TIME(s) true
#else
#define IS_IN_TIME(s) (!is_over[s])
#endif
#ifdef WITHOUT_WAITING
#define IS_DONE_WAITING(s) true
#else
#define IS_DONE_WAITING(s) (is_told[s] || is_over[s])
#endif
#ifdef WITHOUT_RECORD_FIRST
#define RECORD(r, state) skip
#define MAY_RECORD(r) true
#else
#define RECORD(r, state) record(r, state)
#define MAY_RECORD(r) MAY_WRITE(r)
#endif
#ifdef WITHOUT_LOCK_FIRST
#define LOCK_FIRST(r, s) skip
#define LOCK_LAST(r, s) take_lock(r, s)
#define HAS_LOCK(r, s) (!is_frozen[s])
#else
#define LOCK_FIRST(r, s) take_lock(r, s)
#define LOCK_LAST(r, s) skip
#define HAS_LOCK(r, s) (lock[s] == r)
#endif

#define NOBODY RUNS
#define NOTHING SERVERS

/* ---- the store ---- */
mtype = { SERVING, FENCING, OPENING };
mtype route = OPENING;
byte primary; /* the one that may be open */
byte token;
bool is_revoked[SERVERS];
bool is_over[SERVERS]; /* a TTL has passed since then */
bool is_told[SERVERS]; /* its agent closed it after that, and a conductor knows */

/* ---- servers and agents ---- */
bool is_open[SERVERS], is_frozen[SERVERS], is_permitted[SERVERS];
byte lock[SERVERS];
bool is_sent[SERVERS]; /* the session that has the lock sent the statement that opens it */
bool is_past[SERVERS]; /* that has passed its guard, and opens the server next */

/* ---- runs ---- */
mtype = { IDLE, READ, WAIT, LOCKED, RECORDED, SENT, CONVERGE, RETURN };
mtype step[RUNS];
byte target[RUNS];
bool is_fresh[RUNS];

#define SERVES(s) (is_open[s] && !is_frozen[s])

inline check()
{
#if SERVERS == 2
    assert(!(SERVES(0) && SERVES(1)))
#else
    assert(SERVES(0) + SERVES(1) + SERVES(2) <= 1)
#endif
}

/* What is in the route of state 'next', and whose read of it is current. */
inline record(r, next)
{
    primary = (next == OPENING -> target[r] : primary);
    route = next;
    for (i : 0 .. RUNS - 1) { is_fresh[i] = (i == r) }
    i = 0
}

/* Whoever has the lock loses it, with what he sent. */
inline end_session(s)
{
    lock[s] = NOBODY;
    is_sent[s] = 0;
    is_past[s] = 0
}

/* Whoever has its lock keeps it, until the closure is reported. */
inline close(s)
{
    is_permitted[s] = 0;
    is_open[s] = 0;
    is_past[s] = 0
}

proctype agent(byte me)
{
    do
    :: d_step {
        !is_permitted[me] && !is_frozen[me] &&
            (!is_revoked[me] || (!is_over[me] && !is_told[me])) ->
        is_permitted[me] = 1
       }
    :: d_step { (is_permitted[me] || is_open[me]) && !is_frozen[me] -> close(me) }
    :: d_step { is_permitted[me] && is_frozen[me] -> is_permitted[me] = 0 }
    :: d_step {
        is_revoked[me] && !is_permitted[me] && !is_over[me] &&
            ((!is_open[me] && !is_past[me]) || is_frozen[me]) ->
        is_over[me] = 1
       }
    :: d_step { /* closed since it lost its permission, and seen so after it knew */
        is_revoked[me] && !is_permitted[me] && !is_open[me] && !is_frozen[me] && !is_told[me] ->
        EVICT(me);
        is_told[me] = 1
       }
    :: d_step { is_sent[me] && !is_past[me] && !is_frozen[me] && IS_IN_TIME(me) -> is_past[me] = 1 }
    :: atomic {
        is_past[me] && !is_frozen[me] ->
        is_sent[me] = 0;
        is_past[me] = 0;
        is_open[me] = 1;
        check()
       }
    :: d_step { !is_frozen[me] -> is_frozen[me] = 1 }
    :: atomic {
        is_frozen[me] ->
        d_step {
            is_frozen[me] = 0;
            if
            :: !is_permitted[me] -> close(me)
            :: else
            fi
        }
        check()
       }
    :: d_step { is_open[me] -> is_open[me] = 0; end_session(me) } /* killed, comes back closed */
    od
}

inline forget(r)
{
    step[r] = IDLE;
    target[r] = NOTHING
}

inline take_lock(r, s)
{
    end_session(s);
    lock[s] = r
}

inline open_instead(r, s)
{
    step[r] == WAIT && s != primary && IS_DONE_WAITING(primary) && !is_frozen[s] ->
    LOCK_FIRST(r, s);
    target[r] = s;
    step[r] = LOCKED
}

inline begin_return(r, s)
{
    step[r] == READ && s != primary && is_revoked[s] && !is_frozen[s] && !is_open[s] ->
    take_lock(r, s);
    target[r] = s;
    step[r] = RETURN
}

proctype run_of_shard(byte me)
{
    byte i;
    do
    :: d_step { token != me -> token = me; forget(me) }
    :: d_step { step[me] == IDLE -> is_fresh[me] = 1; step[me] = READ }
    :: d_step { step[me] != IDLE -> forget(me) } /* fails, or is taken over by another process */
    :: d_step { /* (a) */
        step[me] == READ && route != FENCING && MAY_WRITE(me) ->
        record(me, FENCING);
        is_revoked[primary] = 1;
        is_over[primary] = 0;
        is_told[primary] = 0;
        step[me] = WAIT
       }
    :: d_step { step[me] == READ && route == FENCING -> step[me] = WAIT }
    :: d_step { open_instead(me, 0) } /* (b) is over */
    :: d_step { open_instead(me, 1) }
#if SERVERS > 2
    :: d_step { open_instead(me, 2) }
#endif
    :: d_step { /* (c) */
        step[me] == LOCKED && MAY_RECORD(me) && !is_revoked[target[me]] ->
        RECORD(me, OPENING);
        step[me] = RECORDED
       }
    :: d_step { /* in the session that has had the lock since before */
        step[me] == RECORDED && HAS_LOCK(me, target[me]) ->
        LOCK_LAST(me, target[me]);
        is_sent[target[me]] = 1;
        step[me] = SENT
       }
    :: d_step {
        step[me] == SENT && is_open[target[me]] && !is_frozen[target[me]] && MAY_WRITE(me) ->
#ifdef WITHOUT_RECORD_FIRST
        record(me, OPENING);
#endif
        record(me, SERVING);
        forget(me)
       }
    /* The primary lost its permission and has it again. */
    :: d_step {
        step[me] == READ && route == SERVING && !is_open[primary] && !is_frozen[primary] ->
        take_lock(me, primary);
        target[me] = primary;
        step[me] = CONVERGE
       }
    :: d_step {
        step[me] == CONVERGE && MAY_WRITE(me) && !is_revoked[target[me]] -> step[me] = RECORDED
       }
    /* A former primary is a replica again: seen under its lock. */
    :: d_step { begin_return(me, 0) }
    :: d_step { begin_return(me, 1) }
#if SERVERS > 2
    :: d_step { begin_return(me, 2) }
#endif
    :: d_step {
        step[me] == RETURN && MAY_TAKE_BACK(me) ->
        is_revoked[target[me]] = 0;
        is_over[target[me]] = 0;
        is_told[target[me]] = 0;
        forget(me)
       }
    od
}

init
{
    byte i;
    atomic {
        for (i : 0 .. SERVERS - 1) {
            lock[i] = NOBODY;
            run agent(i)
        }
        for (i : 0 .. RUNS - 1) {
            step[i] = IDLE;
            target[i] = NOTHING;
            run run_of_shard(i)
        }
        is_open[0] = 1;
        is_permitted[0] = 1;
        route = SERVING
    }
}
