/* SPDX-License-Identifier: Apache-2.0
 *
 * Text from strangers (programs, environments, servers) made fit for terminals, logs, JSON and
 * pages: valid UTF-8 in which nothing moves a cursor, rings, or turns the direction of writing.
 */
#ifndef HOLDFAST_BASE_TEXT_H
#define HOLDFAST_BASE_TEXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

#define TEXT_REPLACED "\xef\xbf\xbd" /* U+FFFD */

/* How many of the bytes at 'at' belong together: a character, or one byte that is none. It may be
 * shown when it is a character that does nothing; newline and tab may. left > 0. */
size_t text_next(const unsigned char *at, size_t left, bool *ret_is_shown);

/* Append with TEXT_REPLACED in the place of each that must not be shown. */
void text_add_clean(struct buf *out, const void *bytes, size_t length);

/* The same in place of newlines and tabs, too; the caller frees. */
char *text_clean_line(const char *text);

#endif
