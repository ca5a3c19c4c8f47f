/* SPDX-License-Identifier: Apache-2.0
 * What stands in a server's log, as SHOW BINLOG EVENTS says it: where a transaction begins, and
 * whether it changes anything. */
#include "base/scope.h"
#include "sql/mariadb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct sql_log_row read_row(const char *type, const char *text)
{
    struct sql_log_row row;
    mariadb_read_log_event(type, text, &row);
    return row;
}

static void a_gtid_event_begins_a_transaction_and_gives_its_position(void **state)
{
    (void)state;
    assert_string_equal(read_row("Gtid", "GTID 0-101-31").begins, "0-101-31");
    assert_string_equal(read_row("Gtid", "BEGIN GTID 7-101-32 cid=5").begins, "7-101-32 cid=5");
    assert_null(read_row("Query", "FLUSH TABLES").begins);
    assert_false(read_row("Gtid", "GTID 0-101-31").is_change);
}

static void maintenance_is_no_change(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "FLUSH TABLES",
        "flush privileges",
        "use `shop`; ANALYZE TABLE item PERSISTENT FOR ALL",
        "use `odd; name`; FLUSH TABLES",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_false(read_row("Query", texts[i]).is_change);
}

static void everything_else_is_a_change(void **state)
{
    (void)state;
    assert_true(read_row("Query", "use `shop`; CREATE TABLE flush (a INT)").is_change);
    assert_true(read_row("Query", "use `FLUSH `; DROP TABLE t").is_change);
    assert_true(read_row("Query", "FLUSHED").is_change);
    assert_true(read_row("Write_rows_v1", "table_id: 27 flags: STMT_END_F").is_change);
    assert_true(read_row("Xid", "COMMIT /* xid=90 */").is_change);
    assert_true(read_row("Query", "").is_change);
    assert_true(read_row(NULL, NULL).is_change);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gtid_event_begins_a_transaction_and_gives_its_position),
        cmocka_unit_test(maintenance_is_no_change),
        cmocka_unit_test(everything_else_is_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
