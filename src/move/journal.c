/* SPDX-License-Identifier: Apache-2.0
 * The journal of a run; see journal.h. One write() a line, so threads do not mix. */
#include "move/journal.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

struct journal {
    int fd;
    atomic_bool has_failed;
};

static void give_up(struct journal *journal, const char *why)
{
    if (!atomic_exchange(&journal->has_failed, true))
        log_event(EV_JOURNAL_FAILED, "why", why, "next",
                  "make that folder, or name another as 'journal' in the fleet file", NULL);
}

static void give_up_errno(struct journal *journal, const char *verb, const char *path)
{
    struct err err = ERR_INIT;
    err_set_errno(&err, errno, verb, path);
    give_up(journal, err.text);
}

static char *path_of(const char *directory, const char *run)
{
    return mem_printf("%s/%s.jsonl", directory, run);
}

void journal_remove(const char *directory, const char *run)
{
    AUTO_FREE char *path = path_of(directory, run);
    unlink(path);
}

/* ---- how many are kept ---- */

static bool are_digits(const char *text, size_t count)
{
    return strspn(text, "0123456789") == count;
}

/* 20261122-194248-803b.jsonl, and nothing that anybody else may have put there. */
static int is_journal(const struct dirent *entry)
{
    enum { TIME_AT = 9, REST_AT = 16 };
    const char *name = entry->d_name;
    if (strlen(name) <= REST_AT || !are_digits(name, TIME_AT - 1) || name[TIME_AT - 1] != '-' ||
        !are_digits(name + TIME_AT, REST_AT - 1 - TIME_AT) || name[REST_AT - 1] != '-')
        return 0;
    size_t rest = strspn(name + REST_AT, "0123456789abcdef");
    return rest > 0 && strcmp(name + REST_AT + rest, ".jsonl") == 0;
}

void journal_trim(const char *directory, size_t keep)
{
    struct dirent **found = NULL;
    int count = scandir(directory, &found, is_journal, alphasort); /* by time */
    for (int i = 0; i < count; i++) {
        AUTO_FREE char *path = mem_printf("%s/%s", directory, found[i]->d_name);
        if ((size_t)(count - i) > keep)
            unlink(path);
        free(found[i]);
    }
    free(found);
}

/* ---- one ---- */

struct journal *journal_open(const char *directory, const char *run)
{
    struct journal *journal = mem_zalloc(sizeof(*journal));
    journal->fd = -1;
    if (!directory)
        return journal;
    struct err err = ERR_INIT;
    AUTO_FREE char *path = path_of(directory, run);
    if (folder_make(directory, 0700, &err)) {
        give_up(journal, err.text);
        return journal;
    }
    journal->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal->fd < 0)
        give_up_errno(journal, "open", path);
    return journal;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal);
}

void journal_add(struct journal *journal, const char *shard, const char *event, const char *format,
                 ...)
{
    if (journal->fd < 0)
        return;
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    AUTO(buf_release) struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    json_t *line =
        json_pack("{s:s, s:f, s:s?, s:s, s:s}", "at", now, "boot_ms", clock_ms(clock_now()),
                  "shard", shard, "event", event, "text", buf_text(&text));
    AUTO_FREE char *encoded = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    AUTO_FREE char *out = mem_printf("%s\n", encoded ? encoded : "{}");
    if (write(journal->fd, out, strlen(out)) < 0)
        give_up_errno(journal, "write", "the journal");
}
