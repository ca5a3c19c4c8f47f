/* SPDX-License-Identifier: Apache-2.0
 * See client.h. One that is silent costs its share of time; the order is that of the fleet file. */
#include "api/client.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "fleet/inventory.h"
#include "net/http.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_MS = 300,
    ANSWER_MS = 2000,
    ANSWER_MAX = 64 * 1024 * 1024,
    ORDER_ANSWER_MAX = 64 * 1024
};

void client_answer_release(struct client_answer *answer)
{
    json_decref(answer->json);
    *answer = (struct client_answer){0};
}

/* The first that will do, but those of agents. "Authorization: Bearer ..." */
static enum status read_token(const struct inventory *fleet, enum http_role needs,
                              char **ret_header, struct err *err)
{
    const struct inventory_api *api = &fleet->api;
    const char *named = getenv("HOLDFAST_TOKEN_FILE");
    AUTO_FREE char *token = NULL;
    bool is_exposed = false;
    enum status status = ST_NOT_FOUND;
    if (named && named[0])
        status = file_read_secret(named, &token, &is_exposed, err);
    else
        err_set(err, ST_NOT_FOUND, "no token %sof api.tokens can be read here",
                needs == HTTP_OPERATOR ? "of an operator " : "");
    for (size_t i = 0; status && !(named && named[0]) && i < api->token_count; i++)
        if (api->tokens[i].role != HTTP_AGENT && http_role_may(api->tokens[i].role, needs))
            status = file_read_secret(api->tokens[i].path, &token, &is_exposed, NULL);
    if (status)
        return status;
    *err = (struct err)ERR_INIT; /* what it would have said */
    *ret_header = mem_printf("Authorization: Bearer %s", token);
    explicit_bzero(token, strlen(token));
    return ST_OK;
}

static void wipe(char **header)
{
    if (*header)
        explicit_bzero(*header, strlen(*header));
    free(*header);
}

/* What it said, when that was not what was asked for. */
static enum status refuse(const struct http_answer *answer, struct err *err)
{
    json_t *json = json_loadb(buf_text(&answer->body), answer->body.length, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "error"));
    err_set(err, ST_BUSY, "%ld: %.200s", answer->code, text ? text : "no answer that is known");
    json_decref(json);
    return ST_BUSY;
}

static enum status read_answer(const struct http_answer *answer, int64_t max_age_ms,
                               struct client_answer *ret, struct err *err)
{
    if (answer->code != 200)
        return refuse(answer, err);
    json_t *json = json_loadb(buf_text(&answer->body), answer->body.length, 0, NULL);
    const json_t *age = json_object_get(json, "age_ms");
    int64_t age_ms = json_integer_value(age);
    if (!json_is_integer(age))
        err_set(err, ST_INVALID, "no answer that is known");
    else if (age_ms > max_age_ms)
        err_set(err, ST_BUSY, "what it says is %.0f s old", (double)age_ms / 1e3);
    if (err->status) {
        json_decref(json);
        return err->status;
    }
    ret->json = json;
    ret->age_ms = age_ms;
    return ST_OK;
}

static enum status send_to(const struct inventory *fleet,
                           const struct inventory_conductor *conductor,
                           const struct http_post *post, struct http_answer *ret_answer,
                           struct err *err)
{
    struct http_line *line = http_line_new();
    const struct inventory_tls *tls = &fleet->api.tls;
    struct http_tls http_tls = {.ca = tls->ca, .verify = true};
    AUTO_FREE char *url =
        mem_printf("http%s://%s%s", tls->is_on ? "s" : "", conductor->listen, post->url);
    struct http_post request = *post;
    request.url = url;
    request.tls = tls->is_on ? &http_tls : NULL;
    request.deadline += clock_now(); /* it was how much time there is */
    enum status status = http_send(line, &request, ret_answer, err);
    http_line_free(line);
    return status;
}

static enum status ask(const struct inventory *fleet, const struct inventory_conductor *conductor,
                       const struct http_post *post, int64_t max_age_ms, struct client_answer *ret,
                       struct err *err)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    enum status status = send_to(fleet, conductor, post, &answer, err);
    if (!status)
        status = read_answer(&answer, max_age_ms, ret, err);
    ret->conductor = conductor->name;
    return status;
}

/* It cannot read the store: it may be cut off with its region, and see nothing of the others. */
static bool is_blind(const struct client_answer *answer)
{
    return json_is_string(json_object_get(answer->json, "store_error"));
}

static void keep_better(struct client_answer *kept, struct client_answer *take)
{
    if (kept->json) {
        client_answer_release(take);
        return;
    }
    *kept = *take;
}

enum status client_get(const struct inventory *fleet, const char *path, int64_t max_age_ms,
                       struct client_answer *ret, struct err *err)
{
    AUTO(wipe) char *token = NULL;
    AUTO(buf_release) struct buf reasons = {0};
    enum status status = read_token(fleet, HTTP_VIEWER, &token, err);
    if (status)
        return status;
    const char *const headers[] = {token, NULL};
    struct http_post post = {
        .url = path, .headers = headers, .connect_ms = CONNECT_MS, .answer_max = ANSWER_MAX};
    post.deadline = ANSWER_MS * NSEC_PER_MS;
    AUTO(client_answer_release) struct client_answer blind = {0};
    for (size_t i = 0; i < fleet->conductor_count; i++) {
        struct err why = ERR_INIT;
        struct client_answer answer = {0};
        status = ask(fleet, &fleet->conductors[i], &post, max_age_ms, &answer, &why);
        if (!status && !is_blind(&answer)) {
            *ret = answer;
            return ST_OK;
        }
        if (!status)
            keep_better(&blind, &answer);
        else
            buf_printf(&reasons, "%s%s: %s", i ? "; " : "", fleet->conductors[i].name, why.text);
    }
    if (blind.json) {
        *ret = blind;
        blind = (struct client_answer){0};
        return ST_OK;
    }
    return err_set(err, ST_UNREACHABLE, "no conductor answers: %s", buf_text(&reasons));
}

enum status client_get_from(const struct inventory *fleet,
                            const struct inventory_conductor *conductor, const char *path,
                            nsec time, struct client_answer *ret, struct err *err)
{
    AUTO(wipe) char *token = NULL;
    enum status status = read_token(fleet, HTTP_VIEWER, &token, err);
    if (status)
        return status;
    const char *const headers[] = {token, NULL};
    struct http_post post = {
        .url = path, .headers = headers, .connect_ms = CONNECT_MS, .answer_max = ANSWER_MAX};
    post.deadline = time;
    return ask(fleet, conductor, &post, INT64_MAX, ret, err);
}

/* ---- orders ---- */

/* A conductor of whom nothing else is to be expected; ST_OK: another one may take it. */
static enum status refusal_of(long code)
{
    switch (code) {
    case 400:
        return ST_INVALID;
    case 401:
    case 403:
        return ST_DENIED;
    case 409:
        return ST_CONFLICT;
    case 412:
        return ST_NO_GO;
    case 413:
    case 415:
        return ST_INVALID;
    default:
        return ST_OK;
    }
}

/* What a conductor said that did not take it, as 'status'. */
static void quote(const char *conductor, const struct http_answer *answer, enum status status,
                  struct err *err)
{
    json_t *json = json_loadb(buf_text(&answer->body), answer->body.length, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "error"));
    const char *hint = json_string_value(json_object_get(json, "hint"));
    AUTO_FREE char *clean = text_clean_line(text ? text : "no answer that is known");
    AUTO_FREE char *clean_hint = text_clean_line(hint ? hint : "");
    err_set(err, status, "conductor %s: %.400s", conductor, clean);
    if (clean_hint[0])
        status_ignore(err_hint(err, "%.400s", clean_hint), "it is the error's");
    json_decref(json);
}

/* ST_OK: taken. ST_BUSY: not by this one. Else refused. */
static enum status post_to(const struct inventory *fleet,
                           const struct inventory_conductor *conductor,
                           const struct http_post *post, struct client_order *order,
                           struct client_answer *ret, struct err *err)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    enum status status = send_to(fleet, conductor, post, &answer, err);
    bool is_cut = status && answer.sent;
    bool has_failed = !status && answer.code >= 500 && answer.code != 503;
    order->was_sent = order->was_sent || is_cut || has_failed;
    order->was_heard = order->was_heard || !status;
    if (status) {
        err_wrap(err, "conductor %s", conductor->name);
        return ST_BUSY;
    }
    enum status refusal = refusal_of(answer.code);
    ret->json =
        answer.code == 202 ? json_loadb(buf_text(&answer.body), answer.body.length, 0, NULL) : NULL;
    ret->conductor = conductor->name;
    if (ret->json)
        return ST_OK;
    quote(conductor->name, &answer, refusal ? refusal : ST_BUSY, err);
    order->was_refused = refusal != ST_OK;
    return refusal ? refusal : ST_BUSY;
}

enum status client_post(const struct inventory *fleet, struct client_order *order,
                        struct client_answer *ret, struct err *err)
{
    AUTO(wipe) char *token = NULL;
    AUTO(buf_release) struct buf reasons = {0};
    enum status status = read_token(fleet, HTTP_OPERATOR, &token, err);
    if (status)
        return status;
    const char *const headers[] = {token, NULL};
    struct http_post post = {.url = order->path,
                             .body = order->body,
                             .headers = headers,
                             .connect_ms = CONNECT_MS,
                             .answer_max = ORDER_ANSWER_MAX};
    post.deadline = order->answer_ms * NSEC_PER_MS;
    for (size_t i = 0; i < fleet->conductor_count; i++) {
        struct err why = ERR_INIT;
        status = post_to(fleet, &fleet->conductors[i], &post, order, ret, &why);
        if (status != ST_BUSY) {
            *err = why;
            return status;
        }
        buf_printf(&reasons, "%s%s", i ? "; " : "", why.text);
    }
    return err_set(err, ST_UNREACHABLE, "no conductor takes orders: %s", buf_text(&reasons));
}
