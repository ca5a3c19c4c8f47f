/* SPDX-License-Identifier: Apache-2.0
 * The keeper of a host: what runs there in the place of systemd. The agent is started again at once
 * when it dies; when it stays away for longer than a TTL, nobody can close the host's servers any
 * more, and they are ended. */
#include "base/mem.h"
#include "base/scope.h"
#include "keeper/keeper.h"
#include "lab/internal.h"

#include <signal.h>
#include <string.h>

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
                            .grace_ms = LAB_TTL_MS,
                            .has_signs = true,
                            .on_away = end_servers,
                            .say = say,
                            .context = &kept};
    return keeper_run(&keeper, err);
}
