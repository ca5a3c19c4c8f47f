/* SPDX-License-Identifier: Apache-2.0
 * An order is what its sender ordered, or it is refused in words that name the key. */
#include "api/body.h"
#include "base/mem.h"
#include "base/scope.h"
#include "orders/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static enum status read_order(const char *text, struct run_record *ret, char **ret_caller,
                              struct err *err)
{
    json_t *body = NULL;
    enum status status = body_parse(text, strlen(text), &body, err);
    if (!status)
        status = order_decode(body, ret, ret_caller, err);
    json_decref(body);
    return status;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    AUTO(run_record_release) struct run_record sent = {0}, got = {0};
    AUTO_FREE char *caller = NULL;
    struct err err = ERR_INIT;
    run_record_init(&sent, "east");
    run_record_add_shard(&sent, "s0");
    run_record_add_shard(&sent, "s1");
    sent.waves = mem_strdup("canary=1,100%");
    sent.reason = mem_strdup("patching");
    sent.settle_ms = 30000;
    sent.failures_max = 2;
    sent.returns = true;
    AUTO_FREE char *text = order_encode(&sent, "alice@ops1");
    assert_int_equal(read_order(text, &got, &caller, &err), ST_OK);
    assert_string_equal(got.id, sent.id);
    assert_string_equal(got.target, "east");
    assert_int_equal(got.shard_count, 2);
    assert_string_equal(got.shards[1], "s1");
    assert_string_equal(got.waves, sent.waves);
    assert_string_equal(got.reason, sent.reason);
    assert_int_equal(got.settle_ms, 30000);
    assert_int_equal(got.failures_max, 2);
    assert_true(got.returns);
    assert_string_equal(caller, "alice@ops1");
}

static void a_failover_has_its_own_keys(void **state)
{
    (void)state;
    AUTO(run_record_release) struct run_record sent = {0}, got = {0};
    AUTO_FREE char *caller = NULL;
    struct err err = ERR_INIT;
    run_record_init(&sent, "west");
    sent.kind = RUN_FAILOVER;
    run_record_add_shard(&sent, "s0");
    run_record_add_without(&sent, "w:3");
    sent.is_forced = true;
    AUTO_FREE char *text = order_encode(&sent, NULL);
    assert_int_equal(read_order(text, &got, &caller, &err), ST_OK);
    assert_int_equal(got.kind, RUN_FAILOVER);
    assert_true(got.is_forced);
    assert_false(got.is_region_lost);
    assert_string_equal(got.without[0], "w:3");
    assert_null(caller);
}

static void a_lost_region_has_one_that_shall_serve(void **state)
{
    (void)state;
    AUTO(run_record_release) struct run_record sent = {0}, got = {0};
    AUTO_FREE char *caller = NULL;
    struct err err = ERR_INIT;
    run_record_init(&sent, "east");
    sent.kind = RUN_FAILOVER;
    sent.is_region_lost = true;
    snprintf(sent.aside, sizeof(sent.aside), "20261126-220657-0421f");
    run_record_add_shard(&sent, "s0");
    AUTO_FREE char *text = order_encode(&sent, NULL);
    assert_int_equal(read_order(text, &got, &caller, &err), ST_OK);
    assert_true(got.is_region_lost);
    assert_string_equal(got.target, "east");
    assert_string_equal(got.aside, sent.aside);
}

static void what_is_left_out_is_as_the_cli_has_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t failures_max;
    } cases[] = {
        {"{\"kind\":\"switchover\",\"to\":\"east\"}", -1},
        {"{\"kind\":\"switchover\",\"to\":\"east\",\"wave\":\"1,100%\"}", 0},
        {"{\"kind\":\"switchover\",\"to\":\"east\",\"wave\":\" \",\"reason\":\"  \"}", -1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(run_record_release) struct run_record got = {0};
        AUTO_FREE char *caller = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(read_order(cases[i].text, &got, &caller, &err), ST_OK);
        assert_int_equal(got.failures_max, cases[i].failures_max);
        assert_int_equal(got.shard_count, 0);
        assert_null(got.reason);
        assert_int_equal(strlen(got.id), 21);
        assert_false(got.returns || got.is_forced || got.is_called_off);
    }
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
#define SWITCHOVER(more) "{\"kind\":\"switchover\",\"to\":\"east\"," more "}"
#define FAILOVER(more) "{\"kind\":\"failover\",\"shards\":[\"s0\"]," more "}"
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{}", "'kind'"},
        {"{\"kind\":\"drain\",\"to\":\"east\"}", "'kind'"},
        {"{\"kind\":\"switchover\"}", "'to'"},
        {"{\"kind\":\"switchover\",\"to\":7}", "'to'"},
        {"{\"kind\":\"failover\"}", "'shards'"},
        {SWITCHOVER("\"region\":\"west\""), "'region'"},
        {SWITCHOVER("\"force\":true"), "'force'"},
        {SWITCHOVER("\"without\":[\"w:1\"]"), "'without'"},
        {FAILOVER("\"to\":7"), "'to'"},
        {FAILOVER("\"wave\":\"1\""), "'wave'"},
        {FAILOVER("\"force\":1"), "'force'"},
        {FAILOVER("\"without\":[]"), "'without'"},
        {FAILOVER("\"set_aside\":\"runs/x\""), "'set_aside'"},
        {FAILOVER("\"set_aside\":\"20261126-220657-0421f\""), "'to' is missing"},
        {SWITCHOVER("\"set_aside\":\"20261126-220657-0421f\""), "'set_aside'"},
        {SWITCHOVER("\"shards\":[]"), "'shards'"},
        {SWITCHOVER("\"shards\":\"s0\""), "'shards'"},
        {SWITCHOVER("\"shards\":[\"s0\",\"s0\"]"), "item 2"},
        {SWITCHOVER("\"shards\":[\"s0\",7]"), "item 2"},
        {SWITCHOVER("\"shards\":[\"\"]"), "item 1"},
        {SWITCHOVER("\"settle_s\":5"), "'settle_s'"},
        {SWITCHOVER("\"wave\":\"1\",\"settle_s\":-1"), "'settle_s'"},
        {SWITCHOVER("\"wave\":\"1\",\"settle_s\":86401"), "'settle_s'"},
        {SWITCHOVER("\"wave\":\"1\",\"settle_s\":1.5"), "'settle_s'"},
        {SWITCHOVER("\"max_failures\":\"2\""), "'max_failures'"},
        {SWITCHOVER("\"on_abort\":\"flee\""), "'on_abort'"},
        {SWITCHOVER("\"run\":\"20261126-220657-0421\""), "'run'"},
        {SWITCHOVER("\"run\":\"20261126-220657-0421f0\""), "'run'"},
        {SWITCHOVER("\"run\":\"20261126-220657-0421F\""), "'run'"},
        {SWITCHOVER("\"run\":\"../../../etc/passwd..\""), "'run'"},
        {SWITCHOVER("\"reason\":[]"), "'reason'"},
        {SWITCHOVER("\"reason\":\"two\\nlines\""), "'reason'"},
        {SWITCHOVER("\"caller\":{}"), "'caller'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(run_record_release) struct run_record got = {0};
        AUTO_FREE char *caller = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(read_order(cases[i].text, &got, &caller, &err), ST_INVALID);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_true(err.hint[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_failover_has_its_own_keys),
        cmocka_unit_test(a_lost_region_has_one_that_shall_serve),
        cmocka_unit_test(what_is_left_out_is_as_the_cli_has_it),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
