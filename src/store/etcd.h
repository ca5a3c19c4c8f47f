/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the etcd driver: a store's state, and guards (etcd_guard.c says what they are for).
 */
#ifndef HOLDFAST_STORE_ETCD_H
#define HOLDFAST_STORE_ETCD_H

#include "etcd/client.h"
#include "net/http.h"
#include "store/driver.h"
#include "wire/etcd.h"

enum {
    ETCD_WRITERS = 16,           /* transactions on their way at once */
    ETCD_GUARD_TTL_S = 3600,     /* what a crash leaves behind is gone after this */
    ETCD_GUARD_KEY_MAX = 256 + 8 /* prefix, "!guard/", 16 digits */
};

struct etcd_guard {
    char key[ETCD_GUARD_KEY_MAX];
    int64_t lease;
    int64_t sequence; /* of the transaction that last carried it */
    struct etcd_guard *next;
};

struct etcd_line {
    struct http_line *http;
    struct etcd_line *next; /* idle */
};

struct etcd_writer {
    struct etcd_store *etcd;
    struct http_line *line;
    pthread_t thread;
    struct store_pending *pending; /* what it does; under the store's lock, like the next */
    struct etcd_guard *guard;      /* what that carries */
};

struct etcd_store {
    struct store base;
    struct etcd_client *client;
    char *prefix;       /* "holdfast/": before every key */
    char *guard_prefix; /* "holdfast!guard/": cannot be below any prefix */

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t work_changed, writers_idle;
    struct store_pending *first, **last; /* in the order of their start, the running ones too */
    struct etcd_writer writers[ETCD_WRITERS + 1]; /* the last only for what is repeatable */
    size_t writer_count, idle_count;
    struct etcd_line *lines;   /* idle ones for reads */
    struct etcd_guard *guards; /* idle ones; last in, first out */
    struct etcd_guard *doubts; /* of transactions whose outcome nobody knows */
    int64_t *doubtful_leases;  /* a revoke whose outcome nobody knows */
    size_t doubtful_count, doubtful_capacity;
    int64_t lease; /* of the guards; 0: none yet */
    bool stopping;

    atomic_int abandoned_count;
    atomic_bool lock_busy; /* never: here for the pending */
};

char *etcd__key(const struct etcd_store *etcd, const char *key);          /* the caller frees */
char *etcd__range_end(const struct etcd_store *etcd, const char *prefix); /* the same */
/* All that came with an answer. ST_IO: it is not of this store. */
MUST_CHECK enum status etcd__take_list(const struct etcd_store *etcd, struct etcd_answer *answer,
                                       struct store_list *ret, struct err *err);

/* etcd_guard.c */
MUST_CHECK enum status etcd__guard_take(struct etcd_writer *writer, nsec deadline,
                                        struct etcd_guard **ret_guard, struct err *err);
void etcd__guard_give(struct etcd_store *etcd, struct etcd_guard *guard);
enum etcd_verdict { ETCD_HAPPENED, ETCD_NEVER, ETCD_OVER /* one of both */, ETCD_OPEN };
/* After an unknown outcome: end the guard's life, and say what that told. */
enum etcd_verdict etcd__guard_end(struct etcd_writer *writer, const struct etcd_guard *guard,
                                  nsec deadline, int64_t *ret_revision);
/* Before a read: no transaction with an unknown outcome can happen any more. */
MUST_CHECK enum status etcd__settle(struct etcd_store *etcd, struct http_line *line, nsec deadline,
                                    struct err *err);
void etcd__guards_close(struct etcd_store *etcd);
MUST_CHECK enum status etcd__guards_refresh(struct etcd_store *etcd, struct http_line *line,
                                            nsec deadline, struct err *err);

/* etcd_check.c */
enum status etcd__check(struct store *store, nsec deadline, struct store_health *ret,
                        struct err *err);

/* etcd_write.c */
void etcd__submit(struct store *store, struct store_pending *pending);
void etcd__writers_stop(struct etcd_store *etcd);

/* etcd_watch.c */
enum status etcd__watch_open(struct store *store, const char *prefix, int64_t after_rev,
                             struct store_watch **ret_watch, struct err *err);
enum status etcd__watch_next(struct store_watch *watch, nsec deadline,
                             struct store_changes *ret_changes, struct err *err);
int etcd__watch_fd(const struct store_watch *watch);
void etcd__watch_close(struct store_watch *watch);

#endif
