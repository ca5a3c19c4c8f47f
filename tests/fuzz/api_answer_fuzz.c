/* SPDX-License-Identifier: Apache-2.0
 * Fuzz api/: an answer that is accepted is written and read again, and is the same. */
#include "api/hosts.h"
#include "api/readiness.h"
#include "api/status.h"
#include "base/invariant.h"
#include "base/scope.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_status(const json_t *json)
{
    AUTO(fleet_status_release) struct fleet_status status = {0};
    if (status_decode(json, &status, NULL))
        return NULL;
    json_t *again = status_encode(&status);
    char *text = json_dumps(again, JSON_COMPACT);
    json_decref(again);
    return text;
}

static char *write_readiness(const json_t *json)
{
    AUTO(readiness_release) struct readiness readiness = {0};
    if (readiness_decode(json, &readiness, NULL))
        return NULL;
    json_t *again = readiness_encode(&readiness, 1);
    char *text = json_dumps(again, JSON_COMPACT);
    json_decref(again);
    return text;
}

static void check(const json_t *json, char *(*write)(const json_t *json))
{
    AUTO_FREE char *once = write(json);
    if (!once)
        return;
    json_t *again = json_loads(once, 0, NULL);
    INVARIANT(again);
    AUTO_FREE char *twice = write(again);
    json_decref(again);
    INVARIANT(twice && strcmp(once, twice) == 0);
}

/* Nothing is newer than it can be. */
static void check_hosts(const json_t *json)
{
    AUTO(host_words_release) struct host_words words;
    host_words_decode(json, 1000, 2000, &words);
    for (size_t i = 0; i < words.count; i++)
        INVARIANT(words.items[i].at <= 1000 && words.items[i].granted <= 2000 &&
                  host_words_find(&words, words.items[i].server));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = json_loadb((const char *)data, size, 0, NULL);
    if (!json)
        return 0;
    check(json, write_status);
    check(json, write_readiness);
    check_hosts(json);
    json_decref(json);
    return 0;
}
