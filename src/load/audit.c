/* SPDX-License-Identifier: Apache-2.0
 * Memory against rows; see audit.h. */
#include "load/audit.h"

#include "base/invariant.h"

/* Numbers lie within 1..taken, none of the counted ones is an exception, and there are as many
 * different ones as were acknowledged: then they are the acknowledged ones. */
bool audit_matches(const struct ledger *ledger, const struct audit_sums *sums)
{
    if (sums->rows == 0)
        return ledger->acknowledged == 0;
    return sums->lowest >= 1 && sums->highest <= ledger->taken &&
           sums->distinct - sums->exception_distinct == ledger->acknowledged &&
           sums->rows - sums->exception_rows == ledger->acknowledged;
}

void audit_exception(const struct audit *audit, uint64_t number, uint64_t copies)
{
    enum ledger_outcome outcome = ledger_find(audit->ledger, number);
    if (outcome == LEDGER_REFUSED || outcome == LEDGER_UNUSED)
        audit->sink(audit->context, LOAD_UNEXPECTED_ROW, number, copies);
    if (copies > 1)
        audit->sink(audit->context, LOAD_DUPLICATED_ROW, number, copies);
}

/* All numbers before 'until' that were not seen are absent. */
static void judge_absent(struct audit *audit, uint64_t until)
{
    uint64_t end = until <= audit->ledger->taken ? until : audit->ledger->taken + 1;
    for (uint64_t number = audit->seen + 1; number < end; number++)
        if (ledger_find(audit->ledger, number) == LEDGER_ACKNOWLEDGED)
            audit->sink(audit->context, LOAD_LOST_ROW, number, 0);
}

void audit_row(struct audit *audit, uint64_t number, uint64_t copies)
{
    INVARIANT(number > audit->seen || number == 0);
    judge_absent(audit, number);
    audit_exception(audit, number, copies);
    audit->seen = number;
}

void audit_end(struct audit *audit)
{
    judge_absent(audit, audit->ledger->taken + 1);
}
