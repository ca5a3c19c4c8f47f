/* SPDX-License-Identifier: Apache-2.0
 * See scout.h. A connection belongs to the thread that asks while it is open, and to one of two
 * that open when it is closed: one for those that were open a moment ago, so that they need not
 * wait for what has been dead for long. */
#include "monitor/scout.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "monitor/internal.h"
#include "sql/flavour.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum {
    OPEN_MS = 1000,  /* for one connection */
    AGAIN_MS = 1000, /* between two attempts */
    PACE_MS = 50,    /* between two looks at what is to be opened */
    OPENING_MAX =
        128, /* of one opener at the same time: libmariadb's connections take 50 KB each */
};

enum post_state { POST_CLOSED, POST_OPENED, POST_WATCHED };

/* What is known of a link, as the threads hand it over. */
struct post {
    struct scout *scout;
    struct link *link;
    atomic_int state;      /* POST_CLOSED: an opener's; else the asker's */
    atomic_bool is_wanted; /* of the last round */
    atomic_bool has_failed;
    nsec next_try; /* the opener's */
};

struct opener {
    struct scout *scout;
    bool is_patient; /* for those that failed before */
    pthread_t thread;
};

struct scout {
    struct monitor *monitor;
    struct post *posts;
    struct opener openers[2];
    int end; /* readable: they are to end */
    struct buf sql;
    scout_take *take; /* of the round */
    void *context;
};

/* ---- opening ---- */

static void on_open(struct sql_call *call)
{
    struct post *post = call->context;
    struct link *link = post->link;
    if (call->status) {
        link_close(link);
        post->next_try = clock_now() + AGAIN_MS * NSEC_PER_MS;
        atomic_store(&post->has_failed, true);
        return;
    }
    link->lean = lean_take(link->conn);
    if (link->lean) {
        sql_conn_free(link->conn);
        link->conn = NULL;
    }
    post->next_try = clock_now() + AGAIN_MS * NSEC_PER_MS;
    atomic_store(&post->has_failed, false);
    atomic_store(&post->state, POST_OPENED);
}

static bool is_to_open(const struct opener *opener, struct post *post, nsec now)
{
    return atomic_load(&post->state) == POST_CLOSED && atomic_load(&post->is_wanted) &&
           atomic_load(&post->has_failed) == opener->is_patient && now >= post->next_try;
}

static void open_all(struct opener *opener)
{
    struct monitor *monitor = opener->scout->monitor;
    struct sql_call *calls = NULL;
    size_t count = 0, capacity = 0;
    nsec now = clock_now();
    for (size_t i = 0; i < monitor->count && count < OPENING_MAX; i++) {
        struct post *post = &opener->scout->posts[i];
        if (!is_to_open(opener, post, now))
            continue;
        struct sql_endpoint endpoint =
            inventory_endpoint(monitor->fleet, &monitor->fleet->credentials, post->link->server);
        sql_conn_free(post->link->conn);
        post->link->conn = sql_conn_new(&endpoint);
        struct sql_call call = {.conn = post->link->conn, .on_done = on_open, .context = post};
        VEC_PUSH(calls, count, capacity, call);
    }
    if (count > 0)
        sql_run(calls, count, now + OPEN_MS * NSEC_PER_MS);
    for (size_t i = 0; i < count; i++)
        sql_call_release(&calls[i]);
    free(calls);
}

static void *open_on(void *context)
{
    struct opener *opener = context;
    struct pollfd end = {.fd = opener->scout->end, .events = POLLIN};
    while (poll(&end, 1, PACE_MS) <= 0)
        open_all(opener);
    return NULL;
}

/* ---- asking ---- */

static void read_answer(struct ask *ask)
{
    struct post *post = ask->context;
    struct scout *scout = post->scout;
    const struct sql_flavour *flavour = NULL;
    struct sql_whereabouts at;
    struct err err = ERR_INIT;
    enum status status = ask->status;
    if (!status)
        status = sql_flavour_find(link_server_version(ask->link), &flavour, &err);
    if (!status)
        status = flavour->read_whereabouts(&ask->result, &at, &err);
    if (!status) {
        struct scout_sight sight = {(size_t)(post - scout->posts), ask->started, &at};
        scout->take(scout->context, &sight);
    }
    ask_release(ask);
}

/* What the openers made is taken, what broke is given back to them. */
static bool is_ready(struct scout *scout, struct post *post)
{
    int state = atomic_load(&post->state);
    if (state == POST_CLOSED)
        return false;
    if (state == POST_OPENED && post->link->lean)
        link_watch(scout->monitor, post->link);
    bool is_open = link_is_open(post->link);
    if (!is_open)
        link_close(post->link);
    atomic_store(&post->state, is_open ? POST_WATCHED : POST_CLOSED);
    return is_open;
}

void scout_round(struct scout *scout, const bool *is_wanted, nsec deadline, scout_take *take,
                 void *context)
{
    struct monitor *monitor = scout->monitor;
    AUTO_FREE struct ask *asks = mem_zalloc((monitor->count + 1) * sizeof(*asks));
    size_t count = 0;
    scout->take = take;
    scout->context = context;
    for (size_t i = 0; i < monitor->count; i++) {
        struct post *post = &scout->posts[i];
        atomic_store(&post->is_wanted, is_wanted[i]);
        if (is_ready(scout, post) && is_wanted[i])
            asks[count++] = (struct ask){.link = post->link,
                                         .sql = buf_text(&scout->sql),
                                         .on_done = read_answer,
                                         .context = post};
    }
    if (count > 0)
        monitor__ask_open(monitor, asks, count, deadline);
}

/* ---- life ---- */

struct scout *scout_new(const struct inventory *fleet)
{
    struct scout *scout = mem_zalloc(sizeof(*scout));
    scout->monitor = monitor_new(fleet);
    scout->posts = mem_zalloc((scout->monitor->count + 1) * sizeof(*scout->posts));
    for (size_t i = 0; i < scout->monitor->count; i++) {
        scout->posts[i].scout = scout;
        scout->posts[i].link = &scout->monitor->links[i];
    }
    sql_mariadb.ask_whereabouts(&scout->sql);
    scout->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    INVARIANT(scout->end >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(scout->openers); i++) {
        struct opener *opener = &scout->openers[i];
        *opener = (struct opener){.scout = scout, .is_patient = i > 0};
        INVARIANT(pthread_create(&opener->thread, NULL, open_on, opener) == 0);
    }
    return scout;
}

void scout_free(struct scout *scout)
{
    if (!scout)
        return;
    eventfd_write(scout->end, 1);
    for (size_t i = 0; i < ARRAY_SIZE(scout->openers); i++)
        pthread_join(scout->openers[i].thread, NULL);
    close(scout->end);
    monitor_free(scout->monitor);
    buf_release(&scout->sql);
    free(scout->posts);
    free(scout);
}

size_t scout_index(const struct scout *scout, const struct inventory_shard *shard, size_t server)
{
    return scout->monitor->first[shard->index] + server;
}

size_t scout_count(const struct scout *scout)
{
    return scout->monitor->count;
}
