/* SPDX-License-Identifier: Apache-2.0
 * What the servers of a lab are now: asked of the processes, then of the servers themselves, all
 * side by side. Nothing is remembered between two looks. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"

#include <string.h>
#include <unistd.h>

static const char look_sql[] = "SELECT @@GLOBAL.read_only; SHOW ALL SLAVES STATUS";

enum { SET_READ_ONLY, SET_SLAVES };

static const struct lab_server *find_server(const struct lab *lab, const char *host, int64_t port)
{
    for (size_t i = 0; i < lab->server_count; i++)
        if (port == lab->port && host && strcmp(lab->servers[i].host, host) == 0)
            return &lab->servers[i];
    return NULL;
}

static void read_view(const struct lab *lab, const struct lab_server *server,
                      const struct sql_call *call, struct lab_view *view)
{
    if (call->status != ST_OK) {
        view->role = LAB_ROLE_SILENT;
        return;
    }
    const struct sql_result *result = &call->result;
    bool is_read_only = sql_true(sql_value(result, SET_READ_ONLY, 0, 0));
    bool has_source = sql_rows(result, SET_SLAVES) > 0;
    if (!has_source || !is_read_only) {
        view->role = is_read_only ? LAB_ROLE_FENCED : LAB_ROLE_PRIMARY;
        return;
    }
    view->source = find_server(lab, sql_named(result, SET_SLAVES, 0, "Master_Host"),
                               sql_number(sql_named(result, SET_SLAVES, 0, "Master_Port"), 0));
    bool is_near = view->source && view->source->region == server->region;
    view->role = is_near ? LAB_ROLE_REPLICA : LAB_ROLE_RELAY;
    view->replicates = sql_true(sql_named(result, SET_SLAVES, 0, "Slave_IO_Running")) &&
                       sql_true(sql_named(result, SET_SLAVES, 0, "Slave_SQL_Running"));
}

static int64_t uptime_s(const struct process *process)
{
    int64_t ticks = sysconf(_SC_CLK_TCK);
    int64_t started_s = (int64_t)process->start_ticks / (ticks > 0 ? ticks : 1);
    int64_t now_s = clock_now() / NSEC_PER_SEC;
    return now_s > started_s ? now_s - started_s : 0;
}

void lab_observe(const struct lab *lab, int64_t timeout_ms, struct lab_view *views)
{
    struct lab_choice running = {0};
    for (size_t i = 0; i < lab->server_count; i++) {
        struct lab_server *server = &lab->servers[i];
        enum process_state state = process_state(&server->process);
        views[i] = (struct lab_view){.role = LAB_ROLE_DOWN};
        if (state == PROCESS_ENDED)
            continue;
        views[i].uptime_s = uptime_s(&server->process);
        views[i].role = LAB_ROLE_FROZEN;
        if (state == PROCESS_RUNS)
            VEC_PUSH(running.servers, running.count, running.capacity, server);
    }
    struct lab_links links;
    lab__links_init(lab, &running, &links);
    for (size_t i = 0; i < links.count; i++)
        links.calls[i].sql = look_sql;
    status_ignore(lab__links_run(&links, timeout_ms, NULL), "each call has its own outcome");
    for (size_t i = 0; i < links.count; i++)
        read_view(lab, running.servers[i], &links.calls[i],
                  &views[running.servers[i] - lab->servers]);
    lab__links_release(&links);
    lab_choice_release(&running);
}

const char *lab_state_name(const struct lab *lab, const struct lab_view *views)
{
    size_t down = 0, answering = 0, count = lab->server_count + lab->daemon_count;
    for (size_t i = 0; i < lab->server_count; i++) {
        down += views[i].role == LAB_ROLE_DOWN;
        answering += views[i].role < LAB_ROLE_SILENT;
    }
    for (size_t i = 0; i < lab->daemon_count; i++) {
        enum process_state state = process_state(&lab->daemons[i].process);
        down += state == PROCESS_ENDED;
        answering += state == PROCESS_RUNS;
    }
    return answering == count ? "up" : down == count ? "down" : "partly";
}
