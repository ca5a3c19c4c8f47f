/* SPDX-License-Identifier: Apache-2.0
 * See permission.h. */
#include "agent/permission.h"

enum { MARGIN_PART = 10, TRIAL_PART = 2 };

void permission_begin(struct permission *permission, nsec ttl, nsec carried, nsec now)
{
    *permission = (struct permission){.ttl = ttl, .until = carried};
    if (carried == 0)
        permission->trial_until = now + ttl / TRIAL_PART;
}

void permission_grant(struct permission *permission, nsec sent, int64_t serve_ms)
{
    nsec most = permission->ttl - permission->ttl / MARGIN_PART;
    nsec span = serve_ms > most / NSEC_PER_MS ? most : serve_ms * NSEC_PER_MS;
    if (span > 0 && sent + span > permission->until)
        permission->until = sent + span;
}

bool permission_is_news(struct permission *permission, int64_t revision)
{
    if (revision < permission->revision)
        return false;
    permission->revision = revision;
    return true;
}

void permission_end_trial(struct permission *permission)
{
    permission->trial_until = 0;
}

nsec permission_end(const struct permission *permission)
{
    return permission->until > permission->trial_until ? permission->until
                                                       : permission->trial_until;
}

bool permission_holds(const struct permission *permission, nsec now)
{
    return now < permission_end(permission);
}
