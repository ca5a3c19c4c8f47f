/* SPDX-License-Identifier: Apache-2.0
 * Foreign text: what is shown of it. */
#include "base/scope.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define R TEXT_REPLACED

static void what_cannot_be_shown_is_replaced(void **state UNUSED)
{
    /* clang-format off */
    static const struct { const char *given, *shown; } cases[] = {
        {"plain, with\ttab and\nnewline", "plain, with\ttab and\nnewline"},
        {"Grüße, 東京, 🙂", "Grüße, 東京, 🙂"},
        {"\x1b[2J\x1b]0;title\a", R "[2J" R "]0;title" R},
        {"a\rb\x7f", "a" R "b" R},
        {"\xc2\x9b" "31m", R "31m"},                      /* CSI in one character */
        {"\xff\xfe", R R},
        {"\xc3", R},                                      /* cut off */
        {"\xe2\x82", R R},
        {"\xc0\xaf", R R},                                /* '/' in too many bytes */
        {"\xed\xa0\x80", R R R},                          /* a surrogate */
        {"\xf4\x90\x80\x80", R R R R},                    /* beyond Unicode */
        {"abc\xe2\x80\xae" "cba", "abc" R "cba"},         /* right to left */
        {"\xe2\x81\xa6", R},
        {"", ""},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(buf_release) struct buf out = {0};
        text_add_clean(&out, cases[i].given, strlen(cases[i].given));
        assert_string_equal(buf_text(&out), cases[i].shown);
    }
}

static void a_nul_byte_is_replaced_as_well(void **state UNUSED)
{
    AUTO(buf_release) struct buf out = {0};
    text_add_clean(&out, "a\0b", 3);
    assert_string_equal(buf_text(&out), "a" R "b");
}

static void a_line_has_no_line_breaks(void **state UNUSED)
{
    AUTO_FREE char *line = text_clean_line("two\nlines\tand \x1b");
    assert_string_equal(line, "two lines and " R);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_shown_is_replaced),
        cmocka_unit_test(a_nul_byte_is_replaced_as_well),
        cmocka_unit_test(a_line_has_no_line_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
