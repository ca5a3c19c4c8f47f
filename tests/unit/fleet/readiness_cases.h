/* SPDX-License-Identifier: Apache-2.0
 * Cases of readiness checks: a sound shard, spoiled in one way, and what is found then. Several
 * programs divide the table of checks among them, so that every check has its case in one. */
#ifndef HOLDFAST_TESTS_READINESS_CASES_H
#define HOLDFAST_TESTS_READINESS_CASES_H

#include "fleet_test.h"

#include "base/buf.h"

#define SPOIL(name) static void name(struct sample *s)

struct check_case {
    void (*spoil)(struct sample *sample);
    const char *found; /* ids, in the order found, each once; a server or not after '@' */
};

struct check_cases {
    const struct check_case *rows;
    size_t count;
};

/* Found by looking at the store or the fleet file, not at a shard: tests/system. */
static const char *const fleet_checks[] = {
    "store-unavailable", "store-member", "store-open", "run-in-progress",
    "unfinished-run",    "no-probe",     "paused",     "drained",
    "hook-missing",      "rpo-guard",    "fenced",     "unarmed",
    "store-leader",      "store-sites"};

/* All findings, as a case says them. */
static inline void found_format(const struct readiness *found, struct buf *ret)
{
    for (size_t i = 0; i < found->count; i++) {
        const struct finding *at = &found->findings[i];
        buf_printf(ret, "%s%s%s%s", i ? " " : "", at->check, at->server ? "@" : "",
                   at->server ? at->server : "");
    }
}

static inline bool check_case_passes(const struct check_case *at)
{
    struct sample sample;
    AUTO(buf_release) struct buf found = {0};
    sample_init(&sample);
    at->spoil(&sample);
    sample_check(&sample);
    found_format(&sample.found, &found);
    bool is_right = strcmp(buf_text(&found), at->found) == 0;
    if (!is_right)
        print_error("wanted '%s', found '%s'\n", at->found, buf_text(&found));
    for (size_t i = 0; i < sample.found.count; i++)
        is_right =
            is_right && sample.found.findings[i].problem[0] && sample.found.findings[i].advice[0];
    sample_release(&sample);
    return is_right;
}

static inline void assert_cases_pass(const struct check_cases *cases)
{
    size_t wrong = 0;
    for (size_t i = 0; i < cases->count; i++)
        wrong += !check_case_passes(&cases->rows[i]);
    assert_int_equal(wrong, 0);
}

static inline bool is_in_cases(const struct check_cases *cases, const char *id)
{
    size_t length = strlen(id);
    for (size_t i = 0; i < ARRAY_SIZE(fleet_checks); i++)
        if (strcmp(fleet_checks[i], id) == 0)
            return true;
    for (size_t i = 0; i < cases->count; i++) {
        const char *found = cases->rows[i].found;
        for (const char *at = strstr(found, id); at; at = strstr(at + 1, id))
            if ((at == found || at[-1] == ' ') && strchr("@ ", at[length]))
                return true;
    }
    return false;
}

/* From the first check of this program's part of the table to the one that begins the next. */
static inline void assert_cases_cover(const struct check_cases *cases, size_t first, size_t end)
{
    const char *const *ids = readiness_check_ids();
    for (size_t i = first; i < end; i++)
        if (!is_in_cases(cases, ids[i]))
            fail_msg("no case for the check '%s'", ids[i]);
}

#endif
