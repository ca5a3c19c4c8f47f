/* SPDX-License-Identifier: Apache-2.0
 * The arithmetic of GTID sets, and its results in words for people; see gtid.h.
 *
 * MariaDB sets are compared by their heads: in each domain the entry with the highest sequence
 * number. MySQL sets are compared interval by interval; both sides are sorted and merged, so every
 * walk below is a merge and allocates nothing but its result. */
#include "wire/gtid.h"

#include "base/mem.h"
#include "base/scope.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 8 /* items listed in a message; the rest is counted */ };

void gtid_set_release(struct gtid_set *set)
{
    free(set->items);
    *set = (struct gtid_set){.flavour = set->flavour};
}

bool gtid_set_is_empty(const struct gtid_set *set)
{
    return set->count == 0;
}

static void push(struct gtid_set *set, const struct gtid_entry *entry)
{
    VEC_PUSH(set->items, set->count, set->capacity, *entry);
}

/* The head of the domain that starts at item '*at'; moves '*at' to the next domain. */
static const struct gtid_entry *next_head(const struct gtid_set *set, size_t *at)
{
    const struct gtid_entry *head = &set->items[*at];
    for (uint32_t domain = head->domain; *at < set->count; (*at)++) {
        const struct gtid_entry *entry = &set->items[*at];
        if (entry->domain != domain)
            break;
        if (entry->last > head->last)
            head = entry;
    }
    return head;
}

/* The first item of the domain or of a later one. */
static size_t lower_bound(const struct gtid_set *set, uint32_t domain)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->items[middle].domain < domain)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct gtid_entry *gtid_set_find_domain(const struct gtid_set *set, uint32_t domain)
{
    size_t at = lower_bound(set, domain);
    if (set->flavour != GTID_MARIADB || at == set->count || set->items[at].domain != domain)
        return NULL;
    return next_head(set, &at);
}

static const struct gtid_entry *find_server(const struct gtid_set *set, uint32_t domain,
                                            uint32_t server)
{
    for (size_t i = lower_bound(set, domain); i < set->count; i++) {
        const struct gtid_entry *entry = &set->items[i];
        if (entry->domain != domain)
            break;
        if (entry->server == server)
            return entry;
    }
    return NULL;
}

static void subtract_heads(const struct gtid_set *set, const struct gtid_set *minus,
                           struct gtid_set *result)
{
    for (size_t at = 0; at < set->count;) {
        struct gtid_entry rest = *next_head(set, &at);
        const struct gtid_entry *cut = gtid_set_find_domain(minus, rest.domain);
        uint64_t reached = cut ? cut->last : 0;
        if (rest.last <= reached)
            continue;
        rest.first = reached + 1;
        push(result, &rest);
    }
}

/* Does the interval 'left' end before 'right' begins, in the order of the items? */
static bool ends_before(const struct gtid_entry *left, const struct gtid_entry *right)
{
    int order = strcmp(left->source, right->source);
    return order ? order < 0 : left->last < right->first;
}

static void subtract_intervals(const struct gtid_set *set, const struct gtid_set *minus,
                               struct gtid_set *result)
{
    size_t at = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct gtid_entry rest = set->items[i], part;
        bool left_over = true;
        while (at < minus->count && ends_before(&minus->items[at], &rest))
            at++;
        for (size_t j = at; left_over && j < minus->count; j++) {
            const struct gtid_entry *cut = &minus->items[j];
            if (ends_before(&rest, cut))
                break;
            part = rest;
            part.last = cut->first - 1;
            if (cut->first > rest.first)
                push(result, &part);
            left_over = cut->last < rest.last;
            rest.first = cut->last + 1;
        }
        if (left_over)
            push(result, &rest);
    }
}

void gtid_set_subtract(const struct gtid_set *set, const struct gtid_set *minus,
                       struct gtid_set *ret_set)
{
    static const struct gtid_set nothing = {0};
    struct gtid_set result = {.flavour = set->flavour};
    const struct gtid_set *cut = set->flavour == minus->flavour ? minus : &nothing;
    if (set->flavour == GTID_MYSQL)
        subtract_intervals(set, cut, &result);
    else
        subtract_heads(set, cut, &result);
    *ret_set = result;
}

static bool contains_heads(const struct gtid_set *outer, const struct gtid_set *inner)
{
    for (size_t at = 0; at < inner->count;) {
        const struct gtid_entry *wanted = next_head(inner, &at);
        const struct gtid_entry *head = gtid_set_find_domain(outer, wanted->domain);
        if (wanted->last > (head ? head->last : 0))
            return false;
    }
    return true;
}

/* Merged intervals: each inner one must lie within one outer one. */
static bool contains_intervals(const struct gtid_set *outer, const struct gtid_set *inner)
{
    size_t at = 0;
    for (size_t i = 0; i < inner->count; i++) {
        const struct gtid_entry *wanted = &inner->items[i];
        while (at < outer->count && ends_before(&outer->items[at], wanted))
            at++;
        if (at == outer->count || strcmp(outer->items[at].source, wanted->source) != 0 ||
            outer->items[at].first > wanted->first || outer->items[at].last < wanted->last)
            return false;
    }
    return true;
}

bool gtid_set_contains(const struct gtid_set *outer, const struct gtid_set *inner)
{
    if (gtid_set_is_empty(inner))
        return true;
    if (outer->flavour != inner->flavour)
        return false;
    return inner->flavour == GTID_MYSQL ? contains_intervals(outer, inner)
                                        : contains_heads(outer, inner);
}

bool gtid_set_equal(const struct gtid_set *left, const struct gtid_set *right)
{
    return gtid_set_compare(left, right) == GTID_EQUAL;
}

enum gtid_order gtid_set_compare(const struct gtid_set *left, const struct gtid_set *right)
{
    bool behind = gtid_set_contains(right, left), ahead = gtid_set_contains(left, right);
    if (behind)
        return ahead ? GTID_EQUAL : GTID_BEHIND;
    return ahead ? GTID_AHEAD : GTID_DIVERGED;
}

static bool same_group(const struct gtid_set *set, const struct gtid_entry *left,
                       const struct gtid_entry *right)
{
    if (set->flavour == GTID_MYSQL)
        return strcmp(left->source, right->source) == 0;
    return left->domain == right->domain;
}

static size_t skip_group(const struct gtid_set *set, size_t at)
{
    size_t next = at + 1;
    while (next < set->count && same_group(set, &set->items[at], &set->items[next]))
        next++;
    return next;
}

bool gtid_set_same_domains(const struct gtid_set *left, const struct gtid_set *right)
{
    size_t i = 0, j = 0;
    if (left->count > 0 && right->count > 0 && left->flavour != right->flavour)
        return false;
    for (; i < left->count && j < right->count; i = skip_group(left, i), j = skip_group(right, j))
        if (!same_group(left, &left->items[i], &right->items[j]))
            return false;
    return i == left->count && j == right->count;
}

static uint64_t add_saturated(uint64_t left, uint64_t right)
{
    uint64_t sum = 0;
    return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

/* Of one domain or source, from item 'at' of a difference on. */
static uint64_t count_group(const struct gtid_set *missing, size_t at, size_t end)
{
    uint64_t count = 0;
    for (; at < end; at++)
        count = add_saturated(count, missing->items[at].last - missing->items[at].first + 1);
    return count;
}

uint64_t gtid_set_count_missing(const struct gtid_set *have, const struct gtid_set *want)
{
    AUTO(gtid_set_release) struct gtid_set missing = {0};
    gtid_set_subtract(want, have, &missing);
    return count_group(&missing, 0, missing.count);
}

/* "2 transactions of domain 0 (0-*-101 to 0-1-102)", "3 transactions of UUID (5-7)". Which servers
 * wrote the earlier ones of a MariaDB domain is not known here. */
static void describe_group(const struct gtid_set *missing, size_t at, size_t end, struct buf *buf)
{
    const struct gtid_entry *entry = &missing->items[at];
    uint64_t count = count_group(missing, at, end);
    buf_printf(buf, "%" PRIu64 " transaction%s of ", count, count == 1 ? "" : "s");
    if (missing->flavour == GTID_MARIADB) {
        buf_printf(buf, "domain %" PRIu32 " (", entry->domain);
        if (entry->first != entry->last)
            buf_printf(buf, "%" PRIu32 "-*-%" PRIu64 " to ", entry->domain, entry->first);
        buf_printf(buf, "%" PRIu32 "-%" PRIu32 "-%" PRIu64 ")", entry->domain, entry->server,
                   entry->last);
        return;
    }
    buf_printf(buf, "%s (", entry->source);
    for (size_t i = at; i < end && i < at + WORDS_MAX; i++, entry++)
        buf_printf(buf, entry->first == entry->last ? "%s%" PRIu64 : "%s%" PRIu64 "-%" PRIu64,
                   i > at ? ", " : "", entry->first, entry->last);
    buf_add(buf, end - at > WORDS_MAX ? ", ...)" : ")");
}

bool gtid_set_describe_missing(const struct gtid_set *have, const struct gtid_set *want,
                               struct buf *buf)
{
    AUTO(gtid_set_release) struct gtid_set missing = {0};
    gtid_set_subtract(want, have, &missing);
    size_t groups = 0;
    for (size_t at = 0, end; at < missing.count; at = end, groups++) {
        end = skip_group(&missing, at);
        if (groups >= WORDS_MAX)
            continue;
        buf_add(buf, groups > 0 ? ", " : "");
        describe_group(&missing, at, end, buf);
    }
    if (groups > WORDS_MAX)
        buf_printf(buf, " and more of %zu others", groups - WORDS_MAX);
    return groups > 0;
}

/* ---- errant transactions ---- */

/* 'known' is what the primary has of the same domain (and server); NULL when nothing. */
static void describe_errant(const struct gtid_entry *entry, const struct gtid_entry *known,
                            enum gtid_scope scope, struct buf *buf)
{
    buf_printf(buf, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, entry->domain, entry->server, entry->last);
    if (known)
        buf_printf(buf, " is ahead of the primary's %" PRIu32 "-%" PRIu32 "-%" PRIu64,
                   known->domain, known->server, known->last);
    else if (scope == GTID_BY_SERVER)
        buf_printf(buf, " was written by server %" PRIu32 ", of which the primary has nothing",
                   entry->server);
    else
        buf_printf(buf, " is in domain %" PRIu32 ", which the primary does not know",
                   entry->domain);
}

static bool find_errant_mariadb(const struct gtid_set *replica, const struct gtid_set *primary,
                                enum gtid_scope scope, struct buf *buf)
{
    size_t found = 0;
    for (size_t at = 0; at < replica->count;) {
        bool by_server = scope == GTID_BY_SERVER;
        const struct gtid_entry *entry =
            by_server ? &replica->items[at++] : next_head(replica, &at);
        const struct gtid_entry *known = by_server
                                             ? find_server(primary, entry->domain, entry->server)
                                             : gtid_set_find_domain(primary, entry->domain);
        if (entry->last <= (known ? known->last : 0) || ++found > WORDS_MAX)
            continue;
        buf_add(buf, found > 1 ? "; " : "");
        describe_errant(entry, known, scope, buf);
    }
    if (found > WORDS_MAX)
        buf_printf(buf, "; and %zu more", found - WORDS_MAX);
    return found > 0;
}

bool gtid_set_find_errant(const struct gtid_set *replica, const struct gtid_set *primary,
                          enum gtid_scope scope, struct buf *buf)
{
    if (replica->flavour == GTID_MYSQL || replica->flavour != primary->flavour)
        return gtid_set_describe_missing(primary, replica, buf);
    return find_errant_mariadb(replica, primary, scope, buf);
}
