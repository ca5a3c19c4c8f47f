/* SPDX-License-Identifier: Apache-2.0
 * Showing the same text again and again; see watch.h. */
#include "show/watch.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ROWS = 24, COLUMNS = 80, LOOK_MS = 50, OWN_ROWS = 2 /* the time, and what was left out */ };

static size_t count_lines(const char *text, bool only_bad)
{
    size_t count = 0;
    for (const char *at = text; *at; at += strcspn(at, "\n") + 1)
        count += !only_bad || *at == '!';
    return count;
}

/* Without cutting a character in two: one too many byte of it is as wide as none. */
static void add_line(struct buf *out, const char *line, size_t columns)
{
    size_t length = strcspn(line, "\n"), shown = length < columns ? length : columns;
    while (shown < length && ((unsigned char)line[shown] & 0xc0) == 0x80)
        shown--;
    buf_printf(out, "%.*s\x1b[K\n", (int)shown, line);
}

/* The first line, then those that matter, then the others, in their order, as far as there is room.
 */
static void add_fitting(struct buf *out, const char *text, size_t rows, size_t columns)
{
    size_t lines = count_lines(text, false);
    size_t bad = count_lines(text, true), room = lines > rows ? rows : lines;
    size_t others = room > bad ? room - bad : 1, shown = 0;
    for (const char *at = text; *at && shown < room; at += strcspn(at, "\n") + 1) {
        bool is_bad = *at == '!';
        if (!is_bad && others == 0)
            continue;
        others -= !is_bad;
        add_line(out, at, columns);
        shown++;
    }
    if (lines > shown)
        buf_printf(out,
                   "  and %zu more lines: make the window higher, or look without --watch\x1b[K\n",
                   lines - shown);
}

static void show_once(const char *text, enum watch_kind kind, bool is_tty)
{
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    if (!is_tty) {
        bool is_plain = kind == WATCH_FOR_PROGRAMS;
        printf("%s%s%s%s", is_plain ? "" : now, is_plain ? "" : "\n", text, is_plain ? "" : "\n");
        fflush(stdout);
        return;
    }
    struct winsize size = {0};
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col;
    size_t rows = is_known ? size.ws_row : ROWS, columns = is_known ? size.ws_col : COLUMNS;
    AUTO(buf_release) struct buf out = {0};
    buf_printf(&out, "\x1b[H%s   Ctrl-C ends\x1b[K\n", now);
    add_fitting(&out, text, rows > OWN_ROWS + 2 ? rows - OWN_ROWS - 1 : 1, columns);
    buf_add(&out, "\x1b[J");
    fputs(buf_text(&out), stdout);
    fflush(stdout);
}

void watch_show(watch_render *render, void *context, enum watch_kind kind, long interval_s,
                bool (*must_stop)(void))
{
    bool is_tty = kind == WATCH_FOR_PEOPLE && isatty(STDOUT_FILENO) == 1;
    if (is_tty)
        fputs("\x1b[2J", stdout);
    while (!must_stop()) {
        nsec next = clock_deadline(interval_s * 1000);
        AUTO_FREE char *text = NULL;
        size_t length = 0;
        FILE *out = open_memstream(&text, &length);
        if (!out)
            return;
        render(context, out);
        fclose(out);
        if (!must_stop()) /* what was interrupted may be half */
            show_once(text, kind, is_tty);
        while (clock_now() < next && !must_stop())
            poll(NULL, 0, LOOK_MS);
    }
}
