/* SPDX-License-Identifier: Apache-2.0
 * Revoking, opening and returning, as transactions beside a route; see opening.h. */
#include "permit/opening.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "permit/basis.h"

#include <stdlib.h>
#include <string.h>

static const char *keep(struct permit_part *part, char *text)
{
    INVARIANT(part->text_count < ARRAY_SIZE(part->texts));
    part->texts[part->text_count++] = text;
    return text;
}

static void demand(struct permit_part *part, enum store_compare_kind kind, const char *key,
                   int64_t revision)
{
    INVARIANT(part->compare_count < PERMIT_PART_MAX);
    part->compares[part->compare_count++] = (struct store_compare){kind, key, revision};
}

static void put_op(struct permit_part *part, struct store_op op)
{
    INVARIANT(part->op_count < PERMIT_PART_MAX);
    part->ops[part->op_count++] = op;
}

static bool has_demand(const struct permit_part *part, const char *key)
{
    for (size_t i = 0; i < part->compare_count; i++)
        if (strcmp(part->compares[i].key, key) == 0)
            return true;
    return false;
}

static bool has_op(const struct permit_part *part, const char *key)
{
    for (size_t i = 0; i < part->op_count; i++)
        if (strcmp(part->ops[i].key, key) == 0)
            return true;
    return false;
}

/* What is revoked gets another version. */
static void change_version(struct permit_part *part)
{
    if (!has_op(part, PERMIT_VERSION_KEY))
        put_op(part, (struct store_op){STORE_PUT, PERMIT_VERSION_KEY, "{}", 0});
}

void permit_part_keep_term(struct permit_part *part, const struct permit_term *term)
{
    if (!has_demand(part, PERMIT_TERM_KEY))
        demand(part, STORE_MOD_REV_IS, PERMIT_TERM_KEY, term->revision);
}

void permit_part_revoke(struct permit_part *part, const struct permit_term *term,
                        const char *server, const char *note)
{
    const char *key = keep(part, permit_revoked_key(server));
    if (has_op(part, key))
        return; /* the old primary and the one that was being opened may be the same */
    permit_part_keep_term(part, term);
    put_op(part, (struct store_op){STORE_PUT, key, keep(part, mem_strdup(note)), 0});
    change_version(part);
}

void permit_part_open(struct permit_part *part, const char *server, const char *region)
{
    demand(part, STORE_ABSENT, keep(part, permit_revoked_key(server)), 0);
    demand(part, STORE_ABSENT, keep(part, permit_fenced_key(region)), 0);
}

void permit_part_keep_fence(struct permit_part *part, const char *region, int64_t revision)
{
    const char *key = keep(part, permit_fenced_key(region));
    if (!has_demand(part, key))
        demand(part, STORE_MOD_REV_IS, key, revision);
}

void permit_part_return(struct permit_part *part, const char *server, int64_t revision)
{
    const char *key = keep(part, permit_revoked_key(server));
    demand(part, STORE_MOD_REV_IS, key, revision);
    put_op(part, (struct store_op){STORE_DELETE, key, NULL, 0});
    change_version(part);
}

void permit_part_release(struct permit_part *part)
{
    for (size_t i = 0; i < part->text_count; i++)
        free(part->texts[i]);
    *part = (struct permit_part){0};
}

/* ---- the transaction ---- */

/* Did an attempt with an unknown outcome happen? The route and what was put beside it have one
 * revision then. ST_BUSY: it did not. */
static enum status read_back(struct store *store, const struct permit_route *route,
                             const struct permit_part *part, nsec deadline, int64_t *ret_revision,
                             struct err *err)
{
    AUTO(store_entry_release) struct store_entry found = {0};
    enum status status = store_get(store, route->key, deadline, &found, err);
    if (status && status != ST_NOT_FOUND)
        return err_set(err, ST_UNKNOWN, "it is not known whether the store has '%s'", route->key);
    int64_t revision = found.mod_rev; /* of nothing: 0 */
    if (revision == route->revision)
        return err_set(err, ST_BUSY, "the store did not take it");
    bool is_ours = !status && strcmp(found.value, route->value) == 0;
    for (size_t i = 0; i < part->op_count && is_ours; i++) {
        AUTO(store_entry_release) struct store_entry beside = {0};
        if (strcmp(part->ops[i].key, PERMIT_VERSION_KEY) == 0)
            continue; /* the version belongs to all shards */
        status = store_get(store, part->ops[i].key, deadline, &beside, err);
        if (status && status != ST_NOT_FOUND)
            return err_set(err, ST_UNKNOWN, "it is not known whether the store has '%s'",
                           part->ops[i].key);
        is_ours =
            part->ops[i].kind == STORE_PUT ? beside.mod_rev == revision : status == ST_NOT_FOUND;
    }
    if (!is_ours)
        return err_set(err, ST_CONFLICT, "'%s' was changed by somebody else", route->key);
    *ret_revision = revision;
    return ST_OK;
}

static enum status send(struct store *store, const struct permit_route *route,
                        const struct permit_part *part, nsec deadline,
                        struct store_txn_result *result, struct err *err)
{
    struct store_compare compares[PERMIT_PART_MAX + 2];
    struct store_op ops[PERMIT_PART_MAX + 1];
    compares[0] = (struct store_compare){STORE_CREATE_REV_IS, route->lock_key, route->token};
    compares[1] = (struct store_compare){STORE_MOD_REV_IS, route->key, route->revision};
    ops[0] = (struct store_op){STORE_PUT, route->key, route->value, 0};
    memcpy(compares + 2, part->compares, part->compare_count * sizeof(*compares));
    memcpy(ops + 1, part->ops, part->op_count * sizeof(*ops));
    struct store_txn txn = {compares, part->compare_count + 2, ops, part->op_count + 1};
    enum status status = store_txn(store, &txn, deadline, result, err);
    if (status != ST_CONFLICT)
        return status;
    if (result->failed_compare == 0)
        return err_set(err, ST_FENCED, "another run took over");
    return err_set(err, ST_CONFLICT, "'%s' was changed by somebody else",
                   compares[result->failed_compare].key);
}

static enum status attempt(struct store *store, const struct permit_route *route,
                           const struct permit_part *part, nsec deadline, int64_t *ret_revision,
                           struct err *err)
{
    struct store_txn_result result = {0};
    enum status status = send(store, route, part, deadline, &result, err);
    bool is_of_route = status == ST_CONFLICT && result.failed_compare == 1;
    if (status == ST_UNKNOWN || is_of_route)
        return read_back(store, route, part, deadline, ret_revision, err);
    if (!status)
        *ret_revision = result.revision;
    return status;
}

enum status permit_write(struct store *store, const struct permit_route *route,
                         const struct permit_part *part, nsec deadline, int64_t *ret_revision,
                         struct err *err)
{
    enum status status = attempt(store, route, part, deadline, ret_revision, err);
    while (status == ST_BUSY && clock_now() < deadline)
        status = attempt(store, route, part, deadline, ret_revision, err);
    return status ? err_wrap(err, "write '%s'", route->key) : ST_OK;
}

enum status permit_claim(struct store *store, const struct permit_route *route,
                         const struct permit_part *part, nsec deadline, struct err *err)
{
    struct store_txn_result result = {0};
    return send(store, route, part, deadline, &result, err);
}

/* Since then, by the statement with the longest guard. */
static bool is_settled(const struct permit_wait *wait, nsec since, nsec now)
{
    return now - since >= permit_settle_span(wait->term.wait, wait->guard);
}

/* Whoever granted it something granted nothing later than that, and whoever opened it recorded that
 * in the route before, so it opens by no statement that is still on its way. */
static bool is_over_by_grants(const struct permit_wait *wait, const struct permit_rumour *rumour,
                              nsec now)
{
    bool is_granted = rumour->last_grant != INT64_MIN;
    return rumour->is_last_grant_known && is_settled(wait, wait->settled, now) &&
           (!is_granted || now - rumour->last_grant >= wait->term.wait);
}

enum permit_end permit_end_of(const struct permit_wait *wait, const struct permit_rumour *rumour,
                              nsec now)
{
    if (wait->revision == 0)
        return PERMIT_LASTS;
    if (rumour->heard && rumour->heard->closed >= wait->revision)
        return PERMIT_CLOSED;
    if (is_over_by_grants(wait, rumour, now))
        return wait->fence ? PERMIT_REGION_FENCED : PERMIT_LAST_GRANT_OVER;
    return is_settled(wait, wait->since, now) ? PERMIT_TTL_OVER : PERMIT_LASTS;
}

const char *permit_end_text(enum permit_end end)
{
    static const char *const texts[] = {PERMIT_END_TABLE(TABLE_TEXT)};
    INVARIANT((unsigned)end < PERMIT_ENDS);
    return texts[end];
}
