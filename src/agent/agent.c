/* SPDX-License-Identifier: Apache-2.0
 * The agent's life: its folder, its threads, its signals. What a planned stop means: it asks for
 * nothing more, leaves its servers as they are while the permission that it has goes on, and closes
 * them at its end: without an agent, nobody else would. To be replaced without that (a new
 * version), it is reloaded: the process runs the program anew and goes on with the same permission.
 */
#include "agent/agent.h"

#include "agent/internal.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "fleet/inventory.h"
#include "os/file.h"
#include "os/program.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

enum { TRIAL_PART = 2 /* of the TTL */, FOLDER_MODE = 0700, COMMAND_MAX = 65536 };

static void open_sources(struct agent *agent)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    agent->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    agent->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    agent->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    INVARIANT(agent->signals >= 0 && agent->timer >= 0 && agent->bell >= 0);
}

/* A disk that hangs must not hold up who has to close a server: what is needed is in memory.
 * Without the right to do so, it is as good as it gets. */
static void stay_in_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
        status_ignore(ST_DENIED, "as good as it gets");
}

/* Of the loop alone, which only ever works for moments: where everything of a machine wakes up at
 * the same time, it is to be among the first. */
static void come_first(void)
{
    const struct sched_param param = {.sched_priority = 1};
    if (pthread_setschedparam(pthread_self(), SCHED_RR, &param))
        status_ignore(ST_DENIED, "as good as it gets");
}

static void begin_guards(struct agent *agent)
{
    agent->guard_count = agent->config->host->place_count;
    agent->guards = mem_zalloc((agent->guard_count + 1) * sizeof(*agent->guards));
    for (size_t i = 0; i < agent->guard_count; i++)
        guard_init(&agent->guards[i], agent, i);
}

/* A predecessor's goes on to its end. Without one, there is a moment to ask. */
static void begin_permission(struct agent *agent)
{
    const struct agent_config *config = agent->config;
    AUTO_FREE const char **names = mem_zalloc((agent->guard_count + 1) * sizeof(*names));
    for (size_t i = 0; i < agent->guard_count; i++)
        names[i] = agent->guards[i].server->name;
    agent->began = clock_now();
    agent->ttl = inventory_serve_ms(config->fleet) * NSEC_PER_MS;
    agent->period = permit_interval(agent->ttl);
    permit_holder_init(&agent->holder, names, agent->guard_count, permit_fence_span(agent->ttl));
    if (!config->is_only_to_close && !state_load_permission(config->state_folder, &agent->holder))
        agent->trial_until = agent->began + agent->ttl / TRIAL_PART;
}

static void start(struct agent *agent)
{
    const struct agent_config *config = agent->config;
    open_sources(agent);
    begin_guards(agent);
    begin_permission(agent);
    agent->scribe = scribe_start(config->state_folder, agent, agent->bell);
    if (!config->is_only_to_close)
        agent->asker = asker_start(config, agent->bell);
    stay_in_memory();
    come_first();
}

static void stop(struct agent *agent)
{
    asker_stop(agent->asker);
    scribe_stop(agent->scribe);
    for (size_t i = 0; i < agent->guard_count; i++)
        guard_release(&agent->guards[i]);
    permit_holder_release(&agent->holder);
    free(agent->guards);
    free(agent->notes);
    close(agent->signals);
    close(agent->timer);
    close(agent->bell);
}

/* ---- reload ---- */

/* The words of our own command line, in 'text'. */
static char **read_command(struct buf *text)
{
    if (file_read("/proc/self/cmdline", COMMAND_MAX, text, NULL) || !text->length)
        return NULL;
    char **words = NULL;
    size_t count = 0, capacity = 0;
    for (size_t at = 0; at < text->length; at += strlen(text->data + at) + 1)
        VEC_PUSH(words, count, capacity, text->data + at);
    VEC_PUSH(words, count, capacity, NULL);
    return words;
}

/* Only comes back when that cannot be done. */
static enum status run_anew(struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    AUTO_FREE char **words = read_command(&text);
    AUTO_FREE char *program = NULL;
    enum status status = program_self(&program, err);
    if (status)
        return status;
    if (words)
        execv(program, words);
    return err_set_errno(err, errno, "run", program);
}

/* ---- the end ---- */

static enum status judge_end(const struct agent *agent, struct err *err)
{
    AUTO(buf_release) struct buf open = {0};
    for (size_t i = 0; i < agent->guard_count; i++)
        if (!guard_is_settled(&agent->guards[i]))
            buf_printf(&open, "%s%s", open.length ? ", " : "", agent->guards[i].server->name);
    if (!open.length)
        return ST_OK;
    err_set(err, ST_STUCK, "not known to be closed: %s", buf_text(&open));
    return err_hint(err, "look whether these servers run; if so, end their processes");
}

static enum status end(struct agent *agent, struct err *err)
{
    if (agent->is_to_reload)
        return ST_OK;
    enum status status = judge_end(agent, err);
    if (!status)
        state_forget_permission(agent->config->state_folder);
    log_event(EV_AGENT, "is", status ? "ends" : "ends: all its servers are closed", NULL);
    return status;
}

enum status agent_run(const struct agent_config *config, struct err *err)
{
    struct agent agent = {.config = config};
    AUTO_CLOSE int lock = -1;
    enum status status = folder_make(config->state_folder, FOLDER_MODE, err);
    if (!status)
        status = state_lock(config->state_folder, &lock, err);
    if (status)
        return status;
    start(&agent);
    log_event(EV_AGENT, "host", config->host->name, "is",
              config->is_only_to_close ? "closes its servers" : "begins", NULL);
    agent_loop(&agent);
    status = end(&agent, err);
    stop(&agent);
    if (!agent.is_to_reload)
        return status;
    log_event(EV_AGENT, "is", "runs anew", NULL);
    return run_anew(err);
}
