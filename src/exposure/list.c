/* SPDX-License-Identifier: Apache-2.0
 * Of several shards; see exposure.h. */
#include "exposure/exposure.h"

#include "base/mem.h"

#include <stdlib.h>

void exposure_list_release(struct exposure_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        exposure_release(&list->items[i]);
    free(list->items);
    *list = (struct exposure_list){0};
}

void exposure_list_compare(const struct exposure_look *first, const struct exposure_look *second,
                           struct exposure_list *ret)
{
    ret->count = second->seen->count;
    ret->items = mem_zalloc((ret->count + 1) * sizeof(*ret->items));
    for (size_t i = 0; i < ret->count; i++) {
        struct exposure_track *track = exposure_track_new(second->seen->shards[i].shard);
        exposure_track_look(track, &first->seen->shards[i], first->began);
        exposure_track_look(track, &second->seen->shards[i], second->began);
        exposure_get(track, &ret->items[i]);
        exposure_track_free(track);
    }
}
