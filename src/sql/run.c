/* SPDX-License-Identifier: Apache-2.0
 * Many calls at once on one thread: an epoll set of those in flight, and a scan for deadlines
 * that passed. Also the plain call of one connection, and quoting. */
#include "base/buf.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "sql/conn.h"

#include <ctype.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

/* Begun side by side, at most; but a call that has waited for PATIENCE_MS, and for much longer than
 * the others do now, gives its place away: it hangs, or waits on purpose, and costs nothing. */
enum { EVENTS_MAX = 256, PLACES = 256, PATIENCE_MS = 200, MUCH_LONGER = 4, USUAL_OF = 32 };

struct flight {
    int epoll_fd;
    struct sql_call *calls;
    size_t count, left;
    nsec time;     /* of a call without a deadline of its own, from when it begins */
    nsec earliest; /* deadline of those in flight */
    int *fds;      /* per call: the descriptor registered, -1 when none or done */
    size_t begun,
        patient; /* calls before 'begun' have begun; those before 'patient' hold no place */
    size_t held; /* places */
    nsec usual;  /* how long the last answers took, on average */
};

static uint32_t epoll_mask(int events)
{
    return (uint32_t)events; /* EPOLLIN, EPOLLPRI and EPOLLOUT have poll()'s values */
}

/* Connecting may try several addresses, so the descriptor can change between two steps. */
static void watch_call(struct flight *flight, size_t index)
{
    const struct sql_call *call = &flight->calls[index];
    int fd = sql_call_fd(call);
    struct epoll_event event = {.events = epoll_mask(sql_call_events(call)), .data.u64 = index};
    if (epoll_ctl(flight->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0)
        epoll_ctl(flight->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    flight->fds[index] = fd;
}

/* A finished call keeps its connection open: take it out of the set by its number. */
static void call_done(struct flight *flight, size_t index)
{
    if (flight->fds[index] >= 0)
        epoll_ctl(flight->epoll_fd, EPOLL_CTL_DEL, flight->fds[index], NULL);
    flight->fds[index] = -1;
    flight->calls[index].deadline = 0;
    flight->held -= index >= flight->patient;
    flight->left--;
    if (flight->calls[index].status == ST_OK)
        flight->usual +=
            (flight->calls[index].finished - flight->calls[index].started - flight->usual) /
            USUAL_OF;
    if (flight->calls[index].on_done)
        flight->calls[index].on_done(&flight->calls[index]);
}

static void begin_call(struct flight *flight, size_t index)
{
    struct sql_call *call = &flight->calls[index];
    flight->fds[index] = -1;
    if (call->deadline == 0)
        call->deadline = clock_now() + flight->time;
    INVARIANT(call->deadline > 0);
    if (call->deadline < flight->earliest)
        flight->earliest = call->deadline;
    flight->held++;
    if (sql_call_begin(call))
        call_done(flight, index);
    else
        watch_call(flight, index);
}

static nsec patience(const struct flight *flight)
{
    nsec least = PATIENCE_MS * NSEC_PER_MS, usual = MUCH_LONGER * flight->usual;
    return usual > least ? usual : least;
}

/* Those that waited for long make room; then as many begin as there is. */
static void begin_more(struct flight *flight)
{
    nsec now = clock_now();
    for (; flight->patient < flight->begun; flight->patient++) {
        const struct sql_call *call = &flight->calls[flight->patient];
        bool is_done = call->deadline == 0;
        if (!is_done && now - call->started < patience(flight))
            break;
        flight->held -= !is_done;
    }
    while (flight->begun < flight->count && flight->held < PLACES)
        begin_call(flight, flight->begun++);
}

static void step_ready(struct flight *flight, const struct epoll_event *event)
{
    size_t index = (size_t)event->data.u64;
    if (flight->calls[index].deadline == 0)
        return;
    if (sql_call_step(&flight->calls[index], (int)event->events))
        call_done(flight, index);
    else
        watch_call(flight, index);
}

static void expire_calls(struct flight *flight)
{
    nsec now = clock_now();
    flight->earliest = NSEC_NEVER;
    for (size_t i = 0; i < flight->begun; i++) {
        struct sql_call *call = &flight->calls[i];
        if (call->deadline == 0)
            continue;
        if (call->deadline <= now && sql_call_step(call, 0))
            call_done(flight, i);
        else if (call->deadline < flight->earliest)
            flight->earliest = call->deadline;
    }
}

/* When something is to be done although nobody answers: a deadline, or another call's turn. */
static nsec next_turn(const struct flight *flight)
{
    if (flight->begun == flight->count)
        return flight->earliest;
    nsec turn = flight->calls[flight->patient].started + patience(flight);
    return turn < flight->earliest ? turn : flight->earliest;
}

/* What movers do all the time: a set of descriptors for a single one would be half of the work. */
static void run_one(struct sql_call *call, nsec deadline)
{
    if (call->deadline == 0)
        call->deadline = deadline;
    bool is_done = sql_call_begin(call);
    while (!is_done) {
        struct pollfd at = {.fd = sql_call_fd(call), .events = (short)sql_call_events(call)};
        int ready = poll(&at, 1, clock_ms_left(call->deadline));
        is_done = sql_call_step(call, ready > 0 ? at.revents : 0);
    }
    call->deadline = 0;
    if (call->on_done)
        call->on_done(call);
}

void sql_run(struct sql_call *calls, size_t count, nsec deadline)
{
    if (count == 1) {
        run_one(calls, deadline);
        return;
    }
    AUTO_CLOSE int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    INVARIANT(epoll_fd >= 0 && deadline < NSEC_NEVER);
    AUTO_FREE int *fds = mem_zalloc(count * sizeof(*fds));
    struct flight flight = {
        .epoll_fd = epoll_fd,
        .calls = calls,
        .count = count,
        .left = count,
        .time = deadline - clock_now(),
        .earliest = NSEC_NEVER,
        .fds = fds,
    };
    struct epoll_event events[EVENTS_MAX];
    begin_more(&flight);
    while (flight.left > 0) {
        if (clock_now() >= flight.earliest)
            expire_calls(&flight);
        int ready = flight.left == 0 ? 0
                                     : epoll_wait(epoll_fd, events, EVENTS_MAX,
                                                  clock_ms_left(next_turn(&flight)));
        for (int i = 0; i < ready; i++)
            step_ready(&flight, &events[i]);
        begin_more(&flight);
    }
}

enum status sql_exec(struct sql_conn *conn, const char *sql, nsec deadline, struct sql_result *ret,
                     struct err *err)
{
    struct sql_call call = {.conn = conn, .sql = sql};
    sql_run(&call, 1, deadline);
    if (call.status != ST_OK && err)
        *err = call.err;
    if (call.status == ST_OK && ret)
        *ret = call.result;
    else
        sql_call_release(&call);
    return call.status;
}

static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr(" _-.,:/@+", *text))
            return false;
    return true;
}

void sql_quote(struct buf *sql, const char *text)
{
    if (is_plain(text)) {
        buf_printf(sql, "'%s'", text);
        return;
    }
    buf_add(sql, "CONVERT(0x");
    for (; *text; text++)
        buf_printf(sql, "%02x", (unsigned)(unsigned char)*text);
    buf_add(sql, " USING utf8mb4)");
}

void sql_quote_name(struct buf *sql, const char *name)
{
    buf_add(sql, "`");
    for (; *name; name++) {
        buf_add_bytes(sql, name, 1);
        if (*name == '`')
            buf_add(sql, "`");
    }
    buf_add(sql, "`");
}
