/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of an HTTP request that mean something to us, as strangers send them: the path against
 * a pattern, percent-encoding, the token of an Authorization header. Pure; nothing is assumed of
 * the bytes but their NUL at the end.
 */
#ifndef HOLDFAST_WIRE_HTTP_H
#define HOLDFAST_WIRE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum {
    HTTP_PARTS_MAX = 3,   /* named parts of a pattern */
    HTTP_PART_MAX = 255,  /* bytes of what stands for one, decoded */
    HTTP_TOKEN_MIN = 16,  /* a shorter one can be guessed */
    HTTP_TOKEN_MAX = 1024 /* bytes of a token */
};

struct http_parts {
    char text[HTTP_PARTS_MAX][HTTP_PART_MAX + 1];
    size_t count;
};

/* Is 'path' (as sent, without the query) one of 'pattern', such as "/v1/runs/{id}"? A part stands
 * for one segment that is not empty. False also for what does not decode. */
bool http_path_match(const char *path, const char *pattern, struct http_parts *ret);

/* "%41" and, with plus_is_space, "+" replaced. False: a bad escape, a NUL or another control
 * character in it, or it is longer than 'capacity' - 1. */
bool http_decode(const char *text, bool plus_is_space, char *ret, size_t capacity);

/* The token of "Bearer TOKEN" (RFC 6750: any case, one or more spaces). NULL: it is none; else
 * points into 'header', *ret_length bytes. */
const char *http_bearer_find(const char *header, size_t *ret_length);
/* The same rule for a token that stands alone, as in a file. */
bool http_token_is_good(const char *token, size_t length);

#endif
