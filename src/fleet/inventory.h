/* SPDX-License-Identifier: Apache-2.0
 *
 * The fleet file in memory: what the operator declared. Homes and roles are not here; they are
 * observed. Read once at the start of a command, then immutable: any thread may read it, pointers
 * into it are good until inventory_free(). 'index' and 'region' are positions in the arrays here.
 *
 * Errors are one line with a place, 'holdfast.yaml:12: unknown key ...', and a hint.
 */
#ifndef HOLDFAST_FLEET_INVENTORY_H
#define HOLDFAST_FLEET_INVENTORY_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "fleet/hook.h"
#include "net/server.h"
#include "sql/conn.h"

#include <stdint.h>

enum {
    INVENTORY_FILE_MAX = 1024 * 1024, /* bytes */
    INVENTORY_NAME_MAX = 64,          /* of a region, deployment, shard or check */
    INVENTORY_REGIONS = 2,
    INVENTORY_PORT_DEFAULT = 3306,
    INVENTORY_API_PORT = 7420,  /* of a conductor */
    INVENTORY_TTL_MS_MIN = 500, /* of a permission to serve */
    INVENTORY_TTL_MS_MAX = 60000,
    INVENTORY_TTL_MS_DEFAULT = 3000,
    INVENTORY_FAILOVERS_MAX = 8, /* an hour, of a shard, when that is limited at all */
};

/* Certificates and keys: files in PEM. */
struct inventory_tls {
    bool is_on;
    bool verify;           /* the server's certificate must be for the host that it is called by */
    char *ca, *cert, *key; /* NULL: not given. Of our own: full paths after inventory_load() */
    int64_t cert_end_s;    /* when our own certificate ends, seconds since 1970; 0: there is none */
    struct sql_tls sql;    /* the same for connections, after inventory_load() */
    int line;              /* of the fleet file */
};

struct inventory_account {
    char *user;                         /* NULL: this account is not configured */
    char *password_file, *password_env; /* as written in the file; one of them is set */
    char *password_path;                /* password_file as found by inventory_load() */
    struct secret password;   /* unset after inventory_parse(), set after inventory_load() */
    int line;                 /* of the fleet file; 0 when made by a program */
    struct inventory_tls tls; /* of 'replication' only: files on the database hosts */
};

/* X(id, name): which losses are healed without an operator's word. */
#define INVENTORY_AUTOMATIC_TABLE(X)                                                               \
    X(AUTOMATIC_NONE, "none")                                                                      \
    X(AUTOMATIC_HOST, "host")                                                                      \
    X(AUTOMATIC_REGION, "region") /* of a region, and of a host */

enum inventory_automatic { INVENTORY_AUTOMATIC_TABLE(TABLE_ID) INVENTORY_AUTOMATICS };

struct inventory_policy {
    uint32_t freeze_cap; /* shards frozen at the same time; 0: the runner's cores */
    int64_t freeze_timeout_ms;
    int64_t move_timeout_ms;
    int64_t max_lag_ms;
    uint32_t max_error_percent; /* of a gate's writes, while a wave settles */
    uint32_t keep_runs;         /* finished runs whose record, report and journal are kept */
    bool is_reason_required;    /* of whoever orders a run */
    enum inventory_automatic automatic;
    int64_t hold_down_ms;       /* so long after a failover by itself there is no other one */
    uint32_t failovers_an_hour; /* by itself, of a shard; 0: as many as it takes */
    char **accept;              /* ids of readiness checks whose no-go the operator accepts */
    size_t accept_count, accept_capacity;
};

struct inventory_server {
    size_t index; /* in the shard's servers[] */
    char *name;   /* "host:port", "[::1]:port"; unique in the fleet */
    char *host;   /* no brackets; lower case */
    uint16_t port;
    size_t region;  /* index in regions[] */
    bool has_agent; /* it is one of a host's */
};

struct inventory_shard {
    size_t index; /* in the inventory's shards[] */
    char *name;   /* unique over all deployments */
    char *deployment;
    struct inventory_server *servers; /* at least one; behind them the ignored ones */
    size_t server_count;              /* without the ignored: what a move and a check go through */
    size_t ignored_count;             /* observed and shown, nothing else */
    size_t server_capacity;
};

/* With the ignored ones. */
static inline size_t inventory_shard_size(const struct inventory_shard *shard)
{
    return shard->server_count + shard->ignored_count;
}

/* A machine with database servers, and with an agent that closes them. */
struct inventory_host {
    char *name;    /* unique in the fleet */
    size_t region; /* index in regions[] */
    struct inventory_place {
        size_t shard, server; /* indices in shards[] and its servers[]; never an ignored one */
    } * places;               /* its servers, in file order; a server is on one host at most */
    size_t place_count, place_capacity;
};

/* A process that watches the fleet and answers: 'holdfast conductor --name NAME'. */
struct inventory_conductor {
    char *name;    /* unique in the fleet */
    size_t region; /* index in regions[] */
    char *listen;  /* "host:port": where it is spoken to */
    char *host;    /* the same in parts; no brackets */
    uint16_t port;
    int line; /* of the fleet file */
};

struct inventory_token {
    char *name; /* of whom it is */
    enum http_role role;
    char *file; /* as written in the file */
    char *path; /* as found by inventory_load(), which does not read it */
};

/* How conductors and agents are spoken to. */
struct inventory_api {
    struct inventory_tls tls; /* is_on: all three files are named; not read by inventory_load() */
    bool is_plain;            /* clear text is meant, also off this machine */
    struct inventory_token *tokens;
    size_t token_count, token_capacity;
};

struct inventory {
    int64_t promise_rto_ms, promise_rpo_ms;
    bool is_rpo_guarded; /* a region that loses touch serves no longer than rpo allows */
    char *regions[INVENTORY_REGIONS];
    size_t region_count;
    char *store_url;    /* "file:///directory", "etcd://host:port,..." */
    char **store_sites; /* where each member is, a region or another place; NULL: not said */
    size_t store_site_count, store_site_capacity;
    struct inventory_tls store_tls;         /* of our connections to etcd */
    struct inventory_account store_account; /* at etcd; optional: user is NULL */
    char *journal;                          /* folder of the runs' journals; NULL: not said */
    struct inventory_account credentials, replication;
    struct inventory_account probe; /* optional: user is NULL */
    struct inventory_tls tls;       /* of our own connections, whatever the account */
    struct inventory_policy policy;
    int64_t permission_ttl_ms;    /* how long a server may serve on one sign of life; see permit/ */
    struct inventory_host *hosts; /* in file order; there may be none */
    size_t host_count, host_capacity;
    struct inventory_conductor *conductors; /* in file order; there may be none */
    size_t conductor_count, conductor_capacity;
    struct inventory_api api;
    struct inventory_hook *hooks; /* in file order */
    size_t hook_count, hook_capacity;
    struct inventory_shard *shards; /* in file order: a deployment's shards are neighbours */
    size_t shard_count, shard_capacity;
    char **warnings; /* sentences about what works but should not be so */
    size_t warning_count, warning_capacity;
};

/* How long a server may serve without a sign: the TTL, and with rpo_guard no longer than the RPO.
 * How often agents ask, and how long closing may take, are parts of it. */
static inline int64_t inventory_serve_ms(const struct inventory *inventory)
{
    bool is_shorter =
        inventory->is_rpo_guarded && inventory->promise_rpo_ms < inventory->permission_ttl_ms;
    return is_shorter ? inventory->promise_rpo_ms : inventory->permission_ttl_ms;
}

/* The fleet file to use: the option's value, else $HOLDFAST_FLEET, else holdfast.yaml here. */
const char *inventory_path(const char *option);

/* Read the file and the passwords it points to. */
MUST_CHECK enum status inventory_load(const char *path, struct inventory **ret_inventory,
                                      struct err *err);
/* Only the text, no password files; 'path' is for messages. */
MUST_CHECK enum status inventory_parse(const char *text, size_t length, const char *path,
                                       struct inventory **ret_inventory, struct err *err);
/* An empty inventory with the default policy, for programs that build one (fleet discover, lab). */
struct inventory *inventory_new(void);
void inventory_free(struct inventory *inventory);
void inventory_freep(struct inventory **inventory); /* for AUTO() */

/* Append a shard; names are copied, its servers are empty. Valid until the next one is added. */
struct inventory_shard *inventory_add_shard(struct inventory *inventory, const char *deployment,
                                            const char *name);
/* Append a server given as "host", "host:port" or "[v6]:port". ST_INVALID says what is wrong with
 * the address; the caller knows the place. Does not check for duplicates. */
MUST_CHECK enum status inventory_add_server(struct inventory_shard *shard, size_t region,
                                            const char *address, struct err *err);
/* The same for one that is to be ignored. */
MUST_CHECK enum status inventory_add_ignored(struct inventory_shard *shard, size_t region,
                                             const char *address, struct err *err);

/* Append a host; the name is copied. Valid until the next one is added. */
struct inventory_host *inventory_add_host(struct inventory *inventory, const char *name,
                                          size_t region);
/* Give it a server, called as in its shard, when no more shards and servers are added. ST_INVALID
 * says why that one cannot be on it. */
MUST_CHECK enum status inventory_add_host_server(const struct inventory *inventory,
                                                 struct inventory_host *host, const char *name,
                                                 struct err *err);

/* Does the operator accept the no-go of this readiness check? */
bool inventory_accepts(const struct inventory *inventory, const char *check);
const struct inventory_shard *inventory_find_shard(const struct inventory *inventory,
                                                   const char *name); /* or NULL */
const struct inventory_server *inventory_find_server(const struct inventory_shard *shard,
                                                     const char *name); /* or NULL */
const struct inventory_host *inventory_find_host(const struct inventory *inventory,
                                                 const char *name); /* or NULL */
const struct inventory_conductor *inventory_find_conductor(const struct inventory *inventory,
                                                           const char *name); /* or NULL */
/* The server that stands at place 'index' of the host. */
const struct inventory_server *inventory_host_server(const struct inventory *inventory,
                                                     const struct inventory_host *host,
                                                     size_t index);
/* false when there is no such region. */
bool inventory_find_region(const struct inventory *inventory, const char *name, size_t *ret_region);
const struct inventory_hook *inventory_find_hook(const struct inventory *inventory,
                                                 const char *name); /* or NULL */
const char *const *inventory_warnings(const struct inventory *inventory, size_t *ret_count);

/* The account's password as it is now: its file may have been changed since inventory_load(). */
void inventory_read_password(const struct inventory_account *account, struct secret *ret);

/* How to connect to a server with an account of this fleet. Points into the inventory. */
struct sql_endpoint inventory_endpoint(const struct inventory *inventory,
                                       const struct inventory_account *account,
                                       const struct inventory_server *server);

size_t inventory_store_members(const struct inventory *inventory); /* of an etcd; 0: it is none */
/* Open the store that the file names, as the file says. */
struct store;
MUST_CHECK enum status inventory_open_store(const struct inventory *inventory, nsec deadline,
                                            struct store **ret_store, struct err *err);

/* Where this machine keeps the journals of runs; the caller frees. In the store's folder, or where
 * the file says; with an etcd in INVENTORY_JOURNAL where it says nothing. */
#define INVENTORY_JOURNAL "/var/lib/holdfast/journal"
char *inventory_journal(const struct inventory *inventory);

/* Append the fleet file that reads back as this inventory. Passwords stay where they are. */
void inventory_write(const struct inventory *inventory, struct buf *buf);

#endif
