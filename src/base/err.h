/* SPDX-License-Identifier: Apache-2.0
 *
 * An error for a human: one line that says what failed and why, and a hint that says what to do
 * next. It is a fixed-size value on the caller's stack: nothing to free. The leaf sets it, each
 * level above may wrap it with the noun it knows, the top of the task reports it once. Every
 * function here returns the status, so that "return err_set(...)" reads naturally.
 * 'err' may be NULL.
 */
#ifndef HOLDFAST_BASE_ERR_H
#define HOLDFAST_BASE_ERR_H

#include "base/status.h"

enum { ERR_TEXT_MAX = 768, ERR_HINT_MAX = 384 };

struct err {
    enum status status;
    char text[ERR_TEXT_MAX]; /* "mount volume 7: open '/x/super': No such file or directory" */
    char hint[ERR_HINT_MAX]; /* "check the path in holdfast.yaml"; may be empty */
};

/* clang-format off */
#define ERR_INIT {ST_OK, "", ""}
/* clang-format on */

/* Set status and text; clears the hint. */
enum status err_set(struct err *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Set from an errno: "verb 'object': strerror". Maps ENOENT, EEXIST, EACCES, ENOSPC, ETIMEDOUT. */
enum status err_set_errno(struct err *err, int error, const char *verb, const char *object);

/* Put "context: " before the text. Keeps status and hint; returns the status. */
enum status err_wrap(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Say what to do next. Returns the status set before. */
enum status err_hint(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
