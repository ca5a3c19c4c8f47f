/* SPDX-License-Identifier: Apache-2.0
 *
 * A client's life, and one attempt at one member. The header 'hasleader' makes a member without a
 * leader say so at once, instead of keeping the request.
 */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "etcd/internal.h"

#include <limits.h>
#include <string.h>

enum {
    PLAIN_SHOWN_MAX = 160,
    REFUSES = 1,
    SILENT = 2,
    FAILURES_MAX = 1000,
    NEARER = 2 /* times: less is chance */
};

/* ---- life cycle ---- */

static void set_access(struct etcd_client *client, const struct etcd_access *access)
{
    if (access->tls) {
        client->has_tls = true;
        client->tls = (struct http_tls){mem_strdup(access->tls->ca), mem_strdup(access->tls->cert),
                                        mem_strdup(access->tls->key), access->tls->verify};
    }
    if (!access->user)
        return;
    client->user = mem_strdup(access->user);
    client->password_file = mem_strdup(access->password_file);
    const char *password = access->password ? secret_reveal(access->password) : "";
    secret_set(&client->password, password, strlen(password));
}

struct etcd_client *etcd_client_new(const struct etcd_access *access)
{
    struct etcd_client *client = mem_zalloc(sizeof(*client));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->login_changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
    if (access)
        set_access(client, access);
    return client;
}

void etcd_client_free(struct etcd_client *client)
{
    if (!client)
        return;
    for (size_t i = 0; i < client->count; i++)
        free(client->members[i]);
    free(client->members);
    free((char *)client->tls.ca);
    free((char *)client->tls.cert);
    free((char *)client->tls.key);
    free(client->user);
    free(client->password_file);
    secret_release(&client->password);
    secret_release(&client->token);
    pthread_cond_destroy(&client->login_changed);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

void etcd_client_add(struct etcd_client *client, const char *host_and_port, size_t length)
{
    INVARIANT(client->count < ETCD_MEMBERS_MAX);
    char *name = mem_printf("%.*s", (int)length, host_and_port);
    VEC_PUSH(client->members, client->count, client->capacity, name);
}

size_t etcd_client_count(const struct etcd_client *client)
{
    return client->count;
}

const char *etcd_client_user(const struct etcd_client *client)
{
    return client->user;
}

void etcd_client_stop(struct etcd_client *client, bool is_stopped)
{
    atomic_store(&client->stop, is_stopped);
}

bool etcd_client_is_stopped(const struct etcd_client *client)
{
    return atomic_load(&client->stop);
}

bool etcd_client_is_open(struct etcd_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool is_open = client->is_open;
    pthread_mutex_unlock(&client->lock);
    return is_open;
}

/* ---- errands ---- */

static char *authorization_of(struct etcd_client *client, uint64_t *ret_login)
{
    pthread_mutex_lock(&client->lock);
    char *header = secret_is_set(&client->token)
                       ? mem_printf("Authorization: %s", secret_reveal(&client->token))
                       : NULL;
    *ret_login = client->login;
    pthread_mutex_unlock(&client->lock);
    return header;
}

void etcd_errand_init_at(struct etcd_client *client, size_t member, const char *path,
                         struct etcd_errand *ret)
{
    *ret = (struct etcd_errand){
        .member = member,
        .url = mem_printf("%s://%s%s", client->has_tls ? "https" : "http", client->members[member],
                          path),
        .headers = {"Grpc-Metadata-hasleader: true"},
        .tls = client->has_tls ? &client->tls : NULL,
    };
    if (client->user && strcmp(path, ETCD_LOGIN_PATH) != 0)
        ret->authorization = authorization_of(client, &ret->login);
    ret->headers[1] = ret->authorization;
}

void etcd_errand_init(struct etcd_client *client, const char *path, struct etcd_errand *ret)
{
    etcd_errand_init_at(client, atomic_load(&client->current), path, ret);
}

void etcd_errand_release(struct etcd_errand *errand)
{
    if (errand->authorization)
        explicit_bzero(errand->authorization, strlen(errand->authorization));
    free(errand->authorization);
    free(errand->url);
    *errand = (struct etcd_errand){0};
}

/* One that was never asked by itself may be anywhere. */
static unsigned distance_to(struct etcd_client *client, size_t member)
{
    unsigned distance = atomic_load(&client->distances[member]);
    return distance ? distance : UINT_MAX;
}

/* Silence costs time, each time more, and a refusal none: a member without a leader gives it until
 * there is one. */
void etcd__note_failure(struct etcd_client *client, size_t member, bool is_silent)
{
    unsigned failed = atomic_load(&client->failures[member]);
    if (!is_silent)
        atomic_store(&client->failures[member], REFUSES);
    else if (failed < FAILURES_MAX)
        atomic_store(&client->failures[member], failed < SILENT ? SILENT : failed + 1);
}

size_t etcd__find_other(struct etcd_client *client, size_t member)
{
    unsigned least = UINT_MAX, nearest = UINT_MAX;
    size_t next = member;
    for (size_t i = 1; i < client->count; i++) {
        size_t other = (member + i) % client->count;
        unsigned failures = atomic_load(&client->failures[other]);
        unsigned distance = distance_to(client, other);
        if (failures < least || (failures == least && distance < nearest)) {
            least = failures;
            nearest = distance;
            next = other;
        }
    }
    return next;
}

void etcd__go(struct etcd_client *client, size_t from, size_t to)
{
    atomic_compare_exchange_strong(&client->current, &from, to);
}

void etcd_client_leave(struct etcd_client *client, size_t member, bool is_silent)
{
    etcd__note_failure(client, member, is_silent);
    etcd__go(client, member, etcd__find_other(client, member));
}

static bool is_much_nearer(struct etcd_client *client, size_t member, size_t than)
{
    return member != than && atomic_load(&client->failures[member]) == 0 &&
           distance_to(client, member) < distance_to(client, than) / NEARER;
}

bool etcd_client_is_far(struct etcd_client *client, size_t member)
{
    return is_much_nearer(client, atomic_load(&client->current), member);
}

/* What a busy machine adds is forgotten soon, and what it takes away is believed at once. */
void etcd__note_distance(struct etcd_client *client, size_t member, nsec took)
{
    unsigned before = atomic_load(&client->distances[member]);
    nsec us = took / (NSEC_PER_MS / 1000);
    unsigned now = us < INT_MAX ? (unsigned)us + 1 : INT_MAX;
    unsigned most = before < INT_MAX / 2 ? before + before / 2 + 1 : INT_MAX;
    atomic_store(&client->distances[member], before && now > most ? most : now);
}

void etcd__go_nearest(struct etcd_client *client)
{
    size_t current = atomic_load(&client->current), nearest = current;
    for (size_t i = 0; i < client->count; i++)
        if (atomic_load(&client->failures[i]) == 0 &&
            distance_to(client, i) < distance_to(client, nearest))
            nearest = i;
    bool is_failing = atomic_load(&client->failures[current]) != 0;
    if (is_failing || is_much_nearer(client, nearest, current))
        atomic_compare_exchange_strong(&client->current, &current, nearest);
}

/* ---- an attempt ---- */

/* What is no JSON comes from before etcd's own code: its gateway, or a proxy. */
static enum status read_answer(const struct http_answer *http, struct etcd_answer *ret,
                               struct err *err)
{
    enum status status = etcd_answer_parse(buf_text(&http->body), http->body.length, ret, err);
    if (!status || http->code < 400)
        return status;
    AUTO_FREE char *line = text_clean_line(buf_text(&http->body));
    *ret = (struct etcd_answer){.error = ETCD_PLAIN};
    snprintf(ret->message, sizeof(ret->message), "%.*s", PLAIN_SHOWN_MAX,
             line && *line ? line : "an error without a text");
    *err = (struct err)ERR_INIT;
    return ST_OK;
}

static enum status judge(struct etcd_attempt *attempt, const struct http_answer *http,
                         struct etcd_answer *ret_answer, struct err *err)
{
    attempt->reach = ETCD_DOUBT;
    if (read_answer(http, ret_answer, err))
        return err->status;
    attempt->is_answered = true;
    if (ret_answer->error) {
        attempt->reach = etcd_error_find(ret_answer)->reach;
        return etcd_error_set(ret_answer, err);
    }
    return http->code == 200 ? ST_OK : err_set(err, ST_IO, "HTTP status %ld", http->code);
}

enum status etcd__attempt(struct etcd_attempt *attempt, struct etcd_answer *ret_answer,
                          struct err *err)
{
    struct etcd_client *client = attempt->client;
    AUTO(etcd_errand_release) struct etcd_errand errand;
    AUTO(http_answer_release) struct http_answer http = {0};
    etcd_errand_init_at(client, attempt->member, attempt->call->path, &errand);
    struct http_post post = {.url = errand.url,
                             .body = attempt->call->body,
                             .headers = errand.headers,
                             .tls = errand.tls,
                             .is_secret = strcmp(attempt->call->path, ETCD_LOGIN_PATH) == 0,
                             .deadline = attempt->deadline,
                             .connect_ms = ETCD_CONNECT_MS,
                             .answer_max = ETCD_ANSWER_MAX,
                             .stop = &client->stop};
    enum status status = http_send(attempt->line, &post, &http, err);
    attempt->login = errand.login;
    attempt->is_answered = false;
    attempt->certificate_end_s = http.certificate_end_s;
    attempt->connecting = http.connecting;
    attempt->reach = http.sent ? ETCD_DOUBT : status == ST_UNTRUSTED ? ETCD_REFUSED : ETCD_NEXT;
    if (!status)
        status = judge(attempt, &http, ret_answer, err);
    if (!status && !attempt->call->is_alone)
        atomic_store(&client->failures[attempt->member], 0);
    if (post.is_secret && http.body.length)
        explicit_bzero(http.body.data, http.body.length); /* the token */
    return status ? err_wrap(err, "etcd at %s", client->members[attempt->member]) : ST_OK;
}
