/* SPDX-License-Identifier: Apache-2.0
 * What a conductor may grant; see basis.h.
 *
 * Why a beat counts only with a list that is at least as new: a server that was revoked before the
 * beat was in the store is in that list. One that is revoked later is so after the beat was sent,
 * and whoever revoked it waits from then on for longer than anything granted here lasts. Neither
 * needs a read that is current: an old list says that it is old. */
#include "permit/basis.h"

#include "base/mem.h"
#include "base/scope.h"
#include "permit/granters.h"
#include "permit/pulse.h"
#include "store/store.h"

#include <stdlib.h>

void permit_basis_init(struct permit_basis *basis)
{
    *basis = (struct permit_basis){.until = INT64_MIN, .beat_until = INT64_MIN};
}

void permit_basis_release(struct permit_basis *basis)
{
    permit_list_release(&basis->list);
    *basis = (struct permit_basis){0};
}

/* ---- the beat ---- */

enum status permit_beat(struct store *store, const struct permit_beater *beater, nsec deadline,
                        struct permit_beat *ret_beat, struct permit_list *ret_list, struct err *err)
{
    const char *region = beater->region;
    const struct permit_term *term = &beater->term;
    AUTO_FREE char *key = permit_region_key(region);
    AUTO_FREE char *granter = permit_granter_key(beater->granter);
    AUTO_FREE char *fenced = permit_fenced_key(region);
    nsec sent = clock_now();
    AUTO_FREE char *value = permit_pulse_encode(beater->who, beater->granter, sent);
    AUTO_FREE char *of_whom = permit_granter_encode(region);
    struct store_compare compares[] = {{STORE_ABSENT, fenced, 0},
                                       {STORE_MOD_REV_IS, PERMIT_TERM_KEY, term->revision}};
    struct store_op puts[] = {{STORE_PUT, key, value, 0}, {STORE_PUT, granter, of_whom, 0}};
    struct store_txn txn = {compares, ARRAY_SIZE(compares), puts, ARRAY_SIZE(puts)};
    struct store_repeated done = {0};
    /* One that comes late counts from when it was sent (pulse.h), and never while fenced. */
    enum status status =
        store_txn_repeatable(store, &txn, PERMIT_VERSION_KEY, deadline, &done, err);
    if (status == ST_CONFLICT && done.result.failed_compare == 0) {
        err_set(err, ST_DENIED, "region '%s' is fenced", region);
        return err_hint(err, "holdfast status says which side serves now");
    }
    if (status)
        return err_wrap(err, "beat for region '%s'", region);
    *ret_beat = (struct permit_beat){sent, term->ttl, done.result.revision};
    permit_list_read(&done.list, ret_list);
    store_list_release(&done.list);
    return ST_OK;
}

/* ---- what it allows ---- */

static void count_beat(struct permit_basis *basis)
{
    if (basis->beat_revision == 0 || basis->beat_revision > basis->list.revision)
        return;
    if (basis->beat_until > basis->until)
        basis->until = basis->beat_until;
    basis->beat_revision = 0;
}

void permit_basis_on_beat(struct permit_basis *basis, const struct permit_beat *beat)
{
    basis->beat_until = beat->sent + beat->ttl - permit_margin(beat->ttl);
    basis->beat_revision = beat->revision;
    count_beat(basis);
}

void permit_basis_on_list(struct permit_basis *basis, struct permit_list *list)
{
    if (list->revision < basis->list.revision) {
        permit_list_release(list);
        return;
    }
    permit_list_release(&basis->list);
    basis->list = *list;
    *list = (struct permit_list){0};
    count_beat(basis);
}

void permit_basis_on_fence(struct permit_basis *basis)
{
    basis->until = INT64_MIN;
    basis->beat_revision = 0;
}

nsec permit_basis_span(const struct permit_basis *basis, nsec now)
{
    return basis->until > now ? basis->until - now : 0;
}
