/* SPDX-License-Identifier: Apache-2.0
 *
 * The same job for each of many, by a few threads. */
#ifndef HOLDFAST_OS_CREW_H
#define HOLDFAST_OS_CREW_H

#include <stddef.h>

typedef void crew_job(void *context, size_t index);

/* Do 'job' for 0 to count-1, at most 'threads' at once; returns when all are done. */
void crew_run(size_t count, size_t threads, crew_job *job, void *context);

#endif
