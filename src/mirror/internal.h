/* SPDX-License-Identifier: Apache-2.0
 * Inside mirror/ only: what is kept, and what the three files want of each other. */
#ifndef HOLDFAST_MIRROR_INTERNAL_H
#define HOLDFAST_MIRROR_INTERNAL_H

#include "mirror/bell.h"
#include "mirror/listeners.h"
#include "mirror/mirror.h"
#include "mirror/shelf.h"
#include "permit/pulse.h"

#include <pthread.h>

enum {
    SHELF_ROUTES,
    SHELF_HOLD,
    SHELF_RUNS,
    SHELF_PAUSE,
    SHELF_DRAINED,
    SHELF_REGIONS,
    SHELF_FENCES,
    SHELF_TERM,
    SHELF_ENDS,
    SHELF_REVOKED,
    SHELVES
};

struct mirror {
    struct daemon_store *store;
    struct daemon_bell bell;
    pthread_t thread;
    struct store_watch *watch; /* the thread's; NULL: all is to be read again */
    nsec ping_at;
    pthread_mutex_t lock; /* of the rest */
    struct shelf shelves[SHELVES];
    bool was_read;
    int64_t routes_revision;
    int64_t revision; /* of the store: all changes up to that one have come */
    struct err problem;
    struct listeners listeners;
    size_t region_count;
    struct mirrored { /* a region of the fleet */
        char *key;    /* owned, of its beats */
        struct permit_pulse pulse;
    } * regions;
    mirror_note *on_revoked; /* NULL: nobody wants to hear of it */
    void *context;
};

/* mirror.c. NULL: the fleet has none with this key. */
struct mirrored *mirror__find_region(struct mirror *mirror, const char *key);
/* What the key names: "s0" of "shards/s0". */
const char *mirror__name(unsigned shelf, const struct store_entry *entry);

/* documents.c, under the lock: who listens hears of a change. */
void mirror__tell_of_route(struct mirror *mirror, const struct store_entry *entry);
void mirror__tell_of_run(struct mirror *mirror, const struct store_entry *entry);
void mirror__tell_of_end(struct mirror *mirror, const struct store_entry *entry);
/* Under the lock; the caller frees. */
char *mirror__routes_text(struct mirror *mirror);

#endif
