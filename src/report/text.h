/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of a run as lines that people read on a terminal, made from its JSON. */
#ifndef HOLDFAST_REPORT_TEXT_H
#define HOLDFAST_REPORT_TEXT_H

#include "base/buf.h"

#include <stdbool.h>

/* Append the lines to 'out'; of JSON that is no report, a line that says so. With orders: who
 * ordered what. */
void report_text_format(const char *json, bool with_orders, struct buf *out);

#endif
