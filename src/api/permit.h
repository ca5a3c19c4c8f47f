/* SPDX-License-Identifier: Apache-2.0
 *
 * Permission to serve as it goes over the wire: the question of a host's agent to a conductor of
 * its region, POST API_PERMIT_PATH, and the answer. A permission is a duration, because two
 * machines have no clock in common: whoever asked counts it from before the question left.
 */
#ifndef HOLDFAST_API_PERMIT_H
#define HOLDFAST_API_PERMIT_H

#include "base/err.h"
#include "base/table.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define API_PERMIT_PATH "/v1/permit"

enum {
    PERMIT_SERVERS_MAX = 1024, /* of one host */
    PERMIT_TEXT_MAX = 256,     /* bytes of a name */
    PERMIT_QUESTION_MAX = 256 * 1024,
    PERMIT_ANSWER_MAX = 512 * 1024,
};

/* X(id, word). What the agent knows of one of its servers. */
#define CLOSURE_TABLE(X)                                                                           \
    X(CLOSURE_UNKNOWN, "unknown")                                                                  \
    X(CLOSURE_OPEN, "open")     /* it accepts writes */                                            \
    X(CLOSURE_CLOSED, "closed") /* a fresh connection saw that it refuses them */                  \
    X(CLOSURE_DEAD, "dead")     /* the process that was seen to be the server has ended */

enum closure { CLOSURE_TABLE(TABLE_ID) CLOSURES };

const char *closure_name(enum closure closure);

struct permit_report {
    char *name; /* "host:port", as in the fleet file */
    enum closure closure;
    /* The newest revision that the agent knew before it began the look that found this; 0: none. A
     * closure confirms a revocation whose revision is not newer. */
    int64_t since_revision;
};

struct permit_question {
    char *host;
    int64_t ttl_ms; /* as the agent's fleet file has it */
    struct permit_report *reports;
    size_t count, capacity;
};

/* A server that may serve for longer than the others. */
struct permit_longer {
    char *name;
    int64_t serve_ms;
};

/* What differs from server to server is told so that an agent which knows nothing of it lets none
 * of them serve for too long. */
struct permit_answer {
    int64_t serve_ms; /* from when the question was sent; 0: no (further) permission */
    struct permit_longer *longer;
    size_t longer_count, longer_capacity;
    int64_t revision; /* of the region's revocations, as far as this conductor knows them */
    char **revoked;   /* of that host's servers, at that revision */
    size_t count, capacity;
};

json_t *permit_question_encode(const struct permit_question *question); /* a new object */
json_t *permit_answer_encode(const struct permit_answer *answer);       /* a new object */

/* Every field is checked; unknown keys are left alone. ST_INVALID says what is wrong. */
MUST_CHECK enum status permit_question_decode(const json_t *json, struct permit_question *ret,
                                              struct err *err);
MUST_CHECK enum status permit_answer_decode(const json_t *json, struct permit_answer *ret,
                                            struct err *err);

/* Names are copied. */
void permit_question_add(struct permit_question *question, const char *name, enum closure closure,
                         int64_t since_revision);
void permit_answer_add(struct permit_answer *answer, const char *name);
void permit_answer_add_longer(struct permit_answer *answer, const char *name, int64_t serve_ms);

void permit_question_release(struct permit_question *question);
void permit_answer_release(struct permit_answer *answer);

#endif
