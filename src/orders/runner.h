/* SPDX-License-Identifier: Apache-2.0
 *
 * Carries out the runs that operators submitted: those begun here, and one whose conductor is gone,
 * when this one may take it. A thread of its own, one run at a time.
 */
#ifndef HOLDFAST_ORDERS_RUNNER_H
#define HOLDFAST_ORDERS_RUNNER_H

#include "base/err.h"

#include <stdbool.h>

struct inventory;
struct run;
struct run_record;
struct runner;
struct store;

/* What a runner needs of the process that it is in. Asked by any thread. */
struct runner_host {
    const struct inventory *fleet;
    void *context;
    struct store *(*store)(void *context); /* NULL: not yet */
    /* A run that no process carries out, when this process may go on with one. */
    bool (*find_left)(void *context, struct run_record *ret);
    void (*lend_ears)(void *context, struct run *run); /* before it is carried out */
};

struct runner *runner_start(const struct runner_host *host);
/* What is in flight is finished or undone; another process goes on with the rest. NULL is fine. */
void runner_stop(struct runner *runner);

/* Begin this run (which is taken) and carry it out. ST_BUSY: another one goes on; ST_EXISTS: it was
 * begun before. */
MUST_CHECK enum status runner_begin(struct runner *runner, struct run_record *take,
                                    struct err *err);

#endif
