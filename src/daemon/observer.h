/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at the whole fleet again and again, on a thread of its own, and hands over each
 * observation: one look begins a second after the one before, or as soon as that has ended.
 */
#ifndef HOLDFAST_DAEMON_OBSERVER_H
#define HOLDFAST_DAEMON_OBSERVER_H

#include "base/clock.h"

struct fleet_observation;
struct inventory;
struct observer;

/* Called on the observer's thread; takes what is in 'seen', and leaves it empty. What is said there
 * was true after 'began'. */
typedef void observer_take(void *context, struct fleet_observation *seen, nsec began);

struct observer *observer_start(const struct inventory *fleet, observer_take *take, void *context);
void observer_stop(struct observer *observer); /* NULL is fine */

#endif
