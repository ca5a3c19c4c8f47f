/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fleet is at this moment: every server asked once, all side by side on one thread; a
 * dead or hanging server costs the deadline once. Homes and roles are derived, never configured.
 * Once made, any thread may read an observation.
 */
#ifndef HOLDFAST_FLEET_OBSERVATION_H
#define HOLDFAST_FLEET_OBSERVATION_H

#include "base/clock.h"
#include "base/table.h"
#include "fleet/inventory.h"
#include "sql/flavour.h"

struct sql_conn;

/* X(id, text) */
#define SERVER_ROLE_TABLE(X)                                                                       \
    X(ROLE_UNKNOWN, "unknown")   /* does not answer */                                             \
    X(ROLE_PRIMARY, "primary")   /* writable, replicates from nobody */                            \
    X(ROLE_REPLICA, "replica")   /* of a server of its own region */                               \
    X(ROLE_RELAY, "relay")       /* of a server of the other region */                             \
    X(ROLE_FENCED, "fenced")     /* read-only and replicates from nobody */                        \
    X(ROLE_CONFLICT, "conflict") /* writable although it replicates */                             \
    X(ROLE_IGNORED, "ignored")   /* by the fleet file: whatever it does, and whether it answers */

enum server_role { SERVER_ROLE_TABLE(TABLE_ID) SERVER_ROLES };

const char *server_role_name(enum server_role role);

struct server_observation {
    const struct inventory_server *server;
    enum status status;                /* ST_OK: it answered */
    char *problem;                     /* owned; NULL: it answered */
    const struct sql_flavour *flavour; /* NULL unless it answered */
    struct sql_server_state state;
    enum server_role role;
    const struct server_observation *source; /* in the same shard; NULL: none, or a stranger */
    double answer_ms;
    double clock_ahead_s; /* its wall clock minus our boot clock: good for comparing two servers */
    /* How long after being asked it had everything that the primary had then; -1 unknown (no
     * primary, not replicating, or not within the deadline). Set by observe_lag(). */
    double lag_ms;
    struct sql_conn *conn; /* owned; open only while a survey looks more closely at its group */
};

struct shard_observation {
    const struct inventory_shard *shard;
    struct server_observation *servers; /* as in shard->servers, the ignored ones included */
    /* The only writable one, whatever its role; NULL: none or several. */
    const struct server_observation *primary;
    size_t writable_count;
    /* The server of 'region' that replicates from the primary across regions; NULL: none. */
    const struct server_observation *relays[INVENTORY_REGIONS];
    char *later_position; /* owned; the primary's, read after all servers had answered */
    struct err later_err; /* why it is NULL, when it was asked for */
};

struct fleet_observation {
    struct shard_observation *shards;
    size_t count;
};

/* Ask all servers of the shards (NULL: of all shards). Fails only on misuse: what does not answer
 * is part of the observation. A connection is closed as soon as it has answered. */
void fleet_observe(const struct inventory *fleet, const struct inventory_shard *const *shards,
                   size_t count, nsec deadline, struct fleet_observation *ret);

/* The same with less time for the servers of one region, which may be lost: nobody waits for them.
 */
struct fleet_haste {
    size_t region;
    nsec deadline;
};
void fleet_observe_in_haste(const struct inventory *fleet,
                            const struct inventory_shard *const *shards, size_t count,
                            const struct fleet_haste *haste, nsec deadline,
                            struct fleet_observation *ret);

/* The same with a second look over the connections that are open then: in groups of shards, because
 * a connection takes some 60 KB. Each group has 'time' to answer. */
enum { FLEET_GROUP = 200 };
struct fleet_survey {
    const struct inventory *fleet;
    const struct inventory_shard *const *shards; /* NULL: all */
    size_t count;
    size_t group; /* shards; 0: FLEET_GROUP */
    nsec time;
    void (*look)(void *context, struct fleet_observation *group); /* a part of the whole */
    void *context;
};
void fleet_survey(const struct fleet_survey *survey, struct fleet_observation *ret);

/* A second look: how far behind is each replica, in milliseconds. Also reads later_position. */
void fleet_look_at_lag(struct fleet_observation *group, nsec deadline);
/* A survey with just that, for which it has the time once more. */
void fleet_observe_lag(const struct inventory *fleet, const struct inventory_shard *const *shards,
                       size_t count, nsec deadline, struct fleet_observation *ret);
const char *server_problem(const struct server_observation *server); /* "": it answered */
/* It did not, or not well. */
void server_observation_fail(struct server_observation *server, const struct err *err);
/* The first server of the shard that did not answer; NULL: all did. */
const struct server_observation *shard_find_silent(const struct shard_observation *shard);
/* An ignored server from which others of the shard replicate: somebody may have made it the
 * primary; NULL: none. */
const struct server_observation *shard_find_ignored_source(const struct shard_observation *shard);
void fleet_observation_release(struct fleet_observation *observation);

/* For those who ask by themselves: room for all servers of the fleet, of which nothing is known;
 * and what follows from the states of a shard's servers: roles, sources, the primary, the relays.
 */
void fleet_observation_prepare(const struct inventory *fleet, struct fleet_observation *ret);
void shard_observation_derive(struct shard_observation *shard);

#endif
