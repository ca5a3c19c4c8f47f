/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON of etcd's v3 gateway: protobuf messages whose 64-bit numbers are strings, whose bytes
 * are base64, and in which what is zero or empty is left out. Keys and values are text here: an
 * answer with others is refused. Pure: no I/O.
 */
#ifndef HOLDFAST_WIRE_ETCD_H
#define HOLDFAST_WIRE_ETCD_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ETCD_MESSAGE_MAX = 256, ETCD_PLAIN = 17 /* in place of a code of gRPC: it was no JSON */ };

struct etcd_kv {
    char *key, *value; /* owned; value is "" when only keys were asked for */
    int64_t create_rev, mod_rev, lease;
    bool is_deleted; /* of an event */
};

/* Any answer, or any line of a stream: what is not in it is 0. */
struct etcd_answer {
    int64_t revision, ttl_s, compact_revision;
    bool succeeded, has_more, is_canceled, is_fragment;
    bool is_of_leader;   /* a status, of the member that leads */
    struct etcd_kv *kvs; /* of a range, of all ranges of a transaction, or of the events */
    size_t count;
    int error; /* gRPC's code, 0: none; also why a watch was cancelled */
    char message[ETCD_MESSAGE_MAX];
    char *token; /* of a log-in; owned, and wiped with the rest; NULL: none */
};

MUST_CHECK enum status etcd_answer_parse(const char *text, size_t length,
                                         struct etcd_answer *ret_answer, struct err *err);
void etcd_answer_release(struct etcd_answer *answer);
const struct etcd_kv *etcd_answer_find(const struct etcd_answer *answer, const char *key);

/* '"name":"base64 of text"' */
void etcd_add_bytes(struct buf *out, const char *name, const char *text);

#endif
