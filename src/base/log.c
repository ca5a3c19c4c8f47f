/* SPDX-License-Identifier: Apache-2.0
 * The log; see log.h. One write() a line, so lines of several threads never mix. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

static const struct {
    enum log_level level;
    const char *name;
} events[] = {
#define X(id, level, name) {level, name},
    LOG_EVENTS(X)
#undef X
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static _Atomic int max_level = LOG_WARN;

void log_set_level(enum log_level level)
{
    atomic_store(&max_level, (int)level);
}

static void add_value(struct buf *line, const char *value)
{
    if (value[0] && !strpbrk(value, " \"\\\n\r\t=")) {
        buf_add(line, value);
        return;
    }
    buf_add(line, "\"");
    for (const char *at = value; *at; at++) {
        if (*at == '\n' || *at == '\r')
            buf_add(line, "\\n");
        else if (*at == '"' || *at == '\\')
            buf_printf(line, "\\%c", *at);
        else
            buf_add_bytes(line, at, 1);
    }
    buf_add(line, "\"");
}

void log_event(enum log_event_id event, ...)
{
    if ((int)events[event].level > atomic_load(&max_level))
        return;
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    AUTO(buf_release) struct buf line = {0};
    buf_printf(&line, "%s %s %s", now, level_names[events[event].level], events[event].name);
    va_list args;
    va_start(args, event);
    for (const char *key = va_arg(args, const char *); key; key = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        buf_printf(&line, " %s=", key);
        add_value(&line, value ? value : "-");
    }
    va_end(args);
    buf_add(&line, "\n");
    if (write(STDERR_FILENO, line.data, line.length) < 0)
        return; /* nowhere left to say it */
}
