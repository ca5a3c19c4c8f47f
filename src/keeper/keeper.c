/* SPDX-License-Identifier: Apache-2.0
 * See keeper.h. A loop that starts what does not run, waits a moment or until it ends, and looks.
 */
#include "keeper/keeper.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "keeper/internal.h"
#include "keeper/presence.h"
#include "os/file.h"
#include "os/process.h"

#include <signal.h>
#include <string.h>

enum { AGAIN_MS = 100 /* between two starts of what ends at once */, END_MS = 5000 };

/* What is kept, and what is known of it. */
struct kept {
    const struct keeper *keeper;
    int signs;
    struct process process;
    struct sight sight;
    struct presence presence;
    bool is_ready, was_away;
};

static void say(const struct keeper *keeper, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct keeper *keeper, const char *format, ...)
{
    AUTO(buf_release) struct buf line = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&line, format, args);
    va_end(args);
    if (keeper->say)
        keeper->say(keeper->context, buf_text(&line));
}

static const char ready[] = " ready";

static enum status note_identity(const struct kept *kept, struct err *err)
{
    char text[PROCESS_TEXT_MAX];
    process_format(&kept->process, text);
    AUTO_FREE char *line = mem_printf("%s%s", text, kept->is_ready ? ready : "");
    return file_write_unsynced(kept->keeper->identity_path, line, strlen(line), err);
}

enum status keeper_find(const char *identity_path, struct process *ret, bool *ret_is_ready,
                        struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    enum status status = file_read(identity_path, PROCESS_TEXT_MAX + sizeof(ready), &text, err);
    if (status)
        return status;
    const char *all = buf_text(&text), *mark = strstr(all, ready);
    AUTO_FREE char *identity =
        mem_printf("%.*s", (int)(mark ? mark - all : (long)text.length), all);
    status = process_parse(identity, ret, err);
    if (!status)
        *ret_is_ready = mark != NULL;
    return status;
}

/* A keeper before us may have left it: its signs of life would not come to us. */
static enum status end_former(const struct keeper *keeper, struct err *err)
{
    bool is_ready = false;
    struct process former;
    if (keeper_find(keeper->identity_path, &former, &is_ready, NULL) ||
        process_signal(&former, SIGKILL, NULL))
        return ST_OK; /* there is none */
    say(keeper, "ended the one that another keeper left (pid %d)", (int)former.pid);
    return process_wait(&former, clock_deadline(END_MS), NULL, err);
}

/* A program that cannot be started is away like one that ends at once. */
static enum status start(struct kept *kept, struct err *err)
{
    const struct keeper *keeper = kept->keeper;
    struct process_spec spec = {.argv = keeper->argv, .output_path = keeper->output_path};
    struct err why = ERR_INIT;
    kept->sight = (struct sight){.started = clock_now()};
    kept->is_ready = false;
    if (process_spawn(&spec, &kept->process, &why)) {
        say(keeper, "%s", why.text);
        return ST_OK;
    }
    kept->sight.runs = true;
    say(keeper, "started (pid %d)", (int)kept->process.pid);
    return note_identity(kept, err);
}

/* Until it ends, or for a moment. */
static void wait_end(struct kept *kept)
{
    int code = 0;
    if (process_wait(&kept->process, clock_deadline(PRESENCE_LOOK_MS), &code, NULL))
        return;
    kept->sight.runs = false;
    say(kept->keeper, "ended with exit code %d after %.1f s", code,
        clock_ms(clock_now() - kept->sight.started) / 1000);
}

static enum status look(struct kept *kept, struct err *err)
{
    nsec now = clock_now();
    unsigned signs = kept->sight.runs ? signs__take(kept->signs, kept->process.pid) : 0;
    if (signs)
        kept->sight.last_sign = now;
    kept->sight.is_stopped = process_state(&kept->process) == PROCESS_STOPPED;
    presence_look(&kept->presence, &kept->sight, now);
    if (!(signs & SIGN_READY) || kept->is_ready)
        return ST_OK;
    kept->is_ready = true;
    return note_identity(kept, err);
}

/* One that hangs is ended: it could not close anything, and whoever starts next can. */
static void act_on_absence(struct kept *kept)
{
    bool is_away = presence_is_away(&kept->presence);
    if (is_away && !kept->was_away)
        say(kept->keeper, "away for more than %.1f s", clock_ms(kept->presence.grace) / 1000);
    kept->was_away = is_away;
    if (!is_away)
        return;
    kept->keeper->on_away(kept->keeper->context);
    if (kept->sight.runs && clock_now() - kept->sight.started > kept->presence.grace)
        status_ignore(process_signal(&kept->process, SIGKILL, NULL), "it has ended by itself");
}

static enum status keep_on(struct kept *kept, struct err *err)
{
    enum status status = ST_OK;
    while (!status) {
        nsec again = kept->sight.started + AGAIN_MS * NSEC_PER_MS;
        if (!kept->sight.runs && clock_now() >= again)
            status = start(kept, err);
        if (kept->sight.runs)
            wait_end(kept);
        else
            signs__wait(kept->signs, clock_deadline(PRESENCE_LOOK_MS));
        status = status ? status : look(kept, err);
        act_on_absence(kept);
    }
    return status;
}

enum status keeper_run(const struct keeper *keeper, struct err *err)
{
    AUTO_CLOSE int signs = -1;
    enum status status = signs__open(keeper->grace_ms, &signs, err);
    status = status ? status : end_former(keeper, err);
    if (status)
        return status;
    nsec now = clock_now();
    struct kept kept = {.keeper = keeper,
                        .signs = signs,
                        .presence = {.grace = keeper->grace_ms * NSEC_PER_MS,
                                     .has_signs = keeper->has_signs,
                                     .looked = now,
                                     .here = now}};
    return keep_on(&kept, err);
}
