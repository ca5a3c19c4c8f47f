/* SPDX-License-Identifier: Apache-2.0
 * One leads, on the embedded store. Another process of the same machine is another store here. */
#include "daemon/election.h"

#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "fleet/inventory.h"
#include "os/file.h"
#include "store/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PATIENCE_MS = 10000 };

static char folder[256];
static struct inventory *fleet;
static struct daemon_store *stores[2];

static int start(void **state UNUSED)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/holdfast-test-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
    fleet = inventory_new();
    fleet->store_url = mem_printf("file://%s/store", folder);
    for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
        stores[i] = daemon_store_start(fleet);
        nsec deadline = clock_deadline(PATIENCE_MS);
        while (!daemon_store_get(stores[i]))
            assert_true(clock_now() < deadline);
    }
    return 0;
}

static int stop(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(stores); i++)
        daemon_store_stop(stores[i]);
    inventory_free(fleet);
    return folder_remove(folder, NULL) ? -1 : 0;
}

static struct election_state wait_for_lead(struct election *election)
{
    struct election_state state;
    nsec deadline = clock_deadline(PATIENCE_MS);
    while (state = election_get(election, clock_now()), !state.is_leader)
        assert_true(clock_now() < deadline);
    return state;
}

static void the_second_leads_when_the_first_gives_it_back(void **state UNUSED)
{
    struct election *first = election_start(stores[0], "a");
    struct election_state lead = wait_for_lead(first);
    assert_true(lead.token > 0);
    assert_string_equal(lead.leader, "a");
    struct election *second = election_start(stores[1], "b");
    nsec deadline = clock_deadline(PATIENCE_MS);
    while (strcmp(election_get(second, clock_now()).leader, "a") != 0)
        assert_true(clock_now() < deadline);
    assert_int_equal(election_get(second, clock_now()).token, 0);
    nsec began = clock_now();
    election_stop(first);
    struct election_state next = wait_for_lead(second);
    assert_true(clock_now() - began < ELECTION_TTL_MS * NSEC_PER_MS); /* no lease had to end */
    assert_true(next.token > lead.token);
    election_stop(second);
}

static void the_lead_ends_by_the_clock_when_nothing_confirms_it(void **state UNUSED)
{
    struct election *election = election_start(stores[0], "a");
    wait_for_lead(election);
    nsec later = clock_deadline(ELECTION_TTL_MS);
    assert_false(election_get(election, later).is_leader);
    assert_int_equal(election_get(election, later).token, 0);
    election_stop(election);
}

/* Somebody removed the key: whoever takes it next has another token. */
static void a_lost_lead_is_noticed_and_begun_anew(void **state UNUSED)
{
    struct election *election = election_start(stores[0], "a");
    struct election_state lead = wait_for_lead(election);
    struct store_op remove = {STORE_DELETE, ELECTION_KEY, NULL, 0};
    struct store_txn txn = {NULL, 0, &remove, 1};
    struct store_txn_result result;
    assert_int_equal(
        store_txn(daemon_store_get(stores[1]), &txn, clock_deadline(PATIENCE_MS), &result, NULL),
        ST_OK);
    nsec deadline = clock_deadline(PATIENCE_MS);
    while (wait_for_lead(election).token == lead.token)
        assert_true(clock_now() < deadline);
    election_stop(election);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(the_second_leads_when_the_first_gives_it_back),
        CASE(the_lead_ends_by_the_clock_when_nothing_confirms_it),
        CASE(a_lost_lead_is_noticed_and_begun_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
