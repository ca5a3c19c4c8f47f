/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast readiness': the findings in groups, and the verdict. */
#include "fleet/readiness.h"

#include "base/mem.h"
#include "base/scope.h"
#include "cli/fleet.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { CHECK_MS = 8000 };

static json_t *finding_json(const struct finding *finding)
{
    return json_pack("{s:s, s:s, s:b, s:s?, s:s?, s:s, s:s}", "check", finding->check, "severity",
                     severity_name(finding->severity), "accepted", (int)finding->is_accepted,
                     "shard", finding->shard, "server", finding->server, "problem",
                     finding->problem, "advice", finding->advice);
}

static void print_json(const struct readiness *readiness)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < readiness->count; i++)
        json_array_append_new(findings, finding_json(&readiness->findings[i]));
    json_t *json = json_pack("{s:b, s:I, s:I, s:o}", "go", readiness->no_go_count == 0, "no_go",
                             (json_int_t)readiness->no_go_count, "shards",
                             (json_int_t)readiness->observation.count, "findings", findings);
    json_dumpf(json, stdout, JSON_INDENT(2));
    puts("");
    json_decref(json);
}

static void print_heading(const struct finding *finding)
{
    static const char *const names[] = {"info", "warning", "NO-GO"};
    printf("%s %s: %s%s\n", names[finding->severity], finding->check,
           readiness_check_title(finding->check),
           finding->is_accepted ? " (accepted by policy.accept)" : "");
}

static bool is_same_group(const struct finding *a, const struct finding *b)
{
    return strcmp(a->check, b->check) == 0 && a->severity == b->severity;
}

/* One group: all findings of a check, each with its place; then what to do, once if it is always
 * the same. */
static void print_group(const struct finding *const *group, size_t count)
{
    print_heading(group[0]);
    for (size_t i = 0; i < count; i++) {
        printf("    %s%s%s: %s\n", group[i]->shard ? group[i]->shard : "fleet",
               group[i]->server ? " " : "", group[i]->server ? group[i]->server : "",
               group[i]->problem);
        bool is_last = i + 1 == count || strcmp(group[i]->advice, group[i + 1]->advice) != 0;
        if (is_last)
            printf("      do: %s\n", group[i]->advice);
    }
}

static void print_findings(const struct readiness *readiness)
{
    AUTO_FREE const struct finding **group = mem_zalloc((readiness->count + 1) * sizeof(*group));
    AUTO_FREE bool *is_printed = mem_zalloc(readiness->count + 1);
    for (size_t i = 0; i < readiness->count; i++) {
        size_t count = 0;
        for (size_t j = i; j < readiness->count && !is_printed[i]; j++) {
            if (!is_same_group(&readiness->findings[i], &readiness->findings[j]))
                continue;
            group[count++] = &readiness->findings[j];
            is_printed[j] = j > i;
        }
        if (count)
            print_group(group, count);
    }
}

static enum status choose_region(const struct fleet_scene *scene, const char *name, int *ret,
                                 struct err *err)
{
    size_t region = 0;
    *ret = -1;
    if (!name)
        return ST_OK;
    if (!inventory_find_region(scene->fleet, name, &region)) {
        err_set(err, ST_INVALID, "there is no region '%s' in %s", name, scene->path);
        return err_hint(err, "regions: %s, %s", scene->fleet->regions[0], scene->fleet->regions[1]);
    }
    *ret = (int)region;
    return ST_OK;
}

enum status fleet_readiness(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(readiness_release) struct readiness readiness = {0};
    int to_region = -1;
    enum status status = fleet_scene_open(&scene, args, true, err);
    status = status ? status : choose_region(&scene, cli_text(args, "--to"), &to_region, err);
    if (status)
        return status;
    struct readiness_request request = {
        .fleet = scene.fleet,
        .shards = scene.shards,
        .shard_count = scene.shard_count,
        .store = scene.store,
        .store_problem = scene.store_err.status ? scene.store_err.text : NULL,
        .to_region = to_region,
    };
    readiness_check(&request, clock_deadline(CHECK_MS), &readiness);
    bool is_go = readiness.no_go_count == 0;
    if (cli_flag(args, "--json")) {
        print_json(&readiness);
    } else {
        print_findings(&readiness);
        if (is_go)
            puts("go");
        else
            printf("NO-GO: %zu finding%s\n", readiness.no_go_count,
                   readiness.no_go_count == 1 ? "" : "s");
    }
    return is_go ? ST_OK : ST_NO_GO; /* what is wrong was said */
}
