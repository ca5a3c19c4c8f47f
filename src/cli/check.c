/* SPDX-License-Identifier: Apache-2.0
 *
 * 'holdfast fleet check': the fleet file, whether each server lets us in, and the way into the
 * store. Whether a move would work is the business of readiness.c. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/fleet.h"
#include "fleet/observation.h"
#include "fleet/readiness.h"
#include "os/file.h"
#include "store/store.h"

#include <jansson.h>
#include <string.h>

enum { LOOK_MS = 1000 };

/* The line of the fleet file that has this word after 'accept'; 0 when it is not found. */
static int find_line(const char *text, const char *word)
{
    const char *at = strstr(text, "accept");
    at = at ? strstr(at, word) : NULL;
    int line = at ? 1 : 0;
    for (; at && at > text; at--)
        line += at[-1] == '\n';
    return line;
}

/* A word that no check has would silently accept nothing. */
static enum status check_accepted(const struct fleet_scene *scene, struct err *err)
{
    const struct inventory_policy *policy = &scene->fleet->policy;
    for (size_t i = 0; i < policy->accept_count; i++) {
        const char *id = policy->accept[i];
        if (readiness_has_check(id))
            continue;
        AUTO(buf_release) struct buf text = {0};
        struct err ignored = ERR_INIT;
        status_ignore(file_read(scene->path, INVENTORY_FILE_MAX, &text, &ignored),
                      "without it there is no line number");
        const char *nearest = cli_nearest(id, readiness_check_ids());
        err_set(err, ST_INVALID, "%s:%d: policy.accept: there is no readiness check '%s'%s%s%s",
                scene->path, find_line(buf_text(&text), id), id, nearest ? "; did you mean '" : "",
                nearest ? nearest : "", nearest ? "'?" : "");
        return err_hint(err, "docs/readiness.md lists the checks");
    }
    return ST_OK;
}

struct tally {
    size_t servers, bad, ignored; /* ignored ones are neither of the others */
};

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* Most errors of a server begin with its name, which has a column of its own here. */
static const char *error_text(const struct server_observation *at)
{
    const char *problem = server_problem(at);
    size_t length = strlen(at->server->name);
    bool is_named =
        strncmp(problem, at->server->name, length) == 0 && strncmp(problem + length, ": ", 2) == 0;
    return problem + (is_named ? length + 2 : 0);
}

static json_t *server_json(const struct shard_observation *shard,
                           const struct server_observation *at)
{
    return json_pack("{s:s, s:s, s:b, s:s, s:s?, s:s?, s:f}", "shard", shard->shard->name, "server",
                     at->server->name, "ignored", at->role == ROLE_IGNORED, "status",
                     at->status ? status_name(at->status) : "OK", "error", at->problem, "version",
                     at->status ? NULL : at->state.version, "answer_ms", at->answer_ms);
}

static struct tally show_servers(const struct fleet_observation *seen, json_t *servers)
{
    struct tally tally = {0};
    for (size_t i = 0; i < seen->count; i++) {
        const struct shard_observation *shard = &seen->shards[i];
        for (size_t j = 0; j < inventory_shard_size(shard->shard); j++) {
            const struct server_observation *at = &shard->servers[j];
            bool is_ignored = at->role == ROLE_IGNORED;
            tally.ignored += is_ignored;
            tally.servers += !is_ignored;
            tally.bad += !is_ignored && at->status != ST_OK;
            if (servers)
                json_array_append_new(servers, server_json(shard, at));
            else if (at->status)
                printf("%-12s %-22s %s%s\n", shard->shard->name, at->server->name,
                       is_ignored ? "(ignored) " : "", error_text(at));
        }
    }
    return tally;
}

/* ---- the store ---- */

/* What is wrong with the way in, or with one member's part of it; "store" has no shard's name. */
static void show_member(const struct store_member *member, json_t *members)
{
    if (members)
        json_array_append_new(members,
                              json_pack("{s:s, s:s, s:s?, s:s?}", "member", member->name, "status",
                                        member->status ? status_name(member->status) : "OK",
                                        "error", member->problem, "hint", member->advice));
    else if (member->status)
        printf("%-12s %-22s %s\n%s%s%s", "store", member->name, member->problem,
               member->advice ? "  next: " : "", member->advice ? member->advice : "",
               member->advice ? "\n" : "");
}

/* Counts members that do not serve us. What stands in everybody's way is in scene->store_err. */
static size_t check_store(struct fleet_scene *scene, json_t *members, json_t *warnings)
{
    static const char open[] = "etcd lets everybody in, though 'store' has credentials; run: "
                               "etcdctl auth enable (docs/etcd.md)";
    AUTO(store_health_release) struct store_health health = {0};
    size_t bad = 0;
    if (!scene->store)
        return 0;
    status_ignore(store_check(scene->store, store_deadline(scene->store, STORE_GLANCE), &health,
                              &scene->store_err),
                  "it is told with what else stands in the way of the store");
    for (size_t i = 0; i < health.count; i++) {
        show_member(&health.members[i], members);
        bad += health.members[i].status != ST_OK;
    }
    if (health.lets_all_in && warnings)
        json_array_append_new(warnings, json_string(open));
    else if (health.lets_all_in)
        printf("warning: %s\n", open);
    return bad;
}

/* ---- all ---- */

static void print_warnings(const struct inventory *fleet, json_t *warnings)
{
    size_t count = 0;
    const char *const *list = inventory_warnings(fleet, &count);
    for (size_t i = 0; i < count; i++) {
        if (warnings)
            json_array_append_new(warnings, json_string(list[i]));
        else
            printf("warning: %s\n", list[i]);
    }
}

enum status fleet_check(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(fleet_observation_release) struct fleet_observation seen = {0};
    enum status status = fleet_scene_open(&scene, args, false, err);
    status = status ? status : check_accepted(&scene, err);
    if (status)
        return status;
    json_t *json = NULL, *servers = NULL, *warnings = NULL, *members = NULL;
    if (cli_flag(args, "--json")) {
        json = json_pack("{s:s, s:o, s:o, s:o}", "file", scene.path, "warnings",
                         warnings = json_array(), "servers", servers = json_array(), "store",
                         members = json_array());
    }
    print_warnings(scene.fleet, warnings);
    size_t bad_members = check_store(&scene, members, warnings);
    fleet_observe(scene.fleet, scene.shards, scene.shard_count, clock_deadline(LOOK_MS), &seen);
    struct tally tally = show_servers(&seen, servers);
    bool is_good = tally.bad == 0 && bad_members == 0 && scene.store_err.status == ST_OK;
    if (json) {
        json_object_set_new(json, "ok", json_boolean(is_good));
        json_dumpf(json, stdout, JSON_INDENT(2));
        puts("");
        json_decref(json);
    } else if (is_good) {
        AUTO_FREE char *ignored =
            tally.ignored ? mem_printf(", %zu ignored", tally.ignored) : mem_strdup("");
        printf("%s: %zu shard%s, %zu server%s%s: all answer\n", scene.path, scene.shard_count,
               plural(scene.shard_count), tally.servers, plural(tally.servers), ignored);
    }
    if (scene.store_err.status) {
        *err = scene.store_err;
        return err->hint[0] ? err->status
                            : err_hint(err, "check 'store' in the fleet file, and the rights and "
                                            "space of that folder");
    }
    if (is_good)
        return ST_OK;
    if (tally.bad == 0) {
        err_set(err, ST_UNREACHABLE,
                "%s: %zu member%s of the store's etcd do%s not serve as %s should", scene.path,
                bad_members, plural(bad_members), bad_members == 1 ? "es" : "",
                bad_members == 1 ? "it" : "they");
        return err_hint(err, "mend it while the others serve; docs/etcd.md");
    }
    err_set(err, ST_UNREACHABLE, "%s: %zu of %zu servers do not answer as they should", scene.path,
            tally.bad, tally.servers);
    return err_hint(err, "accounts: holdfast fleet grants; everything else: holdfast readiness");
}
