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
    AUTO_FREE char *stored = switchover_report_json_stored(&report, SIZE_MAX);
    json_t *read = json_loads(stored, 0, NULL), *same = json_loads(json, 0, NULL);
    assert_true(json_equal(read, same));
    const json_t *shard_json = json_array_get(json_object_get(read, "shards"), 0);
    const json_t *freeze = json_array_get(json_object_get(shard_json, "timeline"), 1);
    assert_string_equal(json_string_value(json_object_get(freeze, "phase")), "freeze");
    assert_float_equal(json_number_value(json_object_get(freeze, "from_ms")), 1500, 1e-6);
    assert_float_equal(json_number_value(json_object_get(freeze, "to_ms")), 2500, 1e-6);
    json_decref(read);
    json_decref(same);
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(report_html_format(stored, &page, &err), ST_OK);
    assert_non_null(strstr(buf_text(&page), "mara@ops-1"));
    assert_non_null(strstr(buf_text(&page), "2026-11-22 22:15:02 UTC"));
    assert_non_null(strstr(buf_text(&page), "RTO <span>30&nbsp;s</span>"));
}

static void a_report_too_large_for_the_store_goes_without_timelines(void **state UNUSED)
{
    char name[] = "orders-0";
    struct inventory_shard who = {.name = name};
    struct shard_report one;
    struct switchover_report report = run_report(&one, &who);
    AUTO_FREE char *whole = switchover_report_json_stored(&report, SIZE_MAX);
    AUTO_FREE char *less = switchover_report_json_stored(&report, strlen(whole) - 1);
    assert_non_null(strstr(whole, "\"timeline\""));
    assert_null(strstr(less, "\"timeline\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_runs_report_has_the_head_and_the_timeline),
        cmocka_unit_test(a_report_too_large_for_the_store_goes_without_timelines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
