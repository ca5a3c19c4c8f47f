/* SPDX-License-Identifier: Apache-2.0 */
#include "api/permit.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_question_is_read_as_it_was_written(void **state)
{
    (void)state;
    AUTO(permit_question_release) struct permit_question asked = {.ttl_ms = 2000}, got = {0};
    asked.host = strdup("db-w1");
    permit_question_add(&asked, "10.0.1.11:3306", CLOSURE_OPEN, 0);
    permit_question_add(&asked, "10.0.1.12:3306", CLOSURE_CLOSED, 4711);
    json_t *json = permit_question_encode(&asked);
    assert_int_equal(permit_question_decode(json, &got, NULL), ST_OK);
    json_decref(json);
    assert_string_equal(got.host, "db-w1");
    assert_int_equal(got.ttl_ms, 2000);
    assert_int_equal(got.count, 2);
    assert_string_equal(got.reports[1].name, "10.0.1.12:3306");
    assert_int_equal(got.reports[1].closure, CLOSURE_CLOSED);
    assert_int_equal(got.reports[1].since_revision, 4711);
}

static void an_answer_is_read_as_it_was_written(void **state)
{
    (void)state;
    AUTO(permit_answer_release) struct permit_answer said = {.serve_ms = 1500, .revision = 9};
    AUTO(permit_answer_release) struct permit_answer got = {0};
    permit_answer_add(&said, "10.0.1.12:3306");
    permit_answer_add_longer(&said, "10.0.1.11:3306", 1700);
    json_t *json = permit_answer_encode(&said);
    assert_int_equal(permit_answer_decode(json, &got, NULL), ST_OK);
    json_decref(json);
    assert_int_equal(got.serve_ms, 1500);
    assert_int_equal(got.revision, 9);
    assert_int_equal(got.count, 1);
    assert_string_equal(got.revoked[0], "10.0.1.12:3306");
    assert_int_equal(got.longer_count, 1);
    assert_string_equal(got.longer[0].name, "10.0.1.11:3306");
    assert_int_equal(got.longer[0].serve_ms, 1700);
}

static void a_question_that_lacks_something_is_refused_and_says_what(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[]", "'host'"},
        {"{\"host\": 7, \"ttl_ms\": 1, \"servers\": []}", "'host'"},
        {"{\"host\": \"a\\u0000b\", \"ttl_ms\": 1, \"servers\": []}", "'host'"},
        {"{\"host\": \"a\", \"ttl_ms\": -1, \"servers\": []}", "'ttl_ms'"},
        {"{\"host\": \"a\", \"ttl_ms\": 1.5, \"servers\": []}", "'ttl_ms'"},
        {"{\"host\": \"a\", \"ttl_ms\": 1, \"servers\": {}}", "'servers' is not a list"},
        {"{\"host\": \"a\", \"ttl_ms\": 1, \"servers\": [{\"name\": \"x\", \"state\": \"shut\","
         " \"since_rev\": 0}]}",
         "one of 'servers'"},
        {"{\"host\": \"a\", \"ttl_ms\": 1, \"servers\": [{\"name\": \"x\", \"state\": \"open\"}]}",
         "one of 'servers'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct permit_question got = {0};
        struct err err = ERR_INIT;
        json_t *json = json_loads(cases[i].text, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        assert_int_equal(permit_question_decode(json, &got, &err), ST_INVALID);
        json_decref(json);
        assert_non_null(strstr(err.text, cases[i].why));
        assert_null(got.host);
    }
}

static void an_answer_that_lacks_something_gives_no_permission(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{}",
        "{\"serve_ms\": \"9\", \"revision\": 1, \"revoked\": []}",
        "{\"serve_ms\": -9, \"revision\": 1, \"revoked\": []}",
        "{\"serve_ms\": 9, \"revoked\": []}",
        "{\"serve_ms\": 9, \"revision\": 1}",
        "{\"serve_ms\": 9, \"revision\": 1, \"revoked\": [\"\"]}",
        "{\"serve_ms\": 9, \"revision\": 1, \"revoked\": [null]}",
        "{\"serve_ms\": 9, \"revision\": 1, \"revoked\": [], \"longer\": {}}",
        "{\"serve_ms\": 9, \"revision\": 1, \"revoked\": [], \"longer\": [{\"name\": \"x\"}]}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct permit_answer got = {0};
        json_t *json = json_loads(cases[i], 0, NULL);
        assert_non_null(json);
        assert_int_equal(permit_answer_decode(json, &got, NULL), ST_INVALID);
        json_decref(json);
        assert_int_equal(got.serve_ms, 0);
    }
}

static void more_servers_than_a_host_has_are_refused(void **state)
{
    (void)state;
    AUTO(permit_answer_release) struct permit_answer said = {0};
    struct permit_answer got = {0};
    for (size_t i = 0; i <= PERMIT_SERVERS_MAX; i++)
        permit_answer_add(&said, "x");
    json_t *json = permit_answer_encode(&said);
    assert_int_equal(permit_answer_decode(json, &got, NULL), ST_INVALID);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_read_as_it_was_written),
        cmocka_unit_test(an_answer_is_read_as_it_was_written),
        cmocka_unit_test(a_question_that_lacks_something_is_refused_and_says_what),
        cmocka_unit_test(an_answer_that_lacks_something_gives_no_permission),
        cmocka_unit_test(more_servers_than_a_host_has_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
