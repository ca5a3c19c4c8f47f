/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking the lead, keeping it, losing it; see election.h. The lead counts from before the request
 * that confirmed it was sent, so that it never outlasts the lease in the store.
 */
#include "daemon/election.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "daemon/internal.h"
#include "store/store.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEAT_MS = ELECTION_TTL_MS / 3, CALL_MS = 800 };

struct election {
    struct daemon_store *store;
    char name[ELECTION_NAME_MAX];
    pthread_t thread;
    struct daemon_bell bell;   /* rings at the end */
    int64_t lease;             /* its thread's, like the next; 0: none */
    nsec confirmed;            /* before it was granted, or kept alive, last */
    int64_t seen;              /* revision of the store when the key was looked at */
    struct store_watch *watch; /* of the key since then, while somebody else leads; or NULL */
    pthread_mutex_t lock;
    struct election_state state; /* under the lock, like: */
    nsec until;                  /* the lead is ours for sure */
};

static void set_state(struct election *election, int64_t token, const char *leader, nsec until)
{
    pthread_mutex_lock(&election->lock);
    bool was_leader = election->state.is_leader, is_leader = token != 0;
    bool is_other = strcmp(election->state.leader, leader) != 0;
    election->state.is_leader = is_leader;
    election->state.token = token;
    snprintf(election->state.leader, sizeof(election->state.leader), "%s", leader);
    election->until = until;
    pthread_mutex_unlock(&election->lock);
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)token);
    if (was_leader != is_leader || is_other)
        log_event(EV_LEADER, "is", leader[0] ? leader : "nobody", "here", is_leader ? "yes" : "no",
                  "token", text, NULL);
}

struct election_state election_get(struct election *election, nsec now)
{
    pthread_mutex_lock(&election->lock);
    struct election_state state = election->state;
    if (state.is_leader && now >= election->until)
        state = (struct election_state){0};
    pthread_mutex_unlock(&election->lock);
    return state;
}

/* The key as it is. ST_OK: somebody leads, we when *ret_is_ours. */
static enum status look(struct election *election, struct store *store, int64_t *ret_token,
                        bool *ret_is_ours)
{
    AUTO(store_list_release) struct store_list list = {0};
    enum status status = store_list(store, ELECTION_KEY, clock_deadline(CALL_MS), &list, NULL);
    if (status || list.count == 0)
        return status ? status : ST_NOT_FOUND;
    const struct store_entry *entry = &list.entries[0];
    *ret_token = entry->create_rev;
    election->seen = list.revision; /* the key's own may be compacted by now */
    *ret_is_ours = election->lease && entry->lease == election->lease;
    set_state(election, *ret_is_ours ? entry->create_rev : 0, entry->value,
              election->confirmed + ELECTION_TTL_MS * NSEC_PER_MS);
    return ST_OK;
}

static void end_lease(struct election *election, struct store *store)
{
    if (!election->lease)
        return;
    status_ignore(store_lease_revoke(store, election->lease, clock_deadline(CALL_MS), NULL),
                  "it ends by itself");
    election->lease = 0;
}

/* The key is absent, or was. Whatever comes of it, the next look says who leads. */
static void try_to_lead(struct election *election, struct store *store)
{
    int64_t token = 0;
    bool is_ours = false;
    end_lease(election, store);
    election->confirmed = clock_now();
    if (store_lease_grant(store, ELECTION_TTL_MS, clock_deadline(CALL_MS), &election->lease, NULL))
        return;
    struct store_compare is_free = {STORE_ABSENT, ELECTION_KEY, 0};
    struct store_op take = {STORE_PUT, ELECTION_KEY, election->name, election->lease};
    struct store_txn txn = {&is_free, 1, &take, 1};
    struct store_txn_result result;
    status_ignore(store_txn(store, &txn, clock_deadline(CALL_MS), &result, NULL),
                  "the look tells what came of it");
    if (look(election, store, &token, &is_ours) || !is_ours)
        end_lease(election, store);
}

static void keep_lease(struct election *election, struct store *store)
{
    nsec sent = clock_now();
    if (!election->lease)
        return;
    enum status status =
        store_lease_keepalive(store, election->lease, clock_deadline(CALL_MS), NULL);
    if (!status)
        election->confirmed = sent;
    if (status == ST_NOT_FOUND)
        election->lease = 0;
}

/* One beat. A leader that cannot reach the store stays one until its lease is over. */
static void beat(struct election *election, struct store *store)
{
    int64_t token = 0;
    bool is_ours = false;
    keep_lease(election, store);
    enum status status = look(election, store, &token, &is_ours);
    if (status == ST_NOT_FOUND) {
        set_state(election, 0, "", 0);
        try_to_lead(election, store);
    } else if (status && !election_get(election, clock_now()).is_leader) {
        set_state(election, 0, "", 0);
    } else if (!status && !is_ours) {
        end_lease(election, store);
    }
}

static void close_watch(struct election *election)
{
    store_watch_close(take_pointer(election->watch));
}

static void keep_watch(struct election *election, struct store *store)
{
    struct election_state state = election_get(election, clock_now());
    bool is_other = !state.is_leader && state.leader[0];
    if (!is_other)
        close_watch(election);
    else if (!election->watch &&
             store_watch_open(store, ELECTION_KEY, election->seen, &election->watch, NULL))
        election->watch = NULL;
}

/* A watch is readable for its own sake, too. Without one the next beat is waited for. */
static bool has_changed(struct election *election)
{
    AUTO(store_changes_release) struct store_changes changes = {0};
    struct err err = ERR_INIT;
    enum status status =
        election->watch ? store_watch_next(election->watch, 0, &changes, &err) : ST_TIMEOUT;
    if (status != ST_TIMEOUT)
        close_watch(election);
    return status == ST_OK;
}

/* Until the next beat is due, or the leader's key is gone. */
static void wait_for_change(struct election *election, struct store *store)
{
    nsec deadline = clock_deadline(BEAT_MS);
    keep_watch(election, store);
    do {
        struct pollfd fds[] = {{election->bell.fd, POLLIN, 0},
                               {election->watch ? store_watch_fd(election->watch) : -1, POLLIN, 0}};
        poll(fds, 2, clock_ms_left(deadline));
    } while (!has_changed(election) && clock_now() < deadline &&
             !daemon_bell_has_rung(&election->bell));
}

static void *elect(void *context)
{
    struct election *election = context;
    while (!daemon_bell_has_rung(&election->bell)) {
        struct store *store = daemon_store_get(election->store);
        if (store)
            beat(election, store);
        if (store)
            wait_for_change(election, store);
        else
            daemon_bell_wait(&election->bell, clock_deadline(BEAT_MS));
    }
    close_watch(election);
    if (election->lease)
        end_lease(election, daemon_store_get(election->store));
    return NULL;
}

struct election *election_start(struct daemon_store *store, const char *name)
{
    struct election *election = mem_zalloc(sizeof(*election));
    election->store = store;
    snprintf(election->name, sizeof(election->name), "%s", name);
    daemon_bell_init(&election->bell);
    pthread_mutex_init(&election->lock, NULL);
    INVARIANT(pthread_create(&election->thread, NULL, elect, election) == 0);
    return election;
}

void election_stop(struct election *election)
{
    if (!election)
        return;
    daemon_bell_ring(&election->bell);
    pthread_join(election->thread, NULL);
    daemon_bell_release(&election->bell);
    pthread_mutex_destroy(&election->lock);
    free(election);
}
