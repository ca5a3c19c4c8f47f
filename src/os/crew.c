/* SPDX-License-Identifier: Apache-2.0
 * See crew.h. */
#include "os/crew.h"

#include "base/mem.h"
#include "base/scope.h"

#include <pthread.h>
#include <stdatomic.h>

struct crew {
    crew_job *job;
    void *context;
    size_t count;
    atomic_size_t next;
};

static void *work_on(void *context)
{
    struct crew *crew = context;
    for (size_t i = atomic_fetch_add(&crew->next, 1); i < crew->count;
         i = atomic_fetch_add(&crew->next, 1))
        crew->job(crew->context, i);
    return NULL;
}

void crew_run(size_t count, size_t threads, crew_job *job, void *context)
{
    struct crew crew = {.job = job, .context = context, .count = count};
    size_t most = count < threads ? count : threads, size = 0;
    AUTO_FREE pthread_t *members = mem_zalloc((most + 1) * sizeof(*members));
    while (size + 1 < most && pthread_create(&members[size], NULL, work_on, &crew) == 0)
        size++;
    work_on(&crew); /* the caller works, too: alone, when no thread is to be had */
    for (size_t i = 0; i < size; i++)
        pthread_join(members[i], NULL);
}
