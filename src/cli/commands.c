/* SPDX-License-Identifier: Apache-2.0
 * The list of all commands, one table a noun, in the order of help; and the table of the daemons.
 */
#include "agent/agent.h"
#include "agent/evidence.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "daemon/daemon.h"
#include "fleet/inventory.h"
#include "move/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    status = fault_setup(err);
    return status ? status : daemon_run(fleet, name, err);
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

enum { MIB = 1024 * 1024, TAIL_MB = 256, MAX_MB = 8192, KEEP_DAYS = 14, DAY_S = 24 * 3600 };

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

static enum status judge_server(const char *server, struct err *err)
{
    if (server[0] != '.' && !strchr(server, '/'))
        return ST_OK;
    err_set(err, ST_INVALID, "'%s' is not the name of a server", server);
    return err_hint(err, "as the fleet file has it: HOST:PORT");
}

static void say_evidence(const struct evidence *evidence, const char *server)
{
    if (!evidence->folder) {
        printf("%s has no logs to be kept\n", server);
        return;
    }
    printf("%s: %zu binary and %zu relay logs, %.1f MiB, %s %s\n", server, evidence->binary_count,
           evidence->relay_count, (double)evidence->bytes / MIB,
           evidence->is_new ? "kept in" : "are already in", evidence->folder);
    if (evidence->older_count)
        printf("%zu older binary logs are left out\n", evidence->older_count);
}

static enum status evidence_command(const struct cli_args *args, struct err *err)
{
    AUTO(evidence_release) struct evidence evidence = {0};
    const char *state = cli_text(args, "--state"), *server = cli_operand(args, 0);
    size_t folder_count = cli_text_count(args, "--logs");
    AUTO_FREE const char **folders = mem_zalloc((folder_count + 1) * sizeof(*folders));
    for (size_t i = 0; i < folder_count; i++)
        folders[i] = cli_text_at(args, "--logs", i);
    struct evidence_job job = {
        .server = server,
        .data = cli_text(args, "--data"),
        .log_folders = folders,
        .log_folder_count = folder_count,
        .into = cli_text(args, "--into"),
        .state_folder = state ? state : STATE_FOLDER,
        .tail_bytes = (int64_t)cli_number(args, "--tail-mb", TAIL_MB) * MIB,
        .max_bytes = (int64_t)cli_number(args, "--max-mb", MAX_MB) * MIB,
        .keep_s = (int64_t)cli_number(args, "--keep-days", KEEP_DAYS) * DAY_S,
    };
    enum status status = judge_server(server, err);
    if (!status && (!job.data || !job.into))
        status = err_set(err, ST_INVALID, "options --data and --into: both are needed");
    if (!status)
        status = evidence_keep(&job, &evidence, err);
    if (!status)
        say_evidence(&evidence, server);
    return status;
}

/* clang-format off */
static const struct cli_option agent_options[] = {
    {.name = "--fleet", .kind = OPTION_TEXT, .value = "FILE", .help = "the fleet file; else $HOLDFAST_FLEET, else holdfast.yaml"},
    {.name = "--host", .kind = OPTION_TEXT, .value = "NAME", .help = "which of the fleet file's hosts this is"},
    {.name = "--state", .kind = OPTION_TEXT, .value = "DIR", .help = "what outlives the agent; else " STATE_FOLDER},
    {0},
};

static const struct cli_option evidence_options[] = {
    {.name = "--data", .kind = OPTION_TEXT, .value = "DIR", .help = "the server's data folder"},
    {.name = "--into", .kind = OPTION_TEXT, .value = "DIR", .help = "where copies are kept"},
    {.name = "--logs", .kind = OPTION_TEXT, .value = "DIR", .help = "another folder with the server's logs", .is_repeated = true},
    {.name = "--state", .kind = OPTION_TEXT, .value = "DIR", .help = "of the agent: what the server had received; else " STATE_FOLDER},
    {.name = "--tail-mb", .kind = OPTION_NUMBER, .value = "MIB", .help = "of binary logs, at least, in whole files (256)", .minimum = 0, .maximum = 1 << 20},
    {.name = "--max-mb", .kind = OPTION_NUMBER, .value = "MIB", .help = "of one copy (8192)", .minimum = 1, .maximum = 1 << 20},
    {.name = "--keep-days", .kind = OPTION_NUMBER, .value = "DAYS", .help = "older copies are removed; 0: never (14)", .minimum = 0, .maximum = 36500},
    {0},
};

const struct cli_command agent_commands[] = {
    {"agent", "", "Let this host's servers serve only while its region permits it",
     "Asks a conductor of the region for permission, again and again, and closes the host's servers when it ends or one "
     "of them is revoked: read_only=1, or, when that hangs, SIGKILL. Never opens anything. Runs in the foreground and logs "
     "to standard error. SIGTERM: asks no more, and closes them when the permission that it has ends. SIGHUP: runs its "
     "program anew, and the servers notice nothing. See docs/agent.md.",
     agent_options, agent_command, false},
    {"agent evidence", "SERVER", "Keep copies of a server's logs before it starts again",
     "For the server's unit, before it starts: copies its relay logs and its newest binary logs, what they were when it "
     "died, to a folder of INTO/SERVER, on the disk when the command ends. A start may cut off or throw away what is in them. "
     "Does nothing when they are there already. Refuses while the server runs, and when it would be more than "
     "is allowed or than there is room for: then the server should not start either. See docs/agent.md.",
     evidence_options, evidence_command, false},
    {"agent close", "", "Close this host's servers now, and end",
     "For the case that no agent can be kept running: see docs/agent.md.",
     agent_options, close_command, false},
    {0},
};
/* clang-format on */

const struct cli_command *const cli_commands[] = {
    fleet_commands,  run_commands,   hook_commands,      host_commands,
    region_commands, pause_commands, conductor_commands, agent_commands,
    lab_commands,    load_commands,  help_commands,      NULL,
};
