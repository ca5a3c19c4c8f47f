/* SPDX-License-Identifier: Apache-2.0
 * Errors as values: set, wrapped, hinted, cut when too long. */
#include "base/err.h"
#include "base/scope.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_wrapped_error_reads_from_the_task_to_the_cause(void **state UNUSED)
{
    struct err err = ERR_INIT;
    assert_int_equal(err_set_errno(&err, ENOENT, "open", "/x/super"), ST_NOT_FOUND);
    assert_int_equal(err_wrap(&err, "mount volume %d", 7), ST_NOT_FOUND);
    assert_string_equal(err.text, "mount volume 7: open '/x/super': No such file or directory");
}

static void errno_becomes_the_status_that_tells_what_to_do(void **state UNUSED)
{
    static const struct {
        int error;
        enum status status;
    } cases[] = {{ENOENT, ST_NOT_FOUND},
                 {EEXIST, ST_EXISTS},
                 {EACCES, ST_DENIED},
                 {EPERM, ST_DENIED},
                 {ENOSPC, ST_FULL},
                 {EDQUOT, ST_FULL},
                 {ETIMEDOUT, ST_TIMEOUT},
                 {EIO, ST_IO},
                 {ECONNREFUSED, ST_UNREACHABLE},
                 {ENETUNREACH, ST_UNREACHABLE},
                 {EHOSTUNREACH, ST_UNREACHABLE}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = ERR_INIT;
        assert_int_equal(err_set_errno(&err, cases[i].error, "do", "it"), cases[i].status);
        assert_int_equal(err.status, cases[i].status);
    }
}

static void a_hint_survives_wrapping_but_not_a_new_error(void **state UNUSED)
{
    struct err err = ERR_INIT;
    err_set(&err, ST_INVALID, "bad port %d", 0);
    assert_int_equal(err_hint(&err, "use %d to %d", 1, 65535), ST_INVALID);
    err_wrap(&err, "line 3");
    assert_string_equal(err.text, "line 3: bad port 0");
    assert_string_equal(err.hint, "use 1 to 65535");
    err_set(&err, ST_IO, "other");
    assert_string_equal(err.hint, "");
}

static void text_that_is_too_long_is_cut_and_stays_terminated(void **state UNUSED)
{
    char longest[2 * ERR_TEXT_MAX];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    struct err err = ERR_INIT;
    err_set(&err, ST_IO, "%s", longest);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_wrap(&err, "short");
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "short: xxx", 10);
    err_wrap(&err, "%s", longest);
    assert_in_range(strlen(err.text), ERR_TEXT_MAX - 3, ERR_TEXT_MAX - 1);
    err_hint(&err, "%s", longest);
    assert_int_equal(strlen(err.hint), ERR_HINT_MAX - 1);
}

static void a_text_may_contain_percent_signs_when_wrapped(void **state UNUSED)
{
    struct err err = ERR_INIT;
    err_set(&err, ST_IO, "%s", "100% %s");
    err_wrap(&err, "%s", "%n");
    assert_string_equal(err.text, "%n: 100% %s");
}

static void without_an_err_the_status_still_comes_back(void **state UNUSED)
{
    assert_int_equal(err_set(NULL, ST_BUSY, "x"), ST_BUSY);
    assert_int_equal(err_set_errno(NULL, ENOSPC, "write", "x"), ST_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrapped_error_reads_from_the_task_to_the_cause),
        cmocka_unit_test(errno_becomes_the_status_that_tells_what_to_do),
        cmocka_unit_test(a_hint_survives_wrapping_but_not_a_new_error),
        cmocka_unit_test(text_that_is_too_long_is_cut_and_stays_terminated),
        cmocka_unit_test(a_text_may_contain_percent_signs_when_wrapped),
        cmocka_unit_test(without_an_err_the_status_still_comes_back),
    };
    return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
