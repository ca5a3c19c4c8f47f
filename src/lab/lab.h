/* SPDX-License-Identifier: Apache-2.0
 *
 * The lab: a fleet of two regions on one machine, made of real MariaDB servers, six a shard:
 * REGION-1 to REGION-3 of west and of east; on demand with the daemons that look after a fleet, and
 * an etcd of three members. It is a folder: configuration, data, passwords and
 * 'lab.json' (which processes it started). The processes outlive the command that started them.
 *
 * Each server has an address of its own, 127.<16 + region>.<shard>.<number>, and all have one port,
 * so labs run side by side. Each region, and the witness's site, may be in a network namespace,
 * which can be unplugged; the addresses are the same, and work from the host too.
 * Configuration is role-neutral, as failover.md wants it; 'up' sets the
 * first roles, and from then on they are whatever happens to the fleet: observed, never stored.
 *
 * Commands that change the lab hold a lock on its folder. Only processes whose identity matches
 * are ever signalled. Every function is for one thread.
 */
#ifndef HOLDFAST_LAB_LAB_H
#define HOLDFAST_LAB_LAB_H

#include "base/secret.h"
#include "fleet/inventory.h"
#include "os/process.h"
#include "sql/conn.h"

#include <stddef.h>

enum {
    LAB_REGIONS = 2,
    LAB_REGION_SERVERS = 3, /* of one shard */
    LAB_SHARD_SERVERS = LAB_REGIONS * LAB_REGION_SERVERS,
    LAB_SHARDS_MAX = 32,
    LAB_HOST_MAX = 16,
    LAB_REGION_CONDUCTORS = 2,
    /* etcd at both regions and at a witness's site; an agent and its keeper on each host */
    LAB_DAEMONS = LAB_REGIONS + 1 + LAB_REGIONS * LAB_REGION_CONDUCTORS +
                  2 * LAB_REGIONS * LAB_REGION_SERVERS,
    LAB_SITES = LAB_REGIONS + 1,
    LAB_RTT_MAX_MS = 1000,
    LAB_LOSS_MAX_PPM = 500000,
    LAB_MBIT_MAX = 100000,
};

enum lab_account { LAB_ADMIN, LAB_CONTROL, LAB_REPLICATION, LAB_PROBE, LAB_APP, LAB_ACCOUNTS };

struct lab_server {
    char *name; /* "s0-west-1" */
    size_t shard, region;
    unsigned number, server_id; /* 1-3; unique in the lab */
    char host[LAB_HOST_MAX];
    struct process process; /* pid 0: never started */
};

/* In the order in which they get signals: first those who start others again. */
/* clang-format off */
#define LAB_KINDS(X)                                                                      \
    X(LAB_KEEPER,    "keeper")    /* in the place of systemd, for the agent of its host */ \
    X(LAB_AGENT,     "agent")                                                             \
    X(LAB_CONDUCTOR, "conductor")                                                         \
    X(LAB_ETCD,      "etcd")                                                              \
    X(LAB_WAN,       "wan")       /* the network between the sites */
/* clang-format on */

enum lab_kind {
#define X(id, name) id,
    LAB_KINDS(X)
#undef X
};

struct lab_daemon {
    char *name; /* "agent-west-1", "conductor-west-2", "etcd-witness" */
    enum lab_kind kind;
    size_t region;                /* LAB_REGIONS: the witness's site; LAB_SITES: none */
    unsigned number;              /* of its host, or of the conductors of its region; 0: an etcd */
    char host[LAB_HOST_MAX];      /* where it is spoken to, on the lab's port; "": nowhere */
    char peer_host[LAB_HOST_MAX]; /* where an etcd is spoken to by the others */
    struct process process;       /* pid 0: never started */
    bool is_ready;                /* an agent: it told its keeper so */
};

struct lab_network {
    bool is_netns; /* else loopback, and nothing of the rest */
    int rtt_ms;    /* between any two sites */
    int jitter_ms; /* of each direction: so much more at most */
    int loss_ppm;  /* of each direction, as are */
    int mbit_s;    /* 0: no limit */
};

/* Where there are daemons: what the fleet file says to them. */
struct lab_policy {
    int ttl_ms; /* of the permission to serve; 0: 2 s */
    enum inventory_automatic automatic;
};

struct lab_shape {
    size_t shards;
    bool is_tls;
    bool has_daemons;
    struct lab_policy policy;
    struct lab_network network;
    bool may_be_loopback; /* where there can be no namespaces: instead of an error */
};

struct lab {
    char *dir; /* absolute */
    int port;
    size_t shard_count;
    bool is_tls;        /* everywhere: clear text is refused */
    char *authority;    /* with TLS: the file of those who signed the servers' certificates */
    struct sql_tls tls; /* for connections as administrator */
    char *mariadbd;     /* the program */
    struct lab_server *servers; /* by shard, then region, then number */
    size_t server_count;
    bool has_daemons;
    struct lab_policy policy;
    struct lab_network network;
    char *self, *etcd;          /* programs */
    struct lab_daemon *daemons; /* the first is the network, where there is one, also
                                 * without 'has_daemons' */
    size_t daemon_count;
    struct secret passwords[LAB_ACCOUNTS];
};

/* How a long command talks to the one who waits for it. */
struct lab_progress {
    void (*say)(const char *line);
    bool (*is_interrupted)(void); /* then it undoes what it did and returns ST_ABORTED */
};

/* Some of a lab; borrowed from it. */
struct lab_choice {
    struct lab_server **servers;
    size_t count, capacity;
    struct lab_daemon **daemons;
    size_t daemon_count, daemon_capacity;
};

/* clang-format off */
#define LAB_ROLES(X)                                                                      \
    X(LAB_ROLE_PRIMARY, "primary") /* writable */                                         \
    X(LAB_ROLE_REPLICA, "replica") /* follows a server of its own region */               \
    X(LAB_ROLE_RELAY,   "relay")   /* follows a server of the other region */             \
    X(LAB_ROLE_FENCED,  "fenced")  /* read-only, follows nobody */                        \
    X(LAB_ROLE_SILENT,  "silent")  /* runs, but does not answer in time */                \
    X(LAB_ROLE_FROZEN,  "frozen")  /* its process is stopped */                           \
    X(LAB_ROLE_DOWN,    "down")
/* clang-format on */

enum lab_role {
#define X(id, name) id,
    LAB_ROLES(X)
#undef X
};

struct lab_view { /* of one server */
    enum lab_role role;
    const struct lab_server *source; /* whom it follows; NULL: nobody, or not of this lab */
    bool replicates;                 /* connected to it, and applying */
    int64_t uptime_s;
};

/* The folder meant by --dir (may be NULL), as an absolute path; the caller frees. The rule: --dir,
 * else $HOLDFAST_LAB, else $XDG_STATE_HOME/holdfast/lab, else ~/.local/state/holdfast/lab. */
MUST_CHECK enum status lab_folder(const char *option, char **ret_dir, struct err *err);

/* Open what is in this folder; ST_NOT_FOUND when that is not a lab. */
MUST_CHECK enum status lab_open(const char *dir, struct lab **ret, struct err *err);
void lab_free(struct lab *lab);
void lab_freep(struct lab **lab);            /* for AUTO() */
char *lab_fleet_path(const struct lab *lab); /* caller frees */
const char *lab_region_name(size_t region);  /* LAB_REGIONS: "witness"; LAB_SITES: "wan" */
MUST_CHECK enum status lab_site(const char *name, size_t *ret, struct err *err);
const char *lab_kind_name(enum lab_kind kind);
const char *lab_role_name(enum lab_role role);
const char *lab_account_name(enum lab_account account);
const char *lab_database_name(void); /* the application's */

/* Add what a word means: a server (s0-west-1), a daemon (agent-west-1), a host (west-1: that server
 * of every shard, and what runs beside them), or a region (west: all that is there). */
MUST_CHECK enum status lab_choose(struct lab *lab, const char *word, struct lab_choice *choice,
                                  struct err *err);
void lab_choice_release(struct lab_choice *choice);

/* Make a lab and start it. Whatever fails, nothing is left of it. ST_EXISTS: there is one. */
MUST_CHECK enum status lab_up(const char *dir, const struct lab_shape *shape,
                              const struct lab_progress *progress, struct lab **ret,
                              struct err *err);
/* End it and remove its folder. *ret_ended: how many processes ran. ST_NOT_FOUND: no lab. */
MUST_CHECK enum status lab_down(const char *dir, size_t *ret_ended, struct err *err);

/* SIGKILL (and wait for the end), SIGSTOP (and wait until it stopped), SIGCONT. Keepers first, so
 * that they do not start again what is to end. ST_NOT_FOUND: none of them runs. */
MUST_CHECK enum status lab_kill(struct lab *lab, const struct lab_choice *choice, struct err *err);
MUST_CHECK enum status lab_freeze(struct lab *lab, const struct lab_choice *choice,
                                  struct err *err);
MUST_CHECK enum status lab_thaw(struct lab *lab, const struct lab_choice *choice, struct err *err);
/* End what is frozen, start, and let those follow again that followed before. A primary stays
 * read-only: what it becomes is not for the lab to decide. Where there are daemons, all roles are
 * theirs to give. */
MUST_CHECK enum status lab_restart(struct lab *lab, const struct lab_choice *choice, bool is_bare,
                                   const struct lab_progress *progress, struct err *err);

/* What is sent from one site to another is lost from now on, or not any more. to: LAB_SITES means
 * all others, and the way back. ST_INVALID: this lab's network is the loopback. */
MUST_CHECK enum status lab_cut(const struct lab *lab, size_t from, size_t to, bool is_cut,
                               struct err *err);
struct lab_cuts {
    bool is_cut[LAB_SITES][LAB_SITES]; /* from, to */
};
void lab_cuts(const struct lab *lab, struct lab_cuts *ret);
/* To and from everywhere else. */
bool lab_is_unplugged(const struct lab_cuts *cuts, size_t site);

/* The etcd that leads, asked now; NULL: none, or none is heard of. */
const struct lab_daemon *lab_leader(const struct lab *lab);
/* Make that of a site lead. ST_TIMEOUT: it did not come to it. */
MUST_CHECK enum status lab_leader_move(const struct lab *lab, size_t site, struct err *err);

/* Look at all servers side by side, within timeout_ms. views: one for each server. */
void lab_observe(const struct lab *lab, int64_t timeout_ms, struct lab_view *views);
/* "up" when every server answers and every daemon runs, "down" when no process is left, else
 * "partly". */
const char *lab_state_name(const struct lab *lab, const struct lab_view *views);
const char *lab_daemon_state(const struct lab_daemon *daemon); /* "up", "frozen", "down" */
const char *lab_automatic_name(enum inventory_automatic automatic);
MUST_CHECK enum status lab_automatic(const char *name, enum inventory_automatic *ret,
                                     struct err *err);
size_t lab_running(const struct lab *lab); /* processes, of server_count + daemon_count */

/* Be the keeper of a host (west-1): run its agent, and end its servers when it stays away. Returns
 * only with an error. */
MUST_CHECK enum status lab_keep(const char *dir, const char *host,
                                const struct lab_progress *progress, struct err *err);
/* Be the network between the sites. The same. */
MUST_CHECK enum status lab_join(const char *dir, struct err *err);
/* Make the namespaces of one, for a process that ends then: could there be one here? */
MUST_CHECK enum status lab_join_try(struct err *err);

#endif
