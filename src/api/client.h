/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the fleet's conductors: one after the other, until one has an answer that is good enough.
 * Blocking; any thread.
 */
#ifndef HOLDFAST_API_CLIENT_H
#define HOLDFAST_API_CLIENT_H

#include "base/clock.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct inventory;

struct client_answer {
    json_t *json;          /* owned */
    const char *conductor; /* whose it is, by name; of the inventory */
    int64_t age_ms;        /* of what it says */
};
void client_answer_release(struct client_answer *answer);

/* GET 'path' of any conductor whose answer is at most max_age_ms old, of one that can read the
 * store if there is one. The token is the first of
 * api.tokens, but those of agents, whose file can be read here; $HOLDFAST_TOKEN_FILE names another.
 * Otherwise the error says of each conductor why not. */
MUST_CHECK enum status client_get(const struct inventory *fleet, const char *path,
                                  int64_t max_age_ms, struct client_answer *ret, struct err *err);

struct inventory_conductor;
/* The same of this conductor, which has 'time'. */
MUST_CHECK enum status client_get_from(const struct inventory *fleet,
                                       const struct inventory_conductor *conductor,
                                       const char *path, nsec time, struct client_answer *ret,
                                       struct err *err);

/* An order, for whichever conductor takes it. */
struct client_order {
    const char *path, *body; /* JSON */
    int64_t answer_ms;       /* for each conductor */
    bool was_heard;          /* out: one answered, if only that it takes no orders now */
    bool was_sent;           /* out: one that gave no answer may have taken it */
    bool was_refused;        /* out: one that takes orders did not like it */
};

/* POST it to one conductor after the other until one takes it (ret->age_ms is 0). The token is that
 * of the first operator of api.tokens whose file can be read here; $HOLDFAST_TOKEN_FILE names
 * another. ST_NOT_FOUND: there is no token. A refusal is in the conductor's words. */
MUST_CHECK enum status client_post(const struct inventory *fleet, struct client_order *order,
                                   struct client_answer *ret, struct err *err);

#endif
