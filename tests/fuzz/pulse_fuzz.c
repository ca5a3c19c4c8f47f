/* SPDX-License-Identifier: Apache-2.0
 * Fuzz permit/pulse.h: beats of a few lines, a second apart each, whatever they say: the bound
 * never goes back, is never later than now, and the newest beat is the one that was fed last. */
#include "permit/pulse.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = mem_zalloc(size + 1);
    struct permit_pulse pulse = {0};
    int64_t revision = 0;
    char *rest = text;
    memcpy(text, data, size);
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        nsec now = ++revision * NSEC_PER_SEC, before = pulse.sent_by;
        if (line[0] == '!')
            permit_pulse_on_reading(&pulse, revision, line + 1, now);
        else
            permit_pulse_on_change(&pulse, revision, line, now);
        INVARIANT(pulse.revision == revision);
        INVARIANT(pulse.sent_by >= before && pulse.sent_by <= now);
    }
    return 0;
}
