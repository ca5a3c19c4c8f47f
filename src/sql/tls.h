/* SPDX-License-Identifier: Apache-2.0
 *
 * Connecting under TLS without blocking the thread. libmariadb's non-blocking form does not cover
 * TLS: it makes the socket blocking, and waits in poll() inside the handshake. So the connecting
 * call gets a stack of its own here (a "dial"), and the waits inside of it come out as descriptors
 * and events like all others. Internal to sql/; a dial belongs to its connection's thread.
 */
#ifndef HOLDFAST_SQL_TLS_H
#define HOLDFAST_SQL_TLS_H

#include "sql/conn.h"

#include <mysql.h>

struct tls_dial;

/* What a dial needs beyond the options of 'mysql'; borrowed until it is freed. */
struct tls_dial_spec {
    MYSQL *mysql;
    const struct sql_endpoint *endpoint;
    const char *address; /* numeric, of endpoint->host */
    const char *password;
    unsigned long flags;
};

/* The non-blocking form with TLS; before mysql_real_connect(). */
void tls_set_options(MYSQL *mysql, const struct sql_tls *tls);

/* Begin; then step until nothing is waited for. Both return MYSQL_WAIT_*, 0 when it ended. */
struct tls_dial *tls_dial_new(const struct tls_dial_spec *spec);
int tls_dial_step(struct tls_dial *dial, int ready);
bool tls_dial_succeeded(const struct tls_dial *dial); /* once it ended */
/* Why it failed, where libmariadb does not say it: the server offers no TLS (and got nothing), or
 * it left after the handshake, as one does under TLS 1.3 that does not accept our certificate. Else
 * NULL.
 */
const char *tls_dial_refusal(const struct tls_dial *dial);
/* Ends what is under way; before mysql_close(). NULL is fine. */
void tls_dial_free(struct tls_dial *dial);

#endif
