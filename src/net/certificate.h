/* SPDX-License-Identifier: Apache-2.0
 *
 * X.509 certificates in PEM: looking at those that an operator gave us, and an authority that signs
 * for a lab. No state, any thread; blocking reads of small files.
 */
#ifndef HOLDFAST_NET_CERTIFICATE_H
#define HOLDFAST_NET_CERTIFICATE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* Until when the (first) certificate of the file is good, in seconds since 1970. */
MUST_CHECK enum status certificate_read_end(const char *path, int64_t *ret_end_s, struct err *err);

/* ST_INVALID when the key is not that of the certificate, or needs a passphrase. */
MUST_CHECK enum status certificate_check_key(const char *cert_path, const char *key_path,
                                             struct err *err);

/* "Dec 26 10:41:32 2026 GMT", as servers print it, in seconds since 1970; false: it is not that. */
bool certificate_parse_time(const char *text, int64_t *ret_s);

/* A self-signed authority, in memory. */
struct certificate_authority;
MUST_CHECK enum status certificate_authority_new(const char *name, int days,
                                                 struct certificate_authority **ret,
                                                 struct err *err);
void certificate_authority_free(struct certificate_authority *authority);
void certificate_authority_freep(struct certificate_authority **authority); /* for AUTO() */
/* Append its certificate, and its key: wipe that when it is written, or give NULL. */
MUST_CHECK enum status certificate_authority_write(const struct certificate_authority *authority,
                                                   struct buf *ret_pem, struct buf *ret_key,
                                                   struct err *err);

struct certificate_request {
    const char *name;    /* CN; NULL: none, as etcd's gateway wants it of who logs in */
    const char *address; /* IP addresses that it is for, with commas between; NULL: of a client */
    int days;            /* below 0: it ended so many days ago */
};

/* Append a new certificate, and its key. Wipe the key when it is written. */
MUST_CHECK enum status certificate_issue(const struct certificate_authority *authority,
                                         const struct certificate_request *request,
                                         struct buf *ret_pem, struct buf *ret_key, struct err *err);

#endif
