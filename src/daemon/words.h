/* SPDX-License-Identifier: Apache-2.0
 *
 * What agents told any conductor of the fleet: this one, or another, which is asked again and again
 * in the background, so that one that hangs holds nobody up. Any thread may look.
 */
#ifndef HOLDFAST_DAEMON_WORDS_H
#define HOLDFAST_DAEMON_WORDS_H

#include "daemon/steward.h"

struct permit_granters;
struct words;

struct words *words_new(const struct inventory *fleet, const struct inventory_conductor *self,
                        struct steward *steward);
void words_free(struct words *words);
/* A permission was withdrawn: for a moment they are asked more often. */
void words_hurry(struct words *words);
/* The newest that is known of the server. 'at' is when it was said, or earlier. */
struct steward_word words_find(struct words *words, const char *server);
/* When one of these granters last granted the server permission, or later (INT64_MIN: never);
 * false: one of them is silent, or does not know of the revocation yet. */
bool words_last_grant(struct words *words, const struct permit_granters *granters,
                      const char *server, int64_t revocation, nsec *ret);

#endif
