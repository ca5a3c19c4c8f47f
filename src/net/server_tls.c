/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's certificate and key, read again when their files change. A handshake keeps pointers
 * to what it began with, so a replaced identity is freed long after the last handshake that may use
 * it was cut off.
 */
#include "net/internal.h"

#include "base/mem.h"
#include "base/scope.h"
#include "net/certificate.h"
#include "os/file.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_MAX = 8, PEM_MAX = 256 * 1024, RETIRED_S = 600 };

struct identity {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    nsec retired_at;
    struct identity *before;
};

static _Thread_local const struct http_server *current; /* the callback gets no context */

void server__set_current(struct http_server *server)
{
    current = server;
}

static int give_identity(gnutls_session_t session UNUSED, const gnutls_datum_t *names UNUSED,
                         int name_count UNUSED, const gnutls_pk_algorithm_t *kinds UNUSED,
                         int kind_count UNUSED, gnutls_pcert_st **ret_chain, unsigned *ret_count,
                         gnutls_privkey_t *ret_key)
{
    struct identity *identity = current->identity;
    *ret_chain = identity->chain;
    *ret_count = identity->count;
    *ret_key = identity->key;
    return 0;
}

void *server__identity_callback(void)
{
    gnutls_certificate_retrieve_function2 *callback = give_identity;
    void *pointer = NULL;
    memcpy(&pointer, &callback, sizeof(pointer));
    return pointer;
}

static void identity_free(struct identity *identity)
{
    for (unsigned i = 0; i < identity->count; i++)
        gnutls_pcert_deinit(&identity->chain[i]);
    if (identity->key)
        gnutls_privkey_deinit(identity->key);
    free(identity);
}

static enum status refuse(const char *path, int code, struct err *err)
{
    err_set(err, ST_INVALID, "read '%s': %s", path, gnutls_strerror(code));
    return err_hint(err, "name files in PEM: a certificate with what it hangs on, and its key "
                         "without a passphrase");
}

static enum status import(struct identity *identity, const struct http_server_config *config,
                          struct err *err)
{
    AUTO(buf_release) struct buf cert = {0};
    AUTO(buf_release) struct buf key = {0};
    enum status status = file_read(config->cert, PEM_MAX, &cert, err);
    if (!status)
        status = file_read(config->key, PEM_MAX, &key, err);
    if (!status)
        status = certificate_check_key(config->cert, config->key, err);
    if (status)
        return status;
    gnutls_datum_t cert_text = {(unsigned char *)cert.data, (unsigned)cert.length};
    gnutls_datum_t key_text = {(unsigned char *)key.data, (unsigned)key.length};
    unsigned count = CHAIN_MAX;
    int code = gnutls_pcert_list_import_x509_raw(identity->chain, &count, &cert_text,
                                                 GNUTLS_X509_FMT_PEM, 0);
    if (code)
        return refuse(config->cert, code, err);
    identity->count = count;
    code = gnutls_privkey_init(&identity->key);
    if (!code)
        code =
            gnutls_privkey_import_x509_raw(identity->key, &key_text, GNUTLS_X509_FMT_PEM, NULL, 0);
    explicit_bzero(key.data, key.length);
    return code ? refuse(config->key, code, err) : ST_OK;
}

enum status server__load_identity(struct http_server *server, struct err *err)
{
    struct identity *identity = mem_zalloc(sizeof(*identity));
    enum status status = import(identity, &server->config, err);
    if (status) {
        identity_free(identity);
        return status;
    }
    identity->before = server->identity;
    if (identity->before)
        identity->before->retired_at = clock_now();
    server->identity = identity;
    return ST_OK;
}

static void free_retired(struct identity *newest, nsec now)
{
    struct identity **place = &newest->before;
    while (*place && now - (*place)->retired_at < RETIRED_S * NSEC_PER_SEC)
        place = &(*place)->before;
    for (struct identity *each = take_pointer(*place), *before; each; each = before) {
        before = each->before;
        identity_free(each);
    }
}

/* They are replaced one after the other: a key that does not fit yet comes again when the second
 * file changes. */
void server__reload_identity(struct http_server *server, nsec now)
{
    if (!server->identity)
        return;
    bool has_new_cert = watched_file__has_changed(&server->cert);
    bool has_new_key = watched_file__has_changed(&server->key);
    if (has_new_cert || has_new_key) {
        struct err err = ERR_INIT;
        status_ignore(server__load_identity(server, &err),
                      "the note says it; the one before stays");
        if (server->config.note)
            server->config.note(server->config.context, server->config.cert, &err);
    }
    free_retired(server->identity, now);
}

void server__free_identities(struct http_server *server)
{
    for (struct identity *each = take_pointer(server->identity), *before; each; each = before) {
        before = each->before;
        identity_free(each);
    }
}
