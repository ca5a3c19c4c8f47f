/* SPDX-License-Identifier: Apache-2.0
 *
 * How statements are recognised: patterns like "KILL %n". Letters match in either case, a space
 * matches any white space. Placeholders, captured in their order:
 *   %s  a string: 'it''s', or CONVERT(0x6974 USING utf8mb4)   %w  a name
 *   %n  a number                                              %~  as little as possible
 *   %*  the rest, whatever it is (last)                       %%  a percent sign, not captured
 */
#ifndef HOLDFAST_SIM_PATTERN_H
#define HOLDFAST_SIM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

enum { PATTERN_ARGS = 8, ARG_MAX_SIZE = 128 };

/* A piece of the statement. */
struct arg {
    const char *text;
    size_t length;
};

struct args {
    struct arg items[PATTERN_ARGS];
    size_t count;
};

bool pattern_matches(const char *pattern, const char *text, struct args *ret);

/* The value of a captured string literal; false when it is too long to be sensible. */
bool arg_string(const struct arg *arg, char ret[static ARG_MAX_SIZE]);
double arg_number(const struct arg *arg);
bool arg_is(const struct arg *arg, const char *word); /* in either case */

#endif
