/* SPDX-License-Identifier: Apache-2.0
 * See tls.h. Three of libmariadb's methods of a socket are replaced. The handshake asks whether the
 * socket is blocking first thing, and waits through the second; both happen on libmariadb's own
 * stack, from which only a switch of stacks leads back here. Outside of a dial all are as before: a
 * write under TLS could then wait, but only one larger than the buffers of an idle connection. */
#include "sql/tls.h"

#include "base/invariant.h"
#include "base/mem.h"

#include <errmsg.h>
#include <errno.h>
#include <ma_pvio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <ucontext.h>

enum {
    STACK_BYTES = 64 * 1024,         /* only few frames run on it */
    LIBRARY_STACK_BYTES = 256 * 1024 /* where the handshake runs; the default is 60 KiB */
};

/* As in libmariadb's client_plugin.h, which includes a header that Debian does not ship. */
enum { PVIO_PLUGIN = 101, PVIO_PLUGIN_VERSION = 0x0100 };

struct pvio_plugin {
    MYSQL_CLIENT_PLUGIN_HEADER
    struct st_ma_pvio_methods *methods;
};

struct tls_dial {
    struct tls_dial_spec spec;
    ucontext_t outside, inside;
    void *stack;
    MYSQL *connected;
    int waiting, ready;
    bool is_in_handshake; /* suspended in it */
    bool is_cancelled, is_done;
    bool is_clear;  /* the server offers no TLS */
    bool has_begun; /* the handshake */
};

static __thread struct tls_dial *current; /* whose stack this thread runs on */
static struct st_ma_pvio_methods plain, hooked;

/* --- On the dial's stack ---------------------------------------------------------------------- */

static void suspend(struct tls_dial *dial, int waiting)
{
    dial->waiting = waiting;
    swapcontext(&dial->inside, &dial->outside);
}

/* libmariadb compares the certificate with the host that it connects to, which is an address here,
 * because it would block on a name: give it the name of the fleet file before it does. */
static void name_host(MYSQL *mysql, const char *host)
{
    free(mysql->host);
    mysql->host = strdup(host);
    INVARIANT(mysql->host);
}

static my_bool is_blocking(MARIADB_PVIO *pvio)
{
    struct tls_dial *dial = current;
    if (!dial || pvio->mysql != dial->spec.mysql)
        return plain.is_blocking(pvio);
    dial->has_begun = true;
    name_host(pvio->mysql, dial->spec.endpoint->host);
    return 0; /* which makes it set the socket to non-blocking, for good */
}

static int wait_io(MARIADB_PVIO *pvio, my_bool is_read, int timeout)
{
    struct tls_dial *dial = current;
    if (!dial || pvio->mysql != dial->spec.mysql)
        return plain.wait_io_or_timeout(pvio, is_read, timeout);
    dial->is_in_handshake = true;
    if (!dial->is_cancelled)
        suspend(dial, is_read ? MYSQL_WAIT_READ : MYSQL_WAIT_WRITE);
    dial->is_in_handshake = false;
    return dial->is_cancelled ? 0 : 1;
}

static void dial_main(void)
{
    struct tls_dial *dial = current;
    const struct sql_endpoint *at = dial->spec.endpoint;
    int waiting = mysql_real_connect_start(&dial->connected, dial->spec.mysql, dial->spec.address,
                                           at->user, dial->spec.password, at->database,
                                           (unsigned)at->port, NULL, dial->spec.flags);
    while (waiting && !dial->is_cancelled) {
        suspend(dial, waiting);
        waiting = mysql_real_connect_cont(&dial->connected, dial->spec.mysql, dial->ready);
    }
    dial->is_done = true;
    dial->waiting = 0;
}

/* Where certificates are not verified, libmariadb would go on in clear text with a server that
 * offers no TLS, or with somebody in between who says so. What it would send first is the password.
 */
static ssize_t write_async(MARIADB_PVIO *pvio, const uchar *bytes, size_t length)
{
    struct tls_dial *dial = current;
    bool is_clear =
        dial && pvio->mysql == dial->spec.mysql && !(pvio->mysql->server_capabilities & CLIENT_SSL);
    if (!is_clear)
        return plain.async_write(pvio, bytes, length);
    dial->is_clear = true;
    errno = EPROTO;
    return -1;
}

/* --- From outside ----------------------------------------------------------------------------- */

static void hook_library(void)
{
    struct pvio_plugin *plugin =
        (struct pvio_plugin *)mysql_client_find_plugin(NULL, "pvio_socket", PVIO_PLUGIN);
    INVARIANT(plugin && plugin->interface_version == PVIO_PLUGIN_VERSION);
    plain = *plugin->methods;
    hooked = plain;
    hooked.is_blocking = is_blocking;
    hooked.wait_io_or_timeout = wait_io;
    hooked.async_write = write_async;
    plugin->methods = &hooked;
}

static int resume(struct tls_dial *dial)
{
    current = dial;
    swapcontext(&dial->outside, &dial->inside);
    current = NULL;
    return dial->waiting;
}

void tls_set_options(MYSQL *mysql, const struct sql_tls *tls)
{
    my_bool yes = 1;
    static const size_t stack_bytes = LIBRARY_STACK_BYTES;
    mysql_options(mysql, MYSQL_OPT_NONBLOCK, &stack_bytes);
    mysql_ssl_set(mysql, tls->key, tls->cert, tls->ca, NULL, NULL);
    mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    mysql_options(mysql, MARIADB_OPT_TLS_VERSION, "TLSv1.2,TLSv1.3");
    if (tls->verify)
        mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
}

struct tls_dial *tls_dial_new(const struct tls_dial_spec *spec)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, hook_library);
    struct tls_dial *dial = mem_zalloc(sizeof(*dial));
    dial->spec = *spec;
    dial->stack = mem_zalloc(STACK_BYTES);
    INVARIANT(getcontext(&dial->inside) == 0);
    dial->inside.uc_stack.ss_sp = dial->stack;
    dial->inside.uc_stack.ss_size = STACK_BYTES;
    dial->inside.uc_link = &dial->outside;
    makecontext(&dial->inside, dial_main, 0);
    resume(dial);
    return dial;
}

int tls_dial_step(struct tls_dial *dial, int ready)
{
    dial->ready = ready;
    return dial->is_done ? 0 : resume(dial);
}

bool tls_dial_succeeded(const struct tls_dial *dial)
{
    return dial->is_done && dial->connected;
}

const char *tls_dial_refusal(const struct tls_dial *dial)
{
    if (dial->is_clear)
        return "the server offers no TLS";
    bool is_lost = mysql_errno(dial->spec.mysql) == CR_SERVER_LOST;
    if (is_lost && dial->has_begun && dial->spec.endpoint->tls->cert)
        return "the server closed the connection after the TLS handshake: it does not accept our"
               " certificate, or it is going down";
    return NULL;
}

/* One that waits in the handshake is told that it waits no longer, so that libmariadb and OpenSSL
 * let go of what they hold. Elsewhere mysql_close() does what it does for every operation. */
void tls_dial_free(struct tls_dial *dial)
{
    if (!dial)
        return;
    dial->is_cancelled = true;
    if (dial->is_in_handshake) {
        shutdown(mysql_get_socket(dial->spec.mysql), SHUT_RDWR);
        resume(dial);
    }
    free(dial->stack);
    free(dial);
}
