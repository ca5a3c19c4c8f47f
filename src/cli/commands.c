/* SPDX-License-Identifier: Apache-2.0
 * The list of all commands, one table a noun, in the order of help; and the table of the daemons.
 */
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

const struct cli_command *const cli_commands[] = {
    fleet_commands, run_commands,  hook_commands, pause_commands, conductor_commands,
    lab_commands,   load_commands, help_commands, NULL,
};
