/* SPDX-License-Identifier: Apache-2.0
 * Units of permit/: its transactions on a real store: beats, the term, revoking, opening and
 * returning beside a route, also when an outcome is not known. */
#include "../store/store_test.h"
#include "permit/basis.h"
#include "permit/granters.h"
#include "permit/opening.h"

#include <string.h>

#define X "10.0.1.11:3306"
#define Y "10.0.1.12:3306"
#define ROUTE "shards/s0"
#define TTL (2 * NSEC_PER_SEC)

static struct permit_term term_of(struct store *store, nsec ttl)
{
    struct permit_term term = {0}, next = {0};
    enum status status = permit_term_load(store, soon(), &term, &trouble);
    if (status != ST_NOT_FOUND)
        expect_status(status, ST_OK, &trouble);
    if (permit_term_plan(&term, ttl, 0, 0, &next))
        EXPECT_OK(permit_term_write(store, &next, soon(), &trouble));
    EXPECT_OK(permit_term_load(store, soon(), &term, &trouble));
    return term;
}

static enum status beat(struct store *store, const char *region, const struct permit_term *term,
                        struct permit_beat *ret)
{
    struct permit_beater beater = {region, "conductor", "conductor-1", *term};
    AUTO(permit_list_release) struct permit_list list = {0};
    return permit_beat(store, &beater, soon(), ret, &list, &trouble);
}

static struct permit_route route_of(struct store *store, const char *value)
{
    struct permit_route route = {.lock_key = "run-lock", .key = ROUTE, .value = value};
    AUTO(store_entry_release) struct store_entry lock = {0}, entry = {0};
    EXPECT_OK(store_get(store, "run-lock", soon(), &lock, &trouble));
    route.token = lock.create_rev;
    if (store_get(store, ROUTE, soon(), &entry, &trouble) == ST_OK)
        route.revision = entry.mod_rev;
    return route;
}

static int64_t version_of(struct store *store)
{
    AUTO(permit_list_release) struct permit_list list = {0};
    EXPECT_OK(permit_list_load(store, soon(), &list, &trouble));
    return list.version;
}

static int64_t revision_of(struct store *store, const char *server)
{
    AUTO(permit_list_release) struct permit_list list = {0};
    EXPECT_OK(permit_list_load(store, soon(), &list, &trouble));
    return permit_list_find(&list, server);
}

static enum status revoke_one(struct store *store, const struct permit_route *route,
                              const struct permit_term *term, const char *server, int64_t *ret)
{
    AUTO(permit_part_release) struct permit_part part = {0};
    permit_part_revoke(&part, term, server, "{\"shard\":\"s0\"}");
    return permit_write(store, route, &part, soon(), ret, &trouble);
}

static void a_beat_needs_an_unfenced_region_and_the_current_term(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    struct permit_beat first = {0}, next = {0};
    nsec before = clock_now();
    EXPECT_OK(beat(store, "west", &term, &first));
    assert_true(first.sent >= before && first.sent <= clock_now());
    assert_int_equal(first.ttl, TTL);
    EXPECT_OK(beat(store, "west", &term, &next));
    assert_true(next.revision > first.revision);
    put(store, "fenced/west", "{}");
    expect_status(beat(store, "west", &term, &next), ST_DENIED, &trouble);
    EXPECT_OK(beat(store, "east", &term, &next));
    term_of(store, 2 * TTL);
    expect_status(beat(store, "east", &term, &next), ST_CONFLICT, &trouble);
}

static enum store_fault note_time(void *context, enum store_fault_point point,
                                  const char *operation)
{
    if (point == STORE_BEFORE && strcmp(operation, "txn") == 0)
        *(nsec *)context = clock_now();
    return STORE_FAULT_NONE;
}

static void a_beat_was_sent_before_the_store_had_it(void **state)
{
    struct fixture *fixture = *state;
    struct permit_term term = term_of(fixture->store, TTL);
    struct permit_beat first = {0};
    nsec had = 0;
    fixture->store = store_wrap_faults(fixture->store, note_time, &had);
    EXPECT_OK(beat(fixture->store, "west", &term, &first));
    assert_true(first.sent <= had);
    AUTO(store_entry_release) struct store_entry entry = {0};
    EXPECT_OK(store_get(fixture->store, "regions/west", soon(), &entry, &trouble));
    AUTO_FREE char *stamp =
        mem_printf("\"granter\":\"conductor-1\",\"sent_ns\":%lld}", (long long)first.sent);
    assert_non_null(strstr(entry.value, stamp)); /* and it says so */
    store_close(fixture->store);
    fixture->store = NULL;
}

static void a_list_is_as_new_as_it_says(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    put(store, "revoked/" Y, "{}");
    int64_t revision = put(store, "revoked/" X, "{}");
    int64_t version = put(store, "revoked", "{}");
    int64_t last = put(store, "revoked_not/" X, "{}");
    AUTO(permit_list_release) struct permit_list list = {0};
    EXPECT_OK(permit_list_load(store, soon(), &list, &trouble));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.revision, last);
    assert_int_equal(list.version, version);
    assert_int_equal(permit_list_find(&list, X), revision);
    assert_int_equal(permit_list_find(&list, "10.0.1.1:3306"), 0);
}

static void the_term_is_shortened_for_openers_last(UNUSED void **state)
{
    struct permit_term next = {0}, absent = {0}, term = {2000, 2000, 7};
    assert_true(permit_term_plan(&absent, 2000, 0, 0, &next));
    assert_int_equal(next.wait, 2000);
    assert_false(permit_term_plan(&term, 2000, 0, 9000, &next));
    assert_true(permit_term_plan(&term, 3000, 0, 0, &next)); /* longer: at once */
    assert_int_equal(next.ttl, 3000);
    assert_int_equal(next.wait, 3000);
    assert_true(permit_term_plan(&term, 1000, 0, 0, &next));
    assert_int_equal(next.ttl, 1000);
    assert_int_equal(next.wait, 2000);
    assert_int_equal(next.revision, 7);
    term = (struct permit_term){1000, 2000, 8};
    assert_false(permit_term_plan(&term, 1000, 5000, 6999, &next));
    assert_true(permit_term_plan(&term, 1000, 5000, 7000, &next));
    assert_int_equal(next.wait, 1000);
}

static void a_term_that_does_not_read_is_refused(void **state)
{
    static const char *const texts[] = {"", "{}", "{\"ttl_ms\":2000,\"wait_ms\":1000}",
                                        "{\"ttl_ms\":0,\"wait_ms\":0}",
                                        "{\"ttl_ms\":1,\"wait_ms\":9999999999}"};
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = {0};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        put(store, "permission", texts[i]);
        expect_status(permit_term_load(store, soon(), &term, &trouble), ST_INVALID, &trouble);
    }
}

static void revoking_is_one_transaction_with_the_route(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    put(store, "run-lock", "run");
    struct permit_route route = route_of(store, "fencing");
    int64_t revision = 0;
    EXPECT_OK(revoke_one(store, &route, &term, X, &revision));
    expect_entry(store, ROUTE, "fencing");
    assert_int_equal(revision_of(store, X), revision);
    assert_int_equal(version_of(store), revision);
    assert_int_equal(route_of(store, "").revision, revision);
}

static void revoking_twice_in_one_transaction_is_once(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    put(store, "run-lock", "run");
    struct permit_route route = route_of(store, "fencing");
    AUTO(permit_part_release) struct permit_part part = {0};
    int64_t revision = 0;
    permit_part_revoke(&part, &term, X, "{}");
    permit_part_revoke(&part, &term, Y, "{}");
    permit_part_revoke(&part, &term, X, "{}");
    EXPECT_OK(permit_write(store, &route, &part, soon(), &revision, &trouble));
    assert_int_equal(revision_of(store, X), revision);
    assert_int_equal(revision_of(store, Y), revision);
}

static void nothing_is_written_after_a_change_of(void **state, const char *what, enum status wanted)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    put(store, "run-lock", "run");
    put(store, ROUTE, "serving");
    struct permit_route route = route_of(store, "fencing");
    int64_t revision = 0;
    if (strcmp(what, "run-lock") == 0)
        delete_key(store, what);
    put(store, what, strcmp(what, "permission") == 0 ? "{\"ttl_ms\":1,\"wait_ms\":9}" : "new");
    expect_status(revoke_one(store, &route, &term, X, &revision), wanted, &trouble);
    assert_int_equal(revision_of(store, X), 0);
}

static void a_run_that_lost_its_lock_revokes_nothing(void **state)
{
    nothing_is_written_after_a_change_of(state, "run-lock", ST_FENCED);
}

static void a_changed_route_revokes_nothing(void **state)
{
    nothing_is_written_after_a_change_of(state, ROUTE, ST_CONFLICT);
}

static void a_changed_term_revokes_nothing(void **state)
{
    nothing_is_written_after_a_change_of(state, "permission", ST_CONFLICT);
}

static void a_revoked_server_is_not_opened_nor_one_of_a_fenced_region(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    put(store, "run-lock", "run");
    struct permit_route route = route_of(store, "opening");
    AUTO(permit_part_release) struct permit_part part = {0};
    int64_t revision = 0;
    permit_part_open(&part, Y, "west");
    put(store, "revoked/" Y, "{}");
    expect_status(permit_write(store, &route, &part, soon(), &revision, &trouble), ST_CONFLICT,
                  &trouble);
    delete_key(store, "revoked/" Y);
    put(store, "fenced/west", "{}");
    expect_status(permit_write(store, &route, &part, soon(), &revision, &trouble), ST_CONFLICT,
                  &trouble);
    assert_true(strstr(trouble.text, "fenced/west") != NULL);
    delete_key(store, "fenced/west");
    EXPECT_OK(permit_write(store, &route, &part, soon(), &revision, &trouble));
}

struct script {
    enum store_fault fault; /* of the first transaction */
    int done;
};

static enum store_fault play(void *context, enum store_fault_point point, const char *operation)
{
    struct script *script = context;
    if (point != STORE_BEFORE || strcmp(operation, "txn") != 0)
        return STORE_FAULT_NONE;
    return script->done++ == 0 ? script->fault : STORE_FAULT_NONE;
}

static enum status claim(struct store *store, const struct permit_route *route,
                         const struct permit_term *term)
{
    AUTO(permit_part_release) struct permit_part part = {0};
    permit_part_open(&part, X, "west");
    permit_part_keep_term(&part, term);
    return permit_claim(store, route, &part, soon(), &trouble);
}

static void a_claim_holds_only_while_everything_is_as_it_was(void **state)
{
    static const char *const changes[] = {"revoked/" X, "fenced/west", ROUTE, "permission"};
    struct store *store = ((struct fixture *)*state)->store;
    put(store, "run-lock", "run");
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        struct permit_term term = term_of(store, TTL);
        put(store, ROUTE, "serving");
        struct permit_route route = route_of(store, "serving");
        EXPECT_OK(claim(store, &route, &term));
        expect_status(claim(store, &route, &term), ST_CONFLICT, &trouble); /* that was it */
        route = route_of(store, "serving");
        put(store, changes[i], "serving"); /* also when it reads as before */
        expect_status(claim(store, &route, &term), ST_CONFLICT, &trouble);
        assert_true(strstr(trouble.text, changes[i]) != NULL);
        delete_key(store, changes[i]);
    }
    struct permit_term term = term_of(store, TTL);
    struct permit_route route = route_of(store, "serving");
    delete_key(store, "run-lock");
    put(store, "run-lock", "run");
    expect_status(claim(store, &route, &term), ST_FENCED, &trouble);
}

static void a_claim_of_unknown_outcome_is_none(void **state)
{
    struct fixture *fixture = *state;
    struct permit_term term = term_of(fixture->store, TTL);
    struct script script = {STORE_FAULT_UNKNOWN_DONE, 0};
    put(fixture->store, "run-lock", "run");
    struct permit_route route = route_of(fixture->store, "serving");
    fixture->store = store_wrap_faults(fixture->store, play, &script);
    expect_status(claim(fixture->store, &route, &term), ST_UNKNOWN, &trouble);
    assert_int_equal(script.done, 1);
    store_close(fixture->store);
    fixture->store = NULL;
}

static void only_the_revocation_that_was_seen_is_taken_back(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    put(store, "run-lock", "run");
    int64_t old = put(store, "revoked/" X, "{}"), revision = 0;
    delete_key(store, "revoked/" X);
    int64_t now = put(store, "revoked/" X, "{}");
    struct permit_route route = route_of(store, "serving");
    AUTO(permit_part_release) struct permit_part late = {0}, part = {0};
    permit_part_return(&late, X, old);
    expect_status(permit_write(store, &route, &late, soon(), &revision, &trouble), ST_CONFLICT,
                  &trouble);
    assert_int_equal(revision_of(store, X), now);
    permit_part_return(&part, X, now);
    EXPECT_OK(permit_write(store, &route, &part, soon(), &revision, &trouble));
    assert_int_equal(revision_of(store, X), 0);
    assert_int_equal(version_of(store), revision);
}

static void an_unknown_outcome_is_found_out(void **state)
{
    static const enum store_fault faults[] = {STORE_FAULT_UNKNOWN_DONE,
                                              STORE_FAULT_UNKNOWN_NOT_DONE, STORE_FAULT_BUSY};
    struct fixture *fixture = *state;
    struct permit_term term = term_of(fixture->store, TTL);
    struct script script = {STORE_FAULT_NONE, 0};
    put(fixture->store, "run-lock", "run");
    fixture->store = store_wrap_faults(fixture->store, play, &script);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        static const char *const values[] = {"first", "second", "third"};
        struct permit_route route = route_of(fixture->store, values[i]);
        int64_t revision = 0;
        script = (struct script){faults[i], 0};
        EXPECT_OK(revoke_one(fixture->store, &route, &term, X, &revision));
        assert_int_equal(script.done, i == 0 ? 1 : 2);
        assert_int_equal(revision_of(fixture->store, X), revision);
        assert_int_equal(route_of(fixture->store, "").revision, revision);
    }
    store_close(fixture->store);
    fixture->store = NULL;
}

static void a_route_of_the_same_text_without_its_revocation_is_not_ours(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    put(store, "run-lock", "run");
    put(store, ROUTE, "serving");
    struct permit_route route = route_of(store, "fencing");
    int64_t revision = 0;
    put(store, ROUTE, "fencing");
    expect_status(revoke_one(store, &route, &term, X, &revision), ST_CONFLICT, &trouble);
    assert_int_equal(revision_of(store, X), 0);
}

static const struct permit_wait waiting = {
    .term = {2000, 3000, 7}, .revision = 20, .since = 1000, .settled = -500};

static void waiting_ends_by_time_or_by_a_closing_after_the_revocation(UNUSED void **state)
{
    struct permit_wait wait = waiting;
    struct permit_heard heard = {.is_closed = true, .closed = 19};
    struct permit_rumour rumour = {0};
    assert_int_equal(permit_end_of(&wait, &rumour, 3999), PERMIT_LASTS);
    assert_int_equal(permit_end_of(&wait, &rumour, 4000), PERMIT_TTL_OVER);
    rumour.heard = &heard;
    assert_int_equal(permit_end_of(&wait, &rumour, 1001),
                     PERMIT_LASTS); /* of an earlier revocation */
    heard.closed = 20;
    assert_int_equal(permit_end_of(&wait, &rumour, 1001), PERMIT_CLOSED);
    wait.revision = 0;
    assert_int_equal(permit_end_of(&wait, &rumour, 9000), PERMIT_LASTS);
}

static void waiting_ends_after_the_last_grant_and_the_last_opening(UNUSED void **state)
{
    struct permit_wait wait = waiting;
    struct permit_rumour rumour = {.is_last_grant_known = true, .last_grant = -200};
    assert_int_equal(permit_end_of(&wait, &rumour, 2799), PERMIT_LASTS);
    assert_int_equal(permit_end_of(&wait, &rumour, 2800), PERMIT_LAST_GRANT_OVER);
    rumour.last_grant = INT64_MIN;
    assert_int_equal(permit_end_of(&wait, &rumour, 2499),
                     PERMIT_LASTS); /* it may have been opened until -500 */
    assert_int_equal(permit_end_of(&wait, &rumour, 2500), PERMIT_LAST_GRANT_OVER);
    rumour.is_last_grant_known = false;
    assert_int_equal(permit_end_of(&wait, &rumour, 3999), PERMIT_LASTS);
}

static void waiting_ends_when_the_region_is_fenced_and_no_opening_is_on_its_way(UNUSED void **state)
{
    struct permit_wait wait = waiting;
    struct permit_rumour rumour = {.is_last_grant_known = true, .last_grant = INT64_MIN};
    wait.fence = 18;
    assert_int_equal(permit_end_of(&wait, &rumour, 2499), PERMIT_LASTS);
    assert_int_equal(permit_end_of(&wait, &rumour, 2500), PERMIT_REGION_FENCED);
    rumour.last_grant = 0; /* in another region, by another fleet file */
    assert_int_equal(permit_end_of(&wait, &rumour, 2999), PERMIT_LASTS);
    assert_int_equal(permit_end_of(&wait, &rumour, 3000), PERMIT_REGION_FENCED);
    rumour.is_last_grant_known = false;
    assert_int_equal(permit_end_of(&wait, &rumour, 3999), PERMIT_LASTS);
    wait.revision = 0;
    rumour.is_last_grant_known = true;
    assert_int_equal(permit_end_of(&wait, &rumour, 9000), PERMIT_LASTS);
}

/* (2000 + 1000 + 300) * 21 / 19, rounded up. */
static void a_long_guard_is_waited_for(UNUSED void **state)
{
    struct permit_wait wait = waiting;
    struct permit_rumour rumour = {.is_last_grant_known = true, .last_grant = INT64_MIN};
    assert_int_equal(permit_settle_span(3000, permit_guard_span(3000)), 3000);
    assert_int_equal(permit_settle_span(3000, 2000), 3648);
    wait.guard = 2000;
    assert_int_equal(permit_end_of(&wait, &rumour, -500 + 3647), PERMIT_LASTS);
    assert_int_equal(permit_end_of(&wait, &rumour, -500 + 3648), PERMIT_LAST_GRANT_OVER);
    rumour.is_last_grant_known = false;
    assert_int_equal(permit_end_of(&wait, &rumour, 1000 + 3647), PERMIT_LASTS);
    assert_int_equal(permit_end_of(&wait, &rumour, 1000 + 3648), PERMIT_TTL_OVER);
}

static void who_grants_in_a_fenced_region_is_left_out(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    struct permit_beat made = {0};
    AUTO(permit_granters_release) struct permit_granters granters = {0};
    struct permit_beater beater = {"east", "c2", "conductor-2", term};
    put(store, "granters/older", "{}"); /* does not say its region */
    put(store, "granters/west-c1", "{\"region\":\"westerly\"}");
    EXPECT_OK(beat(store, "west", &term, &made));
    AUTO(permit_list_release) struct permit_list list = {0};
    EXPECT_OK(permit_beat(store, &beater, soon(), &made, &list, &trouble));
    EXPECT_OK(permit_granters_load(store, soon(), &granters, &trouble));
    assert_int_equal(granters.count, 4);
    permit_granters_leave_out(&granters, "west");
    assert_int_equal(granters.count, 3);
    assert_string_equal(granters.items[0].name, "conductor-2");
    assert_string_equal(granters.items[0].region, "east");
    assert_string_equal(granters.items[1].name, "older");
    assert_string_equal(granters.items[2].name, "west-c1");
}

static void who_may_have_granted_is_in_the_store_with_his_first_beat(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    struct permit_beat made = {0};
    AUTO(permit_granters_release) struct permit_granters before = {0}, now = {0};
    EXPECT_OK(beat(store, "west", &term, &made));
    EXPECT_OK(permit_granters_load(store, soon(), &before, &trouble));
    assert_int_equal(before.count, 1);
    assert_string_equal(before.items[0].name, "conductor-1");
    assert_int_equal(before.items[0].revision, made.revision);
    assert_true(before.revision >= made.revision);
    EXPECT_OK(beat(store, "east", &term, &made));
    EXPECT_OK(permit_granters_load(store, soon(), &now, &trouble));
    assert_int_equal(now.count, 1);
    assert_int_equal(now.items[0].revision, made.revision);
}

static void only_who_beats_no_more_is_forgotten(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store, TTL);
    struct permit_beat made = {0};
    AUTO(permit_granters_release) struct permit_granters before = {0}, now = {0}, after = {0};
    put(store, "granters/dead", "{}");
    put(store, "granters/late", "{}");
    EXPECT_OK(beat(store, "west", &term, &made));
    EXPECT_OK(permit_granters_load(store, soon(), &before, &trouble));
    EXPECT_OK(beat(store, "west", &term, &made));
    put(store, "granters/new", "{}");
    EXPECT_OK(permit_granters_load(store, soon(), &now, &trouble));
    put(store, "granters/late", "{}"); /* after that was read */
    permit_granters_prune(store, &before, &now, soon());
    EXPECT_OK(permit_granters_load(store, soon(), &after, &trouble));
    assert_int_equal(after.count, 3);
    assert_string_equal(after.items[0].name, "conductor-1");
    assert_string_equal(after.items[1].name, "late");
    assert_string_equal(after.items[2].name, "new");
}

static void no_two_processes_have_one_name(UNUSED void **state)
{
    char first[PERMIT_GRANTER_MAX], second[PERMIT_GRANTER_MAX];
    permit_granter_name("west-c1", first);
    permit_granter_name("west-c1", second);
    assert_true(strncmp(first, "west-c1-", 8) == 0);
    assert_string_not_equal(first, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_beat_needs_an_unfenced_region_and_the_current_term),
        STORE_TEST(a_beat_was_sent_before_the_store_had_it),
        STORE_TEST(a_list_is_as_new_as_it_says),
        cmocka_unit_test(the_term_is_shortened_for_openers_last),
        STORE_TEST(a_term_that_does_not_read_is_refused),
        STORE_TEST(revoking_is_one_transaction_with_the_route),
        STORE_TEST(revoking_twice_in_one_transaction_is_once),
        STORE_TEST(a_run_that_lost_its_lock_revokes_nothing),
        STORE_TEST(a_changed_route_revokes_nothing),
        STORE_TEST(a_changed_term_revokes_nothing),
        STORE_TEST(a_revoked_server_is_not_opened_nor_one_of_a_fenced_region),
        STORE_TEST(a_claim_holds_only_while_everything_is_as_it_was),
        STORE_TEST(a_claim_of_unknown_outcome_is_none),
        STORE_TEST(only_the_revocation_that_was_seen_is_taken_back),
        STORE_TEST(an_unknown_outcome_is_found_out),
        STORE_TEST(a_route_of_the_same_text_without_its_revocation_is_not_ours),
        cmocka_unit_test(waiting_ends_by_time_or_by_a_closing_after_the_revocation),
        cmocka_unit_test(waiting_ends_after_the_last_grant_and_the_last_opening),
        cmocka_unit_test(waiting_ends_when_the_region_is_fenced_and_no_opening_is_on_its_way),
        cmocka_unit_test(a_long_guard_is_waited_for),
        STORE_TEST(who_grants_in_a_fenced_region_is_left_out),
        STORE_TEST(who_may_have_granted_is_in_the_store_with_his_first_beat),
        STORE_TEST(only_who_beats_no_more_is_forgotten),
        cmocka_unit_test(no_two_processes_have_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
