/* SPDX-License-Identifier: Apache-2.0
 * Marks of drained hosts: what is written is read, and what a mark means for a server. */
#include "drain/mark.h"

#include "base/scope.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct drain_list list_of(const char *host, const char *text)
{
    AUTO_FREE char *key = drain_key(host);
    struct store_entry entry = {.key = key, .value = (char *)text};
    struct store_list entries = {.entries = &entry, .count = 1};
    struct drain_list list;
    drain_list_read(&entries, &list);
    return list;
}

static char *text_of(enum drain_state state)
{
    AUTO(drain_mark_release) struct drain_mark mark = {.state = state, .since_us = 1000000};
    mark.by = strdup("alice@ops1");
    drain_names_add(&mark.servers, "w1:3306");
    drain_names_add(&mark.servers, "w1:3307");
    drain_names_add(&mark.servers, "w1:3306");
    drain_names_add(&mark.primaries, "w1:3306");
    drain_names_add(&mark.relays, "w1:3307");
    return drain_mark_encode(&mark);
}

static void what_was_written_is_read(void **state UNUSED)
{
    AUTO_FREE char *text = text_of(DRAIN_DONE);
    AUTO(drain_list_release) struct drain_list list = list_of("db-w1", text);
    struct drain_mark *mark = drain_list_find(&list, "db-w1");
    assert_non_null(mark);
    assert_null(drain_list_find(&list, "db-w2"));
    assert_null(mark->problem);
    assert_int_equal(mark->servers.count, 2);
    AUTO_FREE char *again = drain_mark_encode(mark), *words = drain_mark_format(mark);
    assert_string_equal(again, text);
    assert_string_equal(words,
                        "host db-w1 drained since 1970-01-01T00:00:01.000Z by alice@ops1 (?)");
}

static void a_drained_host_is_kept_off_and_one_that_returns_is_not(void **state UNUSED)
{
    for (int i = 0; i < DRAIN_STATES; i++) {
        AUTO_FREE char *text = text_of((enum drain_state)i);
        AUTO(drain_list_release) struct drain_list list = list_of("db-w1", text);
        assert_int_equal(drain_keeps_off(&list, "w1:3307"), i != DRAIN_RETURNS);
        assert_int_equal(drain_wants_relay(&list, "w1:3307"), i == DRAIN_RETURNS);
        assert_false(drain_wants_relay(&list, "w1:3306"));
        assert_false(drain_keeps_off(&list, "w2:3306"));
    }
    assert_false(drain_keeps_off(NULL, "w1:3306") || drain_wants_relay(NULL, "w1:3306"));
}

static void what_does_not_read_is_named_and_keeps_nobody_off(void **state UNUSED)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"state\":\"asleep\",\"since_us\":1,\"servers\":[],\"primaries\":[],\"relays\":[]}",
        "{\"state\":\"drained\",\"servers\":[],\"primaries\":[],\"relays\":[]}",
        "{\"state\":\"drained\",\"since_us\":1,\"servers\":[1],\"primaries\":[],\"relays\":[]}",
        "{\"state\":\"drained\",\"since_us\":1,\"servers\":[\"w1:3306\"],\"primaries\":[]}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(drain_list_release) struct drain_list list = list_of("db-w1", texts[i]);
        AUTO_FREE char *words = drain_mark_format(&list.items[0]);
        assert_non_null(
            strstr(words, "host db-w1: the store holds a mark of it that does not read"));
        assert_false(drain_keeps_off(&list, "w1:3306"));
        json_t *json = drain_mark_json(&list.items[0]);
        assert_true(json_is_null(json_object_get(json, "state")));
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(a_drained_host_is_kept_off_and_one_that_returns_is_not),
        cmocka_unit_test(what_does_not_read_is_named_and_keeps_nobody_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
