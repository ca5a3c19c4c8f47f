/* SPDX-License-Identifier: Apache-2.0
 * Certificates are made, written, and looked at again. */
#include "base/mem.h"
#include "base/scope.h"
#include "net/certificate.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { DAY_S = 24 * 3600 };

static char folder[256];

static int make_folder(void **state UNUSED)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/holdfast-test-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state UNUSED)
{
    return folder_remove(folder, NULL) ? -1 : 0;
}

static char *put(const char *name, const struct buf *text)
{
    char *path = mem_printf("%s/%s", folder, name);
    assert_int_equal(file_write(path, text->data, text->length, 0600, NULL), ST_OK);
    return path;
}

/* NAME.pem and NAME.key of a client whose certificate ends in so many days. */
static void issue(const char *name, int days, char **ret_cert, char **ret_key)
{
    AUTO(certificate_authority_freep) struct certificate_authority *authority = NULL;
    AUTO(buf_release) struct buf cert = {0};
    AUTO(buf_release) struct buf key = {0};
    struct certificate_request request = {.name = name, .days = days};
    assert_int_equal(certificate_authority_new("test authority", 10, &authority, NULL), ST_OK);
    assert_int_equal(certificate_issue(authority, &request, &cert, &key, NULL), ST_OK);
    AUTO_FREE char *cert_name = mem_printf("%s.pem", name);
    AUTO_FREE char *key_name = mem_printf("%s.key", name);
    *ret_cert = put(cert_name, &cert);
    *ret_key = put(key_name, &key);
}

static void a_certificate_ends_when_it_was_to_end(void **state UNUSED)
{
    static const int days[] = {-3, 1, 400};
    for (size_t i = 0; i < ARRAY_SIZE(days); i++) {
        AUTO_FREE char *cert = NULL, *key = NULL;
        int64_t end_s = 0;
        issue("client", days[i], &cert, &key);
        assert_int_equal(certificate_read_end(cert, &end_s, NULL), ST_OK);
        int64_t expected = (int64_t)time(NULL) + (int64_t)days[i] * DAY_S;
        assert_in_range(end_s, expected - 60, expected + 60);
    }
}

static void a_key_belongs_to_its_own_certificate_only(void **state UNUSED)
{
    AUTO_FREE char *cert = NULL, *key = NULL, *other_cert = NULL, *other_key = NULL;
    struct err err = ERR_INIT;
    issue("one", 5, &cert, &key);
    issue("two", 5, &other_cert, &other_key);
    assert_int_equal(certificate_check_key(cert, key, &err), ST_OK);
    assert_int_equal(certificate_check_key(cert, other_key, &err), ST_INVALID);
    assert_non_null(strstr(err.text, "two.key' is not the key of the certificate '"));
    assert_int_equal(certificate_check_key(cert, cert, &err), ST_INVALID);
    assert_non_null(strstr(err.text, "no private key in PEM"));
    assert_int_equal(certificate_check_key("/nowhere/a.pem", key, &err), ST_NOT_FOUND);
}

static void an_authority_can_be_read_like_any_certificate(void **state UNUSED)
{
    AUTO(certificate_authority_freep) struct certificate_authority *authority = NULL;
    AUTO(buf_release) struct buf pem = {0};
    int64_t end_s = 0;
    assert_int_equal(certificate_authority_new("test authority", 10, &authority, NULL), ST_OK);
    assert_int_equal(certificate_authority_write(authority, &pem, NULL, NULL), ST_OK);
    AUTO_FREE char *path = put("ca.pem", &pem);
    assert_int_equal(certificate_read_end(path, &end_s, NULL), ST_OK);
    assert_null(strstr(buf_text(&pem), "PRIVATE"));
}

static void what_a_server_prints_is_read_and_nothing_else(void **state UNUSED)
{
    int64_t at_s = 0;
    assert_true(certificate_parse_time("Dec 26 10:41:32 2026 GMT", &at_s));
    assert_int_equal(at_s, 1798281692);
    assert_true(certificate_parse_time("Jan  2 00:00:00 2026 GMT", &at_s));
    assert_false(certificate_parse_time("", &at_s));
    assert_false(certificate_parse_time("2026-12-26 10:41:32", &at_s));
    assert_false(certificate_parse_time("Dec 26 10:41:32 2026 GMT and more", &at_s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_certificate_ends_when_it_was_to_end, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_key_belongs_to_its_own_certificate_only, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(an_authority_can_be_read_like_any_certificate, make_folder,
                                        remove_folder),
        cmocka_unit_test(what_a_server_prints_is_read_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
