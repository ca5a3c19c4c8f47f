/* SPDX-License-Identifier: Apache-2.0
 * Which passwords CHANGE MASTER keeps as they are: tried on a server, it silently makes a '?' of a
 * character of four bytes. And how a former primary is connected to the new one. */
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

static void assert_link(const struct sql_server_state *state, const struct sql_tls *tls,
                        const char *wanted)
{
    AUTO(buf_release) struct buf text = {0};
    sql_mariadb.keep_link(&text, state, tls);
    assert_string_equal(buf_text(&text), wanted);
}

#define NO_FILES                                                                                   \
    ", MASTER_SSL_CAPATH='', MASTER_SSL_CIPHER='', MASTER_SSL_CRL='', MASTER_SSL_CRLPATH=''"

/* RESET SLAVE ALL keeps TLS until a restart, but no longer verifies: so everything is said. */
static void every_option_of_tls_is_said(void **state UNUSED)
{
    static const struct sql_tls tls = {
        .ca = "/etc/ca.pem", .cert = "/etc/it's.pem", .key = "/etc/k", .verify = true};
    static const struct sql_tls blind = {.ca = NULL};
    static const struct sql_server_state clear;
    assert_link(NULL, &tls,
                "MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=1, MASTER_SSL_CA='/etc/ca.pem',"
                " MASTER_SSL_CERT='/etc/it''s.pem', MASTER_SSL_KEY='/etc/k'" NO_FILES
                ", MASTER_CONNECT_RETRY=1");
    assert_link(&clear, NULL,
                "MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_SSL_CA='',"
                " MASTER_SSL_CERT='', MASTER_SSL_KEY=''" NO_FILES ", MASTER_CONNECT_RETRY=1");
    assert_link(&clear, &blind,
                "MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_SSL_CA='',"
                " MASTER_SSL_CERT='', MASTER_SSL_KEY=''" NO_FILES ", MASTER_CONNECT_RETRY=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_replica_keeps_is_taken),
        cmocka_unit_test(what_a_replica_would_not_keep_is_refused),
        cmocka_unit_test(every_option_of_tls_is_said),
    };
    return cmocka_run_group_tests_name("sql/mariadb_move", tests, NULL, NULL);
}
