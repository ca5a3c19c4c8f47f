/* SPDX-License-Identifier: Apache-2.0
 *
 * The one event loop of simfleet: descriptors, timers, and a hook after each of their callbacks.
 * One thread. Whoever stops watching may still get an event that was read before: callbacks look
 * at their descriptor instead of believing the event.
 */
#ifndef HOLDFAST_SIM_LOOP_H
#define HOLDFAST_SIM_LOOP_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct watch {
    int fd; /* -1: not watched */
    void (*on_ready)(struct watch *watch);
};

/* 'stamp' says which life of the object was meant, 'value' is the caller's. */
struct timer {
    nsec due;
    void (*on_due)(const struct timer *timer);
    void *object;
    uint64_t stamp, value;
};

struct loop;

struct loop *loop_new(void (*after)(void *context), void *context);
void loop_free(struct loop *loop);
void loop_add(struct loop *loop, struct watch *watch, int fd);
void loop_want_write(struct loop *loop, struct watch *watch, bool wanted);
/* Stop watching and close the descriptor. */
void loop_close(struct loop *loop, struct watch *watch);
void loop_at(struct loop *loop, const struct timer *timer);
void loop_run(struct loop *loop); /* until loop_stop() */
void loop_stop(struct loop *loop);

#endif
