/* SPDX-License-Identifier: Apache-2.0
 *
 * Permission in time: may a server still serve when another one is opened in its place? One shard of
 * SERVERS servers, an agent beside each; CONDUCTORS that give permission; one opener after the
 * other, without rivals (those are in runs.pml). docs/permission.md has the argument.
 *
 * Time passes at any moment ('clock'), whatever the others are doing: every process may pause, every
 * message may take any time or get lost, every outcome may stay unknown. Only one thing is urgent:
 * an agent whose host runs closes its server when permission ends, within the same tick. A frozen
 * host serves nobody; when it is thawed, the agent comes first (the thaw window is no opening).
 *
 * Clocks: over one TTL, a clock is wrong by at most DRIFT ticks. What counts is the worst case: a
 * permission lasts DRIFT longer than it says, by the slow clocks of conductor and agent together; an
 * opener waits DRIFT less, by its fast clock.
 *
 * Reads of the store are as old as they like: a list is one of any moment, but says which.
 *
 * With GRANTS, the opener may also wait from the last grant of each conductor, as they tell it, and
 * from the last opening, as the route tells it.
 *
 * Each WITHOUT_... takes one protection away; tools/model shows that the model then finds two servers
 * that serve. */
#ifndef TTL
#define TTL 4 /* ticks */
#endif
#ifndef SERVERS
#define SERVERS 2
#endif
#ifndef CONDUCTORS
#define CONDUCTORS 1
#endif
#ifndef LATE
#define LATE 0 /* 1: a second answer to agent 0 may be on its way, as late as it likes */
#endif
#define ANSWERS (SERVERS + LATE)
#define SERVER_OF(answer) ((answer) % SERVERS)
#ifndef CHANGES
#define CHANGES 1 /* of revoked/, in one run of the model */
#endif
#define START 2 /* revisions: server 0 was revoked, reported closed, taken back: all that is old */
#define END (START + CHANGES)
#define DRIFT 1
#ifdef WITHOUT_MARGIN
#define MARGIN 0
#else
#define MARGIN (2 * DRIFT)
#endif
#define LASTS (TTL - MARGIN + DRIFT) /* from when a beat was sent */
#define WAITS (TTL - DRIFT)          /* from when a revocation was known to be in the store */

#define IS_IN_ORDER(s, place) (answer_list[place] >= known[s])
#ifdef WITHOUT_PERMISSION_PER_SERVER
#define EXTEND_ALL(s, place) ; extend(s, place)
#else
#define EXTEND_ALL(s, place)
#endif
#ifdef WITHOUT_GUARD
#define IS_IN_TIME(s) true
#else
#define IS_IN_TIME(s) (guard[s] > 0)
#endif
#ifdef WITHOUT_SHORT_GUARD
#define COUNTS WAITS + DRIFT /* as long as others wait */
#else
#define COUNTS (TTL / 3 + DRIFT) /* a statement that opens, from a look before it was recorded */
#endif
#ifdef WITHOUT_EVICTION
#define EVICT(s) skip
#else
#define EVICT(s) is_sent[s] = 0
#endif
#ifdef WITHOUT_KNOWN_TIME
#define IS_WAITING (step == WAITING || step == SENDING || step == REVOKED)
#else
#define IS_WAITING (step == WAITING)
#endif
/* May something that it granted still be in force, as far as its word goes? It says when it granted
 * last, and that it knows of the revocation. Then it does so no more, and however old its word is
 * when it counts, it is still true; else it may have granted since. */
#ifdef WITHOUT_LIST_OF_GRANTER
#define IS_GRANTED_BY(c) (told[c] > 0)
#else
#define IS_GRANTED_BY(c) (list[c] < revocation || granted[(c) * SERVERS + primary] > 0)
#endif
#ifdef WITHOUT_EVERY_GRANTER
#define IS_GRANTED false
#elif CONDUCTORS > 1
#define IS_GRANTED (IS_GRANTED_BY(0) || IS_GRANTED_BY(1))
#else
#define IS_GRANTED IS_GRANTED_BY(0)
#endif
#ifdef WITHOUT_SETTLED_ROUTE
#define IS_SETTLED true
#else
#define IS_SETTLED (settling == 0)
#endif
#ifdef WITHOUT_ASKED_TIME
#define TICK_ANSWER(value) skip
#else
#define TICK_ANSWER(value) TICK(value)
#endif

/* ---- the store ---- */
byte revision = START; /* of the last change of revoked/; beats share it */
byte revoked[END + 1]; /* at each revision: a bit for each server */

/* ---- conductors ---- */
mtype = { NONE, SENT, DONE };
mtype beat[CONDUCTORS]; /* one beat is on its way at most */
byte beat_left[CONDUCTORS], beat_at[CONDUCTORS];
byte left[CONDUCTORS]; /* what can be granted: the basis, the TTL and the margin, less what passed */
byte list[CONDUCTORS]; /* the revision of the newest list that was read */
byte granted[CONDUCTORS * SERVERS]; /* ticks that an opener still waits for its last grant */
#ifdef WITHOUT_LIST_OF_GRANTER
byte told[CONDUCTORS]; /* the same of the primary, when it said so */
#endif

/* ---- agents ---- */
bool is_answered[ANSWERS];
byte answer_left[ANSWERS], answer_list[ANSWERS];
byte until[SERVERS];  /* ticks left */
byte known[SERVERS];  /* the revision of a list in which this server is revoked; 0: none */
byte closed[SERVERS]; /* the conductors' memory: what was known when it was last reported closed */
bool is_open[SERVERS], is_frozen[SERVERS];

/* ---- the opener ---- */
mtype = { SERVING, SENDING, REVOKED, WAITING, OPENING };
mtype step = OPENING;
byte primary; /* the route's: the one that may be open */
byte revocation, waited;
bool is_sent[SERVERS]; /* a statement that opens it will be sent, is on its way, or queued there */
byte guard[SERVERS];   /* ticks left in which it counts */
byte settling;         /* ticks that an opener still waits for the last opening */

#define IS_REVOKED(s, at) ((revoked[at] >> (s)) & 1)
#define SERVES(s) (is_open[s] && !is_frozen[s])
#ifdef WITHOUT_REVISION_OF_CLOSING
#define IS_CLOSED(s) (closed[s] > 0)
#else
#define IS_CLOSED(s) (closed[s] >= revocation)
#endif
#ifdef WITHOUT_LIST_AFTER_BEAT
#define IS_NEW_ENOUGH(list, beat) true
#else
#define IS_NEW_ENOUGH(list, beat) ((list) >= (beat))
#endif

inline check()
{
#if SERVERS == 2
    assert(!(SERVES(0) && SERVES(1)));
#else
    assert(SERVES(0) + SERVES(1) + SERVES(2) <= 1);
#endif
}

/* Who is known to be revoked is reported closed when whoever had its lock has lost it. */
inline close(s)
{
    is_open[s] = 0;
    if
    :: known[s] > 0 -> closed[s] = known[s]; EVICT(s)
    :: else
    fi
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
            :: beat[i] != NONE && beat_left[i] == 0 -> /* of no use any more */
                beat[i] = NONE;
                beat_at[i] = 0;
            :: else
            fi
        }
#ifdef GRANTS
        for (i : 0 .. CONDUCTORS * SERVERS - 1) { TICK(granted[i]) }
        TICK(settling);
#endif
#ifdef WITHOUT_LIST_OF_GRANTER
        for (i : 0 .. CONDUCTORS - 1) { TICK(told[i]) }
#endif
        for (i : 0 .. ANSWERS - 1) {
            TICK_ANSWER(answer_left[i]);
            if
            :: is_answered[i] && answer_left[i] == 0 && !IS_REVOKED(SERVER_OF(i), answer_list[i]) ->
                is_answered[i] = 0;
                answer_list[i] = 0
            :: else
            fi
        }
        for (i : 0 .. SERVERS - 1) {
            TICK(until[i]);
            TICK(guard[i]);
            is_sent[i] = is_sent[i] && IS_IN_TIME(i);
            if
            :: until[i] == 0 && !is_frozen[i] && is_open[i] -> close(i)
            :: else
            fi
        }
        waited = (IS_WAITING && waited < WAITS -> waited + 1 : waited);
        i = 0
       }
    od
}

proctype conductor(byte me)
{
    do
    :: d_step { beat[me] == NONE -> beat[me] = SENT; beat_left[me] = LASTS }
    :: d_step { beat[me] == SENT -> beat[me] = DONE; beat_at[me] = revision } /* in the store */
    :: d_step { beat[me] != NONE -> beat[me] = NONE; beat_left[me] = 0; beat_at[me] = 0 } /* lost */
    :: d_step { /* its success is known */
        beat[me] == DONE && IS_NEW_ENOUGH(list[me], beat_at[me]) ->
#ifdef WITHOUT_SENT_TIME
        left[me] = LASTS;
#else
        left[me] = beat_left[me];
#endif
        beat[me] = NONE;
        beat_left[me] = 0;
        beat_at[me] = 0
       }
    :: d_step { list[me] < revision -> list[me]++ }
#ifdef WITHOUT_LIST_OF_GRANTER
    :: d_step { told[me] = granted[me * SERVERS + primary] }
#endif
    od
}

#define CAN_ANSWER(c, place) (left[c] > 0 && !is_answered[place])
#define CAN_HEAR(s, place) (is_answered[place] && !is_frozen[s])

/* An answer is made in the moment of the question: what passed before would only shorten it. */
inline answer(s, c, place)
{
    is_answered[place] = 1;
    answer_left[place] = left[c];
    answer_list[place] = list[c];
#ifdef GRANTS
    granted[(c) * SERVERS + s] = (IS_REVOKED(s, list[c]) -> granted[(c) * SERVERS + s] : WAITS)
#endif
}

inline extend(s, place)
{
    until[s] = (answer_left[place] > until[s] -> answer_left[place] : until[s])
}

/* A server's permission is extended only by an answer in which it is not revoked, and that is not
 * older than what is known of its revocation. */
inline hear(s, place)
{
    if
    :: IS_REVOKED(s, answer_list[place]) ->
        known[s] = (answer_list[place] > known[s] -> answer_list[place] : known[s])
        EXTEND_ALL(s, place)
    :: !IS_REVOKED(s, answer_list[place]) && IS_IN_ORDER(s, place) ->
        known[s] = 0;
        extend(s, place)
    :: else
    fi;
    is_answered[place] = 0;
    answer_left[place] = 0;
    answer_list[place] = 0
}

proctype agent(byte me)
{
    do
    :: d_step { CAN_ANSWER(0, me) -> answer(me, 0, me) }
    :: d_step { CAN_HEAR(me, me) -> hear(me, me) }
#if CONDUCTORS > 1
    :: d_step { CAN_ANSWER(1, me) -> answer(me, 1, me) }
#endif
#if LATE
    :: d_step { me == 0 && CAN_ANSWER(CONDUCTORS - 1, SERVERS) -> answer(0, CONDUCTORS - 1, SERVERS) }
    :: d_step { me == 0 && CAN_HEAR(0, SERVERS) -> hear(0, SERVERS) }
#endif
    :: d_step {
        known[me] > 0 && !is_frozen[me] && (is_open[me] || closed[me] != known[me]) -> close(me)
       }
    :: atomic { /* the server does what it was told, by its clock, with a permission or without */
        is_sent[me] && !is_frozen[me] && IS_IN_TIME(me) ->
        is_sent[me] = 0;
        guard[me] = 0;
        is_open[me] = 1;
        check()
       }
    :: d_step { !is_frozen[me] -> is_frozen[me] = 1 }
    :: atomic {
        is_frozen[me] ->
        d_step {
            is_frozen[me] = 0;
            if
            :: until[me] == 0 && is_open[me] -> close(me)
            :: else
            fi
        }
        check()
       }
    od
}

#ifdef GRANTS
#define IS_OVER (waited == WAITS || (IS_SETTLED && !IS_GRANTED))
#define SETTLE settling = WAITS
#else
#define IS_OVER (waited == WAITS)
#define SETTLE skip
#endif
#define MAY_REPLACE(s) (IS_OVER || IS_CLOSED(s))

/* The opener takes the server's lock first, which ends the session of whoever had it. */
inline send_open(s)
{
    is_sent[s] = 1;
    guard[s] = COUNTS;
    SETTLE;
    waited = 0;
    step = OPENING
}

inline open_instead(s)
{
    step == WAITING && s != primary && MAY_REPLACE(primary) && !IS_REVOKED(s, revision) &&
        !is_frozen[s] ->
    primary = s;
    send_open(s)
}

inline take_back(s)
{
    revoked[revision + 1] = revoked[revision] & (255 ^ (1 << s));
    revision++;
    is_sent[s] = 0
}

#define IS_SEEN_CLOSED(s) (!is_frozen[s] && !is_open[s])

/* Another server is back as a replica. */
inline come_back(s)
{
    (step == SERVING || step == WAITING) && s != primary && IS_REVOKED(s, revision) &&
        IS_SEEN_CLOSED(s) && revision < END ->
    take_back(s)
}

proctype opener()
{
    do
    :: d_step { /* the primary is suspected, or does not open */
        (step == SERVING || step == OPENING) && revision < END ->
        step = SENDING
       }
    :: d_step {
        step == SENDING ->
        revoked[revision + 1] = revoked[revision] | (1 << primary);
        revision++;
        revocation = revision;
        step = REVOKED
       }
    :: d_step { /* only now the opener knows: it may be another one, who read it */
        step == REVOKED ->
        step = WAITING
       }
    :: d_step { open_instead(0) }
    :: d_step { open_instead(1) }
    :: d_step { come_back(0) }
    :: d_step { come_back(1) }
#if SERVERS > 2
    :: d_step { open_instead(2) }
    :: d_step { come_back(2) }
#endif
    :: d_step { /* the primary itself is opened again */
        step == WAITING && IS_SEEN_CLOSED(primary) && revision < END ->
        take_back(primary);
        send_open(primary)
       }
    :: d_step { /* its permission had ended, or it crashed */
        step == SERVING && IS_SEEN_CLOSED(primary) -> send_open(primary)
       }
    :: d_step { step == OPENING && is_open[primary] && !is_frozen[primary] -> step = SERVING }
    od
}

init
{
    byte i;
    atomic {
        revoked[1] = 1;
        closed[0] = 1;
        is_sent[0] = 1;
        guard[0] = COUNTS;
        SETTLE;
        run clock();
        run opener();
        for (i : 0 .. CONDUCTORS - 1) {
            beat[i] = NONE;
            list[i] = START;
            run conductor(i)
        }
        for (i : 0 .. SERVERS - 1) { run agent(i) }
    }
}
