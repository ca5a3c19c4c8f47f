/* SPDX-License-Identifier: Apache-2.0
 * The event loop: calls on many connections, one timer, and deadlines. A connection stays
 * registered while it is idle, so that one that the server closed is noticed before a write is
 * sent into it (whose outcome would then count as unknown). */
#include "base/invariant.h"
#include "base/mem.h"
#include "load/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    LOOP_EVENTS = 128,
    LOOP_WAIT_MS = 100, /* bounds a signal that came just before the wait */
    SCAN_MS = 20,       /* how often deadlines of calls are looked at */
};

enum status load__loop_open(struct loop *loop, struct err *err)
{
    *loop = (struct loop){.wake = NSEC_NEVER};
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->timer_fd < 0)
        return err_set_errno(err, errno, "open", "event loop");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    INVARIANT(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->timer_fd, &event) == 0);
    return ST_OK;
}

void load__loop_close(struct loop *loop)
{
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop->channels);
}

/* Told apart by its pointer: the timer has none, a channel its own, another descriptor the loop's.
 */
void load__loop_add_fd(struct loop *loop, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = loop};
    INVARIANT(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void load__loop_wake_at(struct loop *loop, nsec when)
{
    if (when < loop->wake)
        loop->wake = when;
}

/* A timer in the past fires at once. An armed timer that is early costs one empty round. */
static void arm(struct loop *loop)
{
    if (loop->wake == NSEC_NEVER || (loop->armed && loop->armed <= loop->wake))
        return;
    nsec at = loop->wake > 0 ? loop->wake : 1;
    struct itimerspec when = {.it_value = {at / NSEC_PER_SEC, at % NSEC_PER_SEC}};
    INVARIANT(timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    loop->armed = at;
}

/* Also between calls, for EPOLLIN. Only while connecting the descriptor may change unnoticed. */
static void watch_channel(struct channel *channel, int events)
{
    int fd = sql_call_fd(&channel->call);
    if (load__channel_is_open(channel) && fd == channel->fd && events == channel->events)
        return;
    struct epoll_event event = {.events = (uint32_t)events, .data.ptr = channel};
    if (epoll_ctl(channel->loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0)
        INVARIANT(epoll_ctl(channel->loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    channel->fd = fd;
    channel->events = events;
}

static void call_done(struct channel *channel)
{
    channel->is_busy = false;
    if (load__channel_is_open(channel))
        watch_channel(channel, EPOLLIN);
    else
        channel->fd = -1; /* closed, and with that out of the set */
    channel->on_done(channel);
    sql_call_release(&channel->call);
}

/* Nothing may come on an idle connection but its end, or the server's last words. */
static void check_idle(struct channel *channel)
{
    char byte;
    ssize_t got = recv(channel->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got >= 0 || errno != EAGAIN)
        load__channel_break(channel);
}

static void step(struct channel *channel, int events)
{
    if (!channel->is_busy) {
        if (channel->fd >= 0)
            check_idle(channel);
    } else if (sql_call_step(&channel->call, events)) {
        call_done(channel);
    } else {
        watch_channel(channel, sql_call_events(&channel->call));
    }
}

static void scan_deadlines(struct loop *loop, nsec now)
{
    if (now < loop->next_scan)
        return;
    loop->next_scan = now + SCAN_MS * NSEC_PER_MS;
    for (size_t i = 0; i < loop->count; i++)
        if (loop->channels[i]->is_busy && loop->channels[i]->call.deadline <= now)
            step(loop->channels[i], 0);
}

void load__loop_round(struct loop *loop)
{
    struct epoll_event events[LOOP_EVENTS];
    arm(loop);
    int ready = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, LOOP_WAIT_MS);
    nsec now = clock_now();
    if (loop->armed && loop->armed <= now) {
        uint64_t times;
        loop->armed = 0;
        if (read(loop->timer_fd, &times, sizeof(times)) < 0)
            INVARIANT(errno == EAGAIN); /* the clock moved on since epoll_wait(): it fires later */
    }
    loop->wake = NSEC_NEVER;
    for (int i = 0; i < ready; i++) {
        if (events[i].data.ptr == loop)
            loop->has_news = true;
        else if (events[i].data.ptr)
            step(events[i].data.ptr, (int)events[i].events);
    }
    scan_deadlines(loop, now);
}

void load__channel_init(struct channel *channel, struct loop *loop,
                        void (*on_done)(struct channel *channel), void *owner)
{
    *channel = (struct channel){.loop = loop, .fd = -1, .on_done = on_done, .owner = owner};
    VEC_PUSH(loop->channels, loop->count, loop->capacity, channel);
}

void load__channel_bind(struct channel *channel, const struct sql_endpoint *endpoint)
{
    load__channel_break(channel);
    sql_conn_free(channel->conn);
    channel->conn = sql_conn_new(endpoint);
}

bool load__channel_is_open(const struct channel *channel)
{
    return channel->conn && sql_conn_is_open(channel->conn);
}

void load__channel_begin(struct channel *channel, nsec deadline)
{
    INVARIANT(!channel->is_busy);
    channel->call = (struct sql_call){.conn = channel->conn,
                                      .sql = channel->sql.length ? channel->sql.data : NULL,
                                      .deadline = deadline};
    channel->is_busy = true;
    if (sql_call_begin(&channel->call))
        call_done(channel);
    else
        watch_channel(channel, sql_call_events(&channel->call));
}

void load__channel_break(struct channel *channel)
{
    if (channel->conn)
        sql_conn_break(channel->conn);
    if (channel->is_busy)
        sql_call_release(&channel->call);
    channel->is_busy = false;
    channel->fd = -1;
}

void load__channel_release(struct channel *channel)
{
    load__channel_break(channel);
    sql_conn_free(channel->conn);
    channel->conn = NULL;
    buf_release(&channel->sql);
}
