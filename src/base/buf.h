/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing text buffer, always NUL-terminated once something was added. {0} is empty.
 */
#ifndef HOLDFAST_BASE_BUF_H
#define HOLDFAST_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data; /* NULL while empty */
    size_t length, capacity;
};

void buf_release(struct buf *buf);
void buf_clear(struct buf *buf); /* empty, memory kept */
void buf_add(struct buf *buf, const char *text);
void buf_add_bytes(struct buf *buf, const void *bytes, size_t length);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
const char *buf_text(const struct buf *buf); /* "" while empty */
char *buf_take(struct buf *buf);             /* caller frees; buf is empty again; never NULL */

#endif
