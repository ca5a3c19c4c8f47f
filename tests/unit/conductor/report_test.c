/* SPDX-License-Identifier: Apache-2.0
 * What a run itself writes of what it came to, and that a page can be made of it. */
#include "conductor/switchover.h"

#include "base/mem.h"
#include "base/scope.h"
#include "report/html.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above */
#include <cmocka.h>

static struct switchover_report run_report(struct shard_report *one,
                                           const struct inventory_shard *who)
{
    static struct move_span spans[] = {{PHASE_PREPARE, NSEC_PER_SEC, 2 * NSEC_PER_SEC},
                                       {PHASE_FREEZE, 2 * NSEC_PER_SEC, 3 * NSEC_PER_SEC}};
    *one = (struct shard_report){.shard = who,
                                 .result = MOVE_MOVED,
                                 .outage_ms = 1000,
                                 .spans = spans,
                                 .span_count = ARRAY_SIZE(spans)};
    static char by[] = "mara@ops-1";
    return (struct switchover_report){.run = "r1",
                                      .from = "west",
                                      .to = "east",
                                      .state = RUN_DONE,
                                      .shards = one,
                                      .count = 1,
                                      .by = by,
                                      .began = NSEC_PER_SEC / 2,
                                      .began_us = 1795385702388000,
                                      .promise_rto_ms = 30000,
                                      .promise_rpo_ms = 5000,
                                      .is_measured = true};
}

static void a_runs_report_has_the_head_and_the_timeline(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report one;
    struct switchover_report report = run_report(&one, &who);
    AUTO_FREE char *json = switchover_report_json(&report);
    json_t *read = json_loads(json, 0, NULL);
    const json_t *shard_json = json_array_get(json_object_get(read, "shards"), 0);
    const json_t *freeze = json_array_get(json_object_get(shard_json, "timeline"), 1);
    assert_string_equal(json_string_value(json_object_get(freeze, "phase")), "freeze");
    assert_float_equal(json_number_value(json_object_get(freeze, "from_ms")), 1500, 1e-6);
    assert_float_equal(json_number_value(json_object_get(freeze, "to_ms")), 2500, 1e-6);
    assert_int_equal(json_integer_value(json_object_get(read, "moved")), 1);
    json_decref(read);
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(report_html_format(json, &page, &err), ST_OK);
    assert_non_null(strstr(buf_text(&page), "mara@ops-1"));
    assert_non_null(strstr(buf_text(&page), "2026-11-22 22:15:02 UTC"));
    assert_non_null(strstr(buf_text(&page), "RTO <span>30&nbsp;s</span>"));
}

static void the_parts_for_the_store_are_the_whole(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report one;
    struct switchover_report report = run_report(&one, &who);
    AUTO_FREE char *whole = switchover_report_json(&report);
    AUTO_FREE char *head = switchover_report_head(&report);
    AUTO_FREE char *shard = switchover_report_shard(&report, 0);
    json_t *expected = json_loads(whole, 0, NULL), *joined = json_loads(head, 0, NULL);
    json_object_set_new(joined, "shards", json_pack("[o]", json_loads(shard, 0, NULL)));
    assert_true(json_equal(expected, joined));
    json_decref(expected);
    json_decref(joined);
}

/* A report of the same shard by the process that resumed the run. */
static struct shard_report resumed(const struct inventory_shard *who, enum move_result result)
{
    return (struct shard_report){
        .shard = who, .result = result, .outage_ms = -1, .baseline_ms = -1, .critical_ms = -1};
}

static void a_resumed_run_keeps_what_was_measured_before(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report one;
    struct switchover_report before = run_report(&one, &who);
    one.phases_ms[PHASE_FREEZE] = 7;
    AUTO_FREE char *json = switchover_report_shard(&before, 0);
    struct shard_report now = resumed(&who, MOVE_ALREADY_THERE);
    switchover_report_add_earlier(&now, json);
    assert_int_equal(now.result, MOVE_MOVED);
    assert_float_equal(now.outage_ms, 1000, 1e-6);
    assert_float_equal(now.phases_ms[PHASE_FREEZE], 7, 1e-6);
    assert_int_equal(now.span_count, 0); /* it began at another moment */
    assert_non_null(strstr(now.notes, "before the run was resumed"));
    free(now.notes);
}

static void a_shard_that_was_undone_and_then_moved_tells_both(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report one;
    struct switchover_report before = run_report(&one, &who);
    one.result = MOVE_UNDONE;
    one.outage_ms = -1;
    err_set(&one.err, ST_TIMEOUT, "freeze: too late");
    AUTO_FREE char *json = switchover_report_shard(&before, 0);
    struct shard_report now = resumed(&who, MOVE_MOVED);
    now.outage_ms = 3;
    switchover_report_add_earlier(&now, json);
    assert_int_equal(now.result, MOVE_MOVED);
    assert_float_equal(now.outage_ms, 3, 1e-6);
    assert_string_equal(now.notes, "before the run was resumed: undone: freeze: too late\n");
    free(now.notes);
}

static void a_run_that_is_resumed_again_and_again_does_not_repeat_itself(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report one;
    struct switchover_report run = run_report(&one, &who);
    one.result = MOVE_STUCK;
    err_set(&one.err, ST_TIMEOUT, "verify: no answer");
    for (int i = 0; i < 3; i++) {
        AUTO_FREE char *json = switchover_report_shard(&run, 0);
        free(i ? one.notes : NULL);
        one.notes = mem_strdup("e1 is behind\n");
        switchover_report_add_earlier(&one, json);
    }
    assert_string_equal(one.notes, "before the run was resumed: stuck: verify: no answer\n"
                                   "e1 is behind\n");
    free(one.notes);
}

static void what_does_not_read_adds_nothing(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report now = resumed(&who, MOVE_ALREADY_THERE);
    static const char *const texts[] = {"", "[]", "{\"result\": 7}", "{\"result\": \"mov"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        switchover_report_add_earlier(&now, texts[i]);
    assert_int_equal(now.result, MOVE_ALREADY_THERE);
    assert_string_equal(now.notes, "");
    free(now.notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_runs_report_has_the_head_and_the_timeline),
        cmocka_unit_test(the_parts_for_the_store_are_the_whole),
        cmocka_unit_test(a_resumed_run_keeps_what_was_measured_before),
        cmocka_unit_test(a_shard_that_was_undone_and_then_moved_tells_both),
        cmocka_unit_test(a_run_that_is_resumed_again_and_again_does_not_repeat_itself),
        cmocka_unit_test(what_does_not_read_adds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
