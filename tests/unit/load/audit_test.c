/* SPDX-License-Identifier: Apache-2.0
 * The checker, checked: each planted violation must be found, and nothing else. */
#include "load/audit.h"

#include "base/buf.h"
#include "base/scope.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the above */
#include <cmocka.h>

/* Ten numbers: 4 is unknown, 7 was refused, the others are acknowledged. */
static void fill(struct ledger *ledger)
{
    for (uint64_t number = 1; number <= 10; number++)
        ledger_take(ledger);
    for (uint64_t number = 1; number <= 10; number++) {
        if (number == 4)
            ledger_doubt(ledger, number);
        else if (number == 7)
            ledger_refuse(ledger, number);
        else
            ledger_acknowledge(ledger, number);
    }
}

static void note(void *context, enum load_fault fault, uint64_t number, uint64_t copies)
{
    buf_printf(context, "%s %" PRIu64 " x%" PRIu64 ";", load_fault_name(fault), number, copies);
}

struct row {
    uint64_t number, copies;
};

struct walk {
    const char *title;
    struct row rows[12]; /* ended by copies 0 */
    const char *found;
};

static const struct walk walks[] = {
    {"exact", {{1, 1}, {2, 1}, {3, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}}, ""},
    {"unknown that happened",
     {{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}},
     ""},
    {"first lost", {{2, 1}, {3, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}}, "lost 1 x0;"},
    {"last lost", {{1, 1}, {2, 1}, {3, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}}, "lost 10 x0;"},
    {"one inside twice",
     {{1, 1}, {2, 2}, {3, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}},
     "duplicated 2 x2;"},
    {"unknown twice",
     {{1, 1}, {2, 1}, {3, 1}, {4, 3}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}},
     "duplicated 4 x3;"},
    {"refused that happened",
     {{1, 1}, {2, 1}, {3, 1}, {5, 1}, {6, 1}, {7, 1}, {8, 1}, {9, 1}, {10, 1}},
     "unexpected 7 x1;"},
    {"never sent",
     {{1, 1}, {2, 1}, {3, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}, {99, 1}},
     "unexpected 99 x1;"},
    {"number zero",
     {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 1}, {10, 1}},
     "unexpected 0 x1;"},
    {"one lost, one refused that happened",
     {{1, 1}, {2, 1}, {3, 1}, {5, 1}, {7, 1}, {8, 1}, {9, 1}, {10, 1}},
     "lost 6 x0;unexpected 7 x1;"},
    {"one lost, another twice",
     {{1, 1}, {2, 1}, {3, 2}, {5, 1}, {6, 1}, {8, 1}, {9, 1}},
     "duplicated 3 x2;lost 10 x0;"},
    {"empty",
     {{0, 0}},
     "lost 1 x0;lost 2 x0;lost 3 x0;lost 5 x0;lost 6 x0;lost 8 x0;lost 9 x0;"
     "lost 10 x0;"},
};

static struct audit_sums sums_of(const struct ledger *ledger, const struct row *rows)
{
    struct audit_sums sums = {0};
    for (; rows->copies; rows++) {
        enum ledger_outcome outcome = ledger_find(ledger, rows->number);
        bool is_exception = outcome == LEDGER_UNKNOWN || outcome == LEDGER_REFUSED;
        if (sums.rows == 0)
            sums.lowest = rows->number;
        sums.highest = rows->number;
        sums.rows += rows->copies;
        sums.distinct++;
        sums.exception_rows += is_exception ? rows->copies : 0;
        sums.exception_distinct += is_exception;
    }
    return sums;
}

static void walk_finds_exactly_what_was_planted(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    fill(&ledger);
    for (size_t i = 0; i < ARRAY_SIZE(walks); i++) {
        AUTO(buf_release) struct buf found = {0};
        struct audit audit = {.ledger = &ledger, .sink = note, .context = &found};
        for (const struct row *row = walks[i].rows; row->copies; row++)
            audit_row(&audit, row->number, row->copies);
        audit_end(&audit);
        if (strcmp(buf_text(&found), walks[i].found) != 0)
            fail_msg("%s: found '%s', not '%s'", walks[i].title, buf_text(&found), walks[i].found);
    }
}

/* Sums that match, and exceptions judged alone, must say the same as the walk. */
static void sums_match_only_where_the_walk_finds_nothing_acknowledged(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    fill(&ledger);
    for (size_t i = 0; i < ARRAY_SIZE(walks); i++) {
        AUTO(buf_release) struct buf found = {0};
        struct audit audit = {.ledger = &ledger, .sink = note, .context = &found};
        struct audit_sums sums = sums_of(&ledger, walks[i].rows);
        if (!audit_matches(&ledger, &sums)) {
            if (walks[i].found[0] == '\0')
                fail_msg("%s: sums do not match", walks[i].title);
            continue;
        }
        for (const struct row *row = walks[i].rows; row->copies; row++)
            if (ledger_find(&ledger, row->number) != LEDGER_ACKNOWLEDGED)
                audit_exception(&audit, row->number, row->copies);
        if (strcmp(buf_text(&found), walks[i].found) != 0)
            fail_msg("%s: sums match, found '%s'", walks[i].title, buf_text(&found));
    }
}

static void writer_without_acknowledgements_matches_an_empty_table(void **state UNUSED)
{
    AUTO(ledger_release) struct ledger ledger = {0};
    struct audit_sums sums = {0};
    assert_true(audit_matches(&ledger, &sums));
    ledger_doubt(&ledger, ledger_take(&ledger));
    assert_true(audit_matches(&ledger, &sums));
    ledger_acknowledge(&ledger, ledger_take(&ledger));
    assert_false(audit_matches(&ledger, &sums));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk_finds_exactly_what_was_planted),
        cmocka_unit_test(sums_match_only_where_the_walk_finds_nothing_acknowledged),
        cmocka_unit_test(writer_without_acknowledgements_matches_an_empty_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
