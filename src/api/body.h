/* SPDX-License-Identifier: Apache-2.0
 *
 * The body of a request: one JSON object, from anybody.
 */
#ifndef HOLDFAST_API_BODY_H
#define HOLDFAST_API_BODY_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ST_INVALID says where it is none; a key that comes twice is none, either. An empty body is {}. */
MUST_CHECK enum status body_parse(const char *text, size_t length, json_t **ret, struct err *err);
/* The text of a key that may be left out: then NULL. 'max' in bytes; points into 'body'. */
MUST_CHECK enum status body_text(const json_t *body, const char *key, size_t max, const char **ret,
                                 struct err *err);
/* A whole number from 'low' to 'high'; *ret stays as it is when the key was left out. */
MUST_CHECK enum status body_number(const json_t *body, const char *key, int64_t low, int64_t high,
                                   int64_t *ret, struct err *err);
MUST_CHECK enum status body_flag(const json_t *body, const char *key, bool *ret, struct err *err);
/* A list of different names of at most 'max' bytes, at least one; NULL when it was left out. */
MUST_CHECK enum status body_names(const json_t *body, const char *key, size_t max,
                                  const json_t **ret, struct err *err);
/* ST_INVALID names the first key that is not in 'known' (ended by NULL). */
MUST_CHECK enum status body_check_keys(const json_t *body, const char *const *known,
                                       struct err *err);

#endif
