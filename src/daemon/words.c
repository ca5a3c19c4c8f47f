/* SPDX-License-Identifier: Apache-2.0
 * See words.h. */
#include "daemon/words.h"

#include "api/client.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "fleet/inventory.h"
#include "permit/granters.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct word {
    char *server;
    struct steward_word said;
};

/* Another conductor, and the thread that asks it. */
struct voice {
    struct words *words;
    const struct inventory_conductor *conductor;
    pthread_t thread;
    char *granter;    /* under the lock, like the rest: of the newest answer; NULL: none */
    int64_t revision; /* of the list of revoked servers by which it granted since */
    struct word *items;
    size_t count, capacity;
};

struct words {
    const struct inventory *fleet;
    struct steward *steward;
    struct daemon_bell bell;
    pthread_mutex_t lock;
    struct voice *voices;
    size_t count;
};

static void forget(struct voice *voice)
{
    for (size_t i = 0; i < voice->count; i++)
        free(voice->items[i].server);
    voice->count = 0;
    free(take_pointer(voice->granter));
}

/* The answer was made between 'asked' and 'received': what it calls so many ms old was said that
 * long before the first, or later, and granted that long before the second, or earlier. */
static void take(struct voice *voice, const json_t *answer, nsec asked, nsec received)
{
    const json_t *entry = NULL;
    size_t index = 0;
    pthread_mutex_lock(&voice->words->lock);
    forget(voice);
    voice->granter = mem_strdup(json_string_value(json_object_get(answer, "granter")));
    voice->revision = json_integer_value(json_object_get(answer, "revision"));
    json_array_foreach(json_object_get(answer, "servers"), index, entry)
    {
        const char *server = json_string_value(json_object_get(entry, "server"));
        double age_ms = json_number_value(json_object_get(entry, "heard_ms"));
        const json_t *granted_ms = json_object_get(entry, "granted_ms");
        if (!server || age_ms < 0 || json_number_value(granted_ms) < 0) {
            free(take_pointer(voice->granter)); /* who knows what it granted */
            continue;
        }
        struct word word = {
            .server = mem_strdup(server),
            .said = {.is_known = true,
                     .is_closed = json_is_true(json_object_get(entry, "closed")),
                     .closed = json_integer_value(json_object_get(entry, "version")),
                     .at = asked - (nsec)(age_ms * NSEC_PER_MS),
                     .granted = granted_ms
                                    ? received - (nsec)(json_number_value(granted_ms) * NSEC_PER_MS)
                                    : INT64_MIN},
        };
        VEC_PUSH(voice->items, voice->count, voice->capacity, word);
    }
    pthread_mutex_unlock(&voice->words->lock);
}

static void *ask(void *context)
{
    struct voice *voice = context;
    struct words *words = voice->words;
    nsec pace = permit_interval(words->fleet->permission_ttl_ms * NSEC_PER_MS) / 2;
    while (!daemon_bell_has_rung(&words->bell)) {
        AUTO(client_answer_release) struct client_answer answer = {0};
        struct err err = ERR_INIT;
        nsec asked = clock_now();
        if (client_get_from(words->fleet, voice->conductor, "/v1/hosts", 4 * pace, &answer, &err) ==
            ST_OK)
            take(voice, answer.json, asked, clock_now());
        daemon_bell_wait(&words->bell, asked + pace);
    }
    return NULL;
}

struct words *words_new(const struct inventory *fleet, const struct inventory_conductor *self,
                        struct steward *steward)
{
    struct words *words = mem_zalloc(sizeof(*words));
    *words = (struct words){.fleet = fleet, .steward = steward};
    words->voices = mem_zalloc((fleet->conductor_count + 1) * sizeof(*words->voices));
    daemon_bell_init(&words->bell);
    pthread_mutex_init(&words->lock, NULL);
    for (size_t i = 0; i < fleet->conductor_count; i++) {
        if (&fleet->conductors[i] == self)
            continue;
        struct voice *voice = &words->voices[words->count++];
        *voice = (struct voice){.words = words, .conductor = &fleet->conductors[i]};
        INVARIANT(pthread_create(&voice->thread, NULL, ask, voice) == 0);
    }
    return words;
}

void words_free(struct words *words)
{
    if (!words)
        return;
    daemon_bell_ring(&words->bell);
    for (size_t i = 0; i < words->count; i++) {
        pthread_join(words->voices[i].thread, NULL);
        forget(&words->voices[i]);
        free(words->voices[i].items);
    }
    daemon_bell_release(&words->bell);
    pthread_mutex_destroy(&words->lock);
    free(words->voices);
    free(words);
}

static void prefer(struct steward_word *best, const struct steward_word *other)
{
    int64_t closed = best->closed > other->closed ? best->closed : other->closed;
    if (other->is_known && (!best->is_known || other->at > best->at))
        *best = *other;
    best->closed = closed; /* a closing that was confirmed stays so */
}

struct steward_word words_find(struct words *words, const char *server)
{
    struct steward_word best = steward_word(words->steward, server);
    pthread_mutex_lock(&words->lock);
    for (size_t i = 0; i < words->count; i++)
        for (size_t j = 0; j < words->voices[i].count; j++)
            if (strcmp(words->voices[i].items[j].server, server) == 0)
                prefer(&best, &words->voices[i].items[j].said);
    pthread_mutex_unlock(&words->lock);
    return best;
}

/* ---- grants ---- */

/* What a voice said of the granter, if it is that one and knows of the revocation. */
static bool voice_last_grant(const struct voice *voice, const char *granter, const char *server,
                             int64_t revocation, nsec *ret)
{
    if (!voice->granter || strcmp(voice->granter, granter) != 0 || voice->revision < revocation)
        return false;
    *ret = INT64_MIN;
    for (size_t i = 0; i < voice->count; i++)
        if (strcmp(voice->items[i].server, server) == 0)
            *ret = voice->items[i].said.granted;
    return true;
}

static bool granter_last_grant(struct words *words, const char *granter, const char *server,
                               int64_t revocation, nsec *ret)
{
    bool is_known = false;
    if (strcmp(granter, steward_granter(words->steward)) == 0)
        return steward_last_grant(words->steward, server, revocation, ret);
    pthread_mutex_lock(&words->lock);
    for (size_t i = 0; i < words->count && !is_known; i++)
        is_known = voice_last_grant(&words->voices[i], granter, server, revocation, ret);
    pthread_mutex_unlock(&words->lock);
    return is_known;
}

bool words_last_grant(struct words *words, const struct permit_granters *granters,
                      const char *server, int64_t revocation, nsec *ret)
{
    *ret = INT64_MIN;
    for (size_t i = 0; i < granters->count; i++) {
        nsec last = INT64_MIN;
        if (!granter_last_grant(words, granters->items[i].name, server, revocation, &last))
            return false;
        *ret = last > *ret ? last : *ret;
    }
    return granters->count > 0;
}
