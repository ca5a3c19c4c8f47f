/* SPDX-License-Identifier: Apache-2.0
 *
 * Members under TLS that ask for client certificates and for log-ins: their certificates, their
 * users, and requests past the store. Included by etcd_test.h.
 */
#ifndef HOLDFAST_TESTS_ETCD_SECURE_H
#define HOLDFAST_TESTS_ETCD_SECURE_H

#include "base/secret.h"
#include "net/certificate.h"
#include "net/http.h"
#include "os/file.h"
#include "store_test.h"
#include "wire/etcd.h"

enum { SECURE_PATH_MAX = 96, SECURE_DAYS = 30 };
#define SECURE_TOKEN_TTL "2" /* seconds */
#define SECURE_PASSWORD "n0t \"in\" a log\\"

/* Who may come, and how; its texts are paths of files in a folder of the test. */
struct secure {
    char ca[SECURE_PATH_MAX], cert[SECURE_PATH_MAX], key[SECURE_PATH_MAX];
    char password_file[SECURE_PATH_MAX];
    struct certificate_authority *authority;
    struct http_tls tls;
    struct secret password;
    struct store_access access;
    int port;        /* of a member, for gateway() */
    struct buf root; /* "Authorization: token of root" */
};

static inline void write_text(const char *path, const char *text, size_t length)
{
    assert_int_equal(file_write(path, text, length, 0600, NULL), ST_OK);
}

/* DIR/NAME.pem and DIR/NAME.key */
static inline void issue(const struct certificate_authority *authority, const char *directory,
                         const char *name, const struct certificate_request *request)
{
    AUTO(buf_release) struct buf cert = {0};
    AUTO(buf_release) struct buf key = {0};
    AUTO_FREE char *cert_path = mem_printf("%s/%s.pem", directory, name);
    AUTO_FREE char *key_path = mem_printf("%s/%s.key", directory, name);
    EXPECT_OK(certificate_issue(authority, request, &cert, &key, &trouble));
    write_text(cert_path, cert.data, cert.length);
    write_text(key_path, key.data, key.length);
}

static inline void write_authority(const struct certificate_authority *authority, const char *path)
{
    AUTO(buf_release) struct buf pem = {0};
    EXPECT_OK(certificate_authority_write(authority, &pem, NULL, &trouble));
    write_text(path, pem.data, pem.length);
}

/* A server certificate for 127.0.0.1, a client certificate without a CN, a password. */
static inline void secure_init(struct secure *secure, const char *directory)
{
    struct certificate_request server = {"member", "127.0.0.1", SECURE_DAYS};
    struct certificate_request client = {NULL, NULL, SECURE_DAYS};
    *secure = (struct secure){0};
    snprintf(secure->ca, SECURE_PATH_MAX, "%s/ca.pem", directory);
    snprintf(secure->cert, SECURE_PATH_MAX, "%s/client.pem", directory);
    snprintf(secure->key, SECURE_PATH_MAX, "%s/client.key", directory);
    snprintf(secure->password_file, SECURE_PATH_MAX, "%s/password", directory);
    EXPECT_OK(certificate_authority_new("etcd", SECURE_DAYS, &secure->authority, &trouble));
    write_authority(secure->authority, secure->ca);
    issue(secure->authority, directory, "server", &server);
    issue(secure->authority, directory, "client", &client);
    write_text(secure->password_file, SECURE_PASSWORD "\n", sizeof(SECURE_PASSWORD));
    secret_set(&secure->password, SECURE_PASSWORD, strlen(SECURE_PASSWORD));
    secure->tls = (struct http_tls){secure->ca, secure->cert, secure->key, true};
    secure->access =
        (struct store_access){&secure->tls, "holdfast", &secure->password, secure->password_file};
}

static inline void secure_release(struct secure *secure)
{
    certificate_authority_free(secure->authority);
    secret_release(&secure->password);
    buf_release(&secure->root);
}

/* Straight to a member, past the store; as root once there is one. */
static inline void gateway(const struct secure *secure, const char *path, const char *body,
                           struct etcd_answer *ret_answer)
{
    struct http_line *line = http_line_new();
    AUTO_FREE char *url = mem_printf("https://127.0.0.1:%d%s", secure->port, path);
    AUTO(http_answer_release) struct http_answer answer = {0};
    const char *headers[] = {secure->root.data, NULL};
    struct http_post post = {.url = url,
                             .body = body,
                             .headers = headers,
                             .tls = &secure->tls,
                             .deadline = soon(),
                             .connect_ms = 1000,
                             .answer_max = 65536};
    EXPECT_OK(http_send(line, &post, &answer, &trouble));
    EXPECT_OK(etcd_answer_parse(buf_text(&answer.body), answer.body.length, ret_answer, &trouble));
    http_line_free(line);
}

static inline void gateway_do(const struct secure *secure, const char *path, const char *body)
{
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    gateway(secure, path, body, &answer);
    if (answer.error)
        fail_msg("%s %s: %s", path, body, answer.message);
}

/* Log in as root. Its token ends like all others. */
static inline void become_root(struct secure *secure)
{
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    buf_clear(&secure->root);
    gateway(secure, "/v3/auth/authenticate", "{\"name\":\"root\",\"password\":\"r\"}", &answer);
    assert_non_null(answer.token);
    buf_printf(&secure->root, "Authorization: %s", answer.token);
}

/* Let the role of holdfast do 'kind' (READ, WRITE, READWRITE) from one key to before another. */
static inline void allow(const struct secure *secure, const char *kind, const char *from,
                         const char *end)
{
    AUTO(buf_release) struct buf body = {0};
    buf_printf(&body, "{\"name\":\"holdfast\",\"perm\":{\"permType\":\"%s\",", kind);
    etcd_add_bytes(&body, "key", from);
    buf_add(&body, ",");
    etcd_add_bytes(&body, "range_end", end);
    buf_add(&body, "}}");
    gateway_do(secure, "/v3/auth/role/grant", buf_text(&body));
}

static inline void forbid(const struct secure *secure, const char *from, const char *end)
{
    AUTO(buf_release) struct buf body = {0};
    buf_add(&body, "{\"role\":\"holdfast\",");
    etcd_add_bytes(&body, "key", from);
    buf_add(&body, ",");
    etcd_add_bytes(&body, "range_end", end);
    buf_add(&body, "}");
    gateway_do(secure, "/v3/auth/role/revoke", buf_text(&body));
}

/* Users and roles, and no access without them from then on. holdfast may do everything. */
static inline void secure_make_users(struct secure *secure)
{
    gateway_do(secure, "/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"r\"}");
    gateway_do(secure, "/v3/auth/role/add", "{\"name\":\"root\"}");
    gateway_do(secure, "/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    gateway_do(secure, "/v3/auth/user/add",
               "{\"name\":\"holdfast\",\"password\":\"n0t \\\"in\\\" a log\\\\\"}");
    gateway_do(secure, "/v3/auth/role/add", "{\"name\":\"holdfast\"}");
    gateway_do(secure, "/v3/auth/user/grant", "{\"user\":\"holdfast\",\"role\":\"holdfast\"}");
    allow(secure, "READWRITE", "!", "\x7f");
}

static inline void secure_demand_login(struct secure *secure)
{
    buf_clear(&secure->root); /* a token of before is none any more */
    gateway_do(secure, "/v3/auth/enable", "{}");
    become_root(secure);
}

#endif
