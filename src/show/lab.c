/* SPDX-License-Identifier: Apache-2.0
 * See lab.h. */
#include "show/lab.h"

#include "base/mem.h"
#include "base/scope.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static void print_server(const struct lab *lab, const struct lab_server *server,
                         const struct lab_view *view)
{
    AUTO_FREE char *address = mem_printf("%s:%d", server->host, lab->port);
    printf("  %-12s %-8s %-20s", server->name, lab_role_name(view->role), address);
    if (view->role == LAB_ROLE_DOWN)
        printf("       -       -");
    else
        printf(" %7d %6" PRId64 "s", (int)server->process.pid, view->uptime_s);
    if (view->source)
        printf("  %s%s", view->source->name, view->replicates ? "" : " (not replicating)");
    puts("");
}

static void print_daemon(const struct lab *lab, const struct lab_daemon *daemon)
{
    AUTO_FREE char *address =
        daemon->host[0] ? mem_printf("%s:%d", daemon->host, lab->port) : mem_strdup("-");
    printf("  %-16s %-8s %-22s", daemon->name, lab_daemon_state(daemon), address);
    if (process_is_alive(&daemon->process))
        printf(" %7d\n", (int)daemon->process.pid);
    else
        puts("       -");
}

void show_lab(const struct lab *lab, const struct lab_view *views)
{
    AUTO_FREE char *fleet = lab_fleet_path(lab);
    printf("lab in %s: %s, network loopback\nfleet file %s\n", lab->dir, lab_state_name(lab, views),
           fleet);
    printf("  %-12s %-8s %-20s %7s %7s  %s\n", "SERVER", "ROLE", "ADDRESS", "PID", "UP", "FOLLOWS");
    for (size_t i = 0; i < lab->server_count; i++)
        print_server(lab, &lab->servers[i], &views[i]);
    if (lab->has_daemons)
        printf("  %-16s %-8s %-22s %7s\n", "DAEMON", "STATE", "ADDRESS", "PID");
    for (size_t i = 0; i < lab->daemon_count; i++)
        print_daemon(lab, &lab->daemons[i]);
}

static json_t *encode_server(const struct lab *lab, size_t index, const struct lab_view *view)
{
    const struct lab_server *server = &lab->servers[index];
    AUTO_FREE char *shard = mem_printf("s%zu", server->shard);
    int pid = view->role == LAB_ROLE_DOWN ? 0 : (int)server->process.pid;
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s?, s:b, s:I}", "name", server->name,
                     "shard", shard, "region", lab_region_name(server->region), "host",
                     server->host, "port", lab->port, "pid", pid, "role", lab_role_name(view->role),
                     "source", view->source ? view->source->name : NULL, "replicates",
                     view->replicates, "uptime_s", (json_int_t)view->uptime_s);
}

static json_t *encode_daemon(const struct lab *lab, const struct lab_daemon *daemon)
{
    bool has_address = daemon->host[0] != '\0';
    json_t *port = has_address ? json_integer(lab->port) : json_null();
    int pid = process_is_alive(&daemon->process) ? (int)daemon->process.pid : 0;
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:i, s:s}", "name", daemon->name, "kind",
                     lab_kind_name(daemon->kind), "region", lab_region_name(daemon->region), "host",
                     has_address ? daemon->host : NULL, "port", port, "pid", pid, "state",
                     lab_daemon_state(daemon));
}

/* The passwords are here on purpose: tests and tools read them, the file is the caller's. */
void show_lab_json(const struct lab *lab, const struct lab_view *views)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < lab->server_count; i++)
        json_array_append_new(servers, encode_server(lab, i, &views[i]));
    json_t *daemons = lab->has_daemons ? json_array() : NULL;
    for (size_t i = 0; i < lab->daemon_count; i++)
        json_array_append_new(daemons, encode_daemon(lab, &lab->daemons[i]));
    AUTO_FREE char *fleet = lab_fleet_path(lab);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:s?, s:{s:s, s:s}, s:{s:s, s:s, s:s}, s:o, s:o*}", "state",
        lab_state_name(lab, views), "network", "loopback", "dir", lab->dir, "fleet", fleet,
        "tls_ca", lab->is_tls ? lab->authority : NULL, "admin", "user", lab_account_name(LAB_ADMIN),
        "password", secret_reveal(&lab->passwords[LAB_ADMIN]), "app", "user",
        lab_account_name(LAB_APP), "password", secret_reveal(&lab->passwords[LAB_APP]), "database",
        lab_database_name(), "servers", servers, "daemons", daemons);
    json_dumpf(json, stdout, JSON_INDENT(2));
    puts("");
    json_decref(json);
}
