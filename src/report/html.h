/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of a run as one self-contained HTML page: style and drawings inline, no script,
 * nothing from the network. Made from the JSON that the store keeps, also of older versions;
 * whatever stands in there is shown as text. Readable with 4 and with 2,000 shards, on a phone and
 * on paper.
 */
#ifndef HOLDFAST_REPORT_HTML_H
#define HOLDFAST_REPORT_HTML_H

#include "base/buf.h"
#include "base/err.h"

/* Append the page to 'out'. ST_INVALID: the JSON is no report; nothing was appended. */
MUST_CHECK enum status report_html_format(const char *json, struct buf *out, struct err *err);

#endif
