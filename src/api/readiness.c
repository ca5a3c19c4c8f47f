/* SPDX-License-Identifier: Apache-2.0
 * See readiness.h. */
#include "api/readiness.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

static json_t *finding_json(const struct finding *finding)
{
    return json_pack("{s:s, s:s, s:b, s:s?, s:s?, s:s, s:s}", "check", finding->check, "severity",
                     severity_name(finding->severity), "accepted", (int)finding->is_accepted,
                     "shard", finding->shard, "server", finding->server, "problem",
                     finding->problem, "advice", finding->advice);
}

json_t *findings_encode(const struct readiness *readiness)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < readiness->count; i++)
        json_array_append_new(findings, finding_json(&readiness->findings[i]));
    return findings;
}

json_t *readiness_encode(const struct readiness *readiness, size_t shards)
{
    return json_pack("{s:b, s:I, s:I, s:o}", "go", readiness->no_go_count == 0, "no_go",
                     (json_int_t)readiness->no_go_count, "shards", (json_int_t)shards, "findings",
                     findings_encode(readiness));
}

static const char *find_check(const char *id)
{
    const char *const *ids = readiness_check_ids();
    while (id && *ids && strcmp(*ids, id) != 0)
        ids++;
    return id ? *ids : NULL;
}

static bool read_severity(const char *word, enum severity *ret)
{
    for (unsigned i = SEVERITY_INFO; word && i <= SEVERITY_NO_GO; i++) {
        if (strcmp(word, severity_name((enum severity)i)) != 0)
            continue;
        *ret = (enum severity)i;
        return true;
    }
    return false;
}

static bool read_finding(const json_t *json, struct finding *ret)
{
    const char *problem = json_string_value(json_object_get(json, "problem"));
    const char *advice = json_string_value(json_object_get(json, "advice"));
    struct finding finding = {
        .check = find_check(json_string_value(json_object_get(json, "check"))),
        .is_accepted = json_is_true(json_object_get(json, "accepted")),
        .shard = json_string_value(json_object_get(json, "shard")),
        .server = json_string_value(json_object_get(json, "server")),
    };
    if (!finding.check || !problem || !advice ||
        !read_severity(json_string_value(json_object_get(json, "severity")), &finding.severity))
        return false;
    finding.problem = mem_strdup(problem);
    finding.advice = mem_strdup(advice);
    *ret = finding;
    return true;
}

static void count_no_goes(struct readiness *readiness)
{
    readiness->no_go_count = 0;
    for (size_t i = 0; i < readiness->count; i++)
        readiness->no_go_count += readiness->findings[i].severity == SEVERITY_NO_GO;
}

enum status readiness_decode(const json_t *json, struct readiness *ret, struct err *err)
{
    const json_t *findings = json_object_get(json, "findings");
    AUTO(readiness_release) struct readiness readiness = {0};
    if (!json_is_array(findings))
        return err_set(err, ST_INVALID, "the answer is no readiness of a fleet");
    for (size_t i = 0; i < json_array_size(findings); i++) {
        struct finding finding;
        if (!read_finding(json_array_get(findings, i), &finding))
            return err_set(err, ST_INVALID, "the answer has a finding that is not known here");
        VEC_PUSH(readiness.findings, readiness.count, readiness.capacity, finding);
    }
    count_no_goes(&readiness);
    *ret = readiness;
    readiness = (struct readiness){0};
    return ST_OK;
}

static bool is_chosen(const struct finding *finding, const char *const *names, size_t count)
{
    bool is_it = !finding->shard;
    for (size_t i = 0; i < count && !is_it; i++)
        is_it = strcmp(finding->shard, names[i]) == 0;
    return is_it;
}

void readiness_choose(struct readiness *readiness, const char *const *names, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < readiness->count; i++) {
        struct finding finding = readiness->findings[i];
        if (is_chosen(&finding, names, count)) {
            readiness->findings[kept++] = finding;
            continue;
        }
        free(finding.problem);
        free(finding.advice);
    }
    readiness->count = kept;
    count_no_goes(readiness);
}
