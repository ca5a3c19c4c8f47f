/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the store: what a driver implements, and the pending object through which every write
 * travels. store.c checks arguments once, so drivers see only valid requests and a non-NULL err.
 *
 * A pending has two references: the caller's and the driver's. Its state moves under its lock:
 *   QUEUED -> RUNNING -> DONE, or QUEUED -> DONE (withdrawn at a deadline, refused, closed).
 * Only a RUNNING one can have an unknown outcome.
 */
#ifndef HOLDFAST_STORE_DRIVER_H
#define HOLDFAST_STORE_DRIVER_H

#include "base/err.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum store_request_kind {
    STORE_REQ_TXN,
    STORE_REQ_GRANT,
    STORE_REQ_KEEPALIVE,
    STORE_REQ_REVOKE,
    STORE_REQ_BARRIER /* the embedded driver's own: an ordered no-op */
};

struct store_request {
    enum store_request_kind kind;
    struct store_txn txn; /* a deep copy, owned */
    char *prefix;         /* of store_txn_repeatable(), owned; NULL: it is another one */
    int64_t lease, ttl_ms;
};

struct store_driver {
    void (*close)(struct store *store);
    enum status (*maintain)(struct store *store, nsec deadline, struct err *err);
    enum status (*check)(struct store *store, nsec deadline, struct store_health *ret,
                         struct err *err); /* NULL: there is nothing to be found */
    enum status (*get)(struct store *store, const char *key, nsec deadline,
                       struct store_entry *ret_entry, struct err *err);
    enum status (*list)(struct store *store, const char *prefix, nsec deadline,
                        struct store_list *ret_list, struct err *err);
    /* Takes the driver's reference; ends in exactly one store__pending_complete(). Never blocks. */
    void (*submit)(struct store *store, struct store_pending *pending);
    enum status (*watch_open)(struct store *store, const char *prefix, int64_t after_rev,
                              struct store_watch **ret_watch, struct err *err);
    enum status (*watch_next)(struct store_watch *watch, nsec deadline,
                              struct store_changes *ret_changes, struct err *err);
    int (*watch_fd)(const struct store_watch *watch);
    void (*watch_close)(struct store_watch *watch);
};

/* First member of every driver's own struct. */
struct store {
    const struct store_driver *driver;
    bool elects; /* a majority decides: for a while there may be nobody to answer */
};
struct store_watch {
    const struct store_driver *driver;
};

enum store_pending_state { STORE_QUEUED, STORE_RUNNING, STORE_DONE };

struct store_pending {
    pthread_mutex_t lock;
    pthread_cond_t done;
    atomic_int references;
    enum store_pending_state state;
    nsec made_at, deadline; /* it does not begin after this */
    struct store_request request;
    struct store_pending *next; /* in the driver's queue */

    /* Set by the driver that accepts it. */
    atomic_int *abandoned_count; /* RUNNING transactions whose waiter gave up */
    atomic_bool *lock_busy;      /* true while another process keeps writers waiting */
    bool abandoned;

    /* Lets a wrapper change the outcome before anybody sees it. */
    void (*on_complete)(struct store_pending *pending);
    void *on_complete_context;

    enum status status; /* valid in DONE, with the two below */
    struct store_txn_result result;
    struct store_list list; /* owned; revision 0: the driver has listed nothing */
    struct err err;
};

struct store_pending *store__pending_new(const struct store_request *request, nsec deadline);
/* False when it was withdrawn or its deadline has passed: then it is DONE and the driver only
 * drops its reference. */
bool store__pending_begin(struct store_pending *pending);
/* Publish 'pending->status' and its companions, and drop the driver's reference. */
void store__pending_complete(struct store_pending *pending);
/* The same, with an outcome that is given here. */
void store__pending_fail(struct store_pending *pending, enum status status, const struct err *err);
enum status store__pending_wait(struct store_pending *pending, nsec deadline, struct err *err);
/* Was its caller told ST_UNKNOWN while it runs? */
bool store__pending_is_abandoned(struct store_pending *pending);
void store__pending_unref(struct store_pending *pending);

enum status store__local_open(const char *directory, nsec deadline, struct store **ret_store,
                              struct err *err);
/* 'members': what follows "etcd://". */
enum status store__etcd_check(const char *members, struct err *err);
enum status store__etcd_open(const char *members, const struct store_access *access, nsec deadline,
                             struct store **ret_store, struct err *err);

#endif
