/* SPDX-License-Identifier: Apache-2.0
 * What agents told a conductor of their servers; see basis.h. Kept in memory only: after a restart
 * a server counts as one that no agent looks after until its agent asks. */
#include "permit/basis.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void permit_ears_release(struct permit_ears *ears)
{
    for (size_t i = 0; i < ears->count; i++) {
        free(ears->items[i].server);
        free(ears->items[i].host);
    }
    free(ears->items);
    *ears = (struct permit_ears){0};
}

static int by_server(const void *name, const void *item)
{
    return strcmp(name, ((const struct permit_heard *)item)->server);
}

const struct permit_heard *permit_ears_find(const struct permit_ears *ears, const char *server)
{
    return ears->count > 0
               ? bsearch(server, ears->items, ears->count, sizeof(*ears->items), by_server)
               : NULL;
}

static struct permit_heard *insert(struct permit_ears *ears, const char *server)
{
    struct permit_heard heard = {.server = mem_strdup(server), .granted = INT64_MIN};
    VEC_PUSH(ears->items, ears->count, ears->capacity, heard);
    size_t at = ears->count - 1;
    for (; at > 0 && strcmp(ears->items[at - 1].server, server) > 0; at--)
        ears->items[at] = ears->items[at - 1];
    ears->items[at] = heard;
    return &ears->items[at];
}

/* A report that comes late can only make it look less closed than it is, or repeat what is true as
 * long as that revocation is. */
void permit_ears_on_told(struct permit_ears *ears, const struct permit_told *told, nsec now)
{
    struct permit_heard *heard =
        (struct permit_heard *)permit_ears_find(ears, told->server); /* ours, not const */
    if (!heard)
        heard = insert(ears, told->server);
    if (!heard->host || strcmp(heard->host, told->host) != 0) {
        free(heard->host);
        heard->host = mem_strdup(told->host);
    }
    heard->at = now;
    if (told->is_granted)
        heard->granted = now;
    heard->is_closed = told->is_closed;
    if (!told->is_closed)
        heard->closed = 0;
    else if (told->version > heard->closed)
        heard->closed = told->version;
}
