/* SPDX-License-Identifier: Apache-2.0
 * See words.h. */
#include "daemon/words.h"

#include "api/client.h"
#include "api/hosts.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "fleet/inventory.h"
#include "permit/granters.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Another conductor, and the thread that asks it. */
struct voice {
    struct words *words;
    const struct inventory_conductor *conductor;
    pthread_t thread;
    struct host_words told; /* the newest; under the lock */
};

enum { HURRY_MS = 1000, HURRY_PACE_MS = 40 };

struct words {
    const struct inventory *fleet;
    struct steward *steward;
    struct daemon_bell bell;
    pthread_mutex_t lock;
    struct voice *voices;
    size_t count;
    _Atomic nsec hurry; /* until then somebody waits for what they say */
};

static void take(struct voice *voice, const json_t *answer, nsec asked, nsec received)
{
    struct host_words told, old;
    host_words_decode(answer, asked, received, &told);
    pthread_mutex_lock(&voice->words->lock);
    old = voice->told;
    voice->told = told;
    pthread_mutex_unlock(&voice->words->lock);
    host_words_release(&old);
}

static void wait_for_turn(struct words *words, nsec asked, nsec pace)
{
    nsec hurried = asked + HURRY_PACE_MS * NSEC_PER_MS;
    nsec slice = hurried < asked + pace ? hurried : asked + pace;
    daemon_bell_wait(&words->bell, slice);
    while (clock_now() < asked + pace && clock_now() > atomic_load(&words->hurry) &&
           !daemon_bell_has_rung(&words->bell)) {
        nsec next = clock_deadline(HURRY_PACE_MS);
        daemon_bell_wait(&words->bell, next < asked + pace ? next : asked + pace);
    }
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
        wait_for_turn(words, asked, pace);
    }
    return NULL;
}

void words_hurry(struct words *words)
{
    atomic_store(&words->hurry, clock_deadline(HURRY_MS));
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
        host_words_release(&words->voices[i].told);
    }
    daemon_bell_release(&words->bell);
    pthread_mutex_destroy(&words->lock);
    free(words->voices);
    free(words);
}

static void prefer(struct steward_word *best, const struct host_word *other)
{
    int64_t closed = best->closed > other->closed ? best->closed : other->closed;
    if (!best->is_known || other->at > best->at)
        *best =
            (struct steward_word){true, other->is_closed, other->closed, other->at, other->granted};
    best->closed = closed; /* a closing that was confirmed stays so */
}

struct steward_word words_find(struct words *words, const char *server)
{
    struct steward_word best = steward_word(words->steward, server);
    pthread_mutex_lock(&words->lock);
    for (size_t i = 0; i < words->count; i++) {
        const struct host_word *told = host_words_find(&words->voices[i].told, server);
        if (told)
            prefer(&best, told);
    }
    pthread_mutex_unlock(&words->lock);
    return best;
}

/* ---- grants ---- */

/* What a voice said of the granter, if it is that one and knows of the revocation. */
static bool voice_last_grant(const struct voice *voice, const char *granter, const char *server,
                             int64_t revocation, nsec *ret)
{
    const struct host_words *told = &voice->told;
    if (!told->granter || strcmp(told->granter, granter) != 0 || told->revision < revocation)
        return false;
    const struct host_word *word = host_words_find(told, server);
    *ret = word ? word->granted : INT64_MIN;
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
