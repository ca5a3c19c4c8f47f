/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated fleet: shards of six servers, three in each region, whose state is modelled. All
 * of it belongs to the one thread of the loop. A shard has one GTID domain (its index) and one
 * history: servers differ in how far they are, and in who wrote what.
 */
#ifndef HOLDFAST_SIM_MODEL_H
#define HOLDFAST_SIM_MODEL_H

#include "base/clock.h"
#include "sim/loop.h"
#include "sim/wire.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_SIDE = 3, /* servers of a shard in one region */
    SIM_REGIONS = 2,
    SIM_SERVERS = SIM_SIDE * SIM_REGIONS,
    SIM_SHARDS_MAX = 10000,
    SIM_USER_MAX = 64,
    SIM_LOCK_MAX = 64,
    SIM_LOCKS = 8,
    SIM_ACCOUNTS = 3, /* in the order of enum account_kind (fleet/grants.h) */
};

struct session;
struct sim_shard;

struct sim_gtid {
    unsigned origin; /* index of the server that wrote it */
    uint64_t seq;    /* 0: none */
};

/* Where a replica replicates from. What the source has committed arrives after a delay. */
struct sim_link {
    bool is_configured, io, sql; /* io, sql: started */
    bool acknowledges;           /* the semi-sync flag at the moment io was started */
    int source;                  /* index in the shard; -1: not a server of it */
    char host[INET_ADDRSTRLEN], user[SIM_USER_MAX];
    int port;
    uint64_t generation; /* what was under way in an older one does not arrive */
    const char *io_error, *sql_error;
};

struct sim_fault;

struct sim_server {
    struct watch listener;
    struct sim_shard *shard;
    unsigned index, region;
    uint32_t server_id, last_connection;
    struct in_addr address;

    bool read_only, semi_source, semi_replica, strict, scheduler;
    struct sim_gtid logged, applied; /* gtid_binlog_pos, gtid_slave_pos */
    uint64_t written[SIM_SERVERS];   /* gtid_binlog_state: the last of each origin */
    struct sim_link link;

    struct session *backup;  /* holds a backup stage */
    bool blocks_commits;     /* ... which is BLOCK_COMMIT */
    struct session *closing; /* waits to set read_only: new writes queue up behind it */
    struct sim_lock {
        struct session *holder; /* NULL: free */
        char name[SIM_LOCK_MAX];
    } locks[SIM_LOCKS];

    struct session *sessions;
    unsigned waiting; /* sessions whose statement waits for the state to change */
    bool is_changed;  /* and it did */
    struct sim_server *next_changed;

    struct sim_fault *faults; /* to come; fault.h */
    uint64_t statements;
    nsec slow;
    bool is_down, is_hung, freeze_times_out, promote_fails;
};

struct sim_shard {
    struct sim *sim;
    size_t index;
    uint64_t acknowledged; /* the last sequence number that a client was promised */
    struct sim_server servers[SIM_SERVERS];
};

struct sim_account {
    const char *user;
    struct wire_key key;
};

/* What the simulation saw; printed at its end. */
struct sim_stats {
    uint64_t connections, sessions, sessions_peak, statements, writes, refused_writes;
    uint64_t unknown;       /* statements that nobody taught it */
    uint64_t opened;        /* read_only=0 where it was 1 */
    uint64_t two_primaries; /* of these, beside another writable server of the shard: must be 0 */
    uint64_t lost;          /* promised writes that a server lacked when it opened: must be 0 */
};

struct sim {
    struct loop *loop;
    struct sim_shard *shards;
    size_t shard_count;
    int port;
    nsec rtt[SIM_REGIONS], lag;
    struct sim_account accounts[SIM_ACCOUNTS];
    struct sim_server *changed; /* list of those whose waiting sessions must look again */
    struct session *free_sessions;
    struct sim_stats stats;
};

extern const char *const sim_region_names[SIM_REGIONS];

/* ---- server.c ---- */
void sim_server_init(struct sim_server *server, struct sim_shard *shard, unsigned index,
                     struct in_addr address);
/* Something changed that a waiting statement may wait for. */
void sim_server_changed(struct sim_server *server);
bool sim_server_answers(const struct sim_server *server); /* neither down nor hung */
/* Its clients' connections and its replicas lose it; up again it is as after a restart. */
void sim_server_stop(struct sim_server *server);
void sim_server_hang(struct sim_server *server);
bool sim_server_start(struct sim_server *server); /* false, errno: cannot listen */
struct sim *sim_of(const struct sim_server *server);
nsec sim_server_delay(const struct sim_server *server); /* of every answer */
/* read_only=0, with the checks that count 'two_primaries' and 'lost'. */
void sim_server_open(struct sim_server *server);

/* ---- replication.c ---- */
unsigned sim_ackers(const struct sim_server *server);
void sim_commit(struct sim_server *server); /* a transaction of its own */
void sim_link_start(struct sim_server *server, bool io, bool sql);
void sim_link_stop(struct sim_server *server, bool io, bool sql);
void sim_link_reset(struct sim_server *server);
bool sim_link_receives(const struct sim_server *server);
/* The neighbours of a server that came or went look at their links again. */
void sim_links_refresh(struct sim_server *server);

#endif
