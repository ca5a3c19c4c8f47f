/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/grants: what counts as held, the SQL that creates the accounts, its page. */
#include "fleet_test.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/file.h"

static void grants_are_read_as_servers_print_them(void **state UNUSED)
{
    static const struct {
        const char *line, *scope, *privilege;
        bool is_held;
    } lines[] = {
        {"GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION", "*.*", "RELOAD", true},
        {"GRANT USAGE ON *.* TO `a`@`%`", "*.*", "RELOAD", false},
        {"GRANT SELECT (`a`, `b`), INSERT ON `holdfast`.`probe` TO `a`@`%`", "holdfast.probe",
         "INSERT", true},
        {"GRANT SELECT (`a`, `b`), INSERT ON `holdfast`.`probe` TO `a`@`%`", "holdfast.probe",
         "SELECT", false},
        {"GRANT SELECT ON `holdfast`.* TO `a`@`%`", "holdfast.probe", "SELECT", true},
        {"GRANT SELECT ON `holdfast2`.* TO `a`@`%`", "holdfast.probe", "SELECT", false},
        {"GRANT `role` TO `a`@`%`", "*.*", "RELOAD", false},
        {"GRANT REPLICATION SLAVE ADMIN ON *.* TO `a`@`%`", "*.*", "REPLICATION SLAVE", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct grant grant = {.scope = lines[i].scope, .privilege = lines[i].privilege};
        struct grant_lines held = {&lines[i].line, 1};
        assert_int_equal(grant_is_held(&held, &grant), lines[i].is_held);
    }
}

static void accounts_are_created_with_their_grants_only(void **state UNUSED)
{
    struct inventory fleet = {0};
    AUTO(buf_release) struct buf sql = {0};
    char user[] = "o`brien";
    fleet.probe.user = user;
    secret_set(&fleet.probe.password, "it's", 4);
    grants_write_sql(&fleet, "10.%", true, &sql);
    assert_non_null(strstr(buf_text(&sql), "CREATE USER IF NOT EXISTS `o``brien`@`10.%` IDENTIFIED "
                                           "BY 'it''s';\nGRANT SELECT, INSERT, UPDATE ON "
                                           "holdfast.probe TO `o``brien`@`10.%`;\n"));
    assert_non_null(strstr(buf_text(&sql), "`repl`@`10.%` IDENTIFIED BY <password of repl>;\n"));
    static char cert[] = "c.pem";
    fleet.tls = (struct inventory_tls){.is_on = true, .cert = cert};
    fleet.replication.tls.is_on = true;
    buf_clear(&sql);
    grants_write_sql(&fleet, "10.%", true, &sql);
    assert_non_null(strstr(buf_text(&sql), "BY 'it''s' REQUIRE SSL;\n"));
    assert_non_null(strstr(buf_text(&sql), "<password of holdfast> REQUIRE X509;\n"));
    assert_non_null(strstr(buf_text(&sql), "<password of repl> REQUIRE SSL;\n"));
    secret_release(&fleet.probe.password);
}

static void every_privilege_is_documented(void **state UNUSED)
{
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    assert_int_equal(file_read("docs/grants.md", 1 << 20, &page, &err), ST_OK);
    for (size_t i = 0; i < grant_count; i++) {
        AUTO_FREE char *row = mem_printf("| `%s` | `%s` | ", grants[i].privilege, grants[i].scope);
        if (!strstr(buf_text(&page), row))
            fail_msg("docs/grants.md lacks the row: %s", row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_are_read_as_servers_print_them),
        cmocka_unit_test(accounts_are_created_with_their_grants_only),
        cmocka_unit_test(every_privilege_is_documented),
    };
    return cmocka_run_group_tests_name("fleet/grants", tests, NULL, NULL);
}
