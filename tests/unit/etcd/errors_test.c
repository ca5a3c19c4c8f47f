/* SPDX-License-Identifier: Apache-2.0
 * The table of etcd's errors: what each means here, and docs/etcd.md shows the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "etcd/errors.h"
#include "os/file.h"

#include <string.h>

static const char *const reaches[] = {
    [ETCD_FINAL] = "told",       [ETCD_RENEW] = "log in anew",
    [ETCD_NEXT] = "next member", [ETCD_REFUSED] = "next member, told when all say so",
    [ETCD_DOUBT] = "in doubt",
};

static void every_error_is_documented_as_it_is(void **state UNUSED)
{
#define ROW(code, begins, reach, status, meaning, hint)                                            \
    {code, begins, ETCD_##reach, status, meaning, hint},
    static const struct etcd_error rows[] = {ETCD_ERROR_TABLE(ROW)};
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(file_read("docs/etcd.md", 1 << 20, &page, &err), ST_OK);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char code[8];
        snprintf(code, sizeof(code), "%d", rows[i].code);
        AUTO_FREE char *row = mem_printf("\n| %s | %s | %s | %s | %s |",
                                         rows[i].code == ETCD_PLAIN ? "none"
                                         : rows[i].code             ? code
                                                                    : "any",
                                         *rows[i].begins ? rows[i].begins : "…", rows[i].meaning,
                                         reaches[rows[i].reach], status_name(rows[i].status));
        if (!strstr(buf_text(&page), row))
            fail_msg("docs/etcd.md lacks the row:%s", row);
    }
}

static void no_error_is_hidden_by_one_above_it(void **state UNUSED)
{
    static const struct etcd_error rows[] = {ETCD_ERROR_TABLE(ROW)};
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct etcd_answer answer = {.error = rows[i].code ? rows[i].code : 1};
        snprintf(answer.message, sizeof(answer.message), "%s", rows[i].begins);
        const struct etcd_error *found = etcd_error_find(&answer);
        assert_string_equal(found->meaning, rows[i].meaning);
    }
}

/* Words that no etcd says would never fit. */
static void every_message_is_one_of_the_installed_etcd(void **state UNUSED)
{
    static const struct etcd_error rows[] = {ETCD_ERROR_TABLE(ROW)};
    AUTO(buf_release) struct buf program = {0};
    if (file_read("/usr/bin/etcd", 1 << 28, &program, NULL)) {
        print_message("etcd-server is not installed\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (*rows[i].begins &&
            !memmem(program.data, program.length, rows[i].begins, strlen(rows[i].begins)))
            fail_msg("etcd never says: %s", rows[i].begins);
}

/* A write that met one of these is sent again, or told as surely not done. */
static void only_what_surely_did_not_happen_is_no_doubt(void **state UNUSED)
{
    static const struct {
        int code;
        const char *message;
    } unknown[] = {
        {14, "etcdserver: request timed out"},
        {14, "etcdserver: request timed out, possibly due to previous leader failure"},
        {14, "etcdserver: leader changed"},
        {14, "transport is closing"},
        {4, "context deadline exceeded"},
        {1, "context canceled"},
        {13, "some new error of a later etcd"},
        {2, "some error without a code"},
        {ETCD_PLAIN, "502 Bad Gateway"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        struct etcd_answer answer = {.error = unknown[i].code};
        snprintf(answer.message, sizeof(answer.message), "%s", unknown[i].message);
        if (etcd_error_find(&answer)->reach != ETCD_DOUBT)
            fail_msg("%s is in doubt", unknown[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_is_documented_as_it_is),
        cmocka_unit_test(no_error_is_hidden_by_one_above_it),
        cmocka_unit_test(every_message_is_one_of_the_installed_etcd),
        cmocka_unit_test(only_what_surely_did_not_happen_is_no_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
