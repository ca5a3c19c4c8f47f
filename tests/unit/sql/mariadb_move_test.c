/* SPDX-License-Identifier: Apache-2.0
 * Which passwords CHANGE MASTER keeps as they are: tried on a server, it silently makes a '?' of a
 * character of four bytes. */
#include "base/scope.h"
#include "sql/mariadb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *refuse(const char *text, size_t length)
{
    AUTO(secret_release) struct secret password = {0};
    secret_set(&password, text, length);
    return sql_mariadb.refuse_source_password(&password);
}

static void what_a_replica_keeps_is_taken(void **state UNUSED)
{
    static const char *const texts[] = {
        "", "plain", " quotes ' \" \\ # % ; -- spaces ",
        "\xc3\xa9\xe2\x82\xac", /* two and three bytes */
    };
    char longest[96];
    memset(longest, 'x', sizeof(longest));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_null(refuse(texts[i], strlen(texts[i])));
    assert_null(refuse(longest, sizeof(longest)));
}

static void what_a_replica_would_not_keep_is_refused(void **state UNUSED)
{
    static const char *const texts[] = {
        "two\nlines",  "\xf0\x9f\x98\x80", /* four bytes */
        "\xe9",                            /* Latin-1 */
        "cut\xe2\x82", "\xc0\xaf",
    };
    char longer[97];
    memset(longer, 'x', sizeof(longer));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_non_null(refuse(texts[i], strlen(texts[i])));
    assert_non_null(refuse(longer, sizeof(longer)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_replica_keeps_is_taken),
        cmocka_unit_test(what_a_replica_would_not_keep_is_refused),
    };
    return cmocka_run_group_tests_name("sql/mariadb_move", tests, NULL, NULL);
}
