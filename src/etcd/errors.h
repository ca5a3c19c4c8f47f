/* SPDX-License-Identifier: Apache-2.0
 *
 * What etcd says when it does not do what was asked, and what is done about it: one table, which
 * docs/etcd.md shows to operators (a test compares the two).
 */
#ifndef HOLDFAST_ETCD_ERRORS_H
#define HOLDFAST_ETCD_ERRORS_H

#include "base/err.h"
#include "wire/etcd.h"

enum etcd_reach {
    ETCD_FINAL,   /* every member would say that: it did not happen, the caller is told */
    ETCD_RENEW,   /* it did not happen: log in anew, and ask again */
    ETCD_NEXT,    /* it did not happen here: ask another member, and this one again later */
    ETCD_REFUSED, /* the same, but waiting does not help: when all say so, the caller is told */
    ETCD_DOUBT    /* it may have happened, or may still: a read is asked again, a write settled */
};

/* clang-format off */
/* X(gRPC's code (0: any), how the message begins ("": any), reach, status, what it means, hint); the first that fits */
#define ETCD_ERROR_TABLE(X) \
    X(5,  "etcdserver: requested lease not found", FINAL, ST_NOT_FOUND, "the lease has ended", "") \
    X(9,  "etcdserver: lease already exists", FINAL, ST_EXISTS, "an answer was lost, and this is the second try", "") \
    X(11, "etcdserver: mvcc: required revision has been compacted", FINAL, ST_COMPACTED, "the history asked for is no longer kept", "list the keys again and watch from that revision") \
    X(11, "etcdserver: mvcc: required revision is a future revision", NEXT, ST_IO, "a member is behind", "") \
    X(8,  "etcdserver: mvcc: database space exceeded", FINAL, ST_FULL, "etcd's quota is used up (alarm NOSPACE)", "compact and defragment etcd, then 'etcdctl alarm disarm'") \
    X(8,  "etcdserver: too many requests", NEXT, ST_BUSY, "the member has more to do than it takes on", "") \
    X(8,  "", FINAL, ST_INVALID, "larger than etcd takes", "") \
    X(16, "etcdserver: invalid auth token", RENEW, ST_DENIED, "the token has expired, or its member was restarted", "") \
    X(3,  "etcdserver: revision of auth store is old", RENEW, ST_DENIED, "users or roles were changed since the log-in", "") \
    X(3,  "etcdserver: user name is empty", RENEW, ST_DENIED, "etcd wants a user and a password", "give 'store' in the fleet file its 'credentials'") \
    X(3,  "etcdserver: authentication failed", FINAL, ST_DENIED, "no such user, or the wrong password", "check 'credentials' of 'store' in the fleet file, and the password file it names") \
    X(9,  "etcdserver: authentication is not enabled", FINAL, ST_NOT_FOUND, "there is nothing to log in to: it goes on without", "") \
    X(7,  "etcdserver: permission denied", FINAL, ST_DENIED, "the user's role does not allow it", "holdfast fleet check says which permission is missing") \
    X(7,  "", FINAL, ST_DENIED, "not allowed", "") \
    X(16, "", FINAL, ST_DENIED, "not allowed", "") \
    X(3,  "", FINAL, ST_INVALID, "a request that etcd does not take", "") \
    X(12, "", REFUSED, ST_INVALID, "the member does not know this request: an older etcd than 3.4", "") \
    X(15, "", FINAL, ST_IO, "etcd's data is corrupt (alarm CORRUPT)", "take the corrupt member out of the cluster and add it anew") \
    X(14, "etcdserver: no leader", NEXT, ST_UNREACHABLE, "the member knows no leader", "") \
    X(2,  "raft proposal dropped", NEXT, ST_UNREACHABLE, "there is no leader to take it", "") \
    X(14, "", DOUBT, ST_TIMEOUT, "timed out, the leader changed, or the member stops", "") \
    X(17, "CommonName of client sending a request against gateway", REFUSED, ST_UNTRUSTED, "with log-ins and client certificates both on, etcd's gateway takes no certificate with a CN", "issue Holdfast's certificate for etcd without a common name (subject O=holdfast, say), or switch --client-cert-auth off") \
    X(17, "404 page not found", REFUSED, ST_INVALID, "this is no etcd 3.4 or later, or its gateway is off", "the port must be one of --listen-client-urls, with --enable-grpc-gateway") \
    X(17, "Client sent an HTTP request to an HTTPS server", REFUSED, ST_UNTRUSTED, "it wants TLS", "give 'store' in the fleet file its 'tls'") \
    X(0,  "", DOUBT, ST_IO, "anything else", "")
/* clang-format on */

struct etcd_error {
    int code;
    const char *begins;
    enum etcd_reach reach;
    enum status status;
    const char *meaning, *hint;
};

/* The row of an answer that carries an error. */
const struct etcd_error *etcd_error_find(const struct etcd_answer *answer);
/* Set 'err' from it; returns the row's status. */
enum status etcd_error_set(const struct etcd_answer *answer, struct err *err);

#endif
