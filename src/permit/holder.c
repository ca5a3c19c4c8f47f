/* SPDX-License-Identifier: Apache-2.0
 * What an agent may let serve; see holder.h.
 *
 * Permission is kept for each server: an answer that says that a server is revoked must not extend
 * it, or a slow closing would last as long as the conductor lives. And a server that is known to be
 * revoked stays so until an answer that is newer than its revocation does not name it: answers of
 * several conductors arrive in any order. For the same reason an older answer than one that did not
 * name it closes nothing: the server was given back since, and may be a primary by now. */
#include "permit/holder.h"

#include "base/invariant.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void permit_holder_init(struct permit_holder *holder, const char *const *servers, size_t count,
                        nsec fence_span)
{
    *holder = (struct permit_holder){.servers = mem_zalloc((count + 1) * sizeof(*holder->servers)),
                                     .count = count,
                                     .fence_span = fence_span};
    for (size_t i = 0; i < count; i++)
        holder->servers[i] =
            (struct permit_held){.server = mem_strdup(servers[i]), .until = INT64_MIN};
}

void permit_holder_release(struct permit_holder *holder)
{
    for (size_t i = 0; i < holder->count; i++)
        free(holder->servers[i].server);
    free(holder->servers);
    *holder = (struct permit_holder){0};
}

void permit_holder_resume(struct permit_holder *holder, size_t index, nsec until, int64_t revoked)
{
    holder->servers[index].until = until;
    holder->servers[index].revoked = revoked;
}

static bool names(const struct permit_grant *grant, const char *server)
{
    for (size_t i = 0; i < grant->revoked_count; i++)
        if (strcmp(grant->revoked[i], server) == 0)
            return true;
    return false;
}

static nsec span_of(const struct permit_grant *grant, const char *server)
{
    for (size_t i = 0; i < grant->more_count; i++)
        if (strcmp(grant->more[i].server, server) == 0)
            return grant->more[i].span;
    return grant->span;
}

static int64_t later(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

static void hear(struct permit_held *held, const struct permit_grant *grant, nsec sent)
{
    nsec span = span_of(grant, held->server);
    nsec until = span > 0 ? sent + span : INT64_MIN;
    if (names(grant, held->server)) {
        if (grant->version >= held->given) /* else it is what was so before */
            held->revoked = later(grant->version, held->revoked);
        return;
    }
    if (grant->version < held->revoked)
        return;
    held->revoked = 0;
    held->given = later(grant->version, held->given);
    if (until <= held->until)
        return;
    held->until = until;
    held->is_shut = false; /* from here on it may be opened */
    held->closed = 0;
}

void permit_holder_on_grant(struct permit_holder *holder, nsec sent,
                            const struct permit_grant *grant)
{
    for (size_t i = 0; i < holder->count; i++)
        hear(&holder->servers[i], grant, sent);
    if (grant->version > holder->version)
        holder->version = grant->version;
}

/* When closing must begin. */
static nsec close_at(const struct permit_holder *holder, const struct permit_held *held)
{
    return held->revoked || held->until == INT64_MIN ? INT64_MIN : held->until - holder->fence_span;
}

bool permit_holder_must_close(const struct permit_holder *holder, size_t index, nsec now)
{
    INVARIANT(index < holder->count);
    return now >= close_at(holder, &holder->servers[index]);
}

bool permit_holder_is_shut(const struct permit_holder *holder, size_t index)
{
    return holder->servers[index].is_shut;
}

nsec permit_holder_due(const struct permit_holder *holder)
{
    nsec due = NSEC_NEVER;
    for (size_t i = 0; i < holder->count; i++) {
        const struct permit_held *held = &holder->servers[i];
        nsec at = held->is_shut ? NSEC_NEVER : close_at(holder, held);
        due = at < due ? at : due;
    }
    return due;
}

struct permit_moment permit_holder_moment(const struct permit_holder *holder, size_t index)
{
    return (struct permit_moment){holder->version, holder->servers[index].until};
}

void permit_holder_on_shut(struct permit_holder *holder, size_t index, struct permit_moment moment)
{
    struct permit_held *held = &holder->servers[index];
    if (moment.until != held->until)
        return;
    held->is_shut = true;
    held->closed = moment.version;
}

void permit_holder_on_open(struct permit_holder *holder, size_t index)
{
    holder->servers[index].is_shut = false;
    holder->servers[index].closed = 0;
}

bool permit_holder_may_sign(const struct permit_holder *holder, nsec watchdog, nsec now)
{
    for (size_t i = 0; i < holder->count; i++) {
        const struct permit_held *held = &holder->servers[i];
        nsec at = close_at(holder, held);
        if (!held->is_shut && (at == INT64_MIN || at - now < watchdog))
            return false;
    }
    return true;
}
