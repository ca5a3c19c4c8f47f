/* SPDX-License-Identifier: Apache-2.0
 *
 * Allocation that does not fail: the process ends with a message when the system has no memory.
 * Half-done work is recovered by the next process like after any crash. Sizes that come from
 * outside must be capped by the caller first. Results are freed with free().
 */
#ifndef HOLDFAST_BASE_MEM_H
#define HOLDFAST_BASE_MEM_H

#include <stddef.h>

/* When a program begins: large pieces go back to the system as soon as they are freed. glibc would
 * learn from the first one to put them among the small ones, where every libmariadb connection's
 * 256 KB of stack, little of it used, comes to lie at another place and touches other pages. */
void mem_begin(void);
/* After much was freed: give back what small pieces took. */
void mem_trim(void);

void *mem_zalloc(size_t size_bytes);
void *mem_grow(void *old, size_t count, size_t item_bytes); /* overflow checked */
char *mem_strdup(const char *text);                         /* NULL gives NULL */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Append to a growing array: VEC_PUSH(items, count, capacity, value). */
#define VEC_PUSH(items, count, capacity, value)                                                    \
    do {                                                                                           \
        if ((count) == (capacity)) {                                                               \
            (capacity) = (capacity) ? 2 * (capacity) : 8;                                          \
            (items) = mem_grow((items), (capacity), sizeof(*(items)));                             \
        }                                                                                          \
        (items)[(count)++] = (value);                                                              \
    } while (0)

#endif
