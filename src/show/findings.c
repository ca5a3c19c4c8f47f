/* SPDX-License-Identifier: Apache-2.0
 * Findings in groups; see findings.h. */
#include "show/findings.h"

#include "base/mem.h"
#include "base/scope.h"

#include <string.h>

static void print_heading(const struct finding *finding, FILE *out)
{
    static const char *const names[] = {"info", "warning", "NO-GO"};
    fprintf(out, "%s %s: %s%s\n", names[finding->severity], finding->check,
            readiness_check_title(finding->check),
            finding->is_accepted ? " (accepted by policy.accept)" : "");
}

static bool is_same_group(const struct finding *a, const struct finding *b)
{
    return strcmp(a->check, b->check) == 0 && a->severity == b->severity;
}

/* One group: all findings of a check, each with its place; then what to do, once if it is always
 * the same. */
static void print_group(const struct finding *const *group, size_t count, FILE *out)
{
    print_heading(group[0], out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "    %s%s%s: %s\n", group[i]->shard ? group[i]->shard : "fleet",
                group[i]->server ? " " : "", group[i]->server ? group[i]->server : "",
                group[i]->problem);
        bool is_last = i + 1 == count || strcmp(group[i]->advice, group[i + 1]->advice) != 0;
        if (is_last)
            fprintf(out, "      do: %s\n", group[i]->advice);
    }
}

void findings_print(const struct readiness *readiness, enum severity least, FILE *out)
{
    AUTO_FREE const struct finding **group = mem_zalloc((readiness->count + 1) * sizeof(*group));
    AUTO_FREE bool *is_printed = mem_zalloc(readiness->count + 1);
    for (size_t i = 0; i < readiness->count; i++) {
        size_t count = 0;
        for (size_t j = i; j < readiness->count && !is_printed[i]; j++) {
            if (readiness->findings[j].severity < least)
                continue;
            if (!is_same_group(&readiness->findings[i], &readiness->findings[j]))
                continue;
            group[count++] = &readiness->findings[j];
            is_printed[j] = j > i;
        }
        if (count)
            print_group(group, count, out);
    }
}
