/* SPDX-License-Identifier: Apache-2.0
 *
 * The comparison of what one writer remembers with what one server holds. Sums come first: they
 * prove a match without looking at rows. Only where they do not match, the rows are walked in
 * ascending order and every fault is told to a sink. Pure: no I/O.
 */
#ifndef HOLDFAST_LOAD_AUDIT_H
#define HOLDFAST_LOAD_AUDIT_H

#include "load/ledger.h"
#include "load/load.h"

/* Of one writer on one server. */
struct audit_sums {
    uint64_t rows, distinct, lowest, highest;    /* of all its numbers */
    uint64_t exception_rows, exception_distinct; /* of those that the ledger has as exceptions */
};

/* True when the server has exactly the acknowledged numbers, each once, besides exceptions. */
bool audit_matches(const struct ledger *ledger, const struct audit_sums *sums);

typedef void audit_sink(void *context, enum load_fault fault, uint64_t number, uint64_t copies);

struct audit {
    const struct ledger *ledger;
    audit_sink *sink;
    void *context;
    uint64_t seen; /* all numbers up to this one are judged */
};

/* An exception that is there: judged alone. */
void audit_exception(const struct audit *audit, uint64_t number, uint64_t copies);
/* The walk: each number that is there, ascending; then the end. */
void audit_row(struct audit *audit, uint64_t number, uint64_t copies);
void audit_end(struct audit *audit);

#endif
