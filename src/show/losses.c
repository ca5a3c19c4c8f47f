/* SPDX-License-Identifier: Apache-2.0
 * See losses.h. */
#include "show/losses.h"

#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"

#include <string.h>

enum { IN_SECONDS_MS = 10000, IN_MINUTES_MS = 600 * 1000 };

/* In seven characters at most. */
static char *span_text(double ms)
{
    return ms < 0               ? mem_strdup("-")
           : ms < IN_SECONDS_MS ? mem_printf("%.0f ms", ms)
           : ms < IN_MINUTES_MS ? mem_printf("%.0f s", ms / 1e3)
                                : mem_printf("%.0f min", ms / 60e3);
}

char *losses_cell(const struct status_loss *loss)
{
    AUTO_FREE char *span = span_text(loss->region ? loss->ms : -1);
    return mem_printf("  %7s", span);
}

/* The shard of that region which would lose most; NULL: none is known. */
static const struct status_shard *find_worst(const struct fleet_status *seen, const char *region)
{
    const struct status_shard *worst = NULL;
    for (size_t i = 0; i < seen->count; i++) {
        const struct status_shard *at = &seen->shards[i];
        if (!at->loss.region || strcmp(at->loss.region, region) != 0)
            continue;
        if (!worst || at->loss.ms < 0 || (worst->loss.ms >= 0 && at->loss.ms > worst->loss.ms))
            worst = at;
    }
    return worst;
}

/* What is cut off, but alive, acknowledges more until it closes. */
static char *cut_text(const struct inventory *fleet)
{
    AUTO_FREE char *ttl = span_text((double)fleet->permission_ttl_ms);
    AUTO_FREE char *rpo = span_text((double)fleet->promise_rpo_ms);
    if (fleet->host_count == 0)
        return mem_strdup("");
    return fleet->is_rpo_guarded ? mem_printf("; a cut, %s at most", rpo)
                                 : mem_printf("; a cut, up to %s more", ttl);
}

void losses_show(const struct inventory *fleet, const struct fleet_status *seen, FILE *out)
{
    AUTO_FREE char *cut = cut_text(fleet);
    for (size_t i = 0; i < fleet->region_count; i++) {
        const struct status_shard *worst = find_worst(seen, fleet->regions[i]);
        if (!worst)
            continue;
        if (worst->loss.ms < 0) {
            fprintf(out,
                    "what a loss of %s would cost %s is not known: the other region has not "
                    "told what it has\n",
                    fleet->regions[i], worst->name);
            continue;
        }
        AUTO_FREE char *span = span_text(worst->loss.ms);
        fprintf(out, "a loss of %s now would cost %s at most %s", fleet->regions[i], worst->name,
                span);
        if (worst->loss.transactions >= 0)
            fprintf(out, " and about %lld transaction%s", (long long)worst->loss.transactions,
                    worst->loss.transactions == 1 ? "" : "s");
        fprintf(out, "%s\n", cut);
    }
}
