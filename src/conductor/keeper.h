/* SPDX-License-Identifier: Apache-2.0
 *
 * The keeper of a run: a thread that keeps the lease of the run lock alive and hears when another
 * process asks for an abort (key "run-abort/ID").
 */
#ifndef HOLDFAST_CONDUCTOR_KEEPER_H
#define HOLDFAST_CONDUCTOR_KEEPER_H

#include "base/err.h"

struct keeper;
struct run;
struct store;

struct keeper *keeper_start(struct run *run, int lease_ms);
void keeper_stop(struct keeper *keeper); /* NULL is fine */

/* The key of that request, gone again when the run is taken over or ends; the caller frees. */
char *keeper_abort_key(const char *id);
/* Ask a run of any process to abort; its keeper hears it within a fraction of a second. */
MUST_CHECK enum status keeper_request_abort(struct store *store, const char *id, struct err *err);
/* The same for somebody else, by his audit line. */
MUST_CHECK enum status keeper_request_abort_for(struct store *store, const char *id,
                                                const char *order, struct err *err);

#endif
