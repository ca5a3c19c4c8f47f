/* SPDX-License-Identifier: Apache-2.0
 * The cap on simultaneous freezes: all at once would make each of them slower for its clients.
 * More than that may be made ready meanwhile, so that far servers are not waited for in between;
 * not all of them at once, because each has a probe and sessions open. */
#ifndef HOLDFAST_MOVE_GATE_H
#define HOLDFAST_MOVE_GATE_H

#include "base/clock.h"
#include "base/status.h"

#include <stdbool.h>

enum gate_place { GATE_READY, GATE_FREEZE, GATE_PLACES };

struct freeze_gate;

struct freeze_gate *freeze_gate_new(unsigned ready_cap, unsigned freeze_cap); /* both at least 1 */
void freeze_gate_free(struct freeze_gate *gate);
/* Wait for a place; false at the deadline. */
MUST_CHECK bool freeze_gate_enter(struct freeze_gate *gate, enum gate_place place, nsec deadline);
void freeze_gate_leave(struct freeze_gate *gate, enum gate_place place);

#endif
