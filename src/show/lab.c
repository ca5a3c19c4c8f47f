/* SPDX-License-Identifier: Apache-2.0
 * See lab.h. */
#include "show/lab.h"

#include "base/mem.h"
#include "base/scope.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const double PERCENT_PPM = 1e4;

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

static void print_daemon(const struct lab *lab, const struct lab_daemon *daemon, bool leads)
{
    AUTO_FREE char *address =
        daemon->host[0] ? mem_printf("%s:%d", daemon->host, lab->port) : mem_strdup("-");
    printf("  %-16s %-8s %-22s", daemon->name, lab_daemon_state(daemon), address);
    if (process_is_alive(&daemon->process))
        printf(" %7d%s\n", (int)daemon->process.pid, leads ? "  leads" : "");
    else
        puts("       -");
}

static bool is_told(const struct lab_cuts *cuts, size_t from, size_t to)
{
    return cuts->is_cut[from][to] && !lab_is_unplugged(cuts, from) && !lab_is_unplugged(cuts, to);
}

static void print_network(const struct lab *lab)
{
    struct lab_cuts cuts;
    lab_cuts(lab, &cuts);
    const struct lab_network *network = &lab->network;
    printf("regions are %d ms apart", network->rtt_ms);
    if (network->jitter_ms)
        printf(", up to %d ms more each way", network->jitter_ms);
    if (network->loss_ppm)
        printf(", %g %% of packets are lost", network->loss_ppm / PERCENT_PPM);
    if (network->mbit_s)
        printf(", %d Mbit/s each way", network->mbit_s);
    if (process_state(&lab->daemons[0].process) != PROCESS_RUNS)
        printf("; nobody joins them: holdfast lab restart %s", lab->daemons[0].name);
    for (size_t i = 0; i < LAB_SITES; i++)
        if (lab_is_unplugged(&cuts, i))
            printf("; %s is unplugged", lab_region_name(i));
    for (size_t i = 0; i < LAB_SITES * LAB_SITES; i++)
        if (is_told(&cuts, i / LAB_SITES, i % LAB_SITES))
            printf("; nothing goes from %s to %s", lab_region_name(i / LAB_SITES),
                   lab_region_name(i % LAB_SITES));
    puts("");
}

void show_lab(const struct lab *lab, const struct lab_view *views)
{
    AUTO_FREE char *fleet = lab_fleet_path(lab);
    printf("lab in %s: %s, network %s\nfleet file %s\n", lab->dir, lab_state_name(lab, views),
           lab->network.is_netns ? "netns" : "loopback", fleet);
    if (lab->network.is_netns)
        print_network(lab);
    printf("  %-12s %-8s %-20s %7s %7s  %s\n", "SERVER", "ROLE", "ADDRESS", "PID", "UP", "FOLLOWS");
    for (size_t i = 0; i < lab->server_count; i++)
        print_server(lab, &lab->servers[i], &views[i]);
    if (lab->daemon_count > 0)
        printf("  %-16s %-8s %-22s %7s\n", "DAEMON", "STATE", "ADDRESS", "PID");
    const struct lab_daemon *leader = lab_leader(lab);
    for (size_t i = 0; i < lab->daemon_count; i++)
        print_daemon(lab, &lab->daemons[i], &lab->daemons[i] == leader);
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

static json_t *encode_daemon(const struct lab *lab, const struct lab_daemon *daemon, bool leads)
{
    bool has_address = daemon->host[0] != '\0';
    json_t *port = has_address ? json_integer(lab->port) : json_null();
    int pid = process_is_alive(&daemon->process) ? (int)daemon->process.pid : 0;
    return json_pack("{s:s, s:s, s:s, s:s?, s:o, s:i, s:s, s:b}", "name", daemon->name, "kind",
                     lab_kind_name(daemon->kind), "region", lab_region_name(daemon->region), "host",
                     has_address ? daemon->host : NULL, "port", port, "pid", pid, "state",
                     lab_daemon_state(daemon), "leads", leads);
}

static json_t *encode_network(const struct lab *lab)
{
    if (!lab->network.is_netns)
        return NULL;
    struct lab_cuts cuts;
    lab_cuts(lab, &cuts);
    const struct lab_network *network = &lab->network;
    json_t *list = json_array();
    for (size_t i = 0; i < LAB_SITES * LAB_SITES; i++)
        if (cuts.is_cut[i / LAB_SITES][i % LAB_SITES])
            json_array_append_new(list,
                                  json_pack("{s:s, s:s}", "from", lab_region_name(i / LAB_SITES),
                                            "to", lab_region_name(i % LAB_SITES)));
    return json_pack("{s:i, s:i, s:i, s:i, s:o}", "rtt_ms", network->rtt_ms, "jitter_ms",
                     network->jitter_ms, "loss_ppm", network->loss_ppm, "mbit_s", network->mbit_s,
                     "cuts", list);
}

/* The passwords are here on purpose: tests and tools read them, the file is the caller's. */
void show_lab_json(const struct lab *lab, const struct lab_view *views)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < lab->server_count; i++)
        json_array_append_new(servers, encode_server(lab, i, &views[i]));
    json_t *daemons = lab->daemon_count > 0 ? json_array() : NULL;
    const struct lab_daemon *leader = lab_leader(lab);
    for (size_t i = 0; i < lab->daemon_count; i++)
        json_array_append_new(daemons,
                              encode_daemon(lab, &lab->daemons[i], &lab->daemons[i] == leader));
    AUTO_FREE char *fleet = lab_fleet_path(lab);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:s?, s:{s:s, s:s}, s:{s:s, s:s, s:s}, s:o, s:o*, s:o*}", "state",
        lab_state_name(lab, views), "network", lab->network.is_netns ? "netns" : "loopback", "dir",
        lab->dir, "fleet", fleet, "tls_ca", lab->is_tls ? lab->authority : NULL, "admin", "user",
        lab_account_name(LAB_ADMIN), "password", secret_reveal(&lab->passwords[LAB_ADMIN]), "app",
        "user", lab_account_name(LAB_APP), "password", secret_reveal(&lab->passwords[LAB_APP]),
        "database", lab_database_name(), "servers", servers, "daemons", daemons, "wan",
        encode_network(lab));
    json_dumpf(json, stdout, JSON_INDENT(2));
    puts("");
    json_decref(json);
}
