/* SPDX-License-Identifier: Apache-2.0
 * What systemd does on a host. The keeper: the agent is started again at once when it dies; when it
 * stays away for longer than a TTL, nobody can close the host's servers any more, and they are
 * ended. And what the servers' units do before a start: their logs are kept. */
#include "base/mem.h"
#include "base/scope.h"
#include "keeper/keeper.h"
#include "lab/internal.h"

#include <signal.h>
#include <string.h>

enum { EVIDENCE_MS = 60000 };

struct host {
    const char *dir;
    const struct lab_daemon *agent;
    const struct lab_progress *progress;
};

static void say(void *context, const char *line)
{
    const struct host *host = context;
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    lab__say(host->progress, "%s %s: %s", now, host->agent->name, line);
}

static void say_ended(struct host *host, const struct lab_server *server)
{
    AUTO_FREE char *line = mem_printf("ended %s, which has no agent", server->name);
    say(host, line);
}

/* Servers that were started since are in the lab's file. */
static void end_servers(void *context)
{
    struct host *host = context;
    AUTO(lab_freep) struct lab *lab = NULL;
    if (lab_open(host->dir, &lab, NULL))
        return; /* the next call tries again */
    for (size_t i = 0; i < lab->server_count; i++) {
        const struct lab_server *server = &lab->servers[i];
        if (server->region == host->agent->region && server->number == host->agent->number &&
            server->process.pid && !process_signal(&server->process, SIGKILL, NULL))
            say_ended(host, server);
    }
}

/* --- Before a server starts ---------------------------------------------------------------------
 */

static char *evidence_log(const struct lab *lab, const struct lab_server *server)
{
    return mem_printf("%s/log/%s.evidence.log", lab->dir, server->name);
}

static enum status keep_logs(const struct lab *lab, const struct lab_server *server,
                             struct process *ret, struct err *err)
{
    AUTO_FREE char *name = mem_printf("%s:%d", server->host, lab->port);
    AUTO_FREE char *data = lab__server_path(lab, server, "data"),
                   *into = lab__path(lab, "evidence");
    AUTO_FREE char *log = evidence_log(lab, server);
    const char *argv[] = {lab->self, "agent",  "evidence", name, "--data",
                          data,      "--into", into,       NULL};
    struct process_spec spec = {.argv = argv, .output_path = log};
    return process_spawn(&spec, ret, err);
}

static enum status wait_kept(const struct lab *lab, const struct lab_server *server,
                             const struct process *process, nsec deadline, struct err *err)
{
    int code = 0;
    AUTO(buf_release) struct buf said = {0};
    AUTO_FREE char *log = evidence_log(lab, server);
    enum status status = process_wait(process, deadline, &code, err);
    if (status || code == 0)
        return status;
    lab__last_error(log, &said);
    return err_set(err, ST_IO, "its logs could not be kept: %s", buf_text(&said));
}

enum status lab__evidence_keep(const struct lab *lab, const struct lab_choice *choice,
                               struct err *err)
{
    AUTO_FREE struct process *processes = mem_zalloc((choice->count + 1) * sizeof(*processes));
    nsec deadline = clock_deadline(EVIDENCE_MS);
    enum status status = ST_OK;
    for (size_t i = 0; i < choice->count && !status; i++)
        status = keep_logs(lab, choice->servers[i], &processes[i], err);
    for (size_t i = 0; i < choice->count && !status; i++) {
        status = wait_kept(lab, choice->servers[i], &processes[i], deadline, err);
        if (status)
            err_wrap(err, "%s", choice->servers[i]->name);
    }
    return status;
}

/* --- The keeper ---------------------------------------------------------------------------------
 */

static struct lab_daemon *find_agent(const struct lab *lab, const char *host)
{
    for (size_t i = 0; i < lab->daemon_count; i++) {
        struct lab_daemon *daemon = &lab->daemons[i];
        AUTO_FREE char *name = lab__host_name(daemon->region, daemon->number);
        if (daemon->kind == LAB_AGENT && strcmp(name, host) == 0)
            return daemon;
    }
    return NULL;
}

enum status lab_keep(const char *dir, const char *host, const struct lab_progress *progress,
                     struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    enum status status = lab_open(dir, &lab, err);
    status = status ? status : lab__daemons_find_programs(lab, err);
    if (status)
        return status;
    const struct lab_daemon *agent = find_agent(lab, host);
    if (!agent)
        return err_set(err, ST_INVALID, "the lab in %s has no agent on a host '%s'", dir, host);
    struct host kept = {dir, agent, progress};
    AUTO_FREE char *program = lab__daemon_program(lab), *fleet = lab_fleet_path(lab);
    AUTO_FREE char *log = lab__daemon_log(lab, agent), *who = lab__agent_identity(lab, agent);
    AUTO_FREE char *state = lab__agent_state(lab, agent);
    const char *argv[] = {program, "agent",   "--fleet", fleet, "--host",
                          host,    "--state", state,     NULL};
    struct keeper keeper = {.argv = argv,
                            .output_path = log,
                            .identity_path = who,
                            .grace_ms = lab->policy.ttl_ms,
                            .has_signs = true,
                            .on_away = end_servers,
                            .say = say,
                            .context = &kept};
    return keeper_run(&keeper, err);
}
