/* SPDX-License-Identifier: Apache-2.0
 *
 * What a lab consists of, and what that is now: as a table, or as JSON for tests and tools.
 */
#ifndef HOLDFAST_SHOW_LAB_H
#define HOLDFAST_SHOW_LAB_H

#include "lab/lab.h"

/* To standard output. views: one for each server. */
void show_lab(const struct lab *lab, const struct lab_view *views);
/* With the passwords: the file is the caller's. */
void show_lab_json(const struct lab *lab, const struct lab_view *views);

#endif
