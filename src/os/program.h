/* SPDX-License-Identifier: Apache-2.0
 *
 * Where programs are. No state, any thread; the results are the caller's to free.
 */
#ifndef HOLDFAST_OS_PROGRAM_H
#define HOLDFAST_OS_PROGRAM_H

#include "base/err.h"

/* Looked up in the PATH, then where the system keeps programs of servers, which are not in the PATH
 * of everybody. NULL: it is not installed. */
char *program_find(const char *name);

/* The file that this process runs, or what stands in its place since. */
MUST_CHECK enum status program_self(char **ret_path, struct err *err);

#endif
