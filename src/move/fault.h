/* SPDX-License-Identifier: Apache-2.0
 *
 * Crash points for tests: HOLDFAST_FAULT="CALL:MOMENT=ACTION[;...]" makes something happen at the
 * first passage of one point of a move. Not set in production: then a point costs one branch.
 *
 * CALL is a name of calls.h, MOMENT 'before', 'sent' (the packet left, nothing was read) or
 * 'after'. ACTION: 'kill' (SIGKILL to itself), 'stop' (SIGSTOP), 'int' (SIGINT, an operator's
 * Ctrl-C), 'run:COMMAND' (by sh, waited for); for store writes also 'busy', 'full', 'fail',
 * 'unknown-done', 'unknown-lost'. HOLDFAST_FAULT_TRACE=FILE appends each point that is passed.
 */
#ifndef HOLDFAST_MOVE_FAULT_H
#define HOLDFAST_MOVE_FAULT_H

#include "base/err.h"
#include "base/table.h"
#include "move/calls.h"

#define FAULT_MOMENT_TABLE(X)                                                                      \
    X(FAULT_BEFORE, "before")                                                                      \
    X(FAULT_SENT, "sent")                                                                          \
    X(FAULT_AFTER, "after")

enum fault_moment { FAULT_MOMENT_TABLE(TABLE_ID) FAULT_MOMENTS };

/* What a store write shall pretend; FAULT_NONE does nothing. */
enum fault_effect {
    FAULT_NONE,
    FAULT_BUSY,
    FAULT_FULL,
    FAULT_FAIL,
    FAULT_UNKNOWN_DONE,
    FAULT_UNKNOWN_LOST
};

/* Read the environment. ST_INVALID names what it does not understand. */
MUST_CHECK enum status fault_setup(struct err *err);

/* Pass a point. Does the action of the first fault that is set for it, once. */
enum fault_effect fault_point(enum call call, enum fault_moment moment);

/* The status that a store would have given, with a text that says it was injected. */
enum status fault_status(enum fault_effect effect, struct err *err);

const char *fault_moment_name(enum fault_moment moment);
/* Does this call have this moment? (A store write has no 'sent'.) */
bool fault_has_moment(enum call call, enum fault_moment moment);

#endif
