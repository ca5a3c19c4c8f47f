/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared inside load/ only: a run in progress. Everything belongs to the one thread that runs it.
 * The parts: loop.c waits for descriptors, setup.c checks what is given, target.c decides where a
 * shard's writes go, writer.c writes, run.c is the order of events, verify.c compares at the end.
 *
 * on_done callbacks only note what happened. New calls are begun by the pumps, which run after
 * every wake-up: so a callback never runs inside another one.
 */
#ifndef HOLDFAST_LOAD_INTERNAL_H
#define HOLDFAST_LOAD_INTERNAL_H

#include "fleet/inventory.h"
#include "fleet/route.h"
#include "load/gauge.h"
#include "load/ledger.h"
#include "load/load.h"
#include "sql/conn.h"

#include <sys/types.h>

enum {
    WRITE_MS = 10000, /* without an answer: outcome unknown */
    CONNECT_MS = 5000,
    SILENCE_MS = 250, /* a shard without acknowledgements is looked after */
    NOBODY = -1,      /* instead of the number of a server */
};

/* --- loop.c ---------------------------------------------------------------------------------- */

struct channel;

struct loop {
    int epoll_fd, timer_fd;
    nsec armed; /* what the timer is set to; 0: not set */
    nsec wake;  /* when to wake up next; pumps lower it */
    nsec next_scan;
    bool has_news; /* a descriptor of load__loop_add_fd() was ready; the owner clears it */
    struct channel **channels;
    size_t count, capacity;
};

/* A connection with at most one call under way. Its place in memory must not change. */
struct channel {
    struct loop *loop;
    struct sql_conn *conn; /* NULL: not bound to a server */
    struct sql_call call;
    struct buf sql; /* of the call under way */
    bool is_busy;
    int fd, events; /* as registered; -1: not */
    void (*on_done)(struct channel *channel);
    void *owner;
};

MUST_CHECK enum status load__loop_open(struct loop *loop, struct err *err);
void load__loop_close(struct loop *loop);
/* Another descriptor to wake up for. */
void load__loop_add_fd(struct loop *loop, int fd);
void load__loop_wake_at(struct loop *loop, nsec when);
/* Wait until something is ready or loop->wake, at most LOOP_WAIT_MS; run what is ready. */
void load__loop_round(struct loop *loop);

void load__channel_init(struct channel *channel, struct loop *loop,
                        void (*on_done)(struct channel *channel), void *owner);
void load__channel_bind(struct channel *channel, const struct sql_endpoint *endpoint);
bool load__channel_is_open(const struct channel *channel);
/* Send channel->sql (connecting first when needed), or only connect when it is empty. */
void load__channel_begin(struct channel *channel, nsec deadline);
/* Close, forgetting the call under way: its on_done is not called. */
void load__channel_break(struct channel *channel);
void load__channel_release(struct channel *channel);

/* --- a run ----------------------------------------------------------------------------------- */

enum { WRITER_LINKS = 2 }; /* where writes go, and where they went or will go */

struct link {
    struct channel channel;
    struct writer *writer;
    ssize_t server;
    uint64_t number;     /* of the write under way; 0: none, it only connects */
    uint64_t generation; /* of the shard's target when it was begun */
    nsec retry_at;       /* do not connect before */
};

struct writer {
    struct load_shard *shard;
    unsigned id;
    struct ledger ledger;
    struct link links[WRITER_LINKS];
    nsec due; /* do not send before */
};

struct scout { /* asks one server whether it is writable */
    struct channel channel;
    struct load_shard *shard;
    ssize_t server;
    nsec due;
};

struct load_shard {
    struct load *load;
    const struct inventory_shard *spec;
    struct load_shard_report *report;
    struct writer *writers;
    struct scout *scouts; /* one a server */
    struct gauge gauge;

    ssize_t target;      /* the server that takes writes; NOBODY: writers hold */
    ssize_t last_target; /* the last one that was not NOBODY */
    uint64_t generation; /* +1 whenever the target changes */
    nsec held_since;
    bool has_route, is_routed_writable;
    ssize_t routed_primary;
    ssize_t ends[2]; /* of the move under way; NOBODY while there is none */
    ssize_t standby; /* writers keep a connection there */
};

struct load {
    const struct load_request *request;
    struct load_report *report;
    struct loop loop;
    struct load_shard *shards;
    size_t shard_count;
    char *table; /* quoted */
    struct store_watch *watch;
    int64_t lease;
    nsec lease_due;
    bool is_writing;
    nsec started, duration;
    nsec progress_at, progress_due;
    uint64_t progress_count;
};

/* setup.c */
MUST_CHECK enum status load__setup(struct load *load, struct err *err);
void load__release(struct load *load);
struct sql_endpoint load__endpoint(const struct load *load, const struct inventory_server *server);
/* Observe the servers of all shards: a call each, in order of shard and server. */
struct sql_call *load__ask_all(const struct load *load, const char *sql, nsec deadline);
void load__answers_free(const struct load *load, struct sql_call *calls);
size_t load__server_count(const struct load *load);
#define LOAD_KEYS "load/" /* in the store: runs under way */

/* target.c */
void load__target_set(struct load_shard *shard, ssize_t server);
/* The target of that generation does not take writes. */
void load__target_refused(struct load_shard *shard, uint64_t generation, nsec now);
void load__target_pump(struct load_shard *shard, nsec now);
void load__scouts_init(struct load_shard *shard);
/* The route as it is in the store; NULL: none. */
void load__route_changed(struct load_shard *shard, const char *text);
MUST_CHECK enum status load__routes_open(struct load *load, struct err *err);
void load__routes_read(struct load *load); /* what changed since the last look */

/* writer.c */
void load__writer_init(struct writer *writer, struct load_shard *shard, unsigned id);
void load__writer_pump(struct writer *writer, nsec now);
/* When a write is due that follows one sent 'now', which was due at 'due'. A writer that fell
 * behind does not catch up in a burst, and keeps its beat: those of a shard wait together, and
 * would else write at the same moments ever after, with nothing in between that shows how long a
 * gap was. */
nsec load__next_beat(nsec due, nsec period, nsec now);
bool load__writer_is_ready(const struct writer *writer); /* connected to the target */
bool load__writer_is_busy(const struct writer *writer);  /* a write is under way */
void load__writer_give_up(struct writer *writer);        /* its writes become unknown */
void load__writer_release(struct writer *writer);

/* verify.c */
void load__verify(struct load *load, nsec deadline);

#endif
