/* SPDX-License-Identifier: Apache-2.0
 * Paths, escapes and tokens as strangers send them. */
#include "base/mem.h"
#include "base/scope.h"
#include "wire/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_path_matches_its_pattern_alone(void **state UNUSED)
{
    static const struct {
        const char *path, *pattern;
        bool matches;
        const char *part;
    } cases[] = {
        {"/v1/status", "/v1/status", true, ""},
        {"/v1/status/", "/v1/status", false, ""},
        {"/v1/statu", "/v1/status", false, ""},
        {"/v1/statuss", "/v1/status", false, ""},
        {"v1/status", "/v1/status", false, ""},
        {"", "/v1/status", false, ""},
        {"/", "/v1/status", false, ""},
        {"/v1//status", "/v1/status", false, ""},
        {"/v1/runs/r-1", "/v1/runs/{id}", true, "r-1"},
        {"/v1/runs/", "/v1/runs/{id}", false, ""},
        {"/v1/runs", "/v1/runs/{id}", false, ""},
        {"/v1/runs/a/b", "/v1/runs/{id}", false, ""},
        {"/v1/runs/a%2Fb", "/v1/runs/{id}", true, "a/b"},
        {"/v1/runs/%41%e4", "/v1/runs/{id}", true, "A\xe4"},
        {"/v1/runs/%4", "/v1/runs/{id}", false, ""},
        {"/v1/runs/%", "/v1/runs/{id}", false, ""},
        {"/v1/runs/%g1", "/v1/runs/{id}", false, ""},
        {"/v1/runs/%00", "/v1/runs/{id}", false, ""},
        {"/v1/runs/%0a", "/v1/runs/{id}", false, ""},
        {"/servers/[::1]:3306/primary", "/servers/{server}/primary", true, "[::1]:3306"},
        {"/servers/a+b/primary", "/servers/{server}/primary", true, "a+b"},
        {"/servers/a/replica", "/servers/{server}/primary", false, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_parts parts = {0};
        if (http_path_match(cases[i].path, cases[i].pattern, &parts) != cases[i].matches)
            fail_msg("%s against %s", cases[i].path, cases[i].pattern);
        assert_string_equal(parts.text[0], cases[i].part);
    }
}

static void a_part_has_a_cap(void **state UNUSED)
{
    for (int length = HTTP_PART_MAX; length <= HTTP_PART_MAX + 1; length++) {
        struct http_parts parts;
        AUTO_FREE char *path = mem_printf("/%0*d", length, 0);
        assert_int_equal(http_path_match(path, "/{x}", &parts), length == HTTP_PART_MAX);
    }
}

static void a_plus_is_a_space_only_in_queries(void **state UNUSED)
{
    char text[8];
    assert_true(http_decode("a+b", true, text, sizeof(text)));
    assert_string_equal(text, "a b");
    assert_true(http_decode("a+b", false, text, sizeof(text)));
    assert_string_equal(text, "a+b");
    assert_false(http_decode("12345678", false, text, sizeof(text)));
    assert_true(http_decode("1234567", false, text, sizeof(text)));
}

static void only_a_bearer_token_is_one(void **state UNUSED)
{
    static const struct {
        const char *header, *token; /* NULL: none */
    } cases[] = {
        {"Bearer abc", "abc"},
        {"bearer   abc==", "abc=="},
        {"BEARER a.b-c_d~e+f/g", "a.b-c_d~e+f/g"},
        {"Bearer", NULL},
        {"Bearer ", NULL},
        {"Basic abc", NULL},
        {"Bearer a b", NULL},
        {"Bearer a\tb", NULL},
        {"Bearer =abc", NULL},
        {"Bearer abc, x", NULL},
        {"Bearer a=b", NULL},
        {"", NULL},
        {"Bearer \xff", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = 0;
        const char *token = http_bearer_find(cases[i].header, &length);
        AUTO_FREE char *found = token ? mem_printf("%.*s", (int)length, token) : NULL;
        if (!found != !cases[i].token || (found && strcmp(found, cases[i].token) != 0))
            fail_msg("'%s' gives '%s'", cases[i].header, found ? found : "none");
    }
    AUTO_FREE char *longest = mem_printf("Bearer %0*d", HTTP_TOKEN_MAX, 0);
    AUTO_FREE char *longer = mem_printf("Bearer %0*d", HTTP_TOKEN_MAX + 1, 0);
    size_t length = 0;
    assert_non_null(http_bearer_find(longest, &length));
    assert_int_equal(length, HTTP_TOKEN_MAX);
    assert_null(http_bearer_find(longer, &length));
}

static void a_short_token_is_no_good(void **state UNUSED)
{
    assert_true(http_token_is_good("0123456789abcdef", 16));
    assert_false(http_token_is_good("0123456789abcde", 15));
    assert_false(http_token_is_good("0123456789abcdef\n", 17));
    assert_false(http_token_is_good("0123456789 abcdef", 17));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_matches_its_pattern_alone),
        cmocka_unit_test(a_part_has_a_cap),
        cmocka_unit_test(a_plus_is_a_space_only_in_queries),
        cmocka_unit_test(only_a_bearer_token_is_one),
        cmocka_unit_test(a_short_token_is_no_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
