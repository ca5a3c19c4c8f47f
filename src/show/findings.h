/* SPDX-License-Identifier: Apache-2.0
 * Findings of readiness in groups, for people: the same words wherever they appear. */
#ifndef HOLDFAST_SHOW_FINDINGS_H
#define HOLDFAST_SHOW_FINDINGS_H

#include "fleet/readiness.h"

#include <stdio.h>

/* Those at least as severe as 'least', a group for each check. */
void findings_print(const struct readiness *readiness, enum severity least, FILE *out);

#endif
