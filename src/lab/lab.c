/* SPDX-License-Identifier: Apache-2.0
 * What a lab consists of, by name: its folder, regions, servers, and the words that choose them.
 * Nothing here touches a process or a server. */
#include "lab/lab.h"

#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ID_PER_SHARD = 100, ID_PER_REGION = 10 };

static const char *const region_names[LAB_SITES + 1] = {"west", "east", "witness", "wan"};

static const char *const role_names[] = {
#define X(id, name) name,
    LAB_ROLES(X)
#undef X
};

const char *lab_region_name(size_t region)
{
    return region_names[region];
}

enum status lab_site(const char *name, size_t *ret, struct err *err)
{
    for (size_t i = 0; i < LAB_SITES; i++)
        if (strcmp(name, region_names[i]) == 0) {
            *ret = i;
            return ST_OK;
        }
    err_set(err, ST_INVALID, "there is no region '%s'", name);
    return err_hint(err, "regions are west and east; witness is the third site");
}

const char *lab_automatic_name(enum inventory_automatic automatic)
{
    static const char *const names[] = {INVENTORY_AUTOMATIC_TABLE(TABLE_TEXT)};
    return names[automatic];
}

enum status lab_automatic(const char *name, enum inventory_automatic *ret, struct err *err)
{
    for (int i = 0; i < INVENTORY_AUTOMATICS; i++)
        if (strcmp(name, lab_automatic_name((enum inventory_automatic)i)) == 0) {
            *ret = (enum inventory_automatic)i;
            return ST_OK;
        }
    err_set(err, ST_INVALID, "'%s' is nothing that is healed by itself", name);
    return err_hint(err, "none, host (the loss of one), or region (of one, and of a host)");
}

const char *lab_role_name(enum lab_role role)
{
    return role_names[role];
}

/* --- The folder ------------------------------------------------------------------------------- */

static char *absolute(const char *path)
{
    char here[PATH_MAX];
    if (path[0] == '/' || !getcwd(here, sizeof(here)))
        return mem_strdup(path);
    return mem_printf("%s/%s", here, path);
}

/* Paths are compared with those in command lines, so there must be one spelling of each. */
static char *canonical(const char *path)
{
    AUTO_FREE char *full = absolute(path);
    char resolved[PATH_MAX];
    if (realpath(full, resolved))
        return mem_strdup(resolved);
    size_t length = strlen(full);
    while (length > 1 && full[length - 1] == '/')
        full[--length] = '\0';
    char *slash = strrchr(full, '/');
    if (errno != ENOENT || !slash || slash == full)
        return mem_strdup(full);
    *slash = '\0'; /* what is above may be there, and go through symbolic links */
    AUTO_FREE char *above = canonical(full);
    return mem_printf("%s/%s", strcmp(above, "/") == 0 ? "" : above, slash + 1);
}

/* Option files have no way to write these, and nobody needs them. */
static bool has_odd_characters(const char *path)
{
    for (; *path; path++)
        if ((unsigned char)*path < ' ' || *path == '"' || *path == '\\')
            return true;
    return false;
}

enum status lab_folder(const char *option, char **ret_dir, struct err *err)
{
    const char *lab = getenv("HOLDFAST_LAB"), *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    AUTO_FREE char *path = NULL;
    if (option)
        path = mem_strdup(option);
    else if (lab && lab[0])
        path = mem_strdup(lab);
    else if (state && state[0] == '/')
        path = mem_printf("%s/holdfast/lab", state);
    else if (home && home[0] == '/')
        path = mem_printf("%s/.local/state/holdfast/lab", home);
    if (!path || !path[0]) {
        err_set(err, ST_INVALID, "no folder for the lab: there is no --dir and no $HOME");
        return err_hint(err, "name one: holdfast lab up --dir DIR");
    }
    if (has_odd_characters(path)) {
        err_set(err, ST_INVALID,
                "a lab cannot be in '%s': quotes, backslashes and control "
                "characters do not work in option files",
                path);
        return err_hint(err, "choose another folder with --dir");
    }
    *ret_dir = canonical(path);
    return ST_OK;
}

char *lab__path(const struct lab *lab, const char *name)
{
    return mem_printf("%s/%s", lab->dir, name);
}

char *lab__server_path(const struct lab *lab, const struct lab_server *server, const char *name)
{
    return mem_printf("%s/servers/%s/%s", lab->dir, server->name, name);
}

char *lab_fleet_path(const struct lab *lab)
{
    return lab__path(lab, "holdfast.yaml");
}

/* --- Life cycle ------------------------------------------------------------------------------- */

static struct lab_server make_server(size_t index)
{
    struct lab_server server = {
        .shard = index / LAB_SHARD_SERVERS,
        .region = index % LAB_SHARD_SERVERS / LAB_REGION_SERVERS,
        .number = (unsigned)(index % LAB_REGION_SERVERS) + 1,
    };
    server.name =
        mem_printf("s%zu-%s-%u", server.shard, region_names[server.region], server.number);
    server.server_id =
        (unsigned)(ID_PER_SHARD * (server.shard + 1) + ID_PER_REGION * (server.region + 1)) +
        server.number;
    lab__address(server.host, server.region, (unsigned)server.shard, server.number);
    return server;
}

struct lab *lab__new(const char *dir, const struct lab_shape *shape)
{
    size_t shard_count = shape->shards;
    struct lab *lab = mem_zalloc(sizeof(*lab));
    lab->dir = mem_strdup(dir);
    lab->shard_count = shard_count;
    lab->is_tls = shape->is_tls;
    lab->authority = lab__tls_path(lab, LAB_TLS_AUTHORITY ".pem");
    lab->tls = (struct sql_tls){.ca = lab->authority, .verify = true};
    lab->server_count = shard_count * LAB_SHARD_SERVERS;
    lab->servers = mem_zalloc(lab->server_count * sizeof(*lab->servers));
    for (size_t i = 0; i < lab->server_count; i++)
        lab->servers[i] = make_server(i);
    lab->has_daemons = shape->has_daemons;
    lab->policy = shape->policy;
    lab->policy.ttl_ms = lab->policy.ttl_ms ? lab->policy.ttl_ms : LAB_TTL_MS_DEFAULT;
    lab->network = shape->network;
    lab__daemons_make(lab);
    return lab;
}

void lab_free(struct lab *lab)
{
    if (!lab)
        return;
    for (size_t i = 0; i < lab->server_count; i++)
        free(lab->servers[i].name);
    for (size_t i = 0; i < LAB_ACCOUNTS; i++)
        secret_release(&lab->passwords[i]);
    for (size_t i = 0; i < lab->daemon_count; i++)
        free(lab->daemons[i].name);
    free(lab->daemons);
    free(lab->self);
    free(lab->etcd);
    free(lab->servers);
    free(lab->authority);
    free(lab->mariadbd);
    free(lab->dir);
    free(lab);
}

void lab_freep(struct lab **lab)
{
    lab_free(*lab);
}

/* --- Choosing ----------------------------------------------------------------------------------
 */

char *lab__host_name(size_t region, unsigned number)
{
    return mem_printf("%s-%u", region_names[region], number);
}

/* Its own name, its region's, or that of its host, if it is on one. */
static bool is_meant(const char *word, const char *name, size_t region, unsigned host)
{
    AUTO_FREE char *host_name = lab__host_name(region, host);
    return strcmp(word, name) == 0 || strcmp(word, region_names[region]) == 0 ||
           (host && strcmp(word, host_name) == 0);
}

static void choose_server(struct lab_choice *choice, struct lab_server *server)
{
    for (size_t i = 0; i < choice->count; i++)
        if (choice->servers[i] == server)
            return;
    VEC_PUSH(choice->servers, choice->count, choice->capacity, server);
}

void lab__choose_daemon(struct lab_choice *choice, struct lab_daemon *daemon)
{
    for (size_t i = 0; i < choice->daemon_count; i++)
        if (choice->daemons[i] == daemon)
            return;
    VEC_PUSH(choice->daemons, choice->daemon_count, choice->daemon_capacity, daemon);
}

static enum status unknown_word(const struct lab *lab, const char *word, struct err *err)
{
    const char *daemons = lab->has_daemons ? "daemons keeper-west-1, agent-west-1, "
                                             "conductor-west-1, etcd-west and the like; "
                                           : "";
    if (lab->network.is_netns)
        daemons = lab->has_daemons ? "daemons wan, keeper-west-1, agent-west-1, "
                                     "conductor-west-1, etcd-west and the like; "
                                   : "wan is the network; ";
    err_set(err, ST_INVALID, "the lab has no %s, host or region '%s'",
            lab->has_daemons ? "server, daemon" : "server", word);
    return err_hint(err,
                    "servers are s0-west-1 to s%zu-east-%d; %swest-1 is that host%s; regions are "
                    "west and east%s",
                    lab->shard_count - 1, LAB_REGION_SERVERS, daemons,
                    lab->has_daemons ? "" : " of every shard",
                    lab->has_daemons ? ", witness the third site" : "");
}

enum status lab_choose(struct lab *lab, const char *word, struct lab_choice *choice,
                       struct err *err)
{
    bool is_known = false;
    for (size_t i = 0; i < lab->daemon_count; i++) {
        struct lab_daemon *daemon = &lab->daemons[i];
        bool is_on_host = daemon->kind == LAB_KEEPER || daemon->kind == LAB_AGENT;
        if (is_meant(word, daemon->name, daemon->region, is_on_host ? daemon->number : 0)) {
            is_known = true;
            lab__choose_daemon(choice, daemon);
        }
    }
    for (size_t i = 0; i < lab->server_count; i++) {
        struct lab_server *server = &lab->servers[i];
        if (is_meant(word, server->name, server->region, server->number)) {
            is_known = true;
            choose_server(choice, server);
        }
    }
    return is_known ? ST_OK : unknown_word(lab, word, err);
}

void lab_choice_release(struct lab_choice *choice)
{
    free(choice->servers);
    free(choice->daemons);
    *choice = (struct lab_choice){0};
}

/* --- Talking to the one who waits ------------------------------------------------------------- */

void lab__say(const struct lab_progress *progress, const char *format, ...)
{
    AUTO(buf_release) struct buf line = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&line, format, args);
    va_end(args);
    if (progress && progress->say)
        progress->say(buf_text(&line));
}

enum status lab__stop_wanted(const struct lab_progress *progress, struct err *err)
{
    if (progress && progress->is_interrupted && progress->is_interrupted())
        return err_set(err, ST_ABORTED, "interrupted");
    return ST_OK;
}
