/* SPDX-License-Identifier: Apache-2.0
 * Ports are held until they are left, on real sockets. */
#include "base/scope.h"
#include "net/ports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { FIRST = 27001 };

static const char *const hosts[] = {"127.90.0.1", "127.90.0.2"};

static void two_that_share_an_address_get_different_ports(void **state UNUSED)
{
    AUTO(ports_release) struct ports one = {0}, two = {0};
    assert_int_equal(ports_take(hosts, 1, FIRST, &one, NULL), ST_OK);
    assert_int_equal(ports_take(hosts, 2, FIRST, &two, NULL), ST_OK);
    assert_int_not_equal(one.port, two.port);
}

static void what_is_left_is_free_again(void **state UNUSED)
{
    AUTO(ports_release) struct ports one = {0}, two = {0};
    assert_int_equal(ports_take(hosts, 2, FIRST, &one, NULL), ST_OK);
    ports_leave(&one, 1);
    ports_leave(&one, 1);
    assert_int_equal(ports_take(&hosts[1], 1, one.port, &two, NULL), ST_OK);
    assert_int_equal(one.port, two.port);
}

static void an_address_of_another_machine_is_refused_by_name(void **state UNUSED)
{
    static const char *const strange[] = {"192.0.2.1"};
    AUTO(ports_release) struct ports ports = {0};
    struct err err = ERR_INIT;
    assert_int_not_equal(ports_take(strange, 1, FIRST, &ports, &err), ST_OK);
    assert_non_null(strstr(err.text, "192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_that_share_an_address_get_different_ports),
        cmocka_unit_test(what_is_left_is_free_again),
        cmocka_unit_test(an_address_of_another_machine_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("net/ports", tests, NULL, NULL);
}
