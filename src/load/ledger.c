/* SPDX-License-Identifier: Apache-2.0
 * Numbers and their outcomes; see ledger.h. */
#include "load/ledger.h"

#include "base/invariant.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void ledger_release(struct ledger *ledger)
{
    free(ledger->exceptions);
    *ledger = (struct ledger){0};
}

uint64_t ledger_take(struct ledger *ledger)
{
    return ++ledger->taken;
}

void ledger_acknowledge(struct ledger *ledger, uint64_t number)
{
    INVARIANT(number >= 1 && number <= ledger->taken);
    ledger->acknowledged++;
}

/* The place of the first exception that ends at or after 'number'. */
static size_t find_place(const struct ledger *ledger, uint64_t number)
{
    size_t low = 0, high = ledger->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ledger->exceptions[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_at(struct ledger *ledger, size_t place)
{
    struct ledger_range *at = &ledger->exceptions[place];
    ledger->count--;
    memmove(at, at + 1, (ledger->count - place) * sizeof(*at));
}

static void insert_at(struct ledger *ledger, size_t place, struct ledger_range range)
{
    VEC_PUSH(ledger->exceptions, ledger->count, ledger->capacity, range);
    struct ledger_range *at = &ledger->exceptions[place];
    memmove(at + 1, at, (ledger->count - 1 - place) * sizeof(*at));
    *at = range;
}

/* Outcomes may come in any order: two writes of one writer can be under way for a while. */
static void add_exception(struct ledger *ledger, uint64_t number, enum ledger_outcome outcome)
{
    INVARIANT(number >= 1 && number <= ledger->taken);
    size_t place = find_place(ledger, number);
    struct ledger_range *before = place > 0 ? &ledger->exceptions[place - 1] : NULL;
    struct ledger_range *after = place < ledger->count ? &ledger->exceptions[place] : NULL;
    INVARIANT(!after || after->first > number); /* told once */
    bool joins_before = before && before->last + 1 == number && before->outcome == outcome;
    bool joins_after = after && after->first == number + 1 && after->outcome == outcome;
    if (joins_before && joins_after) {
        before->last = after->last;
        remove_at(ledger, place);
    } else if (joins_before) {
        before->last = number;
    } else if (joins_after) {
        after->first = number;
    } else {
        insert_at(ledger, place, (struct ledger_range){number, number, outcome});
    }
}

void ledger_refuse(struct ledger *ledger, uint64_t number)
{
    if (number == ledger->taken)
        ledger->taken--;
    else
        add_exception(ledger, number, LEDGER_REFUSED);
}

void ledger_doubt(struct ledger *ledger, uint64_t number)
{
    ledger->unknown++;
    add_exception(ledger, number, LEDGER_UNKNOWN);
}

enum ledger_outcome ledger_find(const struct ledger *ledger, uint64_t number)
{
    if (number < 1 || number > ledger->taken)
        return LEDGER_UNUSED;
    size_t place = find_place(ledger, number);
    bool is_exception = place < ledger->count && ledger->exceptions[place].first <= number;
    return is_exception ? ledger->exceptions[place].outcome : LEDGER_ACKNOWLEDGED;
}
