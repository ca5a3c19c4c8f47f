/* SPDX-License-Identifier: Apache-2.0
 *
 * Permission to serve, as a conductor gives it to the agents of its region: beats, knows what is
 * revoked, answers, and remembers what agents told; with rpo_guard no longer than what the other
 * region has received allows. The rules are in permit/. A thread of its own;
 * there is none when the fleet file has no hosts.
 */
#ifndef HOLDFAST_DAEMON_STEWARD_H
#define HOLDFAST_DAEMON_STEWARD_H

#include "base/clock.h"
#include "permit/basis.h"

#include <jansson.h>

struct daemon_store;
struct http_request;
struct inventory;
struct inventory_conductor;
struct inventory_server;
struct steward;
struct surveyor;

struct steward *steward_start(const struct inventory *fleet, const struct inventory_conductor *self,
                              struct daemon_store *store, struct surveyor *surveyor);
void steward_stop(struct steward *steward);
void steward_free(struct steward *steward); /* NULL is fine, like above */

/* A permission was withdrawn: know it at once. Any thread. */
void steward_hurry(struct steward *steward);
/* Answers an agent's question. */
void steward_answer(struct steward *steward, struct http_request *request);

/* ST_OK: clients may be sent to the server, as far as permissions go: its host has no agent, or it
 * is not revoked and, when it is of this region, could be permitted by this conductor now. */
MUST_CHECK enum status steward_check(struct steward *steward, const struct inventory_server *server,
                                     struct err *err);

/* What an agent told of a server, and how long ago it was heard of. */
struct steward_word {
    bool is_known; /* an agent asked for it since this process began */
    bool is_closed;
    int64_t closed; /* confirms revocations up to this version */
    nsec at;
    nsec granted; /* permission to it, or before that; INT64_MIN: never */
};
struct steward_word steward_word(struct steward *steward, const char *server);
/* The same of all servers, and what this conductor granted and knows, for others. A new object. */
json_t *steward_words(struct steward *steward);

/* This process as a granter (permit/granters.h). */
const char *steward_granter(const struct steward *steward);
/* When it last granted the server permission (INT64_MIN: never); false: it does not know of the
 * revocation yet. */
bool steward_last_grant(struct steward *steward, const char *server, int64_t revocation, nsec *ret);

#endif
