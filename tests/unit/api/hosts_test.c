/* SPDX-License-Identifier: Apache-2.0
 * What another conductor tells of hosts: its ages are counted so that nothing looks safer. */
#include "api/hosts.h"
#include "base/invariant.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SEEN "{\"server\":\"a:1\",\"closed\":true,\"version\":7,\"heard_ms\":2.5,\"granted_ms\":3}"

static struct host_words decode(const char *servers)
{
    struct host_words words;
    json_t *answer = json_pack("{s:s, s:I, s:o}", "granter", "c-1", "revision", (json_int_t)40,
                               "servers", json_loads(servers, 0, NULL));
    host_words_decode(answer, 100 * NSEC_PER_MS, 160 * NSEC_PER_MS, &words);
    json_decref(answer);
    return words;
}

static void heard_counts_from_the_question_granted_from_the_answer(void **state)
{
    (void)state;
    AUTO(host_words_release)
    struct host_words words = decode("[" SEEN ",{\"server\":\"b:1\",\"heard_ms\":0}]");
    const struct host_word *first = host_words_find(&words, "a:1");
    assert_string_equal(words.granter, "c-1");
    assert_int_equal(words.revision, 40);
    assert_true(first && first->is_closed && first->closed == 7);
    assert_int_equal(first->at, 97500000);
    assert_int_equal(first->granted, 157 * NSEC_PER_MS);
    assert_true(host_words_find(&words, "b:1")->granted == INT64_MIN);
    assert_null(host_words_find(&words, "c:1"));
}

static void what_does_not_read_leaves_open_what_was_granted(void **state)
{
    static const char *const entries[] = {
        "[" SEEN ",{\"server\":\"b:1\",\"heard_ms\":-1}]",
        "[" SEEN ",{\"server\":\"b:1\",\"heard_ms\":1,\"granted_ms\":\"1\"}]",
        "[" SEEN ",{\"server\":\"b:1\",\"heard_ms\":1e300}]",
        "[" SEEN ",{\"heard_ms\":1}]",
        "[" SEEN ",7]",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        AUTO(host_words_release) struct host_words words = decode(entries[i]);
        assert_null(words.granter);
        assert_int_equal(words.count, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heard_counts_from_the_question_granted_from_the_answer),
        cmocka_unit_test(what_does_not_read_leaves_open_what_was_granted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
