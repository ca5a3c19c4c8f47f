/* SPDX-License-Identifier: Apache-2.0
 * What a load run tells: the verdict, the text, the JSON. */
#include "load/load.h"

#include "base/scope.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the above */
#include <cmocka.h>

struct sample {
    struct load_report report;
    struct load_shard_report shard;
    struct load_server_report servers[2];
    struct load_finding finding;
};

static void fill(struct sample *sample)
{
    *sample = (struct sample){
        .servers = {{.name = "10.0.0.1:3306", .is_verified = true, .rows = 9},
                    {.name = "10.0.0.2:3306", .is_verified = true, .rows = 9}},
        .shard = {.name = "orders-0", .acknowledged = 9, .longest_gap_ms = 12.5, .server_count = 2},
        .report = {.run = "load-1",
                   .seconds = 1,
                   .writers = 1,
                   .acknowledged = 9,
                   .rate = 9,
                   .verified_count = 2,
                   .shard_count = 1}};
    sample->shard.servers = sample->servers;
    sample->report.shards = &sample->shard;
}

static void expect_text(const struct load_report *report, const char *wanted)
{
    AUTO(buf_release) struct buf text = {0};
    load_report_format(report, &text);
    if (!strstr(buf_text(&text), wanted))
        fail_msg("'%s' does not say '%s'", buf_text(&text), wanted);
}

static void clean_report_passes(void **state UNUSED)
{
    struct sample sample;
    struct err err = ERR_INIT;
    fill(&sample);
    assert_int_equal(load_verdict(&sample.report, &err), ST_OK);
    expect_text(&sample.report, "verified on 2 of 2 servers: 0 lost, 0 duplicated");
}

static void every_fault_fails_the_run(void **state UNUSED)
{
    for (size_t fault = 0; fault < LOAD_FAULTS; fault++) {
        struct sample sample;
        struct err err = ERR_INIT;
        fill(&sample);
        sample.report.faults[fault] = 1;
        assert_int_not_equal(load_verdict(&sample.report, &err), ST_OK);
        assert_non_null(strstr(err.text, "load-1"));
    }
}

static void unverified_server_fails_the_run_and_is_named(void **state UNUSED)
{
    struct sample sample;
    struct err err = ERR_INIT;
    fill(&sample);
    sample.servers[1].is_verified = false;
    snprintf(sample.servers[1].reason, sizeof(sample.servers[1].reason), "no answer");
    sample.report.verified_count = sample.report.unverified_count = 1;
    assert_int_equal(load_verdict(&sample.report, &err), ST_UNREACHABLE);
    expect_text(&sample.report, "not verified: 10.0.0.2:3306, shard orders-0: no answer");
}

static void faulty_row_is_told_with_server_and_number(void **state UNUSED)
{
    struct sample sample;
    fill(&sample);
    sample.finding =
        (struct load_finding){LOAD_DUPLICATED_ROW, "orders-0", "10.0.0.2:3306", 3, 42, 2};
    sample.report.findings = &sample.finding;
    sample.report.finding_count = 1;
    sample.servers[1].faults[LOAD_DUPLICATED_ROW] = 5;
    expect_text(&sample.report,
                "duplicated: 10.0.0.2:3306, shard orders-0, writer 3, number 42, 2 times");
    expect_text(&sample.report, "and 4 more");
}

static void json_has_the_promised_keys(void **state UNUSED)
{
    static const char *const top[] = {
        "run",      "seconds",    "writers",    "rate",     "acknowledged",     "unknown",
        "lost",     "duplicated", "unexpected", "diverged", "verified_servers", "unverified",
        "findings", "shards"};
    static const char *const of_shard[] = {"name",       "acknowledged",   "unknown", "lost",
                                           "duplicated", "longest_gap_ms", "gap_at",  "p50_ms",
                                           "p99_ms",     "moves",          "errors",  "servers"};
    struct sample sample;
    AUTO(buf_release) struct buf text = {0};
    fill(&sample);
    load_report_encode(&sample.report, &text);
    json_t *json = json_loads(buf_text(&text), 0, NULL);
    assert_non_null(json);
    for (size_t i = 0; i < ARRAY_SIZE(top); i++)
        if (!json_object_get(json, top[i]))
            fail_msg("no '%s' in %s", top[i], buf_text(&text));
    const json_t *shard = json_array_get(json_object_get(json, "shards"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(of_shard); i++)
        if (!json_object_get(shard, of_shard[i]))
            fail_msg("no '%s' in a shard of %s", of_shard[i], buf_text(&text));
    assert_int_equal(json_array_size(json_object_get(shard, "servers")), 2);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_report_passes),
        cmocka_unit_test(every_fault_fails_the_run),
        cmocka_unit_test(unverified_server_fails_the_run_and_is_named),
        cmocka_unit_test(faulty_row_is_told_with_server_and_number),
        cmocka_unit_test(json_has_the_promised_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
