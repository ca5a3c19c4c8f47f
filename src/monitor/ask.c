/* SPDX-License-Identifier: Apache-2.0
 * Questions over kept connections; see internal.h. Opening is libmariadb's work; in clear text the
 * socket is taken from it as soon as it has logged in, so that few of its connections are alive at
 * the same time. */
#include "monitor/internal.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <sys/epoll.h>

enum { EVENTS_MAX = 256 };

bool link_is_open(const struct link *link)
{
    return link->lean || (link->conn && sql_conn_is_open(link->conn));
}

void link_watch(struct monitor *monitor, struct link *link)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    epoll_ctl(monitor->epoll_fd, EPOLL_CTL_ADD, lean_fd(link->lean), &event);
}

const char *link_server_version(const struct link *link)
{
    return link->lean ? lean_server_version(link->lean) : sql_conn_server_version(link->conn);
}

/* A descriptor that is closed leaves its epoll set by itself. */
void link_close(struct link *link)
{
    lean_free(link->lean);
    sql_conn_free(link->conn);
    link->lean = NULL;
    link->conn = NULL;
    link->pending = NULL;
}

/* Each ask comes here once. 'err' says why when it failed. */
static void done(struct ask *ask, enum status status, const struct err *err)
{
    ask->is_done = true;
    ask->status = status;
    if (status) {
        ask->err = mem_zalloc(sizeof(*ask->err));
        *ask->err = *err;
    }
    if (ask->on_done)
        ask->on_done(ask);
}

void ask_release(struct ask *ask)
{
    free(ask->err);
    sql_result_release(&ask->result);
    ask->err = NULL;
}

/* ---- asking ---- */

static void end(struct ask *ask, struct err *err)
{
    enum status status = err->status;
    ask->finished = clock_now();
    ask->link->pending = NULL;
    if (status)
        err_wrap(err, "%s", ask->link->server->name);
    done(ask, status, err);
    if (status && status != ST_SQL)
        link_close(ask->link);
}

static void step(struct link *link)
{
    struct ask *ask = link->pending;
    if (!ask) { /* nobody asked: it says farewell */
        link_close(link);
        return;
    }
    struct err err = ERR_INIT;
    enum lean_state state = lean_step(link->lean, &ask->result, &err);
    if (state != LEAN_WAITS)
        end(ask, &err);
}

static void begin(struct ask *ask)
{
    struct err err = ERR_INIT;
    ask->started = clock_now();
    ask->link->pending = ask;
    if (lean_ask(ask->link->lean, ask->sql, &err) != LEAN_WAITS)
        end(ask, &err);
}

static void begin_open(struct ask *asks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (asks[i].link->lean)
            begin(&asks[i]);
}

static void expire(struct ask *asks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ask *ask = &asks[i];
        if (ask->link->pending != ask)
            continue;
        struct err err = ERR_INIT;
        err_set(&err, ST_TIMEOUT, "no answer within %.0f ms", clock_ms(clock_now() - ask->started));
        end(ask, &err);
    }
}

static size_t count_pending(const struct ask *asks, size_t count)
{
    size_t pending = 0;
    for (size_t i = 0; i < count; i++)
        pending += asks[i].link->pending == &asks[i];
    return pending;
}

/* What has come is taken, also when the time is over. */
static void collect(struct monitor *monitor, struct ask *asks, size_t count, nsec deadline)
{
    struct epoll_event events[EVENTS_MAX];
    size_t waiting = count_pending(asks, count);
    int ready = 1;
    while (waiting > 0 && (ready > 0 || clock_now() < deadline)) {
        ready = epoll_wait(monitor->epoll_fd, events, EVENTS_MAX, clock_ms_left(deadline));
        for (int i = 0; i < ready; i++)
            step(events[i].data.ptr);
        waiting = ready < EVENTS_MAX ? count_pending(asks, count) : waiting;
    }
}

/* Over a connection of libmariadb's. */
static void answer(struct ask *ask, struct sql_call *call)
{
    ask->result = call->result;
    ask->started = call->started;
    ask->finished = call->finished;
    done(ask, call->status, &call->err);
}

static void on_answer(struct sql_call *call)
{
    answer(call->context, call);
}

/* ---- opening ---- */

struct opening {
    struct monitor *monitor;
    struct ask *ask;
};

static void on_open(struct sql_call *call)
{
    struct opening *opening = call->context;
    struct link *link = opening->ask->link;
    if (call->status) {
        link_close(link);
        done(opening->ask, call->status, &call->err);
        return;
    }
    if (call->sql) {
        answer(opening->ask, call);
        return;
    }
    link->lean = lean_take(link->conn);
    if (!link->lean)
        return;
    sql_conn_free(link->conn);
    link->conn = NULL;
    link_watch(opening->monitor, link);
    begin(opening->ask);
}

static struct sql_call call_of(struct opening *opening)
{
    struct ask *ask = opening->ask;
    struct link *link = ask->link;
    if (link_is_open(link))
        return (struct sql_call){
            .conn = link->conn, .sql = ask->sql, .on_done = on_answer, .context = ask};
    link_close(link);
    struct sql_endpoint endpoint = inventory_endpoint(
        opening->monitor->fleet, &opening->monitor->fleet->credentials, link->server);
    link->conn = sql_conn_new(&endpoint);
    return (struct sql_call){.conn = link->conn,
                             .sql = endpoint.tls ? ask->sql : NULL,
                             .on_done = on_open,
                             .context = opening};
}

static bool is_waiting(const struct ask *ask)
{
    return ask->link->pending == ask;
}

/* Over connections of libmariadb's, and, where these may be made, over new ones, all at once. */
static void ask_others(struct monitor *monitor, struct ask *asks, size_t count, bool may_open,
                       nsec deadline)
{
    AUTO_FREE struct opening *openings = mem_zalloc((count + 1) * sizeof(*openings));
    AUTO_FREE struct sql_call *calls = mem_zalloc((count + 1) * sizeof(*calls));
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        bool can_be = may_open || link_is_open(asks[i].link);
        if (asks[i].is_done || is_waiting(&asks[i]) || !can_be)
            continue;
        openings[asked] = (struct opening){monitor, &asks[i]};
        calls[asked] = call_of(&openings[asked]);
        asked++;
    }
    if (asked > 0)
        sql_run(calls, asked, deadline);
}

/* ---- both ---- */

/* One that hangs does not take the time of those to which a connection is to be made: half of it
 * is theirs. */
static nsec first_end(const struct ask *asks, size_t count, nsec deadline)
{
    nsec now = clock_now();
    for (size_t i = 0; i < count; i++)
        if (!asks[i].is_done && !is_waiting(&asks[i]) && now < deadline)
            return now + (deadline - now) / 2;
    return deadline;
}

void monitor__ask_open(struct monitor *monitor, struct ask *asks, size_t count, nsec deadline)
{
    begin_open(asks, count);
    collect(monitor, asks, count, deadline);
    ask_others(monitor, asks, count, false, deadline);
    expire(asks, count);
}

/* A socket of which the library would not let go is asked in the end. */
void monitor__ask(struct monitor *monitor, struct ask *asks, size_t count, nsec deadline)
{
    begin_open(asks, count);
    collect(monitor, asks, count, first_end(asks, count, deadline));
    ask_others(monitor, asks, count, true, deadline);
    collect(monitor, asks, count, deadline);
    ask_others(monitor, asks, count, false, deadline);
    expire(asks, count);
}
