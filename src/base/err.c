/* SPDX-License-Identifier: Apache-2.0
 * Errors as values; see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status err_set(struct err *err, enum status status, const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    err->hint[0] = '\0';
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return status;
}

static enum status status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
        return ST_NOT_FOUND;
    case EEXIST:
        return ST_EXISTS;
    case EACCES:
    case EPERM:
        return ST_DENIED;
    case ENOSPC:
    case EDQUOT:
        return ST_FULL;
    case ETIMEDOUT:
        return ST_TIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ST_UNREACHABLE;
    default:
        return ST_IO;
    }
}

enum status err_set_errno(struct err *err, int error, const char *verb, const char *object)
{
    char reason[128] = "";
    const char *text = strerror_r(error, reason, sizeof(reason));
    return err_set(err, status_of_errno(error), "%s '%s': %s", verb, object, text);
}

enum status err_wrap(struct err *err, const char *format, ...)
{
    if (!err)
        return ST_INTERNAL;
    char context[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    size_t used = strlen(context), kept = strlen(err->text);
    if (used > sizeof(err->text) - 3)
        used = sizeof(err->text) - 3;
    if (kept > sizeof(err->text) - 3 - used)
        kept = sizeof(err->text) - 3 - used;
    memmove(err->text + used + 2, err->text, kept);
    memcpy(err->text, context, used);
    memcpy(err->text + used, ": ", 2);
    err->text[used + 2 + kept] = '\0';
    return err->status;
}

enum status err_hint(struct err *err, const char *format, ...)
{
    if (!err)
        return ST_INTERNAL;
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    return err->status;
}
