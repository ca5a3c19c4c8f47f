/* SPDX-License-Identifier: Apache-2.0
 *
 * One request: what is asked, by whom, may he, its body, and the answer. libmicrohttpd calls us
 * when the head is there, for each piece of the body, when all is there, and again when a suspended
 * request goes on. An answer given from another thread waits in the request until then.
 */
#include "net/internal.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { JOBS_MAX = 64, DROPPED_MAX = 1024 * 1024, METHODS_TEXT_MAX = 64 };

static const char *const role_names[] = {HTTP_ROLE_TABLE(TABLE_TEXT)};

const char *http_role_name(enum http_role role)
{
    INVARIANT((unsigned)role < HTTP_ROLES);
    return role_names[role];
}

bool http_role_may(enum http_role has, enum http_role needs)
{
    switch (needs) {
    case HTTP_OPEN:
        return true;
    case HTTP_VIEWER:
        return has != HTTP_OPEN;
    case HTTP_OPERATOR:
    case HTTP_AGENT:
    case HTTP_ROLES:
        break;
    }
    return has == needs;
}

/* --- Life --- */

static struct http_request *request_new(struct http_server *server, struct MHD_Connection *mhd,
                                        const char *path)
{
    struct http_request *request = mem_zalloc(sizeof(*request));
    request->server = server;
    request->connection = server__connection(mhd);
    request->path = mem_strdup(path);
    request->mhd = mhd;
    atomic_init(&request->references, 1);
    pthread_mutex_lock(&server->lock);
    request->next = server->requests;
    if (request->next)
        request->next->previous = request;
    server->requests = request;
    pthread_mutex_unlock(&server->lock);
    return request;
}

void http_request_hold(struct http_request *request)
{
    atomic_fetch_add(&request->references, 1);
}

void http_request_drop(struct http_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) > 1)
        return;
    if (request->answer.response)
        MHD_destroy_response(request->answer.response);
    free(request->path);
    buf_release(&request->body);
    free(request);
}

static void unlink_request(struct http_request *request)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    request->mhd = NULL;
    if (request->previous)
        request->previous->next = request->next;
    else
        server->requests = request->next;
    if (request->next)
        request->next->previous = request->previous;
    pthread_mutex_unlock(&server->lock);
}

void server__on_completed(void *context UNUSED, struct MHD_Connection *mhd, void **place,
                          enum MHD_RequestTerminationCode why UNUSED)
{
    struct http_request *request = *place;
    struct connection *connection = server__connection(mhd);
    if (connection)
        server__set_phase(connection, PHASE_IDLE);
    if (!request)
        return;
    *place = NULL;
    unlink_request(request);
    http_request_drop(request);
}

/* --- What it says --- */

const char *http_request_path(const struct http_request *request)
{
    return request->path;
}

const char *http_request_part(const struct http_request *request, size_t index)
{
    INVARIANT(index < request->parts.count);
    return request->parts.text[index];
}

/* Only in a handler: what libmicrohttpd keeps of the head is not for other threads later. */
const char *http_request_query(struct http_request *request, const char *name)
{
    const char *value = NULL;
    if (!request->mhd || MHD_lookup_connection_value_n(request->mhd, MHD_GET_ARGUMENT_KIND, name,
                                                       strlen(name), &value, NULL) != MHD_YES)
        return NULL;
    if (!value || !http_decode(value, true, request->query, sizeof(request->query)))
        return "";
    return request->query;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return request->mhd ? MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name) : NULL;
}

const char *http_request_body(const struct http_request *request, size_t *ret_length)
{
    *ret_length = request->body.length;
    return buf_text(&request->body);
}

const char *http_request_who(const struct http_request *request)
{
    return request->who;
}

/* --- Answers --- */

/* Freed outside of the lock: that of events takes it. */
void server__answer(struct http_request *request, const struct answer *answer)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    bool is_first = request->mhd && request->answer.code == 0;
    if (is_first) {
        request->answer = *answer;
        if (request->is_suspended)
            MHD_resume_connection(request->mhd);
        request->is_suspended = false;
    }
    pthread_mutex_unlock(&server->lock);
    if (!is_first)
        MHD_destroy_response(answer->response);
}

static void respond(struct http_request *request, int code, const char *type,
                    struct MHD_Response *response)
{
    INVARIANT(response);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    server__answer(request, &(struct answer){code, response, false});
}

void http_respond(struct http_request *request, int code, const char *type, const char *text)
{
    respond(request, code, type,
            MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY));
}

static void release_text(void *context)
{
    struct http_text *text = context;
    text->release(text->owner);
    free(text);
}

void http_respond_shared(struct http_request *request, const char *type,
                         const struct http_text *text)
{
    struct http_text *copy = mem_zalloc(sizeof(*copy));
    *copy = *text;
    respond(request, MHD_HTTP_OK, type,
            MHD_create_response_from_buffer_with_free_callback_cls(text->length, (void *)text->text,
                                                                   release_text, copy));
}

static char *error_json(const char *text, const char *hint)
{
    AUTO_FREE char *clean = text_clean_line(text);
    AUTO_FREE char *clean_hint = text_clean_line(hint);
    json_t *json = json_pack("{s:s, s:s}", "error", clean, "hint", clean_hint);
    char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return line ? line : mem_strdup("{\"error\":\"internal error\",\"hint\":\"\"}");
}

/* 'allow': the methods that there are, for 405. */
static void fail(struct http_request *request, int code, const char *text, const char *hint,
                 const char *allow)
{
    AUTO_FREE char *json = error_json(text, hint);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(json), json, MHD_RESPMEM_MUST_COPY);
    INVARIANT(response);
    if (allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    if (code == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    respond(request, code, "application/json", response);
}

void http_fail(struct http_request *request, int code, const char *hint, const char *format, ...)
{
    AUTO(buf_release) struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    fail(request, code, buf_text(&text), hint, NULL);
}

void http_fail_err(struct http_request *request, const struct err *err)
{
    fail(request, status_http(err->status), err->text, err->hint, NULL);
}

/* --- May it be --- */

static bool is_method(const struct http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static bool find_route(struct http_request *request, const char *method)
{
    char allow[METHODS_TEXT_MAX] = "";
    for (const struct http_route *at = request->server->config.routes; at->method; at++) {
        if (!http_path_match(request->path, at->path, &request->parts))
            continue;
        if (is_method(at, method)) {
            request->route = at;
            return true;
        }
        size_t used = strlen(allow);
        snprintf(allow + used, sizeof(allow) - used, "%s%s", used ? ", " : "", at->method);
    }
    AUTO_FREE char *text = allow[0] ? mem_printf("'%.200s' is not for %.20s", request->path, method)
                                    : mem_printf("there is no '%.200s' here", request->path);
    if (allow[0])
        fail(request, MHD_HTTP_METHOD_NOT_ALLOWED, text, "see the header Allow", allow);
    else
        fail(request, MHD_HTTP_NOT_FOUND, text, "docs/api/openapi.yaml lists what there is", NULL);
    return false;
}

static bool check_token(struct http_request *request)
{
    enum http_role needs = request->route->role;
    const char *header = http_request_header(request, MHD_HTTP_HEADER_AUTHORIZATION);
    size_t length = 0;
    const char *token = header ? http_bearer_find(header, &length) : NULL;
    const char *name = "";
    if (needs == HTTP_OPEN)
        return true;
    enum http_role has =
        token ? server__find_role(request->server, token, length, &name) : HTTP_OPEN;
    snprintf(request->who, sizeof(request->who), "%s", name);
    if (http_role_may(has, needs))
        return true;
    if (has != HTTP_OPEN)
        http_fail(request, MHD_HTTP_FORBIDDEN,
                  "use a token of that role: api.tokens in the fleet file",
                  "token '%s' is of a %s; this needs %s %s", name, http_role_name(has),
                  needs == HTTP_VIEWER ? "a" : "an", http_role_name(needs));
    else
        http_fail(request, MHD_HTTP_UNAUTHORIZED,
                  "send 'Authorization: Bearer TOKEN', one of api.tokens in the fleet file",
                  header ? "the token is none that is known here" : "a token is needed");
    return false;
}

static bool has_body(const struct http_request *request, uint64_t *ret_length)
{
    const char *length = http_request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    *ret_length = length ? strtoull(length, NULL, 10) : 0;
    return *ret_length > 0 || http_request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

static void fail_too_long(struct http_request *request)
{
    http_fail(request, MHD_HTTP_CONTENT_TOO_LARGE, "send less in one request",
              "the body is longer than %zu bytes", request->server->limits.body_bytes);
}

static bool check_body(struct http_request *request)
{
    static const char json[] = "application/json";
    uint64_t length = 0;
    if (!has_body(request, &length))
        return true;
    if (length > request->server->limits.body_bytes) {
        fail_too_long(request);
        return false;
    }
    const char *type = http_request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (type && strncasecmp(type, json, sizeof(json) - 1) == 0 &&
        strchr("; \t", type[sizeof(json) - 1]))
        return true;
    http_fail(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
              "send it with Content-Type: application/json", "the body is not said to be JSON");
    return false;
}

static bool check_head(struct http_request *request, const char *method)
{
    const struct http_server *server = request->server;
    const union MHD_ConnectionInfo *head =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (head && head->header_size > server->limits.head_bytes) {
        http_fail(request, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "send shorter headers",
                  "the head of the request is longer than %zu bytes", server->limits.head_bytes);
        return false;
    }
    struct connection *connection = request->connection;
    connection->is_surplus &= server->connection_count > server->limits.connections;
    if (connection->is_surplus || atomic_load(&server->must_stop)) {
        http_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "try again, here or at another conductor",
                  atomic_load(&server->must_stop) ? "it is stopping"
                                                  : "there are too many connections");
        return false;
    }
    return find_route(request, method) && check_token(request) && check_body(request);
}

/* --- Carrying it out --- */

void *server__work(void *context)
{
    struct http_server *server = context;
    pthread_mutex_lock(&server->lock);
    for (;;) {
        struct http_request *job = server->first_job;
        if (!job && atomic_load(&server->must_stop))
            break;
        if (!job) {
            pthread_cond_wait(&server->has_job, &server->lock);
            continue;
        }
        server->first_job = job->next_job;
        server->job_count--;
        pthread_mutex_unlock(&server->lock);
        job->route->handle(job, server->config.context);
        http_request_drop(job);
        pthread_mutex_lock(&server->lock);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static void queue_job(struct http_request *request)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    bool has_room = server->job_count < JOBS_MAX;
    if (has_room) {
        http_request_hold(request);
        request->next_job = NULL;
        if (server->first_job)
            server->last_job->next_job = request;
        else
            server->first_job = request;
        server->last_job = request;
        server->job_count++;
        pthread_cond_signal(&server->has_job);
    }
    pthread_mutex_unlock(&server->lock);
    if (!has_room)
        http_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "try again",
                  "%d requests wait for an answer already", JOBS_MAX);
}

static void carry_out(struct http_request *request)
{
    request->is_handled = true;
    server__set_phase(request->connection, PHASE_WORK);
    if (request->dropped_bytes > 0)
        fail_too_long(request);
    else if (request->route->is_slow)
        queue_job(request);
    else
        request->route->handle(request, request->server->config.context);
}

/* The answer if there is one, else until there is. */
static enum MHD_Result answer_or_wait(struct http_request *request)
{
    struct http_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    struct answer answer = request->answer;
    request->answer.response = NULL;
    if (answer.code == 0 && !request->is_suspended) {
        MHD_suspend_connection(request->mhd);
        request->is_suspended = true;
    }
    server->answered += answer.code != 0;
    server->refused += answer.code >= MHD_HTTP_BAD_REQUEST;
    pthread_mutex_unlock(&server->lock);
    if (answer.code == 0)
        return MHD_YES;
    server__set_phase(request->connection, answer.goes_on ? PHASE_EVENTS : PHASE_ANSWER);
    if (request->connection->is_surplus)
        MHD_add_response_header(answer.response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result =
        MHD_queue_response(request->mhd, (unsigned)answer.code, answer.response);
    MHD_destroy_response(answer.response);
    return result;
}

static void take_body(struct http_request *request, const char *data, size_t size)
{
    if (request->dropped_bytes > 0 ||
        request->body.length + size > request->server->limits.body_bytes)
        request->dropped_bytes += size;
    else
        buf_add_bytes(&request->body, data, size);
    if (request->dropped_bytes > DROPPED_MAX)
        request->connection->is_flooding = true; /* the loop ends it */
}

/* A refusal before the body is read ends the connection with it; without a body there is no need.
 */
static enum MHD_Result begin(struct http_request *request, const char *method)
{
    uint64_t length = 0;
    request->is_handled = !check_head(request, method);
    return request->is_handled && has_body(request, &length) ? answer_or_wait(request) : MHD_YES;
}

enum MHD_Result server__on_request(void *context, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version UNUSED, const char *data,
                                   size_t *size, void **place)
{
    struct http_request *request = *place;
    struct connection *connection = server__connection(mhd);
    if (connection->phase == PHASE_REFUSED)
        return MHD_NO; /* its client was told that nothing comes of it */
    if (!request) {
        *place = request = request_new(context, mhd, url);
        server__set_phase(connection, PHASE_BODY);
        return begin(request, method);
    }
    if (*size > 0) {
        take_body(request, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!request->is_handled)
        carry_out(request);
    return answer_or_wait(request);
}
