/* SPDX-License-Identifier: Apache-2.0
 * The list of all commands, one table a noun, in the order of help; and the table of the daemons.
 */
#include "agent/agent.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "daemon/daemon.h"
#include "fleet/inventory.h"

#include <stdio.h>
#include <stdlib.h>

static enum status run_conductor(const struct cli_args *args, struct err *err)
{
    AUTO(inventory_freep) struct inventory *fleet = NULL;
    const char *path = inventory_path(cli_text(args, "--fleet"));
    const char *name = cli_text(args, "--name");
    enum status status = inventory_load(path, &fleet, err);
    if (status)
        return status;
    if (!name || !inventory_find_conductor(fleet, name)) {
        if (name)
            err_set(err, ST_INVALID, "there is no conductor '%s' in %s", name, path);
        else
            err_set(err, ST_INVALID, "option --name: say which conductor this is");
        if (fleet->conductor_count == 0)
            return err_hint(err,
                            "name it there: conductors: [ { name: west-a, region: %s, listen: "
                            "\"127.0.0.1:7420\" } ]",
                            fleet->regions[0]);
        return err_hint(err, "the first one is '%s'", fleet->conductors[0].name);
    }
    log_set_level(LOG_INFO);
    return daemon_run(fleet, name, err);
}

/* For the test that holds docs/api/openapi.yaml against the table. */
static enum status list_routes(const struct cli_args *args, struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    (void)args;
    (void)err;
    daemon_list_routes(&text);
    printf("%s", buf_text(&text));
    return ST_OK;
}

static const struct cli_option conductor_options[] = {
    {.name = "--fleet",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .help = "the fleet file; else $HOLDFAST_FLEET, else holdfast.yaml"},
    {.name = "--name",
     .kind = OPTION_TEXT,
     .value = "NAME",
     .help = "which of the fleet file's conductors this is"},
    {0},
};

const struct cli_command conductor_commands[] = {
    {.path = "conductor",
     .operands = "",
     .summary = "Watch the fleet all the time, and answer over HTTP",
     .details =
         "Runs in the foreground, logs to standard error, and stops on SIGTERM. The fleet file "
         "says\nwhere each conductor listens, and who may ask; of several, one leads. See\n"
         "docs/conductor.md.",
     .options = conductor_options,
     .run = run_conductor},
    {.path = "dev routes",
     .operands = "",
     .summary = "List the routes of the conductor's API",
     .run = list_routes,
     .is_hidden = true},
    {0},
};

#define STATE_FOLDER "/var/lib/holdfast/agent"

static enum status find_host(const struct inventory *fleet, const char *path, const char *name,
                             const struct inventory_host **ret, struct err *err)
{
    const struct inventory_host *host = name ? inventory_find_host(fleet, name) : NULL;
    if (host) {
        *ret = host;
        return ST_OK;
    }
    if (name)
        err_set(err, ST_INVALID, "there is no host '%s' in %s", name, path);
    else
        err_set(err, ST_INVALID, "option --host: say which host this is");
    if (fleet->host_count == 0)
        return err_hint(err,
                        "name it there: hosts: [ { name: db-w1, region: %s, servers: "
                        "[ HOST:PORT ] } ]",
                        fleet->regions[0]);
    return err_hint(err, "the first one is '%s'", fleet->hosts[0].name);
}

static enum status find_conductors(const struct inventory *fleet, const struct inventory_host *host,
                                   const char *path, struct err *err)
{
    for (size_t i = 0; i < fleet->conductor_count; i++)
        if (fleet->conductors[i].region == host->region)
            return ST_OK;
    err_set(err, ST_INVALID, "region %s has no conductor in %s: nobody could give permission",
            fleet->regions[host->region], path);
    return err_hint(err, "conductors: [ { name: NAME, region: %s, listen: \"HOST:7420\" } ]",
                    fleet->regions[host->region]);
}

static enum status run_agent(const struct cli_args *args, bool is_only_to_close, struct err *err)
{
    AUTO(inventory_freep) struct inventory *fleet = NULL;
    const char *path = inventory_path(cli_text(args, "--fleet"));
    const char *state = cli_text(args, "--state");
    struct agent_config config = {.state_folder = state ? state : STATE_FOLDER,
                                  .is_only_to_close = is_only_to_close};
    enum status status = inventory_load(path, &fleet, err);
    if (!status)
        status = find_host(fleet, path, cli_text(args, "--host"), &config.host, err);
    if (!status && !is_only_to_close)
        status = find_conductors(fleet, config.host, path, err);
    if (status)
        return status;
    config.fleet = fleet;
    log_set_level(LOG_INFO);
    return agent_run(&config, err);
}

static enum status agent_command(const struct cli_args *args, struct err *err)
{
    return run_agent(args, false, err);
}

static enum status close_command(const struct cli_args *args, struct err *err)
{
    return run_agent(args, true, err);
}

/* clang-format off */
static const struct cli_option agent_options[] = {
    {.name = "--fleet", .kind = OPTION_TEXT, .value = "FILE", .help = "the fleet file; else $HOLDFAST_FLEET, else holdfast.yaml"},
    {.name = "--host", .kind = OPTION_TEXT, .value = "NAME", .help = "which of the fleet file's hosts this is"},
    {.name = "--state", .kind = OPTION_TEXT, .value = "DIR", .help = "what outlives the agent; else " STATE_FOLDER},
    {0},
};

const struct cli_command agent_commands[] = {
    {"agent", "", "Let this host's servers serve only while its region permits it",
     "Asks a conductor of the region for permission, again and again, and closes the host's servers when it ends or one "
     "of them is revoked: read_only=1, or, when that hangs, SIGKILL. Never opens anything. Runs in the foreground and logs "
     "to standard error. SIGTERM: asks no more, and closes them when the permission that it has ends. SIGHUP: runs its "
     "program anew, and the servers notice nothing. See docs/agent.md.",
     agent_options, agent_command, false},
    {"agent close", "", "Close this host's servers now, and end",
     "For the case that no agent can be kept running: see docs/agent.md.",
     agent_options, close_command, false},
    {0},
};
/* clang-format on */

const struct cli_command *const cli_commands[] = {
    fleet_commands, run_commands, hook_commands, pause_commands, conductor_commands,
    agent_commands, lab_commands, load_commands, help_commands,  NULL,
};
