/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/inventory_api: conductors and their API in the fleet file. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "inventory_test.h"

#define CONDUCTOR(listen) "conductors: [ { name: w, region: west, listen: '" listen "' } ]\n"

static void conductors_say_where_they_are_spoken_to(UNUSED void **state)
{
    AUTO(inventory_freep)
    struct inventory *inventory =
        parse("conductors:\n"
              "  - { name: west-a, region: west, listen: 10.0.1.5 }\n"
              "  - { listen: '[0::1]:7421', region: east, name: east-a }\n"
              "api:\n  tls: { ca: ca.pem, cert: c.pem, key: c.key }\n"
              "  tokens: [ { name: oncall, role: operator, file: oncall.token } ]\n" HEAD SHARDS);
    assert_int_equal(inventory->conductor_count, 2);
    const struct inventory_conductor *west = inventory_find_conductor(inventory, "west-a");
    const struct inventory_conductor *east = inventory_find_conductor(inventory, "east-a");
    assert_string_equal(west->listen, "10.0.1.5:7420");
    assert_string_equal(west->host, "10.0.1.5");
    assert_int_equal(west->port, 7420);
    assert_string_equal(east->listen, "[::1]:7421");
    assert_string_equal(east->host, "::1");
    assert_int_equal(east->region, 1);
    assert_null(inventory_find_conductor(inventory, "west-b"));
    assert_true(inventory->api.tls.is_on);
    assert_string_equal(inventory->api.tls.key, "c.key");
    assert_int_equal(inventory->api.tokens[0].role, HTTP_OPERATOR);
    assert_string_equal(inventory->api.tokens[0].file, "oncall.token");
}

static void clear_text_is_for_one_machine_unless_it_is_meant(UNUSED void **state)
{
    static const char *const good[] = {CONDUCTOR("127.0.0.1:1"), CONDUCTOR("[::1]:1"),
                                       CONDUCTOR("localhost"),
                                       CONDUCTOR("10.0.1.5") "api: { plain: true }\n"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        AUTO_FREE char *text = mem_printf("%s%s", HEAD SHARDS, good[i]);
        AUTO(inventory_freep) struct inventory *inventory = parse(text);
        assert_int_equal(inventory->conductor_count, 1);
    }
    assert_refused(HEAD SHARDS CONDUCTOR("10.0.1.5"),
                   "holdfast.yaml:13: conductor 'w' would speak in clear text at 10.0.1.5:7420, "
                   "which is not of this machine alone");
}

static void conductors_and_their_api_are_checked(UNUSED void **state)
{
#define WITH(text) HEAD SHARDS text "\n"
    static const struct bad_file files[] = {
        {WITH("conductors: [ { name: a, region: weest, listen: '::1' } ]"),
         "holdfast.yaml:13: unknown region 'weest' (did you mean 'west'?)"},
        {WITH("conductors: [ { name: a, region: west } ]"),
         "holdfast.yaml:13: an item of 'conductors' lacks the key 'listen'"},
        {WITH("conductors: [ { name: a, region: west, listen: 'x:0' } ]"),
         "holdfast.yaml:13: 'listen': port '0' is not a number from 1 to 65535"},
        {WITH("conductors: [ { name: a, region: west, listen: 127.0.0.1 },\n"
              "  { name: a, region: west, listen: 127.0.0.2 } ]"),
         "holdfast.yaml:14: duplicate conductor 'a' (first in line 13)"},
        {WITH("conductors: [ { name: a, region: west, listen: 127.0.0.1 },\n"
              "  { name: b, region: west, listen: 127.0.0.1:7420 } ]"),
         "holdfast.yaml:14: duplicate address of a conductor '127.0.0.1:7420' (first in line 13)"},
        {WITH("api: { tls: { ca: a, cert: b } }"), "holdfast.yaml:13: 'tls' lacks the key 'key'"},
        {WITH("api: { tls: { ca: a, cert: b, key: c, verify: false } }"),
         "holdfast.yaml:13: unknown key 'verify'"},
        {WITH("api: { plain: true, tls: { ca: a, cert: b, key: c } }"),
         "holdfast.yaml:13: 'api' has both 'tls' and 'plain: true'"},
        {WITH("api: { tokens: [ { name: a, role: boss, file: t } ] }"),
         "holdfast.yaml:13: 'role' must be viewer, operator or agent, not 'boss'"},
        {WITH("api: { tokens: [ { name: a, role: open, file: t } ] }"),
         "holdfast.yaml:13: 'role' must be viewer, operator or agent, not 'open'"},
        {WITH("api: { tokens: [ { name: a, role: agent } ] }"),
         "holdfast.yaml:13: an item of 'tokens' lacks the key 'file'"},
        {WITH("api: { tokens: [ { name: a, role: agent, file: t, token: secret } ] }"),
         "holdfast.yaml:13: a token must not be in this file; use 'file'"},
        {WITH("api: { tokens: [ { name: a, role: agent, file: t },\n"
              "  { name: a, role: viewer, file: t } ] }"),
         "holdfast.yaml:14: duplicate token 'a' (first in line 13)"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conductors_say_where_they_are_spoken_to),
        cmocka_unit_test(clear_text_is_for_one_machine_unless_it_is_meant),
        cmocka_unit_test(conductors_and_their_api_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
