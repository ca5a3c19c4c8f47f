/* SPDX-License-Identifier: Apache-2.0
 * See presence.h. */
#include "keeper/presence.h"

/* One that ends as soon as it is started is not there, however often that is. */
static bool is_here(const struct presence *presence, const struct sight *sight, nsec now)
{
    return !presence->has_signs && sight->runs && !sight->is_stopped &&
           now - sight->started >= PRESENCE_STEADY_MS * NSEC_PER_MS;
}

/* A look that comes late says that this process did not run either: that span does not count. */
void presence_look(struct presence *presence, const struct sight *sight, nsec now)
{
    nsec gap = now - presence->looked, longest = 2 * PRESENCE_LOOK_MS * NSEC_PER_MS;
    if (gap > longest)
        presence->here += gap - longest;
    if (is_here(presence, sight, now))
        presence->here = now;
    if (sight->runs && sight->last_sign > presence->here)
        presence->here = sight->last_sign;
    presence->looked = now;
}

bool presence_is_away(const struct presence *presence)
{
    return presence->looked - presence->here > presence->grace;
}
