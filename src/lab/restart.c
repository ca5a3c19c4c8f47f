/* SPDX-License-Identifier: Apache-2.0
 * Restarting servers that ended, or are frozen. They come up role-neutral, as their configuration
 * says. Those that followed somebody follow again, acknowledging if they are in its region: the lab
 * stands in for an operator who would type START SLAVE. One that followed nobody stays read-only.
 * Where there are daemons, nobody stands in for them. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"

#include <string.h>

enum { STEP_MS = 5000 };

/* One that serves is not to lose its connections, or its role, to a slip of the pen. */
static enum status refuse_running(const struct lab_choice *choice, struct err *err)
{
    for (size_t i = 0; i < choice->count; i++) {
        const struct lab_server *server = choice->servers[i];
        if (process_state(&server->process) != PROCESS_RUNS)
            continue;
        err_set(err, ST_CONFLICT, "%s runs (pid %d); nothing was restarted", server->name,
                (int)server->process.pid);
        return err_hint(err, "holdfast lab kill %s first", server->name);
    }
    return ST_OK;
}

/* An agent is its keeper's. Where that runs, only a frozen agent is anything to do about; where it
 * does not, one that is left ends, and the new keeper starts another. */
static void pick_host_daemons(const struct lab *lab, const struct lab_daemon *one,
                              struct lab_choice *ret)
{
    struct lab_daemon *keeper = lab__daemon_of(lab, LAB_KEEPER, one);
    struct lab_daemon *agent = lab__daemon_of(lab, LAB_AGENT, one);
    bool is_kept = process_state(&keeper->process) == PROCESS_RUNS;
    enum process_state state = process_state(&agent->process);
    if (!is_kept)
        lab__choose_daemon(ret, keeper);
    if (is_kept ? state == PROCESS_STOPPED : state != PROCESS_ENDED)
        lab__choose_daemon(ret, agent);
}

/* Daemons that run go on. */
static void pick_daemon(const struct lab *lab, struct lab_daemon *daemon, struct lab_choice *ret)
{
    if (daemon->kind == LAB_AGENT || daemon->kind == LAB_KEEPER)
        pick_host_daemons(lab, daemon, ret);
    else if (process_state(&daemon->process) != PROCESS_RUNS)
        lab__choose_daemon(ret, daemon);
}

static enum status pick(const struct lab *lab, const struct lab_choice *choice,
                        struct lab_choice *ret, struct err *err)
{
    enum status status = refuse_running(choice, err);
    if (status)
        return status;
    for (size_t i = 0; i < choice->count; i++)
        VEC_PUSH(ret->servers, ret->count, ret->capacity, choice->servers[i]);
    for (size_t i = 0; i < choice->daemon_count; i++)
        pick_daemon(lab, choice->daemons[i], ret);
    if (ret->count + ret->daemon_count > 0)
        return ST_OK;
    const struct lab_daemon *daemon = choice->daemons[0];
    err_set(err, ST_CONFLICT, "%s runs (pid %d); nothing was restarted", daemon->name,
            (int)daemon->process.pid);
    return err_hint(err, "holdfast lab kill %s first", daemon->name);
}

/* What is left of those chosen. */
static enum status end_rest(struct lab *lab, const struct lab_choice *choice, struct err *err)
{
    enum status status = lab_kill(lab, choice, err);
    return status == ST_NOT_FOUND ? ST_OK : status;
}

static enum status start_network(struct lab *lab, const struct lab_choice *choice,
                                 const struct lab_progress *progress, struct err *err)
{
    AUTO(lab_choice_release) struct lab_choice network = {0};
    enum status status = ST_OK;
    for (size_t i = 0; i < choice->daemon_count && !status; i++)
        if (choice->daemons[i]->kind == LAB_WAN) {
            lab__choose_daemon(&network, choice->daemons[i]);
            status = lab__daemon_start(lab, choice->daemons[i], err);
        }
    return status ? status : lab__daemons_wait(lab, &network, false, progress, err);
}

/* The network before all that is in it; daemons before servers, which on a host come up under the
 * eyes of their agent. */
static enum status start_all(struct lab *lab, const struct lab_choice *choice,
                             const struct lab_progress *progress, struct err *err)
{
    enum status status = start_network(lab, choice, progress, err);
    for (size_t i = 0; i < choice->daemon_count && !status; i++)
        if (choice->daemons[i]->kind != LAB_AGENT && choice->daemons[i]->kind != LAB_WAN)
            status = lab__daemon_start(lab, choice->daemons[i], err);
    for (size_t i = 0; i < choice->count && !status; i++)
        status = lab__server_start(lab, choice->servers[i], err);
    enum status stored = lab__store(lab, status ? NULL : err);
    return status ? status : stored;
}

static const char *follow_sql(enum lab_role role)
{
    if (role == LAB_ROLE_REPLICA)
        return "SET GLOBAL rpl_semi_sync_slave_enabled=1; START SLAVE";
    return role == LAB_ROLE_RELAY ? "START SLAVE" : NULL;
}

/* One that was killed in the middle of CHANGE MASTER does not start replication: that is for
 * whoever mends the fleet, the lab did its part. */
static void say_outcome(const struct lab_server *server, const struct lab_view *view,
                        const struct sql_call *call, const struct lab_progress *progress)
{
    if (call->sql && call->status)
        lab__say(progress, "%s runs again (pid %d), but does not replicate: %s", server->name,
                 (int)server->process.pid, call->err.text);
    else if (follow_sql(view->role))
        lab__say(progress, "%s runs again (pid %d), %s of %s", server->name,
                 (int)server->process.pid, lab_role_name(view->role),
                 view->source ? view->source->name : "a server that is not of this lab");
    else
        lab__say(progress, "%s runs again (pid %d), read-only: it follows nobody", server->name,
                 (int)server->process.pid);
}

static void follow_again(const struct lab *lab, const struct lab_choice *choice,
                         struct lab_links *links, const struct lab_progress *progress)
{
    AUTO_FREE struct lab_view *views = mem_zalloc(lab->server_count * sizeof(*views));
    lab_observe(lab, STEP_MS, views);
    for (size_t i = 0; i < links->count; i++)
        links->calls[i].sql = follow_sql(views[choice->servers[i] - lab->servers].role);
    struct err ignored = ERR_INIT;
    status_ignore(lab__links_run(links, STEP_MS, &ignored), "said of each server");
    for (size_t i = 0; i < links->count; i++)
        say_outcome(choice->servers[i], &views[choice->servers[i] - lab->servers], &links->calls[i],
                    progress);
}

/* Another command may have restarted servers after 'lab' was read. */
static enum status refresh(struct lab *lab, struct err *err)
{
    AUTO(lab_freep) struct lab *now = NULL;
    enum status status = lab_open(lab->dir, &now, err);
    if (status)
        return status;
    if (now->server_count != lab->server_count || now->port != lab->port)
        return err_set(err, ST_CONFLICT, "%s now holds another lab", lab->dir);
    for (size_t i = 0; i < lab->server_count; i++)
        lab->servers[i].process = now->servers[i].process;
    for (size_t i = 0; i < lab->daemon_count && i < now->daemon_count; i++)
        lab->daemons[i].process = now->daemons[i].process;
    return ST_OK;
}

static void say_daemons(const struct lab_choice *choice, const struct lab_progress *progress)
{
    for (size_t i = 0; i < choice->daemon_count; i++)
        lab__say(progress, "%s runs again (pid %d)", choice->daemons[i]->name,
                 (int)choice->daemons[i]->process.pid);
}

static enum status start_and_wait(struct lab *lab, const struct lab_choice *choice,
                                  const struct lab_progress *progress, struct lab_links *ret,
                                  struct err *err)
{
    enum status status = end_rest(lab, choice, err);
    if (lab->has_daemons && !status)
        status = lab__evidence_keep(lab, choice, err);
    status = status ? status : start_all(lab, choice, progress, err);
    status = status ? status : lab__daemons_wait(lab, choice, false, progress, err);
    return status ? status : lab__servers_connect(lab, choice, progress, ret, err);
}

enum status lab_restart(struct lab *lab, const struct lab_choice *choice, bool is_bare,
                        const struct lab_progress *progress, struct err *err)
{
    AUTO_CLOSE int lock = -1;
    AUTO(lab__links_release) struct lab_links links = {0};
    AUTO(lab_choice_release) struct lab_choice picked = {0};
    enum status status = lab__lock(lab->dir, &lock, err);
    status = status ? status : refresh(lab, err);
    status = status ? status : lab__daemons_find_programs(lab, err);
    status = status ? status : pick(lab, choice, &picked, err);
    status = status ? status : start_and_wait(lab, &picked, progress, &links, err);
    if (status)
        return status;
    say_daemons(&picked, progress);
    if (!is_bare && !lab->has_daemons)
        follow_again(lab, &picked, &links, progress);
    for (size_t i = 0; i < picked.count && (is_bare || lab->has_daemons); i++)
        lab__say(progress, "%s runs again (pid %d), as its configuration says",
                 picked.servers[i]->name, (int)picked.servers[i]->process.pid);
    return ST_OK;
}
