/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast readiness': the findings in groups, and the verdict. */
#include "api/readiness.h"

#include "base/scope.h"
#include "cli/fleet.h"
#include "cli/run.h"
#include "show/findings.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { CHECK_MS = 8000 };

static void print_json(const struct readiness *readiness, size_t shards)
{
    json_t *json = readiness_encode(readiness, shards);
    json_dumpf(json, stdout, JSON_INDENT(2));
    puts("");
    json_decref(json);
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
    AUTO_FREE char *paused = run_pause_text(scene.store);
    struct readiness_request request = {
        .fleet = scene.fleet,
        .shards = scene.shards,
        .shard_count = scene.shard_count,
        .store = scene.store,
        .store_problem = scene.store_err.status ? scene.store_err.text : NULL,
        .store_advice = scene.store_err.hint[0] ? scene.store_err.hint : NULL,
        .paused = paused,
        .to_region = to_region,
    };
    readiness_check(&request, clock_deadline(CHECK_MS), &readiness);
    bool is_go = readiness.no_go_count == 0;
    if (cli_flag(args, "--json")) {
        print_json(&readiness, scene.shard_count);
    } else {
        findings_print(&readiness, SEVERITY_INFO, stdout);
        if (is_go)
            puts("go");
        else
            printf("NO-GO: %zu finding%s\n", readiness.no_go_count,
                   readiness.no_go_count == 1 ? "" : "s");
    }
    return is_go ? ST_OK : ST_NO_GO; /* what is wrong was said */
}
