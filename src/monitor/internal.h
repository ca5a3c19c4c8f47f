/* SPDX-License-Identifier: Apache-2.0
 * Shared inside monitor/ only: the connections, and asking over them. */
#ifndef HOLDFAST_MONITOR_INTERNAL_H
#define HOLDFAST_MONITOR_INTERNAL_H

#include "monitor/monitor.h"
#include "sql/conn.h"
#include "sql/lean.h"

/* To one server: lean, or libmariadb's; neither: closed. */
struct link {
    const struct inventory_server *server;
    struct lean *lean;
    struct sql_conn *conn;
    struct ask *pending; /* of the lean one */
};

/* A question for one server, and what came of it. */
struct ask {
    struct link *link;
    const char *sql;
    bool is_done;
    enum status status;
    struct err *err; /* owned; NULL while status is ST_OK: thousands are asked at the same time */
    struct sql_result result;
    nsec started, finished;
    void (*on_done)(struct ask *ask); /* as soon as the answer is there; NULL: nothing */
    void *context;
};

struct monitor {
    const struct inventory *fleet;
    struct link *links; /* shard after shard, as in the fleet */
    size_t *first;      /* index of each shard's first link */
    size_t count;
    int epoll_fd; /* of the lean ones */
};

/* A lean one is waited for from now on. Of the thread that asks. */
void link_watch(struct monitor *monitor, struct link *link);
bool link_is_open(const struct link *link);
const char *link_server_version(const struct link *link);
void link_close(struct link *link);

void ask_release(struct ask *ask);

/* Ask those whose connection is open, side by side; the others are not done when it returns. */
void monitor__ask_open(struct monitor *monitor, struct ask *asks, size_t count, nsec deadline);
/* Ask all, side by side: those whose connection is open, then those for which one must be opened
 * first, so that one that does not let itself be connected to holds nobody up. */
void monitor__ask(struct monitor *monitor, struct ask *asks, size_t count, nsec deadline);

#endif
