/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast readiness': the findings in groups, and the verdict. */
#include "api/readiness.h"

#include "api/client.h"
#include "base/scope.h"
#include "cli/fleet.h"
#include "cli/run.h"
#include "show/findings.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { MAX_AGE_MS = 120000, CHECK_MS = 8000 };

/* What is shown, and whose look it is. */
struct outcome {
    struct readiness readiness;
    struct client_answer answer; /* its conductor is NULL: our own look */
};

static void outcome_release(struct outcome *outcome)
{
    readiness_release(&outcome->readiness);
    client_answer_release(&outcome->answer);
}

static void print_json(const struct outcome *outcome, size_t shards)
{
    json_t *json = readiness_encode(&outcome->readiness, shards);
    if (outcome->answer.conductor) {
        json_object_set_new(json, "conductor", json_string(outcome->answer.conductor));
        json_object_set_new(json, "age_ms", json_integer(outcome->answer.age_ms));
    }
    json_dumpf(json, stdout, JSON_INDENT(2));
    puts("");
    json_decref(json);
}

static void print_text(const struct outcome *outcome)
{
    size_t no_goes = outcome->readiness.no_go_count;
    findings_print(&outcome->readiness, SEVERITY_INFO, stdout);
    if (outcome->answer.conductor)
        printf("as conductor %s found it %.1f s ago\n", outcome->answer.conductor,
               (double)outcome->answer.age_ms / 1e3);
    if (no_goes == 0)
        puts("go");
    else
        printf("NO-GO: %zu finding%s\n", no_goes, no_goes == 1 ? "" : "s");
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

/* What a conductor found for our shards. */
static enum status ask(const struct fleet_scene *scene, struct outcome *ret, struct err *err)
{
    AUTO_FREE const char **names = fleet_scene_names(scene);
    enum status status = client_get(scene->fleet, "/v1/readiness", MAX_AGE_MS, &ret->answer, err);
    if (!status)
        status = readiness_decode(ret->answer.json, &ret->readiness, err);
    if (status)
        client_answer_release(&ret->answer);
    else
        readiness_choose(&ret->readiness, names, scene->shard_count);
    return status;
}

static void look(struct fleet_scene *scene, int to_region, struct readiness *ret)
{
    fleet_scene_open_store(scene);
    AUTO_FREE char *paused = run_pause_text(scene->store);
    struct readiness_request request = {
        .fleet = scene->fleet,
        .shards = scene->shards,
        .shard_count = scene->shard_count,
        .store = scene->store,
        .store_problem = scene->store_err.status ? scene->store_err.text : NULL,
        .store_advice = scene->store_err.hint[0] ? scene->store_err.hint : NULL,
        .paused = paused,
        .to_region = to_region,
    };
    readiness_check(&request, clock_deadline(CHECK_MS), ret);
}

enum status fleet_readiness(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(outcome_release) struct outcome outcome = {0};
    int to_region = -1;
    struct err why = ERR_INIT;
    enum status status = fleet_scene_load(&scene, args, true, err);
    status = status ? status : choose_region(&scene, cli_text(args, "--to"), &to_region, err);
    if (status)
        return status;
    bool may_ask = scene.fleet->conductor_count > 0 && to_region < 0 && !cli_flag(args, "--direct");
    if (may_ask && ask(&scene, &outcome, &why))
        fprintf(stderr, "! %s; looked from here\n", why.text);
    if (!outcome.answer.conductor)
        look(&scene, to_region, &outcome.readiness);
    if (cli_flag(args, "--json"))
        print_json(&outcome, scene.shard_count);
    else
        print_text(&outcome);
    return outcome.readiness.no_go_count == 0 ? ST_OK : ST_NO_GO; /* what is wrong was said */
}
