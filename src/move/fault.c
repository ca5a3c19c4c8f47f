/* SPDX-License-Identifier: Apache-2.0
 * Crash points for tests; see fault.h. Set up before any thread starts, then only flags change. */
#include "move/fault.h"

#include "base/buf.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define X(id, name, kind, critical) {name, CALL_KIND_##kind, critical},
static const struct {
    const char *name;
    enum call_kind kind;
    bool is_critical;
} calls[] = {CALL_TABLE(X)};
#undef X

static const char *const moment_names[] = {FAULT_MOMENT_TABLE(TABLE_TEXT)};

static const struct {
    const char *name;
    enum fault_effect effect;
    int signal;
} actions[] = {
    {"kill", FAULT_NONE, SIGKILL},
    {"stop", FAULT_NONE, SIGSTOP},
    {"int", FAULT_NONE, SIGINT},
    {"busy", FAULT_BUSY, 0},
    {"full", FAULT_FULL, 0},
    {"fail", FAULT_FAIL, 0},
    {"unknown-done", FAULT_UNKNOWN_DONE, 0},
    {"unknown-lost", FAULT_UNKNOWN_LOST, 0},
};

struct fault {
    enum call call;
    enum fault_moment moment;
    enum fault_effect effect;
    int signal;
    char *command;
    atomic_bool is_done;
};

enum { FAULTS_MAX = 16 };
static struct fault faults[FAULTS_MAX];
static size_t fault_count;
static int trace_fd = -1;

const char *call_name(enum call call)
{
    INVARIANT((unsigned)call < CALLS);
    return calls[call].name;
}

enum call_kind call_kind(enum call call)
{
    INVARIANT((unsigned)call < CALLS);
    return calls[call].kind;
}

bool call_is_critical(enum call call)
{
    INVARIANT((unsigned)call < CALLS);
    return calls[call].is_critical;
}

const char *fault_moment_name(enum fault_moment moment)
{
    INVARIANT((unsigned)moment < FAULT_MOMENTS);
    return moment_names[moment];
}

bool fault_has_moment(enum call call, enum fault_moment moment)
{
    return moment != FAULT_SENT || call_kind(call) == CALL_KIND_SQL;
}

static bool parse_action(struct fault *fault, const char *text)
{
    if (strncmp(text, "run:", 4) == 0) {
        fault->command = mem_strdup(text + 4);
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        if (strcmp(actions[i].name, text) != 0)
            continue;
        fault->effect = actions[i].effect;
        fault->signal = actions[i].signal;
        return true;
    }
    return false;
}

static bool parse_point(struct fault *fault, const char *call, const char *moment)
{
    for (unsigned i = 0; i < CALLS; i++) {
        if (strcmp(calls[i].name, call) != 0)
            continue;
        fault->call = (enum call)i;
        for (unsigned j = 0; j < FAULT_MOMENTS; j++) {
            fault->moment = (enum fault_moment)j;
            if (strcmp(moment_names[j], moment) == 0)
                return fault_has_moment(fault->call, fault->moment);
        }
    }
    return false;
}

static enum status parse_fault(char *text, struct err *err)
{
    char *moment = strchr(text, ':');
    char *action = moment ? strchr(moment, '=') : NULL;
    if (!action || fault_count == FAULTS_MAX)
        return err_set(err, ST_INVALID, "HOLDFAST_FAULT: '%s' is not CALL:MOMENT=ACTION", text);
    *moment++ = '\0';
    *action++ = '\0';
    struct fault *fault = &faults[fault_count];
    if (!parse_point(fault, text, moment) || !parse_action(fault, action))
        return err_set(err, ST_INVALID, "HOLDFAST_FAULT: unknown point '%s:%s' or action '%s'",
                       text, moment, action);
    fault_count++;
    return ST_OK;
}

enum status fault_setup(struct err *err)
{
    const char *trace = getenv("HOLDFAST_FAULT_TRACE");
    if (trace && trace_fd < 0)
        trace_fd = open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const char *text = getenv("HOLDFAST_FAULT");
    AUTO_FREE char *copy = mem_strdup(text ? text : "");
    char *rest = copy;
    for (char *one = strsep(&rest, ";"); one; one = strsep(&rest, ";"))
        if (one[0] && parse_fault(one, err))
            return ST_INVALID;
    return ST_OK;
}

static void trace_point(enum call call, enum fault_moment moment)
{
    AUTO(buf_release) struct buf line = {0};
    buf_printf(&line, "%s:%s\n", call_name(call), fault_moment_name(moment));
    if (write(trace_fd, line.data, line.length) < 0)
        trace_fd = -1; /* the test that wanted it will miss it */
}

static void act(const struct fault *fault)
{
    if (fault->command && system(fault->command) != 0)
        fprintf(stderr, "holdfast: HOLDFAST_FAULT: command failed: %s\n", fault->command);
    if (fault->signal)
        raise(
            fault->signal); /* at this thread: else another one stops first, and this one goes on */
}

enum fault_effect fault_point(enum call call, enum fault_moment moment)
{
    if (trace_fd >= 0)
        trace_point(call, moment);
    for (size_t i = 0; i < fault_count; i++) {
        struct fault *fault = &faults[i];
        if (fault->call != call || fault->moment != moment ||
            atomic_exchange(&fault->is_done, true))
            continue;
        act(fault);
        return fault->effect;
    }
    return FAULT_NONE;
}

enum status fault_status(enum fault_effect effect, struct err *err)
{
    static const enum status statuses[] = {
        [FAULT_NONE] = ST_OK,
        [FAULT_BUSY] = ST_BUSY,
        [FAULT_FULL] = ST_FULL,
        [FAULT_FAIL] = ST_IO,
        [FAULT_UNKNOWN_DONE] = ST_UNKNOWN,
        [FAULT_UNKNOWN_LOST] = ST_UNKNOWN,
    };
    return err_set(err, statuses[effect], "store: fault injected by HOLDFAST_FAULT");
}
