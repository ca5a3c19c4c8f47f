/* SPDX-License-Identifier: Apache-2.0
 * Answers of a server, whole, in pieces, and spoilt. */
#include "wire/mysql.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Packets are made by hand; 'sequence' does not matter to a reader. */
static void packet(struct buf *out, const void *bytes, size_t length)
{
    const uint8_t header[4] = {(uint8_t)length, (uint8_t)(length >> 8), 0, 1};
    buf_add_bytes(out, header, sizeof(header));
    buf_add_bytes(out, bytes, length);
}

static void ok(struct buf *out, bool has_more)
{
    packet(out, (uint8_t[]){0, 0, 0, has_more ? 8 : 2, 0, 0, 0}, 7);
}

static void eof(struct buf *out, bool has_more)
{
    packet(out, (uint8_t[]){0xfe, 0, 0, has_more ? 8 : 2, 0}, 5);
}

static void column(struct buf *out, const char *name)
{
    AUTO(buf_release) struct buf text = {0};
    buf_add_bytes(&text, "\3def\0\0\0", 7);
    buf_add_bytes(&text, &(uint8_t){(uint8_t)strlen(name)}, 1);
    buf_add(&text, name);
    buf_add_bytes(&text, "\0\x0c\x2d\0\0\0\0\0\xfd\0\0\0\0\0", 14);
    packet(out, text.data, text.length);
}

/* One row "7", NULL of columns a and b; then a statement without rows. */
static void add_answer(struct buf *out)
{
    packet(out, "\2", 1);
    column(out, "a");
    column(out, "b");
    eof(out, false);
    packet(out,
           "\1"
           "7\xfb",
           3);
    eof(out, true);
    ok(out, false);
}

static enum mysql_answer_state read_all(const struct buf *bytes, struct mysql_answer *ret)
{
    *ret = (struct mysql_answer){0};
    return mysql_answer_read(ret, (const uint8_t *)bytes->data, bytes->length);
}

static void see_set(void *context, size_t columns)
{
    buf_printf(context, "[%zu", columns);
}

static void see_column(void *context, const char *name, size_t length)
{
    buf_printf(context, " %.*s", (int)length, name);
}

static void see_row(void *context)
{
    buf_add(context, ";");
}

static void see_value(void *context, const char *text, size_t length)
{
    buf_printf(context, " %.*s", text ? (int)length : 4, text ? text : "NULL");
}

static void expect_seen(const struct buf *bytes, const char *wanted)
{
    AUTO(buf_release) struct buf seen = {0};
    struct mysql_visitor visitor = {see_set, see_column, see_row, see_value, &seen};
    mysql_answer_visit((const uint8_t *)bytes->data, bytes->length, &visitor);
    assert_string_equal(buf_text(&seen), wanted);
}

static void an_answer_is_complete_with_its_last_byte(void **state UNUSED)
{
    AUTO(buf_release) struct buf bytes = {0};
    struct mysql_answer answer;
    add_answer(&bytes);
    size_t whole = bytes.length;
    for (bytes.length = 0; bytes.length < whole; bytes.length++)
        assert_int_equal(read_all(&bytes, &answer), MYSQL_ANSWER_MORE);
    assert_int_equal(read_all(&bytes, &answer), MYSQL_ANSWER_DONE);
    assert_int_equal(answer.statements, 2);
    expect_seen(&bytes, "[2 a b; 7 NULL[0");
}

static void it_may_come_byte_by_byte(void **state UNUSED)
{
    AUTO(buf_release) struct buf bytes = {0};
    struct mysql_answer answer = {0};
    add_answer(&bytes);
    enum mysql_answer_state at = MYSQL_ANSWER_MORE;
    for (size_t length = 1; length <= bytes.length; length++)
        at = mysql_answer_read(&answer, (const uint8_t *)bytes.data, length);
    assert_int_equal(at, MYSQL_ANSWER_DONE);
    assert_int_equal(answer.statements, 2);
}

static void an_error_says_what_and_where(void **state UNUSED)
{
    AUTO(buf_release) struct buf bytes = {0};
    struct mysql_answer answer;
    ok(&bytes, true);
    packet(&bytes, "\xff\x28\x04#42000no such thing", 22);
    assert_int_equal(read_all(&bytes, &answer), MYSQL_ANSWER_ERROR);
    assert_int_equal(answer.number, 1064);
    assert_int_equal(answer.statements, 1);
    assert_string_equal(answer.text, "no such thing");
}

static void an_error_within_the_rows_is_one(void **state UNUSED)
{
    AUTO(buf_release) struct buf bytes = {0};
    struct mysql_answer answer;
    packet(&bytes, "\1", 1);
    column(&bytes, "a");
    eof(&bytes, false);
    packet(&bytes, "\xff\x25\x05#70100killed", 15);
    assert_int_equal(read_all(&bytes, &answer), MYSQL_ANSWER_ERROR);
    assert_int_equal(answer.number, 1317);
}

static void what_is_not_the_protocol_is_refused(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        {"\0\0\0\1", 4},                                      /* an empty packet */
        {"\xff\xff\xff\1", 4},                                /* the first part of a huge one */
        {"\1\0\0\1\xfb", 5},                                  /* LOAD DATA LOCAL INFILE */
        {"\2\0\0\1\2\0", 6},                                  /* columns, and something after */
        {"\3\0\0\1\0\0\0", 7},                                /* OK without a status */
        {"\1\0\0\1\1\1\0\0\2\0\1\0\0\3\0", 15},               /* no EOF after the columns */
        {"\7\0\0\1\0\0\0\2\0\0\0\7\0\0\1\0\0\0\2\0\0\0", 22}, /* more than was asked for */
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct mysql_answer answer = {0};
        assert_int_equal(mysql_answer_read(&answer, (const uint8_t *)bad[i].bytes, bad[i].length),
                         MYSQL_ANSWER_BROKEN);
    }
}

static void a_row_with_too_little_has_nulls(void **state UNUSED)
{
    AUTO(buf_release) struct buf bytes = {0};
    packet(&bytes, "\2", 1);
    column(&bytes, "a");
    column(&bytes, "b");
    eof(&bytes, false);
    packet(&bytes, "\x09x", 2);
    eof(&bytes, false);
    expect_seen(&bytes, "[2 a b; NULL NULL");
}

static void a_query_is_a_packet(void **state UNUSED)
{
    AUTO(buf_release) struct buf out = {0};
    mysql_add_query(&out, "DO 1");
    assert_int_equal(out.length, 9);
    assert_memory_equal(out.data, "\5\0\0\0\3DO 1", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_complete_with_its_last_byte),
        cmocka_unit_test(it_may_come_byte_by_byte),
        cmocka_unit_test(an_error_says_what_and_where),
        cmocka_unit_test(an_error_within_the_rows_is_one),
        cmocka_unit_test(what_is_not_the_protocol_is_refused),
        cmocka_unit_test(a_row_with_too_little_has_nulls),
        cmocka_unit_test(a_query_is_a_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
