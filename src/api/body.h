/* SPDX-License-Identifier: Apache-2.0
 *
 * The body of a request: one JSON object, from anybody.
 */
#ifndef HOLDFAST_API_BODY_H
#define HOLDFAST_API_BODY_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

/* ST_INVALID says where it is none; a key that comes twice is none, either. An empty body is {}. */
MUST_CHECK enum status body_parse(const char *text, size_t length, json_t **ret, struct err *err);
/* The text of a key that may be left out: then NULL. 'max' in bytes; points into 'body'. */
MUST_CHECK enum status body_text(const json_t *body, const char *key, size_t max, const char **ret,
                                 struct err *err);
/* ST_INVALID names the first key that is not in 'known' (ended by NULL). */
MUST_CHECK enum status body_check_keys(const json_t *body, const char *const *known,
                                       struct err *err);

#endif
