/* SPDX-License-Identifier: Apache-2.0
 * The growing text. */
#include "base/buf.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void an_empty_buffer_reads_as_empty_text(void **state UNUSED)
{
    AUTO(buf_release) struct buf buf = {0};
    assert_string_equal(buf_text(&buf), "");
    buf_clear(&buf);
    buf_printf(&buf, "%s", "");
    assert_string_equal(buf_text(&buf), "");
}

static void parts_of_every_kind_are_joined(void **state UNUSED)
{
    AUTO(buf_release) struct buf buf = {0};
    buf_add(&buf, "a");
    buf_printf(&buf, "-%d-", 42);
    buf_add_bytes(&buf, "bcd", 2);
    assert_string_equal(buf_text(&buf), "a-42-bc");
    assert_int_equal(buf.length, 7);
}

static void it_grows_to_any_length_and_stays_terminated(void **state UNUSED)
{
    AUTO(buf_release) struct buf buf = {0};
    for (size_t i = 1; i <= 5000; i++) {
        buf_add(&buf, "x");
        assert_int_equal(buf.length, i);
        assert_int_equal(buf.data[i], '\0');
    }
    buf_printf(&buf, "%10000d", 1);
    assert_int_equal(strlen(buf_text(&buf)), 15000);
}

static void bytes_may_contain_nul(void **state UNUSED)
{
    AUTO(buf_release) struct buf buf = {0};
    buf_add_bytes(&buf, "a\0b", 3);
    assert_int_equal(buf.length, 3);
    assert_memory_equal(buf.data, "a\0b", 4);
}

static void clearing_keeps_the_memory(void **state UNUSED)
{
    AUTO(buf_release) struct buf buf = {0};
    buf_add(&buf, "something");
    size_t capacity = buf.capacity;
    buf_clear(&buf);
    assert_string_equal(buf_text(&buf), "");
    assert_int_equal(buf.capacity, capacity);
}

static void taking_moves_the_text_out(void **state UNUSED)
{
    AUTO(buf_release) struct buf buf = {0};
    AUTO_FREE char *empty = buf_take(&buf);
    assert_string_equal(empty, "");
    buf_add(&buf, "mine");
    AUTO_FREE char *taken = buf_take(&buf);
    assert_string_equal(taken, "mine");
    assert_null(buf.data);
    assert_int_equal(buf.length, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_reads_as_empty_text),
        cmocka_unit_test(parts_of_every_kind_are_joined),
        cmocka_unit_test(it_grows_to_any_length_and_stays_terminated),
        cmocka_unit_test(bytes_may_contain_nul),
        cmocka_unit_test(clearing_keeps_the_memory),
        cmocka_unit_test(taking_moves_the_text_out),
    };
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
