/* SPDX-License-Identifier: Apache-2.0
 * The event loop; see loop.h. Timers are a binary heap that never shrinks. */
#include "sim/loop.h"

#include "base/invariant.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_MAX = 256 };

struct loop {
    int epoll_fd;
    bool is_stopped;
    void (*after)(void *context);
    void *context;
    struct timer *timers; /* a heap: the first one is due first */
    size_t count, capacity;
};

struct loop *loop_new(void (*after)(void *context), void *context)
{
    struct loop *loop = mem_zalloc(sizeof(*loop));
    loop->after = after;
    loop->context = context;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    INVARIANT(loop->epoll_fd >= 0);
    return loop;
}

void loop_free(struct loop *loop)
{
    close(loop->epoll_fd);
    free(loop->timers);
    free(loop);
}

static void control(struct loop *loop, int operation, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    INVARIANT(epoll_ctl(loop->epoll_fd, operation, watch->fd, &event) == 0);
}

void loop_add(struct loop *loop, struct watch *watch, int fd)
{
    watch->fd = fd;
    control(loop, EPOLL_CTL_ADD, watch, EPOLLIN);
}

void loop_want_write(struct loop *loop, struct watch *watch, bool wanted)
{
    control(loop, EPOLL_CTL_MOD, watch, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void loop_close(struct loop *loop, struct watch *watch)
{
    if (watch->fd < 0)
        return;
    control(loop, EPOLL_CTL_DEL, watch, 0);
    close(watch->fd);
    watch->fd = -1;
}

void loop_at(struct loop *loop, const struct timer *timer)
{
    struct timer moved = *timer;
    VEC_PUSH(loop->timers, loop->count, loop->capacity, moved);
    size_t at = loop->count - 1;
    for (; at > 0 && loop->timers[(at - 1) / 2].due > moved.due; at = (at - 1) / 2)
        loop->timers[at] = loop->timers[(at - 1) / 2];
    loop->timers[at] = moved;
}

static struct timer take_first(struct loop *loop)
{
    struct timer first = loop->timers[0];
    struct timer last = loop->timers[--loop->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < loop->count && loop->timers[child + 1].due < loop->timers[child].due)
            child++;
        if (child >= loop->count || loop->timers[child].due >= last.due)
            break;
        loop->timers[at] = loop->timers[child];
        at = child;
    }
    if (loop->count > 0)
        loop->timers[at] = last;
    return first;
}

static void run_timers(struct loop *loop)
{
    nsec now = clock_now();
    while (loop->count > 0 && loop->timers[0].due <= now) {
        struct timer timer = take_first(loop);
        timer.on_due(&timer);
        loop->after(loop->context);
    }
}

/* To the nanosecond: half a millisecond of lag must not become a whole one. */
static int wait_for_events(struct loop *loop, struct epoll_event *events)
{
    if (loop->count == 0)
        return epoll_wait(loop->epoll_fd, events, EVENTS_MAX, -1);
    nsec left = loop->timers[0].due - clock_now();
    left = left > 0 ? left : 0;
    struct timespec wait = {left / NSEC_PER_SEC, left % NSEC_PER_SEC};
    return epoll_pwait2(loop->epoll_fd, events, EVENTS_MAX, &wait, NULL);
}

void loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    while (!loop->is_stopped) {
        int ready = wait_for_events(loop, events);
        for (int i = 0; i < ready; i++) {
            struct watch *watch = events[i].data.ptr;
            if (watch->fd < 0)
                continue;
            watch->on_ready(watch);
            loop->after(loop->context);
        }
        run_timers(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->is_stopped = true;
}
