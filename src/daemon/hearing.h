/* SPDX-License-Identifier: Apache-2.0
 *
 * What conductors and agents tell a failover, beside the store: the ears of every run that this
 * conductor carries out. Any thread.
 */
#ifndef HOLDFAST_DAEMON_HEARING_H
#define HOLDFAST_DAEMON_HEARING_H

#include "daemon/steward.h"
#include "failover/failover.h"

struct hearing;
struct inventory;

struct daemon;
struct hearing *hearing_new(const struct daemon *daemon);
void hearing_free(struct hearing *hearing); /* NULL is fine */

/* A permission was withdrawn: somebody waits for what the others say. */
void hearing_hurry(struct hearing *hearing);
const struct failover_ears *hearing_ears(struct hearing *hearing); /* NULL: of nobody */
/* What an agent told any conductor of the server, last. */
struct steward_word hearing_word(struct hearing *hearing, const char *server);
/* Has it no agent, or was that granted permission to it a moment ago? 'context' is the hearing. */
bool hearing_may_open(void *context, const struct inventory_server *server);
/* Of an agent that has not asked for longer than this nothing is known. */
nsec hearing_patience(const struct inventory *fleet);
/* The shard's route was seen: since when it has its revision is told to failovers. */
void hearing_sight(struct hearing *hearing, const struct inventory_shard *shard,
                   const struct route *route);
/* Its primary does not answer since then; 0: it does. */
void hearing_note_loss(struct hearing *hearing, const struct inventory_shard *shard, nsec since);

#endif
