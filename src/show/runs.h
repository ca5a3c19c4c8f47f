/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs as they are in the store, printed to standard output: for people, or one JSON document. The
 * list and one run have the same keys.
 */
#ifndef HOLDFAST_SHOW_RUNS_H
#define HOLDFAST_SHOW_RUNS_H

#include "base/err.h"

#include <stdbool.h>

struct store;

MUST_CHECK enum status runs_print_list(struct store *store, bool as_json, struct err *err);
/* What was ordered, whether a process carries it out, where its shards are now, and its report. */
MUST_CHECK enum status runs_print_one(struct store *store, const char *id, bool as_json,
                                      struct err *err);
MUST_CHECK enum status runs_print_report(struct store *store, const char *id, bool as_json,
                                         struct err *err);

/* The run that is not finished and that no process carries out, and what to type; NULL: there is
 * none, as far as can be seen. The caller frees. */
char *runs_left_text(struct store *store);

#endif
