/* SPDX-License-Identifier: Apache-2.0
 * Fuzz api/permit.h: a question or an answer that is accepted is written and read again, and is
 * the same. */
#include "api/permit.h"
#include "base/invariant.h"
#include "base/scope.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text_of(json_t *take)
{
    char *text = json_dumps(take, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(take);
    return text;
}

static char *write_question(const json_t *json)
{
    AUTO(permit_question_release) struct permit_question question = {0};
    return permit_question_decode(json, &question, NULL)
               ? NULL
               : text_of(permit_question_encode(&question));
}

static char *write_answer(const json_t *json)
{
    AUTO(permit_answer_release) struct permit_answer answer = {0};
    return permit_answer_decode(json, &answer, NULL) ? NULL
                                                     : text_of(permit_answer_encode(&answer));
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (!json)
        return 0;
    check(json, write_question);
    check(json, write_answer);
    json_decref(json);
    return 0;
}
