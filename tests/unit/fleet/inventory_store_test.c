/* SPDX-License-Identifier: Apache-2.0
 * The key 'store' of the fleet file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "inventory_test.h"

#define STORE(more) "store:\n  url: etcd://a:2379,b:2379\n" more

static void store_is_an_address_or_also_how_to_be_let_in(void **state UNUSED)
{
    AUTO(inventory_freep)
    struct inventory *inventory =
        parse("promise: { rto: 30s, rpo: 5s }\nregions: [ west, east ]\n" STORE(
            "  tls: { ca: ca.pem, cert: c.pem, key: c.key, verify: false }\n"
            "  credentials: { user: h, password_file: etcd.password }\n"
            "  sites: [ west, harbour ]\n") ACCOUNTS SHARDS);
    assert_int_equal(inventory_store_members(inventory), 2);
    assert_int_equal(inventory->store_site_count, 2);
    assert_string_equal(inventory->store_sites[1], "harbour");
    assert_string_equal(inventory->store_url, "etcd://a:2379,b:2379");
    assert_true(inventory->store_tls.is_on);
    assert_false(inventory->store_tls.verify);
    assert_string_equal(inventory->store_tls.key, "c.key");
    assert_string_equal(inventory->store_account.user, "h");
    assert_string_equal(inventory->store_account.password_file, "etcd.password");
    AUTO(buf_release) struct buf text = {0}, again = {0};
    inventory_write(inventory, &text);
    AUTO(inventory_freep) struct inventory *written = parse(buf_text(&text));
    inventory_write(written, &again);
    assert_string_equal(buf_text(&text), buf_text(&again));
    assert_string_equal(written->store_account.user, "h");
    assert_string_equal(written->store_tls.ca, "ca.pem");
    assert_string_equal(written->store_sites[0], "west");
}

static void store_with_keys_is_checked(void **state UNUSED)
{
    static const struct bad_file files[] = {
        {"store: { a: b }\n", "holdfast.yaml:1: unknown key 'a'"},
        {"store: { tls: { ca: a } }\n", "holdfast.yaml:1: 'store' lacks the key 'url'"},
        {"store: { url: etcd://a }\n",
         "holdfast.yaml:1: 'url': 'etcd://a' is not like file:///DIRECTORY (absolute), nor like "
         "etcd://HOST:PORT,HOST:PORT,HOST:PORT"},
        {STORE("  tls: { ca: a, cert: b }\n"),
         "holdfast.yaml:3: 'tls' has a 'cert' without a 'key'"},
        {STORE("  tls: { cert: a, key: b }\n"),
         "holdfast.yaml:3: 'tls' lacks the key 'ca', which verifying needs"},
        {STORE("  credentials: { user: a }\n"),
         "holdfast.yaml:3: 'credentials' lacks the key 'password_file' (or 'password_env')"},
        {STORE("  credentials: { user: a, password: b }\n"),
         "holdfast.yaml:3: a password must not be in this file; use password_file"},
        {STORE("  credential: { user: a }\n"),
         "holdfast.yaml:3: unknown key 'credential' (did you mean 'credentials'?)"},
        {"store:\n  url: file:///x\n  tls: { ca: a }\n",
         "holdfast.yaml:2: 'tls', 'credentials' and 'sites' of 'store' are for an etcd; a folder "
         "has none"},
        {"store:\n  url: file:///x\n  sites: [ west ]\n",
         "holdfast.yaml:2: 'tls', 'credentials' and 'sites' of 'store' are for an etcd; a folder "
         "has none"},
        {STORE("  sites: [ west ]\n"),
         "holdfast.yaml:2: 'sites' of 'store' names 1, and 'url' 2 members: one for each, in the "
         "same order"},
        {STORE("  sites: []\n"), "holdfast.yaml:3: 'sites' must not be empty"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void journals_are_beside_a_folder_or_where_the_file_says(void **state UNUSED)
{
    static const struct {
        const char *text, *journal;
    } cases[] = {
        {HEAD SHARDS, "/var/lib/holdfast/journal"},
        {HEAD "journal: /var/log/holdfast\n" SHARDS, "/var/log/holdfast"},
        {"promise: { rto: 30s, rpo: 5s }\nregions: [ west, east ]\n" STORE("") ACCOUNTS SHARDS,
         INVENTORY_JOURNAL},
        {"promise: { rto: 30s, rpo: 5s }\nregions: [ west, east ]\njournal: /j\n" STORE("")
             ACCOUNTS SHARDS,
         "/j"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(inventory_freep) struct inventory *inventory = parse(cases[i].text);
        AUTO(buf_release) struct buf text = {0};
        AUTO_FREE char *journal = inventory_journal(inventory);
        assert_string_equal(journal, cases[i].journal);
        inventory_write(inventory, &text);
        AUTO(inventory_freep) struct inventory *written = parse(buf_text(&text));
        AUTO_FREE char *again = inventory_journal(written);
        assert_string_equal(again, cases[i].journal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_is_an_address_or_also_how_to_be_let_in),
        cmocka_unit_test(store_with_keys_is_checked),
        cmocka_unit_test(journals_are_beside_a_folder_or_where_the_file_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
