/* SPDX-License-Identifier: Apache-2.0
 * See fence.h. */
#include "agent/fence.h"

#include "base/scope.h"

#include <stddef.h>

enum {
    BOUND_PART = 10,
    BOUND_MS_MIN = 50,
    BOUND_MS_MAX = 200,
    KILL_AGAIN_MS = 100,
    ALARM_MS = 1000,
};

nsec fence_bound(nsec ttl)
{
    nsec bound = ttl / BOUND_PART;
    if (bound < BOUND_MS_MIN * NSEC_PER_MS)
        return BOUND_MS_MIN * NSEC_PER_MS;
    return bound > BOUND_MS_MAX * NSEC_PER_MS ? BOUND_MS_MAX * NSEC_PER_MS : bound;
}

struct fence_moment {
    const struct fence_view *view;
    nsec ttl, now;
};

static bool is_allowed(const struct fence_moment *at)
{
    return at->view->is_allowed;
}

static bool is_shut(const struct fence_moment *at)
{
    return at->view->is_shut;
}

static nsec kill_at(const struct fence_view *view, nsec ttl)
{
    nsec first = view->began + fence_bound(ttl);
    nsec again = view->killed_at + KILL_AGAIN_MS * NSEC_PER_MS;
    return view->killed_at && again > first ? again : first;
}

static bool can_wait_no_more(const struct fence_moment *at)
{
    return at->view->has_process && at->now >= kill_at(at->view, at->ttl);
}

static bool is_to_be_told(const struct fence_moment *at)
{
    return !at->view->is_shutting && at->now >= at->view->retry_at;
}

static bool always(const struct fence_moment *at UNUSED)
{
    return true;
}

/* clang-format off */
static const struct {
    bool (*guard)(const struct fence_moment *at);
    enum deed deed;
} rules[] = {   /* first match wins */
    {is_allowed,        DEED_NONE}, /* it may serve */
    {is_shut,           DEED_NONE}, /* it refuses writes */
    {can_wait_no_more,  DEED_KILL}, /* it did not refuse writes in time */
    {is_to_be_told,     DEED_SHUT}, /* it may not serve */
    {always,            DEED_NONE}, /* it was told so, or cannot be told yet */
};
/* clang-format on */

enum deed fence_plan(const struct fence_view *view, nsec ttl, nsec now)
{
    struct fence_moment at = {view, ttl, now};
    size_t i = 0;
    while (!rules[i].guard(&at))
        i++;
    return rules[i].deed;
}

nsec fence_next(const struct fence_view *view, nsec ttl, nsec now)
{
    nsec next = NSEC_NEVER;
    if (view->is_allowed || view->is_shut)
        return next;
    if (view->has_process)
        next = kill_at(view, ttl);
    if (!view->is_shutting && view->retry_at < next)
        next = view->retry_at;
    return next < now ? now : next;
}

nsec fence_alarm(const struct fence_view *view)
{
    bool is_needless = view->is_allowed || view->is_shut || view->is_told_of;
    return is_needless ? NSEC_NEVER : view->began + ALARM_MS * NSEC_PER_MS;
}
