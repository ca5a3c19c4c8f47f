/* SPDX-License-Identifier: Apache-2.0
 * What the servers of a lab are now: asked of the processes, then of the servers themselves, all
 * side by side. Nothing is remembered between two looks. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "net/http.h"

#include <poll.h>
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

/* --- When a new lab serves -----------------------------------------------------------------------
 * Its primaries are open, and conductors send clients there, because they have permission to give.
 * An agent that asks before that closes its servers. */

enum { SERVING_SECONDS = 30, PAUSE_MS = 20, WHY_MAX = 300 };

static void line_freep(struct http_line **line)
{
    http_line_free(*line);
}

static enum status wait_until_served(const struct lab *lab, const struct lab_daemon *conductor,
                                     const struct lab_server *primary, nsec deadline,
                                     const struct lab_progress *progress, struct err *err)
{
    AUTO(line_freep) struct http_line *line = http_line_new();
    AUTO_FREE char *path = mem_printf("/servers/%s:%d/primary", primary->host, lab->port);
    for (;;) {
        AUTO(http_answer_release) struct http_answer answer = {0};
        enum status status = lab__daemon_ask(lab, conductor, path, line, &answer);
        if (!status && answer.code == 200)
            return ST_OK;
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "%s may not serve in time: %s says: %.*s",
                           primary->name, conductor->name, WHY_MAX,
                           status ? "nothing" : buf_text(&answer.body));
        status = lab__stop_wanted(progress, err);
        if (status)
            return status;
        poll(NULL, 0, PAUSE_MS);
    }
}

enum status lab__serving_wait(const struct lab *lab, const struct lab_progress *progress,
                              struct err *err)
{
    nsec deadline = clock_deadline(SERVING_SECONDS * 1000);
    enum status status = ST_OK;
    for (size_t i = 0; i < lab->daemon_count; i++) {
        const struct lab_daemon *conductor = &lab->daemons[i];
        if (conductor->kind != LAB_CONDUCTOR || conductor->region != 0)
            continue;
        for (size_t j = 0; j < lab->server_count && !status; j++)
            if (lab->servers[j].region == 0 && lab->servers[j].number == 1)
                status =
                    wait_until_served(lab, conductor, &lab->servers[j], deadline, progress, err);
    }
    return status;
}
