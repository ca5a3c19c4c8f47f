/* SPDX-License-Identifier: Apache-2.0
 *
 * 'holdfast fleet grants', and the table of all commands that look at a fleet without changing it.
 * The others are in check.c, status.c, readiness.c and discover.c. */
#include "cli/fleet.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "fleet/grants.h"
#include "store/store.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum { GRANT_HOST_MAX = 255 };

/* --- What these commands share ---------------------------------------------------------------- */

static enum status choose_named(const struct fleet_scene *scene, const struct cli_args *args,
                                bool *is_chosen, struct err *err)
{
    for (size_t i = 0; i < cli_text_count(args, "--shard"); i++) {
        const char *name = cli_text_at(args, "--shard", i);
        const struct inventory_shard *shard = inventory_find_shard(scene->fleet, name);
        if (!shard) {
            err_set(err, ST_INVALID, "there is no shard '%s' in %s", name, scene->path);
            return err_hint(err, "holdfast status lists the shards");
        }
        is_chosen[shard->index] = true;
    }
    return ST_OK;
}

static enum status choose_deployed(const struct fleet_scene *scene, const struct cli_args *args,
                                   bool *is_chosen, struct err *err)
{
    for (size_t i = 0; i < cli_text_count(args, "--deployment"); i++) {
        const char *name = cli_text_at(args, "--deployment", i);
        bool is_there = false;
        for (size_t j = 0; j < scene->fleet->shard_count; j++) {
            bool is_in = strcmp(scene->fleet->shards[j].deployment, name) == 0;
            is_there = is_there || is_in;
            is_chosen[j] = is_chosen[j] || is_in;
        }
        if (!is_there)
            return err_set(err, ST_INVALID, "there is no deployment '%s' in %s", name, scene->path);
    }
    return ST_OK;
}

/* Without options all; in the order of the fleet file. */
static enum status choose_shards(struct fleet_scene *scene, const struct cli_args *args,
                                 bool has_shard_option, struct err *err)
{
    size_t count = scene->fleet->shard_count;
    AUTO_FREE bool *is_chosen = mem_zalloc(count * sizeof(*is_chosen));
    enum status status = ST_OK;
    bool are_all = !has_shard_option || (cli_text_count(args, "--shard") == 0 &&
                                         cli_text_count(args, "--deployment") == 0);
    if (!are_all)
        status = choose_named(scene, args, is_chosen, err);
    if (!are_all && !status)
        status = choose_deployed(scene, args, is_chosen, err);
    scene->shards = mem_zalloc(count * sizeof(*scene->shards));
    for (size_t i = 0; i < count && !status; i++)
        if (are_all || is_chosen[i])
            scene->shards[scene->shard_count++] = &scene->fleet->shards[i];
    return status;
}

/* Looking must not make a store where there is none (ST_NOT_FOUND): nothing was ever moved.
 * Whatever else keeps it from being seen may hide one. */
static enum status find_store(const char *url, struct err *err)
{
    static const char scheme[] = "file://";
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return ST_OK;
    AUTO_FREE char *file = mem_printf("%s/store.db", url + sizeof(scheme) - 1);
    if (access(file, F_OK) == 0)
        return ST_OK;
    if (errno == ENOENT)
        return ST_NOT_FOUND;
    err_set_errno(err, errno, "look for", file);
    return err_wrap(err, "store '%s'", url);
}

void fleet_scene_open_store(struct fleet_scene *scene)
{
    enum status status = find_store(scene->fleet->store_url, &scene->store_err);
    if (status)
        return;
    status_ignore(inventory_open_store(scene->fleet,
                                       store_url_deadline(scene->fleet->store_url, scene->patience),
                                       &scene->store, &scene->store_err),
                  "the servers can be looked at all the same; the command says it");
}

enum status fleet_scene_load(struct fleet_scene *scene, const struct cli_args *args,
                             bool has_shard_option, struct err *err)
{
    scene->path = inventory_path(cli_text(args, "--fleet"));
    enum status status = inventory_load(scene->path, &scene->fleet, err);
    return status ? status : choose_shards(scene, args, has_shard_option, err);
}

enum status fleet_scene_open(struct fleet_scene *scene, const struct cli_args *args,
                             bool has_shard_option, struct err *err)
{
    enum status status = fleet_scene_load(scene, args, has_shard_option, err);
    if (!status)
        fleet_scene_open_store(scene);
    return status;
}

const char **fleet_scene_names(const struct fleet_scene *scene)
{
    const char **names = mem_zalloc((scene->shard_count + 1) * sizeof(*names));
    for (size_t i = 0; i < scene->shard_count; i++)
        names[i] = scene->shards[i]->name;
    return names;
}

void fleet_scene_release(struct fleet_scene *scene)
{
    store_close(scene->store);
    free(scene->shards);
    inventory_free(scene->fleet);
}

/* --- fleet grants ----------------------------------------------------------------------------- */

static json_t *grants_json(const struct inventory *fleet, const char *sql)
{
    static const char *const kinds[ACCOUNT_KINDS] = {"control", "replication", "probe"};
    json_t *list = json_array();
    for (size_t i = 0; i < grant_count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s?, s:s, s:s, s:b, s:s}", "account", kinds[grants[i].account],
                            "user", grants_account(fleet, grants[i].account)->user, "privilege",
                            grants[i].privilege, "on", grants[i].scope, "optional",
                            (int)grants[i].is_optional, "why", grants[i].why));
    return json_pack("{s:s, s:o}", "sql", sql, "grants", list);
}

/* Without a fleet file, and without one being asked for, with the usual names. */
static enum status run_grants(const struct cli_args *args, struct err *err)
{
    AUTO(inventory_freep) struct inventory *fleet = NULL;
    AUTO(buf_release) struct buf sql = {0};
    bool with_passwords = cli_flag(args, "--with-passwords");
    const char *path = inventory_path(cli_text(args, "--fleet"));
    const char *host = cli_text(args, "--host");
    if (host && strlen(host) > GRANT_HOST_MAX)
        return err_set(err, ST_INVALID, "--host is longer than %d characters", GRANT_HOST_MAX);
    enum status status = inventory_load(path, &fleet, err);
    if (status == ST_NOT_FOUND && !cli_text(args, "--fleet") && !with_passwords) {
        *err = (struct err)ERR_INIT;
        fleet = inventory_new();
    } else if (status) {
        return status;
    }
    grants_write_sql(fleet, host ? host : "%", with_passwords, &sql);
    if (cli_flag(args, "--json")) {
        json_t *json = grants_json(fleet, buf_text(&sql));
        json_dumpf(json, stdout, JSON_INDENT(2));
        puts("");
        json_decref(json);
    } else {
        fputs(buf_text(&sql), stdout);
    }
    return ST_OK;
}

/* --- The table -------------------------------------------------------------------------------- */

#define FLEET_OPTION                                                                               \
    {                                                                                              \
        .name = "--fleet", .kind = OPTION_TEXT, .value = "FILE",                                   \
        .help = "the fleet file; else $HOLDFAST_FLEET, else holdfast.yaml"                         \
    }
#define JSON_OPTION                                                                                \
    {                                                                                              \
        .name = "--json", .kind = OPTION_FLAG, .help = "print JSON"                                \
    }
#define DIRECT_OPTION                                                                              \
    {                                                                                              \
        .name = "--direct", .kind = OPTION_FLAG, .help = "look by itself, ask no conductor"        \
    }
#define SHARD_OPTIONS                                                                              \
    {.name = "--shard",                                                                            \
     .kind = OPTION_TEXT,                                                                          \
     .value = "NAME",                                                                              \
     .help = "only this shard; may be repeated",                                                   \
     .is_repeated = true},                                                                         \
    {                                                                                              \
        .name = "--deployment", .kind = OPTION_TEXT, .value = "NAME",                              \
        .help = "only the shards of this deployment; may be repeated", .is_repeated = true         \
    }

static const struct cli_option check_options[] = {FLEET_OPTION, JSON_OPTION, {0}};
static const struct cli_option status_options[] = {
    FLEET_OPTION,
    SHARD_OPTIONS,
    {.name = "--watch", .kind = OPTION_FLAG, .help = "look again and again, until Ctrl-C"},
    {.name = "--interval",
     .kind = OPTION_NUMBER,
     .value = "SECONDS",
     .help = "how often with --watch (2)",
     .minimum = 1,
     .maximum = 3600},
    DIRECT_OPTION,
    JSON_OPTION,
    {0},
};

static const struct cli_option grants_options[] = {
    FLEET_OPTION,
    {.name = "--host",
     .kind = OPTION_TEXT,
     .value = "HOST",
     .help = "where the accounts may log in from, as in CREATE USER; % if not given"},
    {.name = "--with-passwords",
     .kind = OPTION_FLAG,
     .help = "print the passwords that the fleet file points to; without, a placeholder"},
    JSON_OPTION,
    {0},
};

static const struct cli_option readiness_options[] = {
    FLEET_OPTION,
    {.name = "--to",
     .kind = OPTION_TEXT,
     .value = "REGION",
     .help = "as a move to this region needs it; else to where each shard's primary is not"},
    SHARD_OPTIONS,
    DIRECT_OPTION,
    JSON_OPTION,
    {0},
};

static const struct cli_option converge_options[] = {
    FLEET_OPTION,
    SHARD_OPTIONS,
    {.name = "--dry-run", .kind = OPTION_FLAG, .help = "only show what would be done"},
    {.name = "--reason",
     .kind = OPTION_TEXT,
     .value = "TEXT",
     .help = "what for; kept in the journal"},
    {.name = "--yes", .kind = OPTION_FLAG, .help = "go without asking"},
    JSON_OPTION,
    {0},
};

static const struct cli_option discover_options[] = {
    {.name = "--user",
     .kind = OPTION_TEXT,
     .value = "USER",
     .help = "Holdfast's account at all servers; holdfast if not given"},
    {.name = "--password-file",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .help = "holds its password; holdfast.password if not given"},
    {.name = "--password-env",
     .kind = OPTION_TEXT,
     .value = "NAME",
     .help = "the environment variable with its password, instead of a file"},
    {.name = "--tls-ca",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .help = "connect under TLS to servers whose certificates this authority signed (PEM)"},
    {.name = "--tls-cert",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .help = "our own certificate, where the account requires one; with --tls-key"},
    {.name = "--tls-key", .kind = OPTION_TEXT, .value = "FILE", .help = "its key"},
    {.name = "--regions",
     .kind = OPTION_TEXT,
     .value = "HOME,OTHER",
     .help = "names for the two regions; west,east if not given"},
    {.name = "--store",
     .kind = OPTION_TEXT,
     .value = "URL",
     .help = "the coordination store; file:///var/lib/holdfast if not given"},
    {.name = "--fleet",
     .kind = OPTION_TEXT,
     .value = "FILE",
     .help = "write this file, which must not exist, instead of standard output"},
    JSON_OPTION,
    {0},
};

const struct cli_command fleet_commands[] = {
    {.path = "status",
     .operands = "",
     .summary = "Show each shard: home, primary, lag, semi-sync, state",
     .details =
         "One line a shard. LAG is how long the relay (the server of the other region that\n"
         "replicates from the primary) took to have everything the primary had. SEMI-SYNC is how\n"
         "many replicas acknowledge the primary's writes. STATE is serving unless a run is moving\n"
         "the shard or left it half-way. Lines with ! say what is not as it should be; whether a\n"
         "move would work is the business of 'holdfast readiness'. With --watch and --json: a\n"
         "document a line. Exit status 3 when a shard has no server, or several, that accept "
         "writes,\n"
         "or is in the middle of a move that nobody goes on with. When the fleet file names\n"
         "conductors, they are asked, and the last line says which one answered, and how old its\n"
         "look is; when none answers, or with --direct, the servers are looked at from here.",
     .options = status_options,
     .run = fleet_status},
    {.path = "readiness",
     .operands = "",
     .summary = "Tell whether a switchover would work now, and what to mend if not",
     .details =
         "Looks at every server and changes nothing. Findings are no-go (a switchover refuses),\n"
         "warning, or info; each says what to do. docs/readiness.md explains every check;\n"
         "policy.accept in the fleet file turns no-gos into warnings. The last line is 'go' or\n"
         "'NO-GO: N findings'. Exit status 0 when it is a go, 3 when not. When the fleet file "
         "names\n"
         "conductors, they are asked, unless --to or --direct is given.",
     .options = readiness_options,
     .run = fleet_readiness},
    {.path = "fleet check",
     .operands = "",
     .summary = "Check the fleet file, and that every server and the store let Holdfast in",
     .options = check_options,
     .run = fleet_check},
    {.path = "fleet converge",
     .operands = "",
     .summary = "Give each server the settings of its role again, such as after a restart",
     .details =
         "Shows what would be done, asks, and does it: replication points at the right server and\n"
         "runs, replicas of a region acknowledge, nobody else waits for acknowledgements, and a\n"
         "primary that came back read-only accepts writes again if the store knows it, no other\n"
         "server of the shard accepts writes, and none has anything that it lacks. What could "
         "lose\n"
         "a write is not done but said. Exit status 3 when something is left to do.",
     .options = converge_options,
     .run = fleet_converge},
    {.path = "fleet discover",
     .operands = "HOST:PORT",
     .summary = "Write a first fleet file from a running primary, to standard output",
     .details =
         "Finds the replicas of the server, and theirs, by what they report (report_host) and\n"
         "by their connections. Guesses the regions: the primary's acknowledging replicas are\n"
         "in its region, the others and all that is behind them in the other one. The comments in\n"
         "the file say what to check.",
     .options = discover_options,
     .run = fleet_discover},
    {.path = "fleet grants",
     .operands = "",
     .summary = "Print the SQL that creates Holdfast's accounts and schema",
     .details =
         "The least privileges that Holdfast's account, replication and the probe need. Run it on\n"
         "each shard's primary:\n"
         "  holdfast fleet grants --with-passwords | mariadb -h PRIMARY -u root -p",
     .options = grants_options,
     .run = run_grants},
    {0},
};
