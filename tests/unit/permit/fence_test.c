/* SPDX-License-Identifier: Apache-2.0
 * Units of permit/fence: putting and taking away a fence, on the embedded store and on an etcd,
 * also when an outcome is not known; and what a revocation may demand of one. */
#include "../store/etcd_test.h"
#include "permit/basis.h"
#include "permit/fence.h"
#include "permit/opening.h"
#include "permit/pulse.h"

#include <string.h>

#define X "10.0.1.11:3306"
#define ROUTE "shards/s0"

static struct permit_term term_of(struct store *store)
{
    struct permit_term next = {2 * NSEC_PER_SEC, 2 * NSEC_PER_SEC, 0}, term = {0};
    if (permit_term_load(store, soon(), &term, &trouble) == ST_NOT_FOUND)
        EXPECT_OK(permit_term_write(store, &next, soon(), &trouble));
    EXPECT_OK(permit_term_load(store, soon(), &term, &trouble));
    return term;
}

static enum status beat(struct store *store, const char *region, struct permit_beat *ret)
{
    struct permit_beater beater = {region, "c1", "c1-0123", term_of(store)};
    AUTO(permit_list_release) struct permit_list list = {0};
    return permit_beat(store, &beater, soon(), ret, &list, &trouble);
}

static int64_t beat_of(struct store *store, const char *region)
{
    struct permit_beat made = {0};
    EXPECT_OK(beat(store, region, &made));
    return made.revision;
}

static struct permit_fencing fencing_of(struct store *store, int64_t beat)
{
    return (struct permit_fencing){.region = "west",
                                   .beat = beat,
                                   .term = term_of(store),
                                   .by = "east-c1",
                                   .reason = "no \"beat\" for 3 s"};
}

static enum status fence(struct store *store, int64_t beat, int64_t *ret)
{
    struct permit_fencing fencing = fencing_of(store, beat);
    return permit_fence(store, &fencing, soon(), ret, &trouble);
}

static int64_t revision_of(struct store *store, const char *key)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    enum status status = store_get(store, key, soon(), &entry, &trouble);
    if (status != ST_NOT_FOUND)
        expect_status(status, ST_OK, &trouble);
    return status ? 0 : entry.mod_rev;
}

static void the_fence_of_a_silent_region_refuses_its_beats(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_beat made = {0};
    int64_t revision = 0, seen = beat_of(store, "west");
    AUTO(permit_fence_release) struct permit_fence found = {0};
    expect_status(permit_fence_load(store, "west", soon(), &found, &trouble), ST_NOT_FOUND,
                  &trouble);
    EXPECT_OK(fence(store, seen, &revision));
    assert_int_equal(revision_of(store, "revoked"), revision);
    expect_status(beat(store, "west", &made), ST_DENIED, &trouble);
    EXPECT_OK(beat(store, "east", &made));
    EXPECT_OK(permit_fence_load(store, "west", soon(), &found, &trouble));
    assert_string_equal(found.by, "east-c1");
    assert_string_equal(found.reason, "no \"beat\" for 3 s");
    assert_true(found.wall_us > 0);
    assert_int_equal(found.revision, revision);
}

static void a_region_that_beat_meanwhile_is_not_fenced(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t revision = 0, seen = beat_of(store, "west");
    beat_of(store, "west");
    expect_status(fence(store, seen, &revision), ST_CONFLICT, &trouble);
    expect_status(fence(store, 0, &revision), ST_CONFLICT, &trouble);
    assert_int_equal(revision_of(store, "fenced/west"), 0);
}

static void a_region_that_never_beat_may_be_fenced(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t revision = 0;
    EXPECT_OK(fence(store, 0, &revision));
    assert_int_equal(revision_of(store, "fenced/west"), revision);
}

static void a_changed_term_fences_nothing(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t revision = 0, seen = beat_of(store, "west");
    struct permit_fencing fencing = fencing_of(store, seen);
    put(store, "permission", "{\"ttl_ms\":3000,\"wait_ms\":3000}");
    expect_status(permit_fence(store, &fencing, soon(), &revision, &trouble), ST_CONFLICT,
                  &trouble);
    assert_int_equal(revision_of(store, "fenced/west"), 0);
}

static void who_comes_second_learns_of_the_first(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t first = 0, second = 0, seen = beat_of(store, "west");
    EXPECT_OK(fence(store, seen, &first));
    expect_status(fence(store, seen, &second), ST_EXISTS, &trouble);
    assert_int_equal(second, first);
}

/* A lock that its lost holder's lease still keeps goes with the region, or nothing happens. */
static void what_is_lost_with_the_region_goes_in_the_same_moment(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t lease = 0, lock = 0, revision = 0, seen = beat_of(store, "west");
    EXPECT_OK(store_lease_grant(store, 60000, soon(), &lease, &trouble));
    EXPECT_OK(put_if(store, NULL, "run-lock", "west-c1", lease, &lock));
    struct permit_gone gone[] = {{"leader", put(store, "leader", "west-c1")}, {"run-lock", lock}};
    struct permit_fencing fencing = fencing_of(store, seen);
    fencing.gone = gone;
    fencing.gone_count = ARRAY_SIZE(gone);
    int64_t newer = put(store, "leader", "east-c1");
    expect_status(permit_fence(store, &fencing, soon(), &revision, &trouble), ST_CONFLICT,
                  &trouble);
    assert_true(strstr(trouble.text, "leader") != NULL);
    assert_int_equal(revision_of(store, "fenced/west"), 0);
    assert_int_equal(revision_of(store, "run-lock"), lock);
    gone[0].revision = newer;
    EXPECT_OK(permit_fence(store, &fencing, soon(), &revision, &trouble));
    expect_entry(store, "leader", NULL);
    expect_entry(store, "run-lock", NULL);
    EXPECT_OK(
        put_if(store, NULL, "run-lock", "west-c1", lease, &lock)); /* the lease is as it was */
    EXPECT_OK(store_lease_revoke(store, lease, soon(), &trouble));
    expect_entry(store, "run-lock", NULL);
    assert_int_equal(revision_of(store, "fenced/west"), revision);
}

static void all_fences_are_listed_as_of_a_revision(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t revision = 0;
    AUTO(permit_fences_release) struct permit_fences fences = {0};
    put(store, "fenced/east", "by hand");
    EXPECT_OK(fence(store, 0, &revision));
    int64_t last = put(store, "else", "x");
    EXPECT_OK(permit_fences_load(store, soon(), &fences, &trouble));
    assert_int_equal(fences.count, 2);
    assert_int_equal(fences.revision, last);
    assert_int_equal(permit_fences_find(&fences, "west")->revision, revision);
    assert_string_equal(permit_fences_find(&fences, "east")->reason, "");
    assert_null(permit_fences_find(&fences, "wes"));
}

/* ---- taking it away ---- */

static struct permit_unfencing unfencing_of(struct store *store, int64_t revision)
{
    AUTO(store_entry_release) struct store_entry lock = {0};
    if (revision_of(store, "run-lock") == 0)
        put(store, "run-lock", "run");
    EXPECT_OK(store_get(store, "run-lock", soon(), &lock, &trouble));
    return (struct permit_unfencing){.lock_key = "run-lock",
                                     .token = lock.create_rev,
                                     .region = "west",
                                     .revision = revision,
                                     .by = "east-c1"};
}

static void who_slept_through_a_return_does_not_fence_again(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_pulse pulse = {0};
    int64_t revision = 0, seen = beat_of(store, "west");
    EXPECT_OK(fence(store, seen, &revision));
    struct permit_unfencing order = unfencing_of(store, revision);
    EXPECT_OK(permit_unfence(store, &order, soon(), &trouble));
    assert_int_equal(revision_of(store, "fenced/west"), 0);
    int64_t returned = revision_of(store, "regions/west");
    assert_int_equal(revision_of(store, "revoked"), returned);
    expect_status(fence(store, seen, &revision), ST_CONFLICT, &trouble);
    AUTO(store_entry_release) struct store_entry entry = {0};
    EXPECT_OK(store_get(store, "regions/west", soon(), &entry, &trouble));
    permit_pulse_on_change(&pulse, seen, "{\"granter\":\"c1-0123\",\"sent_ns\":5}", 1000);
    permit_pulse_on_change(&pulse, entry.mod_rev, entry.value, 9000);
    assert_int_equal(pulse.sent_by, 9000); /* it has no stamp */
    EXPECT_OK(fence(store, returned, &revision));
}

static void only_the_fence_that_was_seen_is_taken_away_and_by_a_run(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    int64_t revision = 0, old = put(store, "fenced/west", "{}");
    struct permit_unfencing order = unfencing_of(store, old);
    delete_key(store, "fenced/west");
    EXPECT_OK(permit_unfence(store, &order, soon(), &trouble)); /* it was taken away */
    EXPECT_OK(fence(store, revision_of(store, "regions/west"), &revision));
    expect_status(permit_unfence(store, &order, soon(), &trouble), ST_CONFLICT, &trouble);
    order.revision = revision;
    delete_key(store, "run-lock");
    put(store, "run-lock", "another run");
    expect_status(permit_unfence(store, &order, soon(), &trouble), ST_FENCED, &trouble);
    assert_int_equal(revision_of(store, "fenced/west"), revision);
}

/* ---- unknown outcomes ---- */

struct script {
    enum store_fault txn; /* of the first transaction */
    int done;
    bool is_deaf; /* no read is answered after it */
};

static enum store_fault play(void *context, enum store_fault_point point, const char *operation)
{
    struct script *script = context;
    if (point != STORE_BEFORE)
        return STORE_FAULT_NONE;
    if (strcmp(operation, "txn") == 0)
        return script->done++ == 0 ? script->txn : STORE_FAULT_NONE;
    return script->done && script->is_deaf ? STORE_FAULT_IO : STORE_FAULT_NONE;
}

static const enum store_fault faults[] = {STORE_FAULT_UNKNOWN_DONE, STORE_FAULT_UNKNOWN_NOT_DONE,
                                          STORE_FAULT_BUSY};

static void an_unknown_fence_is_found_out(void **state)
{
    struct fixture *fixture = *state;
    struct script script = {STORE_FAULT_NONE, 0, false};
    struct permit_fencing fencing = fencing_of(fixture->store, 0);
    fixture->store = store_wrap_faults(fixture->store, play, &script);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        int64_t revision = 0;
        script = (struct script){faults[i], 0, false};
        EXPECT_OK(permit_fence(fixture->store, &fencing, soon(), &revision, &trouble));
        assert_int_equal(script.done, i == 0 ? 1 : 2);
        assert_int_equal(revision_of(fixture->store, "fenced/west"), revision);
        delete_key(fixture->store, "fenced/west");
    }
    int64_t untouched = -1;
    script = (struct script){STORE_FAULT_UNKNOWN_DONE, 0, true};
    expect_status(permit_fence(fixture->store, &fencing, soon(), &untouched, &trouble), ST_UNKNOWN,
                  &trouble);
    assert_int_equal(untouched, -1);
}

static void an_unknown_return_is_found_out(void **state)
{
    struct fixture *fixture = *state;
    struct script script = {STORE_FAULT_NONE, 0, false};
    fixture->store = store_wrap_faults(fixture->store, play, &script);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        int64_t revision = put(fixture->store, "fenced/west", "{}");
        struct permit_unfencing order = unfencing_of(fixture->store, revision);
        script = (struct script){faults[i], 0, false};
        EXPECT_OK(permit_unfence(fixture->store, &order, soon(), &trouble));
        assert_int_equal(script.done, i == 0 ? 1 : 2);
        assert_int_equal(revision_of(fixture->store, "fenced/west"), 0);
        assert_true(revision_of(fixture->store, "regions/west") > revision);
    }
    int64_t revision = put(fixture->store, "fenced/west", "{}");
    struct permit_unfencing order = unfencing_of(fixture->store, revision);
    script = (struct script){STORE_FAULT_UNKNOWN_DONE, 0, true};
    expect_status(permit_unfence(fixture->store, &order, soon(), &trouble), ST_UNKNOWN, &trouble);
}

/* ---- what a revocation demands ---- */

static void a_revocation_that_rests_on_a_fence_demands_that_one(void **state)
{
    struct store *store = ((struct fixture *)*state)->store;
    struct permit_term term = term_of(store);
    int64_t fenced = 0, revision = 0;
    EXPECT_OK(fence(store, 0, &fenced));
    struct permit_unfencing order = unfencing_of(store, fenced); /* makes a run lock, too */
    for (int is_back = 0; is_back < 2; is_back++) {
        AUTO(permit_part_release) struct permit_part part = {0};
        struct permit_route route = {"run-lock", order.token, ROUTE, "fencing",
                                     revision_of(store, ROUTE)};
        permit_part_revoke(&part, &term, X, "{}");
        permit_part_keep_fence(&part, "west", fenced);
        permit_part_keep_fence(&part, "west", fenced);
        expect_status(permit_write(store, &route, &part, soon(), &revision, &trouble),
                      is_back ? ST_CONFLICT : ST_OK, &trouble);
        EXPECT_OK(permit_unfence(store, &order, soon(), &trouble));
    }
    assert_true(strstr(trouble.text, "fenced/west") != NULL);
}

#define FENCE_TESTS(X)                                                                             \
    X(the_fence_of_a_silent_region_refuses_its_beats)                                              \
    X(a_region_that_beat_meanwhile_is_not_fenced)                                                  \
    X(a_region_that_never_beat_may_be_fenced)                                                      \
    X(a_changed_term_fences_nothing)                                                               \
    X(who_comes_second_learns_of_the_first)                                                        \
    X(what_is_lost_with_the_region_goes_in_the_same_moment)                                        \
    X(all_fences_are_listed_as_of_a_revision)                                                      \
    X(who_slept_through_a_return_does_not_fence_again)                                             \
    X(only_the_fence_that_was_seen_is_taken_away_and_by_a_run)                                     \
    X(an_unknown_fence_is_found_out)                                                               \
    X(an_unknown_return_is_found_out)                                                              \
    X(a_revocation_that_rests_on_a_fence_demands_that_one)

/* ---- the drivers ---- */

static struct members members;

static int start_members(void **state UNUSED)
{
    members_start(&members, 1);
    return 0;
}

static int stop_members(void **state UNUSED)
{
    members_stop(&members);
    return 0;
}

static int set_up_etcd(void **state)
{
    static int number;
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    char prefix[16];
    snprintf(prefix, sizeof(prefix), "t%d", number++);
    members_url(&members, 0, prefix, fixture->url);
    EXPECT_OK(store_open(fixture->url, NULL, soon(), &fixture->store, &trouble));
    *state = fixture;
    return 0;
}

static int tear_down_etcd(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    free(fixture);
    return 0;
}

/* clang-format off */
#define ON_LOCAL(name) STORE_TEST(name),
#define ON_ETCD(name) {"etcd: " #name, name, set_up_etcd, tear_down_etcd, NULL},
/* clang-format on */

int main(void)
{
    const struct CMUnitTest local[] = {FENCE_TESTS(ON_LOCAL)};
    const struct CMUnitTest etcd[] = {FENCE_TESTS(ON_ETCD)};
    int failed = cmocka_run_group_tests(local, NULL, NULL);
    if (etcd_is_installed())
        failed += cmocka_run_group_tests(etcd, start_members, stop_members);
    return failed;
}
