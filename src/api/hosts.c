/* SPDX-License-Identifier: Apache-2.0
 * See hosts.h. */
#include "api/hosts.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

#define AGE_MS_MAX 1e12 /* 30 years: what is older does not read */

void host_words_release(struct host_words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->items[i].server);
    free(words->items);
    free(words->granter);
    *words = (struct host_words){0};
}

static bool read_age(const json_t *entry, const char *name, nsec *ret)
{
    const json_t *value = json_object_get(entry, name);
    double ms = json_number_value(value);
    bool is_good = json_is_number(value) && ms >= 0 && ms <= AGE_MS_MAX;
    *ret = is_good ? (nsec)(ms * NSEC_PER_MS) : 0;
    return is_good;
}

/* What it calls so many ms old was said that long before 'asked', or later; and granted that long
 * before 'received', or earlier. */
static bool read_word(const json_t *entry, nsec asked, nsec received, struct host_word *ret)
{
    const char *server = json_string_value(json_object_get(entry, "server"));
    nsec heard = 0, granted = 0;
    bool was_granted = json_object_get(entry, "granted_ms") != NULL;
    if (!server || !read_age(entry, "heard_ms", &heard) ||
        (was_granted && !read_age(entry, "granted_ms", &granted)))
        return false;
    *ret = (struct host_word){
        .server = mem_strdup(server),
        .is_closed = json_is_true(json_object_get(entry, "closed")),
        .closed = json_integer_value(json_object_get(entry, "version")),
        .at = asked - heard,
        .granted = was_granted ? received - granted : INT64_MIN,
    };
    return true;
}

void host_words_decode(const json_t *answer, nsec asked, nsec received, struct host_words *ret)
{
    const json_t *entry = NULL;
    size_t index = 0;
    *ret = (struct host_words){0};
    ret->granter = mem_strdup(json_string_value(json_object_get(answer, "granter")));
    ret->revision = json_integer_value(json_object_get(answer, "revision"));
    json_array_foreach(json_object_get(answer, "servers"), index, entry)
    {
        struct host_word word;
        if (read_word(entry, asked, received, &word))
            VEC_PUSH(ret->items, ret->count, ret->capacity, word);
        else
            free(take_pointer(ret->granter)); /* it may be what was granted last */
    }
}

const struct host_word *host_words_find(const struct host_words *words, const char *server)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->items[i].server, server) == 0)
            return &words->items[i];
    return NULL;
}
