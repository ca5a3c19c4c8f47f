/* SPDX-License-Identifier: Apache-2.0
 * Allocation that does not fail, and the end of a process that found a bug in itself. */
#include "base/mem.h"

#include "base/invariant.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *pointer)
{
    if (!pointer) {
        fputs("holdfast: out of memory\n", stderr);
        abort();
    }
    return pointer;
}

enum { LARGE_BYTES = 128 * 1024 };

void mem_begin(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
}

void mem_trim(void)
{
    malloc_trim(0);
}

void *mem_zalloc(size_t size_bytes)
{
    return checked(calloc(1, size_bytes ? size_bytes : 1));
}

void *mem_grow(void *old, size_t count, size_t item_bytes)
{
    size_t size = 0;
    INVARIANT(!__builtin_mul_overflow(count, item_bytes, &size));
    return checked(realloc(old, size ? size : 1));
}

char *mem_strdup(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}

char *mem_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return checked(length < 0 ? NULL : text);
}

void invariant_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "holdfast: internal error: %s (%s:%d); please report this\n", condition, file,
            line);
    abort();
}
