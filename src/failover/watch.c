/* SPDX-License-Identifier: Apache-2.0
 * See watch.h. */
#include "failover/watch.h"

#include "base/invariant.h"

#include <string.h>

const char *loss_verdict_text(enum loss_verdict verdict)
{
    static const char *const texts[] = {LOSS_VERDICT_TABLE(TABLE_TEXT)};
    INVARIANT((unsigned)verdict < LOSS_VERDICTS);
    return texts[verdict];
}

static bool is_flapping(const struct loss_watch *watch, const struct loss_rules *rules, nsec now)
{
    INVARIANT(rules->most <= LOSS_MOST_MAX);
    if (rules->most == 0)
        return false;
    nsec oldest = watch->done[rules->most - 1];
    return oldest && now - oldest < rules->window;
}

enum loss_verdict loss_watch_see(struct loss_watch *watch, const struct loss_rules *rules,
                                 bool answers, enum witness witness, nsec now)
{
    if (answers) { /* when it is lost once more, that is another loss */
        watch->silent_since = watch->tried = 0;
        return LOSS_NONE;
    }
    if (!watch->silent_since)
        watch->silent_since = now;
    if (witness == WITNESS_NONE)
        return LOSS_UNCOVERED;
    if (is_flapping(watch, rules, now))
        return LOSS_FLAPPING;
    if (watch->done[0] && now - watch->done[0] < rules->hold_down)
        return LOSS_HELD_DOWN;
    if (watch->tried && now - watch->tried < rules->again)
        return LOSS_TRIED;
    if (witness == WITNESS_DEAD) /* it is told, not guessed */
        return LOSS_CERTAIN;
    if (now - watch->silent_since < rules->suspect)
        return LOSS_SUSPECTED;
    return witness == WITNESS_ALIVE ? LOSS_DOUBTFUL : LOSS_CERTAIN;
}

void loss_watch_done(struct loss_watch *watch, nsec now)
{
    memmove(watch->done + 1, watch->done, sizeof(watch->done) - sizeof(watch->done[0]));
    watch->done[0] = now;
    watch->silent_since = watch->tried = 0;
}

void loss_watch_failed(struct loss_watch *watches, size_t count, size_t index, nsec now)
{
    watches[index].tried = now;
    for (size_t i = 0; i < count; i++)
        if (watches[i].tried)
            watches[i].tried = now;
}
