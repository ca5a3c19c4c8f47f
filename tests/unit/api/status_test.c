/* SPDX-License-Identifier: Apache-2.0
 * What a conductor tells is what the CLI reads, and nothing else is read. */
#include "api/readiness.h"
#include "api/status.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SERVERS                                                                                    \
    "\"servers\":[{\"server\":\"w:1\",\"region\":\"west\",\"role\":\"primary\",\"source\":null,"   \
    "\"lag_ms\":null,\"error\":null},{\"server\":\"e:1\",\"region\":\"east\",\"role\":\"relay\","  \
    "\"source\":\"w:1\",\"lag_ms\":1.5,\"error\":null}]"
#define LOSS "{\"region\":\"west\",\"ms\":210.5,\"transactions\":12}"
#define SHARD(name, home, primary, semi_sync)                                                      \
    "{\"name\":\"" name "\",\"deployment\":\"d\",\"home\":" home ",\"primary\":" primary           \
    ",\"lag_ms\":1.5,\"loss\":" LOSS ",\"semi_sync\":" semi_sync                                   \
    ",\"ackers\":2,\"state\":\"serving\",\"epoch\":7,"                                             \
    "\"problems\":[\"one\",\"two\"]," SERVERS "}"
#define GOOD(name) SHARD(name, "\"west\"", "\"w:1\"", "\"on\"")
#define STATUS(shards)                                                                             \
    "{\"paused\":null,\"fenced\":null,\"drained\":[{\"words\":\"host a "                           \
    "drained\"}],\"run_left\":null,"                                                               \
    "\"shards\":[" shards "],\"store_error\":\"gone\"}"
#define FINDING(check, shard)                                                                      \
    "{\"check\":\"" check "\",\"severity\":\"no-go\",\"accepted\":false,\"shard\":" shard          \
    ",\"server\":null,\"problem\":\"p\",\"advice\":\"a\"}"
#define READINESS(findings) "{\"go\":false,\"no_go\":2,\"shards\":3,\"findings\":[" findings "]}"

static enum status read_status(const char *text, struct fleet_status *ret)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    enum status status = status_decode(json, ret, NULL);
    json_decref(json);
    return status;
}

static void what_was_written_is_read(void **state UNUSED)
{
    static const char text[] = STATUS(GOOD("a") "," SHARD("b", "null", "null", "null"));
    AUTO(fleet_status_release) struct fleet_status status = {0};
    assert_int_equal(read_status(text, &status), ST_OK);
    assert_int_equal(status.count, 2);
    assert_string_equal(status.store_error, "gone");
    assert_string_equal(fleet_status_drained(&status, 0), "host a drained");
    assert_null(fleet_status_drained(&status, 1));
    assert_null(status.shards[1].primary);
    assert_int_equal(status.shards[0].epoch, 7);
    assert_string_equal(status.shards[0].loss.region, "west");
    assert_true(status.shards[0].loss.ms == 210.5);
    assert_int_equal(status.shards[0].loss.transactions, 12);
    assert_true(status.shards[0].servers[0].lag_ms < 0);
    json_t *json = status_encode(&status);
    AUTO_FREE char *again = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    assert_string_equal(again, text);
}

static void what_is_no_status_is_refused(void **state UNUSED)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"shards\":{}}",
        "{\"shards\":[],\"drained\":{}}",
        "{\"shards\":[],\"drained\":[{}]}",
        "{\"shards\":[1]}",
        STATUS("{\"name\":\"a\"}"),
        STATUS(SHARD("a", "\"west\"", "null", "null")), /* a home without a primary */
        STATUS(SHARD("a", "\"west\"", "\"w:1\"", "null")),
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct fleet_status status = {0};
        if (read_status(texts[i], &status) != ST_INVALID)
            fail_msg("accepted: %s", texts[i]);
    }
}

static void shards_are_chosen_in_the_order_of_the_asker(void **state UNUSED)
{
    AUTO(fleet_status_release) struct fleet_status status = {0};
    assert_int_equal(read_status(STATUS(GOOD("a") "," GOOD("b") "," GOOD("c")), &status), ST_OK);
    assert_int_equal(status_choose(&status, (const char *[]){"c", "x"}, 2, NULL), ST_NOT_FOUND);
    assert_int_equal(status.count, 3);
    assert_int_equal(status_choose(&status, (const char *[]){"c", "a"}, 2, NULL), ST_OK);
    assert_int_equal(status.count, 2);
    assert_string_equal(status.shards[0].name, "c");
    assert_string_equal(status.shards[1].name, "a");
}

static void findings_are_read_and_chosen(void **state UNUSED)
{
    struct readiness readiness = {0};
    json_t *json = json_loads(READINESS(FINDING("silent", "\"a\"") "," FINDING(
                                  "silent", "\"b\"") "," FINDING("paused", "null")),
                              0, NULL);
    const char *known = readiness_check_ids()[0];
    for (size_t i = 0; i < 3; i++)
        json_object_set_new(json_array_get(json_object_get(json, "findings"), i), "check",
                            json_string(known));
    assert_int_equal(readiness_decode(json, &readiness, NULL), ST_OK);
    assert_int_equal(readiness.no_go_count, 3);
    readiness_choose(&readiness, (const char *[]){"b"}, 1);
    assert_int_equal(readiness.count, 2);
    assert_int_equal(readiness.no_go_count, 2);
    assert_string_equal(readiness.findings[0].shard, "b");
    assert_null(readiness.findings[1].shard);
    readiness_release(&readiness);
    json_decref(json);
}

static void a_finding_of_a_newer_program_is_not_guessed_at(void **state UNUSED)
{
    struct readiness readiness = {0};
    json_t *json = json_loads(READINESS(FINDING("not-invented-yet", "null")), 0, NULL);
    assert_int_equal(readiness_decode(json, &readiness, NULL), ST_INVALID);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(what_is_no_status_is_refused),
        cmocka_unit_test(shards_are_chosen_in_the_order_of_the_asker),
        cmocka_unit_test(findings_are_read_and_chosen),
        cmocka_unit_test(a_finding_of_a_newer_program_is_not_guessed_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
