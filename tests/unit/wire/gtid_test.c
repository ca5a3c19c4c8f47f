/* SPDX-License-Identifier: Apache-2.0
 * Units of wire/gtid: tables of texts, of messages, and of pairs of sets. */
#include "wire/gtid.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define U1 "3e11fa47-71ca-11e1-9e33-c80aa9429562"
#define U2 "4e11fa47-71ca-11e1-9e33-c80aa9429562"

static struct gtid_set parse(enum gtid_flavour flavour, const char *text)
{
    struct gtid_set set = {0};
    struct err err = ERR_INIT;
    if (gtid_set_parse_text(flavour, text, &set, &err))
        fail_msg("'%s': %s", text, err.text);
    return set;
}

static void assert_text(const struct gtid_set *set, const char *expected)
{
    AUTO(buf_release) struct buf buf = {0};
    gtid_set_format(set, &buf);
    assert_string_equal(buf_text(&buf), expected);
}

struct text_case {
    enum gtid_flavour flavour;
    const char *text, *canonical;
};

static void text_is_parsed_and_formatted_canonically(UNUSED void **state)
{
    static const struct text_case cases[] = {
        {GTID_MARIADB, "", ""},
        {GTID_MARIADB, " \n", ""},
        {GTID_MARIADB, "0-1-100", "0-1-100"},
        {GTID_MARIADB, "1-2-5,0-1-100", "0-1-100,1-2-5"},
        {GTID_MARIADB, "0-12-3,0-2-7,0-1-6", "0-1-6,0-2-7,0-12-3"},
        {GTID_MARIADB, " 0-1-7 ,\n1-1-8\t", "0-1-7,1-1-8"},
        {GTID_MARIADB, "4294967295-4294967295-18446744073709551615",
         "4294967295-4294967295-18446744073709551615"},
        {GTID_MYSQL, "", ""},
        {GTID_MYSQL, U1 ":5", U1 ":5"},
        {GTID_MYSQL, U1 ":7:1-5", U1 ":1-5:7"},
        {GTID_MYSQL, U1 ":6-7:1-5:3-9", U1 ":1-9"},
        {GTID_MYSQL, "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5", U1 ":1-5"},
        {GTID_MYSQL, U2 ":1-3,\n" U1 ":1-5:7", U1 ":1-5:7," U2 ":1-3"},
        {GTID_MYSQL, U1 ":1-5," U1 ":6", U1 ":1-6"},
        {GTID_MYSQL, U1 " : 1 - 5 : 8 ", U1 ":1-5:8"},
        {GTID_MYSQL, U1 ":Tag_1:1-5", U1 ":tag_1:1-5"},
        {GTID_MYSQL, U1 ":b:3-4:9:a:1-5," U1 ":2", U1 ":2:a:1-5:b:3-4:9"},
        {GTID_MYSQL, U1 ":9223372036854775806", U1 ":9223372036854775806"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(gtid_set_release) struct gtid_set set = parse(cases[i].flavour, cases[i].text);
        assert_text(&set, cases[i].canonical);
    }
}

static void bad_text_is_refused_with_its_offset(UNUSED void **state)
{
    static const struct text_case cases[] = {
        {GTID_MARIADB, "x", "GTID text, offset 0: expected a domain id, found 'x'"},
        {GTID_MARIADB, "0-1", "GTID text, offset 3: expected '-', found the end"},
        {GTID_MARIADB, "0-1-", "GTID text, offset 4: expected a sequence number, found the end"},
        {GTID_MARIADB, "0--1-5", "GTID text, offset 2: expected a server id, found '-'"},
        {GTID_MARIADB, "0-1-5,", "GTID text, offset 6: expected a domain id, found the end"},
        {GTID_MARIADB, "0-1-5;1-1-1", "GTID text, offset 5: expected ',' or the end, found ';'"},
        {GTID_MARIADB, "0-1-5\x01",
         "GTID text, offset 5: expected ',' or the end, found byte 0x01"},
        {GTID_MARIADB, "4294967296-1-5",
         "GTID text, offset 0: a domain id is larger than 4294967295"},
        {GTID_MARIADB, "0-1-18446744073709551616",
         "GTID text, offset 4: a sequence number is larger than 18446744073709551615"},
        {GTID_MARIADB, "0-1-5,0-1-6", "GTID text: domain 0 and server 1 appear twice"},
        {GTID_MARIADB, U1 ":1-5", "GTID text, offset 1: expected '-', found 'e'"},
        {GTID_MYSQL, "0-1-100", "GTID text, offset 1: expected a server UUID, found '-'"},
        {GTID_MYSQL, U1, "GTID text, offset 36: expected ':' after a server UUID, found the end"},
        {GTID_MYSQL, "3e11fa47x71ca",
         "GTID text, offset 8: expected '-' of a server UUID, found 'x'"},
        {GTID_MYSQL, U1 ":", "GTID text, offset 37: expected a transaction number, found the end"},
        {GTID_MYSQL, U1 ":tag", "GTID text, offset 40: expected ':' after a tag, found the end"},
        {GTID_MYSQL, U1 ":a:b:1", "GTID text, offset 39: expected a transaction number, found 'b'"},
        {GTID_MYSQL, U1 ":abcdefghijabcdefghijabcdefghijabc:1",
         "GTID text, offset 69: a tag is longer than 32 characters"},
        {GTID_MYSQL, U1 ":5-3", "GTID text, offset 37: '5-3' is not an interval"},
        {GTID_MYSQL, U1 ":0", "GTID text, offset 37: '0-0' is not an interval"},
        {GTID_MYSQL, U1 ":9223372036854775807",
         "GTID text, offset 37: a transaction number is larger than 9223372036854775806"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct gtid_set set = {0};
        struct err err = ERR_INIT;
        assert_int_equal(gtid_set_parse_text(cases[i].flavour, cases[i].text, &set, &err),
                         ST_INVALID);
        assert_string_equal(err.text, cases[i].canonical);
        assert_null(set.items);
    }
}

static void input_is_capped(UNUSED void **state)
{
    AUTO(buf_release) struct buf text = {0};
    for (int i = 0; i < GTID_ENTRIES_MAX; i++)
        buf_printf(&text, "%s%d-1-1", i ? "," : "", i);
    AUTO(gtid_set_release) struct gtid_set set = parse(GTID_MARIADB, text.data);
    assert_int_equal(set.count, GTID_ENTRIES_MAX);
    struct gtid_set none = {0};
    struct err err = ERR_INIT;
    buf_add(&text, ",9999-1-1");
    assert_int_equal(gtid_set_parse_text(GTID_MARIADB, text.data, &none, &err), ST_INVALID);
    assert_non_null(strstr(err.text, ": more than 4096 entries"));
    while (text.length <= GTID_TEXT_MAX)
        buf_add(&text, " ");
    assert_int_equal(gtid_set_parse(GTID_MARIADB, text.data, text.length, &none, &err), ST_INVALID);
    assert_string_equal(err.text, "GTID text is 65537 bytes long, more than 65536");
}

/* Two sets; how the left relates to the right; what the left has more; how many that is. */
struct pair_case {
    enum gtid_flavour flavour;
    const char *left, *right;
    enum gtid_order order;
    const char *difference;
    uint64_t count;
    bool same_domains;
};

static void sets_are_compared_and_subtracted(UNUSED void **state)
{
    static const struct pair_case cases[] = {
        {GTID_MARIADB, "", "", GTID_EQUAL, "", 0, true},
        {GTID_MARIADB, "0-1-5", "0-1-5", GTID_EQUAL, "", 0, true},
        {GTID_MARIADB, "0-1-5", "0-2-5", GTID_EQUAL, "", 0, true},
        {GTID_MARIADB, "0-1-4", "0-1-5", GTID_BEHIND, "", 0, true},
        {GTID_MARIADB, "0-1-7", "0-1-5", GTID_AHEAD, "0-1-7", 2, true},
        {GTID_MARIADB, "", "0-1-5", GTID_BEHIND, "", 0, false},
        {GTID_MARIADB, "0-1-5,1-1-9", "0-1-5", GTID_AHEAD, "1-1-9", 9, false},
        {GTID_MARIADB, "0-1-5,1-1-9", "0-1-6,1-1-8", GTID_DIVERGED, "1-1-9", 1, true},
        {GTID_MARIADB, "0-1-5,0-2-9,0-3-2", "0-2-9", GTID_EQUAL, "", 0, true},
        {GTID_MARIADB, "0-1-5,0-2-9,0-3-2", "0-3-8", GTID_AHEAD, "0-2-9", 1, true},
        {GTID_MARIADB, "0-1-18446744073709551615,1-1-5", "", GTID_AHEAD,
         "0-1-18446744073709551615,1-1-5", UINT64_MAX, false},
        {GTID_MYSQL, U1 ":1-5", U1 ":1-5", GTID_EQUAL, "", 0, true},
        {GTID_MYSQL, U1 ":1-5", U1 ":1-9", GTID_BEHIND, "", 0, true},
        {GTID_MYSQL, U1 ":1-9", U1 ":2-3:6", GTID_AHEAD, U1 ":1:4-5:7-9", 6, true},
        {GTID_MYSQL, U1 ":1-5:7-9", U1 ":4-8", GTID_DIVERGED, U1 ":1-3:9", 4, true},
        {GTID_MYSQL, U1 ":1-5", U1 ":1-5," U2 ":1", GTID_BEHIND, "", 0, false},
        {GTID_MYSQL, U1 ":1-5:a:1-2", U1 ":1-5:b:1-2", GTID_DIVERGED, U1 ":a:1-2", 2, false},
        {GTID_MYSQL, U1 ":1-2:4-5:7-8", U1 ":1-9", GTID_BEHIND, "", 0, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct pair_case *pair = &cases[i];
        AUTO(gtid_set_release) struct gtid_set left = parse(pair->flavour, pair->left);
        AUTO(gtid_set_release) struct gtid_set right = parse(pair->flavour, pair->right);
        AUTO(gtid_set_release) struct gtid_set difference = {0};
        assert_int_equal(gtid_set_compare(&left, &right), pair->order);
        gtid_set_subtract(&left, &right, &difference);
        assert_text(&difference, pair->difference);
        assert_true(gtid_set_count_missing(&right, &left) == pair->count);
        assert_int_equal(gtid_set_same_domains(&left, &right), pair->same_domains);
        assert_int_equal(gtid_set_contains(&right, &left), gtid_set_is_empty(&difference));
    }
}

static void sets_of_two_flavours_have_nothing_in_common(UNUSED void **state)
{
    AUTO(gtid_set_release) struct gtid_set maria = parse(GTID_MARIADB, "0-1-5");
    AUTO(gtid_set_release) struct gtid_set mysql = parse(GTID_MYSQL, U1 ":1-5");
    AUTO(gtid_set_release) struct gtid_set empty = parse(GTID_MYSQL, "");
    assert_int_equal(gtid_set_compare(&maria, &mysql), GTID_DIVERGED);
    assert_int_equal(gtid_set_compare(&maria, &empty), GTID_AHEAD);
    assert_true(gtid_set_count_missing(&maria, &mysql) == 5);
    assert_false(gtid_set_same_domains(&maria, &mysql));
}

static void domain_is_where_its_highest_sequence_number_is(UNUSED void **state)
{
    AUTO(gtid_set_release) struct gtid_set set = parse(GTID_MARIADB, "0-1-5,0-2-9,0-3-2,7-1-1");
    assert_int_equal(gtid_set_find_domain(&set, 0)->server, 2);
    assert_int_equal(gtid_set_find_domain(&set, 7)->last, 1);
    assert_null(gtid_set_find_domain(&set, 3));
    assert_null(gtid_set_find_domain(&set, 8));
}

struct words_case {
    enum gtid_flavour flavour;
    const char *have, *want, *words;
};

static void missing_transactions_are_said_in_words(UNUSED void **state)
{
    static const struct words_case cases[] = {
        {GTID_MARIADB, "0-1-5", "0-1-4", ""},
        {GTID_MARIADB, "0-1-4", "0-1-5", "1 transaction of domain 0 (0-1-5)"},
        {GTID_MARIADB, "0-1-4,2-1-1", "0-2-9,1-1-3,2-1-1",
         "5 transactions of domain 0 (0-*-5 to 0-2-9), 3 transactions of domain 1 (1-*-1 to "
         "1-1-3)"},
        {GTID_MYSQL, U1 ":2", U1 ":1-5," U2 ":9",
         "4 transactions of " U1 " (1, 3-5), 1 transaction of " U2 " (9)"},
        {GTID_MYSQL, "", U1 ":1:3:5:7:9:11:13:15:17",
         "9 transactions of " U1 " (1, 3, 5, 7, 9, 11, 13, 15, ...)"},
        {GTID_MARIADB, "", "1-1-1,2-1-1,3-1-1,4-1-1,5-1-1,6-1-1,7-1-1,8-1-1,9-1-1",
         "1 transaction of domain 1 (1-1-1), 1 transaction of domain 2 (2-1-1), "
         "1 transaction of domain 3 (3-1-1), 1 transaction of domain 4 (4-1-1), "
         "1 transaction of domain 5 (5-1-1), 1 transaction of domain 6 (6-1-1), "
         "1 transaction of domain 7 (7-1-1), 1 transaction of domain 8 (8-1-1) "
         "and more of 1 others"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(gtid_set_release) struct gtid_set have = parse(cases[i].flavour, cases[i].have);
        AUTO(gtid_set_release) struct gtid_set want = parse(cases[i].flavour, cases[i].want);
        AUTO(buf_release) struct buf words = {0};
        assert_int_equal(gtid_set_describe_missing(&have, &want, &words), cases[i].words[0] != 0);
        assert_string_equal(buf_text(&words), cases[i].words);
    }
}

struct errant_case {
    enum gtid_flavour flavour;
    enum gtid_scope scope;
    const char *replica, *primary, *words; /* "": nothing errant */
};

static void errant_transactions_are_found(UNUSED void **state)
{
    static const struct errant_case cases[] = {
        {GTID_MARIADB, GTID_BY_DOMAIN, "0-1-90", "0-1-100", ""},
        {GTID_MARIADB, GTID_BY_DOMAIN, "", "0-1-100", ""},
        {GTID_MARIADB, GTID_BY_DOMAIN, "0-7-101", "0-1-100",
         "0-7-101 is ahead of the primary's 0-1-100"},
        {GTID_MARIADB, GTID_BY_DOMAIN, "0-1-100,9-7-3", "0-1-100",
         "9-7-3 is in domain 9, which the primary does not know"},
        {GTID_MARIADB, GTID_BY_DOMAIN, "0-1-101,9-7-3", "0-1-100",
         "0-1-101 is ahead of the primary's 0-1-100; "
         "9-7-3 is in domain 9, which the primary does not know"},
        {GTID_MARIADB, GTID_BY_DOMAIN, "0-1-100,0-7-51", "0-1-100", ""},
        {GTID_MARIADB, GTID_BY_SERVER, "0-1-100,0-2-40", "0-1-100,0-2-40", ""},
        {GTID_MARIADB, GTID_BY_SERVER, "0-1-100,0-7-51", "0-1-100",
         "0-7-51 was written by server 7, of which the primary has nothing"},
        {GTID_MARIADB, GTID_BY_SERVER, "0-1-100,0-2-41", "0-1-100,0-2-40",
         "0-2-41 is ahead of the primary's 0-2-40"},
        {GTID_MYSQL, GTID_BY_DOMAIN, U1 ":1-5," U2 ":1", U1 ":1-9", "1 transaction of " U2 " (1)"},
        {GTID_MYSQL, GTID_BY_DOMAIN, U1 ":1-5", U1 ":1-9", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(gtid_set_release) struct gtid_set replica = parse(cases[i].flavour, cases[i].replica);
        AUTO(gtid_set_release) struct gtid_set primary = parse(cases[i].flavour, cases[i].primary);
        AUTO(buf_release) struct buf words = {0};
        bool found = gtid_set_find_errant(&replica, &primary, cases[i].scope, &words);
        assert_string_equal(buf_text(&words), cases[i].words);
        assert_int_equal(found, cases[i].words[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_parsed_and_formatted_canonically),
        cmocka_unit_test(bad_text_is_refused_with_its_offset),
        cmocka_unit_test(input_is_capped),
        cmocka_unit_test(sets_are_compared_and_subtracted),
        cmocka_unit_test(sets_of_two_flavours_have_nothing_in_common),
        cmocka_unit_test(domain_is_where_its_highest_sequence_number_is),
        cmocka_unit_test(missing_transactions_are_said_in_words),
        cmocka_unit_test(errant_transactions_are_found),
    };
    return cmocka_run_group_tests_name("wire/gtid", tests, NULL, NULL);
}
