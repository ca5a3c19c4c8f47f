/* SPDX-License-Identifier: Apache-2.0
 * Showing the same text again and again: in the place of the one before on a terminal, which it
 * never overflows; below it elsewhere, with the time. */
#ifndef HOLDFAST_SHOW_WATCH_H
#define HOLDFAST_SHOW_WATCH_H

#include <stdbool.h>
#include <stdio.h>

/* The text for once. Lines that begin with '!' matter most: they stay when there is no room for
 * all; the first line always does. */
typedef void watch_render(void *context, FILE *out);

/* How it is shown where there is no terminal: as it is, or each with the time above it. */
enum watch_kind { WATCH_FOR_PROGRAMS, WATCH_FOR_PEOPLE };

/* Every interval_s seconds, until 'must_stop' says so. */
void watch_show(watch_render *render, void *context, enum watch_kind kind, long interval_s,
                bool (*must_stop)(void));

#endif
