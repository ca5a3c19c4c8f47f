/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts that shall have no role: their marks in the store, "drained/HOST", written under the run
 * lock only (order.h). Whoever elects a primary or chooses a relay asks here first. A mark names
 * servers, as the fleet file had them, and what they were when the host was drained.
 */
#ifndef HOLDFAST_DRAIN_MARK_H
#define HOLDFAST_DRAIN_MARK_H

#include "base/clock.h"
#include "base/err.h"
#include "base/table.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_list;

#define DRAIN_PREFIX "drained/"

#define DRAIN_STATE_TABLE(X)                                                                       \
    X(DRAIN_GOING, "draining")    /* not all roles are away yet, or it was stopped */              \
    X(DRAIN_DONE, "drained")      /* it may go down */                                             \
    X(DRAIN_RETURNS, "returning") /* it may have roles again, and gets back what it had */

enum drain_state { DRAIN_STATE_TABLE(TABLE_ID) DRAIN_STATES };

struct drain_names {
    char **items;
    size_t count, capacity;
};

struct drain_mark {
    char *host;
    enum drain_state state;
    char *by, *origin, *reason;   /* reason: NULL when none was given */
    int64_t since_us;             /* wall time */
    struct drain_names servers;   /* of the host */
    struct drain_names primaries; /* of those: were primary when the host was drained */
    struct drain_names relays;    /* were relay */
    char *problem;                /* it does not read, and why; the rest is empty then */
};

struct drain_list {
    struct drain_mark *items; /* by host */
    size_t count;
};

MUST_CHECK enum status drain_list_load(struct store *store, nsec deadline, struct drain_list *ret,
                                       struct err *err);
/* Of entries below the prefix. One that does not read is in it, with its problem. */
void drain_list_read(const struct store_list *entries, struct drain_list *ret);
void drain_list_release(struct drain_list *list);
struct drain_mark *drain_list_find(const struct drain_list *list, const char *host); /* or NULL */

/* Shall the server have no role? NULL: no host is drained. */
bool drain_keeps_off(const struct drain_list *list, const char *server);
/* Is it to be the relay again? */
bool drain_wants_relay(const struct drain_list *list, const char *server);

void drain_names_add(struct drain_names *names, const char *name); /* once */
bool drain_names_have(const struct drain_names *names, const char *name);
void drain_names_release(struct drain_names *names);

void drain_mark_release(struct drain_mark *mark);
char *drain_mark_encode(const struct drain_mark *mark); /* the caller frees */
json_t *drain_mark_json(const struct drain_mark *mark); /* for people's programs */
/* "host db-w1 drained since ... by alice@ops1 (on pts/3): new disks"; the caller frees. */
char *drain_mark_format(const struct drain_mark *mark);
char *drain_key(const char *host); /* the caller frees */

#endif
