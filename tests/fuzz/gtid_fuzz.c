/* SPDX-License-Identifier: Apache-2.0
 * Fuzz wire/gtid: the first byte chooses the flavour, '|' separates two sets. Whatever parses comes
 * back the same from its canonical text, and the operations on two sets agree with each other. */
#include "base/invariant.h"
#include "base/scope.h"
#include "wire/gtid.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_text(const struct gtid_set *left, const struct gtid_set *right)
{
    AUTO(buf_release) struct buf a = {0}, b = {0};
    gtid_set_format(left, &a);
    gtid_set_format(right, &b);
    return strcmp(buf_text(&a), buf_text(&b)) == 0;
}

static void check_round_trip(const struct gtid_set *set)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO(gtid_set_release) struct gtid_set again = {0};
    gtid_set_format(set, &text);
    INVARIANT(gtid_set_parse_text(set->flavour, buf_text(&text), &again, NULL) == ST_OK);
    INVARIANT(gtid_set_equal(set, &again) && gtid_set_same_domains(set, &again));
    INVARIANT(same_text(set, &again));
}

static void check_pair(const struct gtid_set *left, const struct gtid_set *right)
{
    AUTO(gtid_set_release) struct gtid_set rest = {0}, twice = {0};
    AUTO(buf_release) struct buf words = {0};
    gtid_set_subtract(left, right, &rest);
    gtid_set_subtract(&rest, right, &twice);
    bool contained = gtid_set_contains(right, left);
    INVARIANT(contained == gtid_set_is_empty(&rest));
    INVARIANT(contained == (gtid_set_count_missing(right, left) == 0));
    INVARIANT(gtid_set_contains(left, &rest));
    INVARIANT(left->flavour == GTID_MARIADB || same_text(&rest, &twice));
    INVARIANT(gtid_set_describe_missing(right, left, &words) == !contained);
    INVARIANT(gtid_set_find_errant(left, right, GTID_BY_DOMAIN, &words) == !contained);
    INVARIANT(contained || gtid_set_find_errant(left, right, GTID_BY_SERVER, &words));
    INVARIANT(gtid_set_compare(left, left) == GTID_EQUAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum gtid_flavour flavour = data[0] & 1 ? GTID_MYSQL : GTID_MARIADB;
    const char *text = (const char *)data + 1, *bar = memchr(text, '|', size - 1);
    size_t first = bar ? (size_t)(bar - text) : size - 1;
    size_t second = bar ? size - 2 - first : 0;
    AUTO(gtid_set_release) struct gtid_set left = {0}, right = {0};
    struct err err = ERR_INIT;
    if (gtid_set_parse(flavour, text, first, &left, &err) ||
        gtid_set_parse(flavour, bar ? bar + 1 : text, second, &right, &err)) {
        INVARIANT(err.status == ST_INVALID && err.text[0]);
        return 0;
    }
    check_round_trip(&left);
    check_round_trip(&right);
    check_pair(&left, &right);
    check_pair(&right, &left);
    return 0;
}
