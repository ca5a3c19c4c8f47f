/* SPDX-License-Identifier: Apache-2.0
 * The thread that asks the conductors of the host's region for permission: one at a time, every
 * fifth of the TTL, the next one as soon as one gives nothing. One that hangs costs a fifth of the
 * TTL, once a round. */
#include "agent/internal.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "net/http.h"
#include "os/file.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    ANSWERS_MAX = 8,   /* that the loop has not taken: the oldest is dropped */
    URGENT_MS = 20,    /* between two questions, however urgent */
    ROUND_MS_MIN = 50, /* between two rounds in which nobody gave anything */
};

struct asker {
    pthread_t thread;
    const struct inventory *fleet;
    const struct inventory_conductor **conductors; /* of the region */
    size_t count, current;
    nsec period;
    int bell, nudge;
    char *token; /* "Authorization: Bearer ..."; NULL: read it */
    atomic_bool is_ending, is_paused, went_round;

    pthread_mutex_t lock;
    json_t *question;
    struct asker_answer answers[ANSWERS_MAX];
    size_t answer_count;
    struct err problem;
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* ---- one question ---- */

/* The first token of an agent that can be read here. None at all is an answer of the server's. */
static void read_token(struct asker *asker)
{
    const struct inventory_api *api = &asker->fleet->api;
    bool is_exposed = false;
    for (size_t i = 0; i < api->token_count && !asker->token; i++) {
        char *token = NULL;
        if (api->tokens[i].role != HTTP_AGENT ||
            file_read_secret(api->tokens[i].path, &token, &is_exposed, NULL))
            continue;
        asker->token = mem_printf("Authorization: Bearer %s", token);
        wipe(token);
    }
}

static bool has_question(struct asker *asker)
{
    pthread_mutex_lock(&asker->lock);
    bool has_question = asker->question;
    pthread_mutex_unlock(&asker->lock);
    return has_question;
}

static char *question_text(struct asker *asker)
{
    pthread_mutex_lock(&asker->lock);
    char *text = asker->question ? json_dumps(asker->question, JSON_COMPACT) : NULL;
    pthread_mutex_unlock(&asker->lock);
    return text;
}

static enum status refuse(const struct http_answer *answer, struct err *err)
{
    json_t *json = json_loadb(buf_text(&answer->body), answer->body.length, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "error"));
    err_set(err, ST_BUSY, "%ld: %.200s", answer->code, text ? text : "no answer that is known");
    json_decref(json);
    return ST_BUSY;
}

static enum status read_answer(struct asker *asker, const struct http_answer *answer,
                               struct permit_answer *ret, struct err *err)
{
    if (answer->code == 401 || answer->code == 403) { /* it may have been changed */
        wipe(asker->token);
        asker->token = NULL;
    }
    if (answer->code != 200)
        return refuse(answer, err);
    json_t *json = json_loadb(buf_text(&answer->body), answer->body.length, JSON_ALLOW_NUL, NULL);
    enum status status = permit_answer_decode(json, ret, err);
    json_decref(json);
    return status;
}

static enum status ask(struct asker *asker, struct http_line *line, const char *question,
                       struct permit_answer *ret, struct err *err)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    const struct inventory_tls *tls = &asker->fleet->api.tls;
    const struct http_tls secure = {.ca = tls->ca, .verify = true};
    AUTO_FREE char *url = mem_printf("http%s://%s" API_PERMIT_PATH, tls->is_on ? "s" : "",
                                     asker->conductors[asker->current]->listen);
    if (!asker->token)
        read_token(asker);
    const char *const headers[] = {"Content-Type: application/json", asker->token, NULL};
    struct http_post post = {.url = url,
                             .body = question,
                             .headers = headers,
                             .tls = tls->is_on ? &secure : NULL,
                             .deadline = clock_now() + asker->period,
                             .connect_ms = (int)(asker->period / NSEC_PER_MS),
                             .answer_max = PERMIT_ANSWER_MAX,
                             .stop = &asker->is_ending};
    enum status status = http_send(line, &post, &answer, err);
    if (!status)
        status = read_answer(asker, &answer, ret, err);
    if (status)
        err_wrap(err, "conductor '%s'", asker->conductors[asker->current]->name);
    return status;
}

static void put_answer(struct asker *asker, nsec sent, struct permit_answer *take)
{
    pthread_mutex_lock(&asker->lock);
    if (asker->answer_count == ANSWERS_MAX) {
        permit_answer_release(&asker->answers[0].answer);
        memmove(asker->answers, asker->answers + 1, (ANSWERS_MAX - 1) * sizeof(*asker->answers));
        asker->answer_count--;
    }
    asker->answers[asker->answer_count++] =
        (struct asker_answer){sent, asker->conductors[asker->current]->name, *take};
    pthread_mutex_unlock(&asker->lock);
    *take = (struct permit_answer){0};
}

static void put_problem(struct asker *asker, const struct err *err)
{
    pthread_mutex_lock(&asker->lock);
    asker->problem = *err;
    pthread_mutex_unlock(&asker->lock);
}

/* True when it gave a permission for each server; for some of them, others are asked for the rest.
 * What it knows of revocations counts in any case. */
static bool ask_current(struct asker *asker, struct http_line *line, const char *question)
{
    AUTO(permit_answer_release) struct permit_answer answer = {0};
    struct err err = ERR_INIT;
    nsec sent = clock_now();
    enum status status = ask(asker, line, question, &answer, &err);
    bool is_granted = !status && answer.serve_ms > 0;
    if (!status && !is_granted && answer.longer_count > 0)
        err_set(&err, ST_BUSY,
                "conductor '%s' has none to give for some: promise.rpo_guard, the other region has "
                "not received what they acknowledged",
                asker->conductors[asker->current]->name);
    else if (!status && !is_granted)
        err_set(&err, ST_BUSY, "conductor '%s' has no permission to give",
                asker->conductors[asker->current]->name);
    put_problem(asker, &err);
    if (!status)
        put_answer(asker, sent, &answer);
    return is_granted;
}

/* ---- its time ---- */

static void wait_until(struct asker *asker, nsec deadline)
{
    struct pollfd nudge = {.fd = asker->nudge, .events = POLLIN};
    eventfd_t ignored = 0;
    if (poll(&nudge, 1, clock_ms_left(deadline)) > 0)
        eventfd_read(asker->nudge, &ignored);
}

/* From the one that answered last, until one gives something. */
static bool ask_round(struct asker *asker, struct http_line *line)
{
    AUTO_FREE char *question = question_text(asker);
    bool is_granted = false;
    for (size_t i = 0; question && i < asker->count && !is_granted; i++) {
        if (atomic_load(&asker->is_ending) || atomic_load(&asker->is_paused))
            return true;
        is_granted = ask_current(asker, line, question);
        if (!is_granted)
            asker->current = (asker->current + 1) % asker->count;
        eventfd_write(asker->bell, 1);
    }
    return is_granted;
}

static void *ask_on(void *context)
{
    struct asker *asker = context;
    struct http_line *line = http_line_new();
    while (!atomic_load(&asker->is_ending) && !has_question(asker))
        wait_until(asker, clock_deadline(ROUND_MS_MIN));
    while (!atomic_load(&asker->is_ending)) {
        nsec began = clock_now();
        bool is_granted = atomic_load(&asker->is_paused) || ask_round(asker, line);
        atomic_store(&asker->went_round, true);
        eventfd_write(asker->bell, 1);
        nsec soon = clock_now() + ROUND_MS_MIN * NSEC_PER_MS;
        nsec next = began + asker->period;
        if (!is_granted && next < soon)
            next = soon;
        while (!atomic_load(&asker->is_ending) && clock_now() < next) {
            wait_until(asker, next);
            if (clock_now() < next) /* nudged */
                next = began + URGENT_MS * NSEC_PER_MS;
        }
    }
    http_line_free(line);
    return NULL;
}

/* ---- for the loop ---- */

struct asker *asker_start(const struct agent_config *config, int bell)
{
    const struct inventory *fleet = config->fleet;
    struct asker *asker = mem_zalloc(sizeof(*asker));
    asker->fleet = fleet;
    asker->bell = bell;
    asker->period = permit_interval(inventory_serve_ms(fleet) * NSEC_PER_MS);
    asker->conductors = mem_zalloc((fleet->conductor_count + 1) * sizeof(*asker->conductors));
    for (size_t i = 0; i < fleet->conductor_count; i++)
        if (fleet->conductors[i].region == config->host->region)
            asker->conductors[asker->count++] = &fleet->conductors[i];
    asker->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&asker->lock, NULL);
    INVARIANT(asker->nudge >= 0 && asker->count > 0);
    INVARIANT(pthread_create(&asker->thread, NULL, ask_on, asker) == 0);
    return asker;
}

void asker_pause(struct asker *asker)
{
    atomic_store(&asker->is_paused, true);
}

void asker_stop(struct asker *asker)
{
    if (!asker)
        return;
    atomic_store(&asker->is_ending, true);
    eventfd_write(asker->nudge, 1);
    pthread_join(asker->thread, NULL);
    for (size_t i = 0; i < asker->answer_count; i++)
        permit_answer_release(&asker->answers[i].answer);
    json_decref(asker->question);
    wipe(asker->token);
    free(asker->conductors);
    close(asker->nudge);
    pthread_mutex_destroy(&asker->lock);
    free(asker);
}

void asker_set_question(struct asker *asker, json_t *take_question, bool is_urgent)
{
    pthread_mutex_lock(&asker->lock);
    json_t *old = asker->question;
    asker->question = take_question;
    pthread_mutex_unlock(&asker->lock);
    json_decref(old);
    if (is_urgent)
        eventfd_write(asker->nudge, 1);
}

bool asker_take(struct asker *asker, struct asker_answer *ret)
{
    pthread_mutex_lock(&asker->lock);
    bool has_one = asker->answer_count > 0;
    if (has_one) {
        *ret = asker->answers[0];
        asker->answer_count--;
        memmove(asker->answers, asker->answers + 1, asker->answer_count * sizeof(*asker->answers));
    }
    pthread_mutex_unlock(&asker->lock);
    return has_one;
}

bool asker_went_round(struct asker *asker)
{
    return atomic_load(&asker->went_round);
}

void asker_problem(struct asker *asker, struct err *ret)
{
    pthread_mutex_lock(&asker->lock);
    *ret = asker->problem;
    pthread_mutex_unlock(&asker->lock);
}
