/* SPDX-License-Identifier: Apache-2.0
 * See permit.h. */
#include "api/permit.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

static const char *const closure_names[] = {
#define X(id, word) word,
    CLOSURE_TABLE(X)
#undef X
};

const char *closure_name(enum closure closure)
{
    return closure_names[closure];
}

static bool find_closure(const char *word, enum closure *ret)
{
    for (unsigned i = 0; i < CLOSURES; i++) {
        if (strcmp(closure_names[i], word) != 0)
            continue;
        *ret = (enum closure)i;
        return true;
    }
    return false;
}

void permit_question_add(struct permit_question *question, const char *name, enum closure closure,
                         int64_t since_revision)
{
    struct permit_report report = {mem_strdup(name), closure, since_revision};
    VEC_PUSH(question->reports, question->count, question->capacity, report);
}

void permit_answer_add(struct permit_answer *answer, const char *name)
{
    VEC_PUSH(answer->revoked, answer->count, answer->capacity, mem_strdup(name));
}

void permit_answer_add_longer(struct permit_answer *answer, const char *name, int64_t serve_ms)
{
    struct permit_longer longer = {mem_strdup(name), serve_ms};
    VEC_PUSH(answer->longer, answer->longer_count, answer->longer_capacity, longer);
}

void permit_question_release(struct permit_question *question)
{
    for (size_t i = 0; i < question->count; i++)
        free(question->reports[i].name);
    free(question->reports);
    free(question->host);
    *question = (struct permit_question){0};
}

void permit_answer_release(struct permit_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        free(answer->revoked[i]);
    free(answer->revoked);
    for (size_t i = 0; i < answer->longer_count; i++)
        free(answer->longer[i].name);
    free(answer->longer);
    *answer = (struct permit_answer){0};
}

/* ---- writing ---- */

json_t *permit_question_encode(const struct permit_question *question)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < question->count; i++) {
        const struct permit_report *report = &question->reports[i];
        json_array_append_new(servers, json_pack("{s:s, s:s, s:I}", "name", report->name, "state",
                                                 closure_name(report->closure), "since_rev",
                                                 (json_int_t)report->since_revision));
    }
    return json_pack("{s:s, s:I, s:o}", "host", question->host, "ttl_ms",
                     (json_int_t)question->ttl_ms, "servers", servers);
}

static json_t *longer_json(const struct permit_answer *answer)
{
    json_t *longer = json_array();
    for (size_t i = 0; i < answer->longer_count; i++)
        json_array_append_new(longer,
                              json_pack("{s:s, s:I}", "name", answer->longer[i].name, "serve_ms",
                                        (json_int_t)answer->longer[i].serve_ms));
    return longer;
}

json_t *permit_answer_encode(const struct permit_answer *answer)
{
    json_t *revoked = json_array();
    for (size_t i = 0; i < answer->count; i++)
        json_array_append_new(revoked, json_string(answer->revoked[i]));
    json_t *json = json_pack("{s:I, s:I, s:o}", "serve_ms", (json_int_t)answer->serve_ms,
                             "revision", (json_int_t)answer->revision, "revoked", revoked);
    if (answer->longer_count > 0)
        json_object_set_new(json, "longer", longer_json(answer));
    return json;
}

/* ---- reading: from somebody else ---- */

/* A text that a C program can hold, and not too long; else NULL. */
static const char *text_of(const json_t *json)
{
    const char *text = json_string_value(json);
    size_t length = json_string_length(json);
    return text && length > 0 && length <= PERMIT_TEXT_MAX && strlen(text) == length ? text : NULL;
}

static bool read_count(const json_t *json, const char *key, int64_t *ret)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = json_integer_value(value);
    return true;
}

static bool is_list(const json_t *json)
{
    return json_is_array(json) && json_array_size(json) <= PERMIT_SERVERS_MAX;
}

static bool read_report(const json_t *json, struct permit_question *question)
{
    const char *name = text_of(json_object_get(json, "name"));
    const char *word = text_of(json_object_get(json, "state"));
    enum closure closure = CLOSURE_UNKNOWN;
    int64_t since = 0;
    if (!name || !word || !find_closure(word, &closure) || !read_count(json, "since_rev", &since))
        return false;
    permit_question_add(question, name, closure, since);
    return true;
}

static enum status refuse(const char *what, struct err *err)
{
    return err_set(err, ST_INVALID, "no permission can come of this: %s", what);
}

enum status permit_question_decode(const json_t *json, struct permit_question *ret, struct err *err)
{
    AUTO(permit_question_release) struct permit_question question = {0};
    const char *host = text_of(json_object_get(json, "host"));
    const json_t *servers = json_object_get(json, "servers");
    if (!host)
        return refuse("'host' is not a name", err);
    if (!read_count(json, "ttl_ms", &question.ttl_ms))
        return refuse("'ttl_ms' is not a number", err);
    if (!is_list(servers))
        return refuse("'servers' is not a list of a host's servers", err);
    for (size_t i = 0; i < json_array_size(servers); i++)
        if (!read_report(json_array_get(servers, i), &question))
            return refuse("one of 'servers' needs a name, a state and a since_rev", err);
    question.host = mem_strdup(host);
    *ret = question;
    question = (struct permit_question){0};
    return ST_OK;
}

static bool read_longer(const json_t *json, struct permit_answer *answer)
{
    const json_t *longer = json_object_get(json, "longer");
    if (!longer)
        return true;
    if (!is_list(longer))
        return false;
    for (size_t i = 0; i < json_array_size(longer); i++) {
        const json_t *item = json_array_get(longer, i);
        const char *name = text_of(json_object_get(item, "name"));
        int64_t serve_ms = 0;
        if (!name || !read_count(item, "serve_ms", &serve_ms))
            return false;
        permit_answer_add_longer(answer, name, serve_ms);
    }
    return true;
}

enum status permit_answer_decode(const json_t *json, struct permit_answer *ret, struct err *err)
{
    AUTO(permit_answer_release) struct permit_answer answer = {0};
    const json_t *revoked = json_object_get(json, "revoked");
    if (!read_count(json, "serve_ms", &answer.serve_ms))
        return refuse("'serve_ms' is not a number", err);
    if (!read_count(json, "revision", &answer.revision))
        return refuse("'revision' is not a number", err);
    if (!is_list(revoked))
        return refuse("'revoked' is not a list of a host's servers", err);
    for (size_t i = 0; i < json_array_size(revoked); i++) {
        const char *name = text_of(json_array_get(revoked, i));
        if (!name)
            return refuse("one of 'revoked' is not a name", err);
        permit_answer_add(&answer, name);
    }
    if (!read_longer(json, &answer))
        return refuse("'longer' is not a list of servers with a serve_ms", err);
    *ret = answer;
    answer = (struct permit_answer){0};
    return ST_OK;
}
