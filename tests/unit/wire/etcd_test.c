/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"
#include "wire/etcd.h"

#include <string.h>

static enum status parse(const char *text, struct etcd_answer *ret_answer)
{
    struct err err = ERR_INIT;
    return etcd_answer_parse(text, strlen(text), ret_answer, &err);
}

static void texts_come_back_from_base64(void **state)
{
    (void)state;
    static const char *const texts[] = {"a", "ab", "abc", "abcd", "\xff\xfe\xfd", "r\xc3\xa4ume"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(buf_release) struct buf json = {0};
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        buf_add(&json, "{\"header\":{},\"kvs\":[{");
        etcd_add_bytes(&json, "key", texts[i]);
        buf_add(&json, ",");
        etcd_add_bytes(&json, "value", texts[i]);
        buf_add(&json, "}]}");
        assert_int_equal(parse(buf_text(&json), &answer), ST_OK);
        assert_string_equal(answer.kvs[0].key, texts[i]);
        assert_string_equal(answer.kvs[0].value, texts[i]);
    }
}

static void long_texts_come_back_from_base64(void **state)
{
    (void)state;
    char text[3000] = "";
    for (size_t length = 760; length < sizeof(text) - 1; length += 7) {
        memset(text, 'x', length);
        AUTO(buf_release) struct buf json = {0};
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        buf_add(&json, "{\"header\":{},\"kvs\":[{");
        etcd_add_bytes(&json, "key", text);
        buf_add(&json, "}]}");
        assert_int_equal(parse(buf_text(&json), &answer), ST_OK);
        assert_string_equal(answer.kvs[0].key, text);
    }
}

static void transaction_answers_give_what_their_ranges_found(void **state)
{
    (void)state;
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    static const char text[] =
        "{\"header\":{\"revision\":\"7\"},\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":"
        "\"YQ==\",\"create_revision\":\"2\",\"mod_revision\":\"3\"}]}},{\"response_put\":{}},"
        "{\"response_range\":{}}]}";
    assert_int_equal(parse(text, &answer), ST_OK);
    assert_false(answer.succeeded);
    assert_int_equal(answer.revision, 7);
    assert_int_equal(answer.count, 1);
    assert_int_equal(etcd_answer_find(&answer, "a")->mod_rev, 3);
    assert_null(etcd_answer_find(&answer, "b"));
}

static void lines_of_a_watch_give_events_and_their_end(void **state)
{
    (void)state;
    AUTO(etcd_answer_release) struct etcd_answer events = {0}, end = {0};
    assert_int_equal(parse("{\"result\":{\"header\":{\"revision\":\"9\"},\"events\":[{\"kv\":{"
                           "\"key\":\"YQ==\",\"value\":\"Yg==\"}},{\"type\":\"DELETE\",\"kv\":{"
                           "\"key\":\"YQ==\",\"mod_revision\":\"9\"}}]}}",
                           &events),
                     ST_OK);
    assert_int_equal(events.count, 2);
    assert_false(events.kvs[0].is_deleted);
    assert_true(events.kvs[1].is_deleted);
    assert_int_equal(
        parse("{\"result\":{\"header\":{},\"canceled\":true,\"compact_revision\":\"3\"}}", &end),
        ST_OK);
    assert_true(end.is_canceled);
    assert_int_equal(end.compact_revision, 3);
}

static void errors_are_read_from_answers_and_from_streams(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"error\":\"gone\",\"message\":\"gone\",\"code\":5}",
        "{\"error\":{\"grpc_code\":5,\"http_code\":404,\"message\":\"gone\"}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        assert_int_equal(parse(texts[i], &answer), ST_OK);
        assert_int_equal(answer.error, 5);
        assert_string_equal(answer.message, "gone");
    }
}

static void what_is_no_answer_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "5",
        "[]",
        "{}",
        "{\"header\":5}",
        "{\"header\":{\"revision\":\"\"}}",
        "{\"header\":{\"revision\":\"1e3\"}}",
        "{\"header\":{\"revision\":[]}}",
        "{\"header\":{},\"kvs\":[5]}",
        "{\"header\":{},\"kvs\":[{}]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"YQ=\"}]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"Y===\"}]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"Y*==\"}]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"YQBi\"}]}", /* a NUL inside */
        "{\"header\":{},\"kvs\":[{\"key\":\"YQ==\",\"value\":7}]}",
        "{\"header\":{},\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"x\"}]}",
        "{\"header\":{},\"events\":[{\"type\":\"PUT\"}]}",
        "{\"error\":null}",
        "{\"error\":\"x\",\"message\":\"x\"}",
        "{\"error\":\"x\",\"message\":\"x\",\"code\":17}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct etcd_answer answer = {0};
        if (parse(texts[i], &answer) != ST_IO)
            fail_msg("accepted: %s", texts[i]);
    }
}

static void log_in_gives_a_token_that_fits_into_a_header(void **state)
{
    (void)state;
    AUTO(etcd_answer_release) struct etcd_answer good = {0}, bad = {0};
    assert_int_equal(parse("{\"header\":{},\"token\":\"abc.14\"}", &good), ST_OK);
    assert_string_equal(good.token, "abc.14");
    static const char *const answers[] = {"{\"header\":{},\"token\":\"a\\r\\nX: y\"}",
                                          "{\"header\":{},\"token\":\"\"}",
                                          "{\"header\":{},\"token\":5}"};
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        assert_int_equal(parse(answers[i], &bad), ST_IO);
}

static void cancelled_watch_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *reason, *message;
        int error;
    } cases[] = {
        {"rpc error: code = PermissionDenied desc = etcdserver: permission denied",
         "etcdserver: permission denied", 7},
        {"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
         "etcdserver: invalid auth token", 16},
        {"rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
         "etcdserver: user name is empty", 3},
        {"etcdserver: permission denied", "etcdserver: permission denied", 7},
        {"something new", "something new", 2},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        char text[256];
        snprintf(text, sizeof(text),
                 "{\"result\":{\"header\":{},\"canceled\":true,\"cancel_reason\":\"%s\"}}",
                 cases[i].reason);
        assert_int_equal(parse(text, &answer), ST_OK);
        assert_int_equal(answer.error, cases[i].error);
        assert_string_equal(answer.message, cases[i].message);
    }
}

static void a_member_that_leads_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool leads;
    } cases[] = {
        {"{\"header\":{\"member_id\":\"18249187646912138824\"},\"leader\":"
         "\"18249187646912138824\"}",
         true},
        {"{\"header\":{\"member_id\":\"18249187646912138824\"},\"leader\":"
         "\"18249187646912138823\"}",
         false},
        {"{\"header\":{\"member_id\":\"18249187646912138824\"}}", false}, /* there is none */
        {"{\"header\":{}}", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        assert_int_equal(parse(cases[i].text, &answer), ST_OK);
        assert_int_equal(answer.is_of_leader, cases[i].leads);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back_from_base64),
        cmocka_unit_test(log_in_gives_a_token_that_fits_into_a_header),
        cmocka_unit_test(cancelled_watch_says_why),
        cmocka_unit_test(a_member_that_leads_says_so),
        cmocka_unit_test(long_texts_come_back_from_base64),
        cmocka_unit_test(transaction_answers_give_what_their_ranges_found),
        cmocka_unit_test(lines_of_a_watch_give_events_and_their_end),
        cmocka_unit_test(errors_are_read_from_answers_and_from_streams),
        cmocka_unit_test(what_is_no_answer_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
