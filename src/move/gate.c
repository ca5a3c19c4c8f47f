/* SPDX-License-Identifier: Apache-2.0
 * The cap on simultaneous freezes; see gate.h. */
#include "move/gate.h"

#include "base/mem.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

struct freeze_gate {
    sem_t free_places[GATE_PLACES];
};

struct freeze_gate *freeze_gate_new(unsigned ready_cap, unsigned freeze_cap)
{
    struct freeze_gate *gate = mem_zalloc(sizeof(*gate));
    sem_init(&gate->free_places[GATE_READY], 0, ready_cap);
    sem_init(&gate->free_places[GATE_FREEZE], 0, freeze_cap);
    return gate;
}

void freeze_gate_free(struct freeze_gate *gate)
{
    if (!gate)
        return;
    for (int i = 0; i < GATE_PLACES; i++)
        sem_destroy(&gate->free_places[i]);
    free(gate);
}

bool freeze_gate_enter(struct freeze_gate *gate, enum gate_place place, nsec deadline)
{
    nsec left = deadline - clock_now();
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec + (left > 0 ? left : 0);
    until.tv_sec = (time_t)(at / NSEC_PER_SEC);
    until.tv_nsec = (long)(at % NSEC_PER_SEC);
    int failed = 0;
    do
        failed = sem_clockwait(&gate->free_places[place], CLOCK_MONOTONIC, &until);
    while (failed && errno == EINTR);
    return !failed;
}

void freeze_gate_leave(struct freeze_gate *gate, enum gate_place place)
{
    sem_post(&gate->free_places[place]);
}
