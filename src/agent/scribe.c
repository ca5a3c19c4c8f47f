/* SPDX-License-Identifier: Apache-2.0
 * The thread that touches disks, which may hang for as long as they like: nobody ever waits for it
 * but the end of the agent. Of what is to be kept, the newest counts. */
#include "agent/internal.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "fleet/inventory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct kept_server {
    char *positions;                        /* to be kept; NULL: nothing new */
    char *pid_file, *data_folder, *machine; /* to be identified; NULL: no */
    struct process process;                 /* found, and not taken yet */
    struct err err;
    bool is_found;
};

struct scribe {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    const char *folder;
    const struct agent *agent; /* only for the names of its servers, which never change */
    int bell;
    char *permission; /* to be kept; NULL: nothing new */
    bool is_ending;
    struct kept_server *servers;
    size_t count;
};

static const char *name_of(const struct scribe *scribe, size_t server)
{
    return scribe->agent->guards[server].server->name;
}

/* Each of these takes its work under the lock and does it without; true: there was some. */

static bool keep_permission(struct scribe *scribe)
{
    char *text = scribe->permission;
    if (!text)
        return false;
    scribe->permission = NULL;
    pthread_mutex_unlock(&scribe->lock);
    state_keep_permission(scribe->folder, text);
    free(text);
    pthread_mutex_lock(&scribe->lock);
    return true;
}

static bool identify(struct scribe *scribe, size_t server)
{
    struct kept_server *kept = &scribe->servers[server];
    char *pid_file = kept->pid_file, *data = kept->data_folder, *machine = kept->machine;
    if (!pid_file)
        return false;
    kept->pid_file = kept->data_folder = kept->machine = NULL;
    pthread_mutex_unlock(&scribe->lock);
    const struct sql_process said = {.pid_file = pid_file, .data_folder = data, .machine = machine};
    struct process process = {0};
    struct err err = ERR_INIT;
    if (!identity_find(&said, &process, &err))
        state_keep_process(scribe->folder, name_of(scribe, server), &process);
    free(pid_file);
    free(data);
    free(machine);
    pthread_mutex_lock(&scribe->lock);
    kept->process = process;
    kept->err = err;
    kept->is_found = true;
    eventfd_write(scribe->bell, 1);
    return true;
}

static bool keep_positions(struct scribe *scribe, size_t server)
{
    struct kept_server *kept = &scribe->servers[server];
    char *json = kept->positions;
    if (!json)
        return false;
    kept->positions = NULL;
    pthread_mutex_unlock(&scribe->lock);
    struct err err = ERR_INIT;
    if (state_keep_positions(scribe->folder, name_of(scribe, server), json, &err))
        log_event(EV_AGENT_TROUBLE, "server", name_of(scribe, server), "is",
                  "its positions are not kept", "why", err.text, NULL);
    free(json);
    pthread_mutex_lock(&scribe->lock);
    return true;
}

static bool work_once(struct scribe *scribe)
{
    bool has_worked = keep_permission(scribe);
    for (size_t i = 0; i < scribe->count; i++)
        has_worked = identify(scribe, i) || has_worked;
    for (size_t i = 0; i < scribe->count; i++)
        if (keep_positions(scribe, i)) {
            keep_permission(scribe); /* a sync may have taken long */
            has_worked = true;
        }
    return has_worked;
}

static bool has_work(const struct scribe *scribe)
{
    bool has_work = scribe->permission;
    for (size_t i = 0; i < scribe->count; i++)
        has_work = has_work || scribe->servers[i].pid_file || scribe->servers[i].positions;
    return has_work;
}

static void *keep(void *context)
{
    struct scribe *scribe = context;
    pthread_mutex_lock(&scribe->lock);
    while (work_once(scribe) || !scribe->is_ending)
        while (!has_work(scribe) && !scribe->is_ending)
            pthread_cond_wait(&scribe->work, &scribe->lock);
    pthread_mutex_unlock(&scribe->lock);
    return NULL;
}

struct scribe *scribe_start(const char *folder, const struct agent *agent, int bell)
{
    struct scribe *scribe = mem_zalloc(sizeof(*scribe));
    scribe->folder = folder;
    scribe->agent = agent;
    scribe->bell = bell;
    scribe->count = agent->guard_count;
    scribe->servers = mem_zalloc((scribe->count + 1) * sizeof(*scribe->servers));
    pthread_mutex_init(&scribe->lock, NULL);
    pthread_cond_init(&scribe->work, NULL);
    INVARIANT(pthread_create(&scribe->thread, NULL, keep, scribe) == 0);
    return scribe;
}

static void wake(struct scribe *scribe)
{
    pthread_cond_signal(&scribe->work);
    pthread_mutex_unlock(&scribe->lock);
}

void scribe_stop(struct scribe *scribe)
{
    if (!scribe)
        return;
    pthread_mutex_lock(&scribe->lock);
    scribe->is_ending = true;
    wake(scribe);
    pthread_join(scribe->thread, NULL);
    for (size_t i = 0; i < scribe->count; i++)
        free(scribe->servers[i].positions);
    free(scribe->servers);
    pthread_cond_destroy(&scribe->work);
    pthread_mutex_destroy(&scribe->lock);
    free(scribe);
}

void scribe_keep_permission(struct scribe *scribe, char *take_text)
{
    pthread_mutex_lock(&scribe->lock);
    free(scribe->permission);
    scribe->permission = take_text;
    wake(scribe);
}

void scribe_keep_positions(struct scribe *scribe, size_t server, char *take_json)
{
    pthread_mutex_lock(&scribe->lock);
    free(scribe->servers[server].positions);
    scribe->servers[server].positions = take_json;
    wake(scribe);
}

void scribe_identify(struct scribe *scribe, size_t server, const struct sql_process *said)
{
    struct kept_server *kept = &scribe->servers[server];
    pthread_mutex_lock(&scribe->lock);
    if (!kept->pid_file) {
        kept->pid_file = mem_strdup(said->pid_file);
        kept->data_folder = mem_strdup(said->data_folder);
        kept->machine = mem_strdup(said->machine);
    }
    wake(scribe);
}

bool scribe_take_process(struct scribe *scribe, size_t server, struct process *ret,
                         struct err *ret_err)
{
    struct kept_server *kept = &scribe->servers[server];
    pthread_mutex_lock(&scribe->lock);
    bool is_found = kept->is_found;
    if (is_found) {
        *ret = kept->process;
        *ret_err = kept->err;
        kept->is_found = false;
    }
    pthread_mutex_unlock(&scribe->lock);
    return is_found;
}
