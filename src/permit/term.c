/* SPDX-License-Identifier: Apache-2.0
 * The term in the store, and the spans that follow from a TTL. Fleet files may differ from each
 * other, and change while conductors run: what counts is this record, which every beat and every
 * revocation compares. */
#include "permit/permit.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <inttypes.h>
#include <jansson.h>

enum {
    MARGIN_PARTS = 10,
    FENCE_PARTS = 10,
    INTERVAL_PARTS = 5,
    GUARD_PARTS = 3,
    TERM_MS_MAX = 3600 * 1000
};

nsec permit_margin(nsec ttl)
{
    return ttl / MARGIN_PARTS;
}

nsec permit_interval(nsec ttl)
{
    return ttl / INTERVAL_PARTS;
}

nsec permit_fence_span(nsec ttl)
{
    return ttl / FENCE_PARTS;
}

nsec permit_guard_end(nsec since, nsec rpo)
{
    return since == INT64_MIN ? INT64_MIN : since + rpo - permit_margin(rpo);
}

nsec permit_guard_span(nsec wait)
{
    return wait / GUARD_PARTS;
}

/* Guard and closing are by other clocks than the waiting, each of them up to 5 % wrong. */
nsec permit_settle_span(nsec wait, nsec guard)
{
    nsec span = guard + permit_guard_span(wait) + permit_fence_span(wait);
    span += span * 2 / 19 + 1;
    return span > wait ? span : wait;
}

char *permit_region_key(const char *region)
{
    return mem_printf("regions/%s", region);
}

char *permit_fenced_key(const char *region)
{
    return mem_printf(PERMIT_FENCED_PREFIX "%s", region);
}

char *permit_revoked_key(const char *server)
{
    return mem_printf(PERMIT_REVOKED_PREFIX "%s", server);
}

enum status permit_term_decode(const char *text, struct permit_term *ret, struct err *err)
{
    json_int_t ttl_ms = 0, wait_ms = 0;
    json_t *object = json_loads(text, 0, NULL);
    bool is_good = object &&
                   json_unpack(object, "{s:I, s:I}", "ttl_ms", &ttl_ms, "wait_ms", &wait_ms) == 0 &&
                   ttl_ms > 0 && ttl_ms <= wait_ms && wait_ms <= TERM_MS_MAX;
    json_decref(object);
    if (!is_good) {
        err_set(err, ST_INVALID, "the store holds a term of permission that does not read: %.200s",
                text);
        return err_hint(err, "a newer Holdfast may have written it: do all run the same version?");
    }
    ret->ttl = ttl_ms * NSEC_PER_MS;
    ret->wait = wait_ms * NSEC_PER_MS;
    return ST_OK;
}

enum status permit_term_load(struct store *store, nsec deadline, struct permit_term *ret,
                             struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    struct permit_term term = {0};
    enum status status = store_get(store, PERMIT_TERM_KEY, deadline, &entry, err);
    if (!status)
        status = permit_term_decode(entry.value, &term, err);
    if (status)
        return err_wrap(err, "term of permission");
    term.revision = entry.mod_rev;
    *ret = term;
    return ST_OK;
}

bool permit_term_plan(const struct permit_term *term, nsec ttl, nsec since, nsec now,
                      struct permit_term *ret_next)
{
    struct permit_term next = {ttl, ttl, term->revision};
    if (term->revision != 0 && term->ttl != ttl) {
        next.wait = term->wait > ttl ? term->wait : ttl;
    } else if (term->revision != 0 && (term->wait == ttl || now - since < term->wait)) {
        return false;
    }
    *ret_next = next;
    return true;
}

enum status permit_term_write(struct store *store, const struct permit_term *next, nsec deadline,
                              struct err *err)
{
    AUTO_FREE char *value = mem_printf("{\"ttl_ms\":%" PRId64 ",\"wait_ms\":%" PRId64 "}",
                                       next->ttl / NSEC_PER_MS, next->wait / NSEC_PER_MS);
    struct store_compare is_same = {STORE_MOD_REV_IS, PERMIT_TERM_KEY, next->revision};
    struct store_op put = {STORE_PUT, PERMIT_TERM_KEY, value, 0};
    struct store_txn txn = {&is_same, 1, &put, 1};
    struct store_txn_result result = {0};
    enum status status = store_txn(store, &txn, deadline, &result, err);
    return status ? err_wrap(err, "write the term of permission") : ST_OK;
}
