/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of one writer: what became of each number it sent. Numbers are 1, 2, 3, ...; nearly
 * all are acknowledged, so only the exceptions are kept, as ranges: the memory grows with failures,
 * not with writes. Pure; one thread.
 */
#ifndef HOLDFAST_LOAD_LEDGER_H
#define HOLDFAST_LOAD_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ledger_outcome {
    LEDGER_ACKNOWLEDGED,
    LEDGER_UNKNOWN, /* sent; may or may not have happened */
    LEDGER_REFUSED, /* sent; surely did not happen */
    LEDGER_UNUSED   /* never sent */
};

struct ledger_range {
    uint64_t first, last; /* inclusive */
    enum ledger_outcome outcome;
};

struct ledger {
    uint64_t taken;        /* the highest number in use; 0: none yet */
    uint64_t acknowledged; /* counts; with the exceptions they add up to 'taken' when all is told */
    uint64_t unknown;
    struct ledger_range *exceptions; /* ascending, never touching with the same outcome */
    size_t count, capacity;
};

void ledger_release(struct ledger *ledger);
uint64_t ledger_take(struct ledger *ledger); /* the number of the next write */
void ledger_acknowledge(struct ledger *ledger, uint64_t number);
/* The newest number is given back and will be taken again; an older one becomes an exception. */
void ledger_refuse(struct ledger *ledger, uint64_t number);
void ledger_doubt(struct ledger *ledger, uint64_t number);
/* Valid once the outcome of every number is told. */
enum ledger_outcome ledger_find(const struct ledger *ledger, uint64_t number);

#endif
