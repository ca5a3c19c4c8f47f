/* SPDX-License-Identifier: Apache-2.0
 *
 * The coordination store: a small ordered map from keys to text that several processes share, with
 * all-or-nothing transactions, leases and watches. It is shaped like etcd v3, so that routes, locks
 * and runs are written the same way over the embedded driver ("file:///DIRECTORY", SQLite, one
 * machine) and over a consensus store. Every committed change gets the next revision of one
 * counter.
 *
 * A 'struct store' may be used by any number of threads. It does not survive fork(): a child opens
 * its own. Deadlines are points on the boot clock (base/clock.h). 'err' may be NULL everywhere.
 */
#ifndef HOLDFAST_STORE_STORE_H
#define HOLDFAST_STORE_STORE_H

#include "base/clock.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct http_tls; /* net/http.h */
struct secret;
struct store;         /* one opened store */
struct store_pending; /* a transaction that was started */
struct store_watch;

enum {
    STORE_KEY_MAX = 1024,          /* bytes of a key: printable ASCII without spaces */
    STORE_VALUE_MAX = 1024 * 1024, /* bytes of a value: text without NUL */
    STORE_TXN_MAX = 64,            /* compares, and ops, in a transaction */
    STORE_TXN_BYTES = 1280 * 1024, /* keys and values of a transaction; etcd refuses 1.5 MiB */
    STORE_LIST_MAX = 65536,        /* entries in one list */
    STORE_LEASE_MS_MAX = 3600 * 1000
};

/* How to be let in, by an etcd; the embedded store asks nobody. Copied, but for the files. */
struct store_access {
    const struct http_tls *tls;    /* NULL: clear text */
    const char *user;              /* NULL: nobody logs in */
    const struct secret *password; /* of the user */
    const char *password_file;     /* read again when the password is refused; NULL: it stays */
};

/* Open the store at 'url'. file:///DIR: DIR is created (0700) when its parent exists.
 * etcd://HOST:PORT,HOST:PORT,...[/PREFIX]: its members, of which a majority must answer; keys are
 * kept below PREFIX/ ("holdfast/"). 'access': NULL is as nobody, in clear text.
 * Close it when no other thread uses it; transactions still queued end as ST_ABORTED. NULL is fine.
 */
MUST_CHECK enum status store_open(const char *url, const struct store_access *access, nsec deadline,
                                  struct store **ret_store, struct err *err);
void store_close(struct store *store);
/* Is 'url' one that could be opened? Asks nobody. */
MUST_CHECK enum status store_url_check(const char *url, struct err *err);

/* How long an operation is worth waiting for, from now: the deadline for whoever has no better one.
 * An etcd that lost its leader answers nobody until it has elected another, which takes it one to
 * two election timeouts (1 s where nothing else was said, more between far sites). */
enum store_patience {
    STORE_GLANCE, /* somebody looks, and can do without: 2 s, etcd 4 s */
    STORE_WORK    /* it has to be: 5 s, etcd 15 s */
};
nsec store_deadline(const struct store *store, enum store_patience patience);
nsec store_url_deadline(const char *url, enum store_patience patience); /* to open it */

/* House-keeping (checkpoint, trimming of history), kept out of transactions: call it at calm
 * moments, such as the start of a run. Harmless at any time. */
MUST_CHECK enum status store_maintain(struct store *store, nsec deadline, struct err *err);

/* ---- is the way in sound? for 'fleet check' and readiness ---- */
struct store_member {
    char *name;                /* "10.0.0.1:2379" */
    enum status status;        /* ST_OK: it answers, and lets us in */
    char *problem, *advice;    /* NULL: none */
    int64_t certificate_end_s; /* since 1970; 0: there is none, or it was not seen */
    bool leads;                /* the others follow it */
};
struct store_health {
    struct store_member *members; /* of an etcd; of the embedded store none */
    size_t count;
    bool lets_all_in; /* credentials are there, but nobody is asked for any */
};
void store_health_release(struct store_health *health);

/* ST_DENIED: a permission that is needed is missing; 'err' names it. *ret_health is set whatever is
 * returned. Changes nothing. */
MUST_CHECK enum status store_check(struct store *store, nsec deadline,
                                   struct store_health *ret_health, struct err *err);

/* ---- reading ---- */
struct store_entry {
    char *key, *value; /* owned; value is NULL in a deletion that a watch reports */
    int64_t create_rev, mod_rev;
    int64_t lease; /* 0: none */
};
struct store_list {
    struct store_entry *entries; /* ordered by key, as bytes */
    size_t count;
    int64_t revision; /* of the store when it was read: watch from here */
};
void store_entry_release(struct store_entry *entry);
void store_list_release(struct store_list *list);

/* The entry of 'key'; ST_NOT_FOUND when there is none. A read made after an ST_UNKNOWN of the same
 * 'struct store' is conclusive: it answers only when that transaction surely did or did not happen.
 */
MUST_CHECK enum status store_get(struct store *store, const char *key, nsec deadline,
                                 struct store_entry *ret_entry, struct err *err);
/* All entries whose key begins with 'prefix' ("" for all), from one moment. */
MUST_CHECK enum status store_list(struct store *store, const char *prefix, nsec deadline,
                                  struct store_list *ret_list, struct err *err);

/* ---- transactions ---- */
enum store_compare_kind { STORE_EXISTS, STORE_ABSENT, STORE_MOD_REV_IS, STORE_CREATE_REV_IS };
struct store_compare {
    enum store_compare_kind kind;
    const char *key;
    int64_t revision; /* for the last two kinds; an absent key has revision 0 */
};
enum store_op_kind { STORE_PUT, STORE_DELETE };
struct store_op {
    enum store_op_kind kind;
    const char *key; /* at most once among the ops of a transaction */
    const char *value;
    int64_t lease; /* of a put: the key goes when this lease ends; 0: none */
};
struct store_txn {
    const struct store_compare *compares; /* all must hold */
    size_t compare_count;
    const struct store_op *ops; /* then all are done, in one revision; deleting nothing is fine */
    size_t op_count;
};
struct store_txn_result {
    bool succeeded;        /* committed */
    int64_t revision;      /* of the store afterwards: the mod_rev of what was put */
    size_t failed_compare; /* index of the first compare that did not hold, when not succeeded */
};

/* What it came to:
 *   ST_OK        committed, durable; *ret_result is set
 *   ST_CONFLICT  a compare did not hold, nothing changed; *ret_result is set too
 *   ST_NOT_FOUND a put named a lease that has ended; nothing changed
 *   ST_UNKNOWN   may have happened, or may still happen: store_get() decides
 *   any other    (BUSY, TIMEOUT, FULL, IO, DENIED, ABORTED, INVALID) surely did not happen */
MUST_CHECK enum status store_txn(struct store *store, const struct store_txn *txn, nsec deadline,
                                 struct store_txn_result *ret_result, struct err *err);

/* The same for one that compares nothing that it writes, and does no harm when it happens twice, or
 * late, after whatever else was written since. It waits for no other transaction and none waits for
 * it, and a member of etcd that is silent costs it little: it goes to the next one. After an
 * ST_UNKNOWN no read is conclusive.
 * ST_OK also lists what begins with 'prefix', as of result.revision or later. In etcd that is in
 * the same transaction: it costs no way there and back, and waits for nothing. */
struct store_repeated {
    struct store_txn_result result;
    struct store_list list; /* owned */
};
MUST_CHECK enum status store_txn_repeatable(struct store *store, const struct store_txn *txn,
                                            const char *prefix, nsec deadline,
                                            struct store_repeated *ret, struct err *err);

/* The same as store_txn() in two halves, so that other work can travel beside it. 'txn' is copied.
 * It does not begin after 'deadline'. Of the transactions started on one store, those that touch
 * the same keys are done in that order. */
MUST_CHECK enum status store_txn_start(struct store *store, const struct store_txn *txn,
                                       nsec deadline, struct store_pending **ret_pending,
                                       struct err *err);
/* Wait for the outcome. At 'deadline' a transaction that has not begun is withdrawn (ST_BUSY or
 * ST_TIMEOUT: surely not happened); one that has begun gives ST_UNKNOWN and goes on: wait again,
 * or store_get(). May be called again, also after store_close(), until store_pending_free(). */
MUST_CHECK enum status store_txn_wait(struct store_pending *pending, nsec deadline,
                                      struct store_txn_result *ret_result, struct err *err);
/* Forget it, finished or not; does not cancel. NULL is fine. */
void store_pending_free(struct store_pending *pending);

/* ---- leases: outcome classes as for transactions ---- */
/* A lease ends 'ttl_ms' after its last keepalive, and its keys vanish. In the embedded store it
 * also ends at once when the granting process is gone; etcd rounds up to seconds, has a least one
 * (of three elections), and begins a lease anew when another member leads. *ret_lease is set on
 * ST_UNKNOWN too. */
MUST_CHECK enum status store_lease_grant(struct store *store, int64_t ttl_ms, nsec deadline,
                                         int64_t *ret_lease, struct err *err);
/* ST_NOT_FOUND when it has ended. Count its life from before the call. */
MUST_CHECK enum status store_lease_keepalive(struct store *store, int64_t lease, nsec deadline,
                                             struct err *err);
MUST_CHECK enum status store_lease_revoke(struct store *store, int64_t lease, nsec deadline,
                                          struct err *err);

/* ---- watches: a watch belongs to one thread at a time ---- */
struct store_change {
    enum store_op_kind kind;
    struct store_entry entry; /* mod_rev: the revision of this change */
};
struct store_changes {
    struct store_change *items; /* oldest first; revisions are never split between two calls */
    size_t count;
};
void store_changes_release(struct store_changes *changes);

/* Watch what begins with 'prefix' and changed after 'after_rev' (a revision this store gave). */
MUST_CHECK enum status store_watch_open(struct store *store, const char *prefix, int64_t after_rev,
                                        struct store_watch **ret_watch, struct err *err);
/* The next changes, at least one. ST_TIMEOUT: none until 'deadline' (0 just looks). ST_COMPACTED:
 * the history is no longer kept: list again, and open a new watch from that revision. ST_DENIED,
 * ST_UNTRUSTED: refused by every member of an etcd; it goes on trying, and the next call waits. */
MUST_CHECK enum status store_watch_next(struct store_watch *watch, nsec deadline,
                                        struct store_changes *ret_changes, struct err *err);
/* Readable when store_watch_next(watch, 0, ...) is worth calling (it may still find nothing). */
int store_watch_fd(const struct store_watch *watch);
void store_watch_close(struct store_watch *watch); /* before its store; NULL is fine */

/* ---- faults, for tests ---- */
enum store_fault {
    STORE_FAULT_NONE,
    STORE_FAULT_BUSY, /* these three: surely not done; only from STORE_BEFORE */
    STORE_FAULT_FULL,
    STORE_FAULT_IO,
    STORE_FAULT_UNKNOWN_DONE, /* done, reported as ST_UNKNOWN; from either point */
    STORE_FAULT_UNKNOWN_NOT_DONE
};
enum store_fault_point { STORE_BEFORE, STORE_AFTER };
/* Called round each operation: "get", "list", "txn", "lease_grant", "lease_keepalive",
 * "lease_revoke". STORE_AFTER of the last four may come from the store's own thread, and does not
 * come when the operation was withdrawn. May end the process. Must not use the store. */
typedef enum store_fault store_fault_fn(void *context, enum store_fault_point point,
                                        const char *operation);
/* Puts the callback between callers and 'store', which the result owns and closes. */
struct store *store_wrap_faults(struct store *store, store_fault_fn *callback, void *context);

#endif
