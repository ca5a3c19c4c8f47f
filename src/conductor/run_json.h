/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs as JSON documents, the same from the CLI and from a conductor. Pure: whether a process
 * carries a run out is said by whoever asked.
 */
#ifndef HOLDFAST_CONDUCTOR_RUN_JSON_H
#define HOLDFAST_CONDUCTOR_RUN_JSON_H

#include "conductor/run_record.h"

#include <jansson.h>

/* For a list; also of one that does not read. A new object. */
json_t *run_json(const struct run_record *record, bool alive);
/* The same with how it was ordered, and what to type next. */
json_t *run_json_whole(const struct run_record *record, bool alive);

/* What to say of a run that is not finished and that no process carries out; the caller frees. */
char *run_left_text(const struct run_record *record);

#endif
