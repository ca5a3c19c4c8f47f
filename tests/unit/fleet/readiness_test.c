/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/readiness: a sound shard has no finding, what policy.accept does, the page. The
 * cases of single checks are in readiness_replication_test.c and readiness_servers_test.c. */
#include "readiness_cases.h"

#include "base/mem.h"
#include "os/file.h"

static void sound_shard_has_no_finding(void **state UNUSED)
{
    struct sample sample;
    AUTO(buf_release) struct buf found = {0};
    sample_init(&sample);
    sample_check(&sample);
    found_format(&sample.found, &found);
    assert_string_equal(buf_text(&found), "");
    sample_release(&sample);
}

static void accepted_no_go_is_a_warning_that_says_so(void **state UNUSED)
{
    struct sample sample;
    char lag[] = "lag", *accept[] = {lag};
    sample_init(&sample);
    sample.fleet.policy.accept = accept;
    sample.fleet.policy.accept_count = 1;
    sample.seen[E1].lag_ms = 1500;
    sample_check(&sample);
    assert_int_equal(sample.found.count, 1);
    assert_int_equal(sample.found.findings[0].severity, SEVERITY_WARNING);
    assert_true(sample.found.findings[0].is_accepted);
    assert_int_equal(sample.found.no_go_count, 0);
    sample_release(&sample);
}

#define ROW(name, id, severity, title, advice) {id, #severity, title},

static void every_check_is_documented_as_it_is(void **state UNUSED)
{
    static const struct {
        const char *id, *severity, *title;
    } rows[] = {CHECK_TABLE(ROW)};
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(file_read("docs/readiness.md", 1 << 20, &page, &err), ST_OK);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *severity = strcmp(rows[i].severity, "NO_GO") == 0  ? "no-go"
                               : strcmp(rows[i].severity, "INFO") == 0 ? "info"
                                                                       : "warning";
        AUTO_FREE char *row =
            mem_printf("\n| `%s` | %s | %s |", rows[i].id, severity, rows[i].title);
        if (!strstr(buf_text(&page), row))
            fail_msg("docs/readiness.md lacks the row:%s", row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_shard_has_no_finding),
        cmocka_unit_test(accepted_no_go_is_a_warning_that_says_so),
        cmocka_unit_test(every_check_is_documented_as_it_is),
    };
    return cmocka_run_group_tests_name("fleet/readiness", tests, NULL, NULL);
}
